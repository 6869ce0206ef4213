"""Measure a store of this process: a large file, many commits, fragmentation, and the bounds of maps. See benchmarks.blocks."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.common import timed
from dm_compose.core.commit import CommitDraft, Move
from dm_compose.core.names import DEFAULT_BRANCH, MAIN_WORKTREE, CommitId, DotName, SubdotName
from dm_compose.objects.extents import BLOCK_BYTES
from dm_compose.store.local.store import LocalStore

DOT, DATA = DotName("bench"), SubdotName("data")
MIB, GIB = 1 << 20, 1 << 30
PIECE = 64 * MIB
FILES_OF_MANY = 8
BLOCKS_OF_A_COMMIT = 16  # in each of two files
LOOKS = 5


class Finding(NamedTuple):
    """A line of the table. `met` is None where there is no target."""

    what: str
    figure: str
    target: str = "-"
    met: bool | None = None

    def cells(self) -> tuple[str, str, str, str]:
        return self.what, self.figure, self.target, {None: "-", True: "met", False: "MISSED"}[self.met]


def taken(directory: Path) -> int:
    """Return the bytes on the disk of everything below a directory, and of itself."""
    blocks = directory.lstat().st_blocks
    for where, directories, files in os.walk(directory):
        for name in directories + files:
            with contextlib.suppress(FileNotFoundError):
                blocks += os.lstat(os.path.join(where, name)).st_blocks
    return blocks * 512


def megabytes(size: float) -> str:
    return f"{size / 1e6:.2f} MB"


class Files:
    """A directory of files as the only subdot of a store, and what a user does with them."""

    def __init__(self, base: Path, sizes: dict[str, int], seed: int = 1) -> None:
        self.tree, self.home = base / "tree", base / "store"
        self.tree.mkdir(parents=True)
        self.sizes, self.chance = sizes, random.Random(seed)
        for name, size in sizes.items():
            with open(self.tree / name, "wb") as file:
                for start in range(0, size, PIECE):
                    file.write(os.urandom(min(PIECE, size - start)))
        self.where = {DATA: str(self.tree)}
        self.store = LocalStore(self.home)
        self.store.create_dot(DOT)
        os.sync()

    def change(self, name: str, count: int) -> None:
        """Overwrite random blocks of a file."""
        with open(self.tree / name, "r+b") as file:
            for _ in range(count):
                file.seek(self.chance.randrange(self.sizes[name] // BLOCK_BYTES) * BLOCK_BYTES)
                file.write(self.chance.randbytes(BLOCK_BYTES))

    def change_byte(self, name: str) -> None:
        with open(self.tree / name, "r+b") as file:
            file.seek(self.chance.randrange(self.sizes[name]))
            file.write(b"!")

    def commit(self, *, hidden: bool = False) -> CommitId:
        entry = self.store.prepare_commit(DOT, MAIN_WORKTREE, self.where)
        self.store.capture(entry)
        return self.store.publish(entry, CommitDraft("benchmark", "me", hidden=hidden)).id

    def reset(self, target: CommitId) -> None:
        """Keep what is uncommitted and go to a commit, as `reset --hard` does."""
        entry = self.store.prepare_commit(DOT, MAIN_WORKTREE, self.where)
        self.store.capture(entry)
        saved = self.store.publish(entry, CommitDraft("kept", "me", hidden=True)).id
        move = Move("reset", DEFAULT_BRANCH, target, saved)
        doing = self.store.begin_restore(DOT, MAIN_WORKTREE, target, [], move, entry)
        self.store.restore_subdot(doing, DATA, self.where)
        self.store.sync_restored(doing)
        self.store.end_restore(doing)

    def export(self, commit: CommitId, *, cold: bool) -> float:
        """Return the seconds of a restore of a commit into an empty directory, written to the disk or not."""
        if cold:
            self.forget_pages()
        place = self.home.parent / "export"
        took = timed(lambda: self.store.export(DOT, commit, str(place)))
        shutil.rmtree(place)
        return took

    def forget_pages(self) -> None:
        """Have the kernel drop what it keeps of the store's files in memory."""
        os.sync()
        for path in self.home.rglob("*"):
            if path.is_file():
                fd = os.open(path, os.O_RDONLY)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(fd)

    def adds(self, work: Callable[[], object]) -> tuple[float, int]:
        """Do something; return its seconds and the bytes that the store has more."""
        before = taken(self.home)
        took = timed(work)
        return took, taken(self.home) - before

    @property
    def head(self) -> CommitId:
        return self.store.branches(DOT)[DEFAULT_BRANCH]


@contextlib.contextmanager
def files(base: Path, name: str, sizes: dict[str, int]) -> Iterator[Files]:
    """Make files and a store, and remove both."""
    made = Files(base / name, sizes)
    try:
        yield made
    finally:
        made.store.close()
        shutil.rmtree(base / name)


def large(base: Path, size: int, rounds: int) -> list[Finding]:
    """One changed byte in one large file: a commit, and a reset."""
    commits, resets = [], []
    with files(base, "large", {"table": size}) as found:
        first = found.commit()
        for _ in range(rounds):
            found.change_byte("table")
            commits.append(found.adds(found.commit))
            found.change_byte("table")
            resets.append(found.adds(lambda: found.reset(first)))
    lines = []
    for what, samples in (("commit", commits), ("reset --hard", resets)):
        took, added = statistics.median(s for s, _ in samples), max(size for _, size in samples)
        lines.append(Finding(f"{size / GIB:g} GiB file, one byte changed: {what}", f"{took:.2f} s", "≤ 4 s", took <= 4))
        lines.append(Finding(f"- adds to the store: {what}", f"{added / 1024:.0f} KiB", "≤ 1 MiB", added <= MIB))
    return lines


def many(base: Path, size: int, count: int) -> list[Finding]:
    """Many small commits: the store's size, and what is asked of it after 10 and at the end."""
    names = {f"f{number}": size // FILES_OF_MANY for number in range(FILES_OF_MANY)}
    with files(base, "many", names) as found:
        head = found.commit()
        seconds: list[float] = []
        early: dict[str, float] = {}
        for number in range(1, count + 1):
            for name in found.chance.sample(sorted(names), 2):
                found.change(name, BLOCKS_OF_A_COMMIT)
            seconds.append(timed(found.commit))
            if number == 10:
                early = _looks(found)
        late, size_now = _looks(found), taken(found.home)
        assert head in [commit.id for commit in found.store.log(DOT, found.head)]
    lines = [Finding(f"{count} commits of {size / GIB:g} GiB: store", f"{size_now / 1e9:.2f} GB", "≤ 4 GB", size_now <= 4e9)]
    lines.append(Finding("- a commit, the first ten", f"{statistics.median(seconds[:10]) * 1000:.0f} ms"))
    lines.append(Finding("- a commit, the last ten", f"{statistics.median(seconds[-10:]) * 1000:.0f} ms"))
    for what, took in late.items():
        figure = f"processor {took * 1000:.2f} ms, after 10 commits {early[what] * 1000:.2f} ms"
        lines.append(Finding(f"- {what}", figure, "as after 10 (1.5x)", took <= 1.5 * early[what]))
    return lines


def _looks(found: Files) -> dict[str, float]:
    store = found.store
    head = found.head
    before = store.commit(DOT, head).parent
    assert before is not None
    samples: dict[str, list[float]] = {}
    for _ in range(LOOKS):
        found.change("f0", 1)
        measured: dict[str, Callable[[], object]] = {
            "`status`: which subdots differ": lambda: store.differing(DOT, MAIN_WORKTREE, found.where, head),
            "`diff` with the live files": lambda: store.diff_live(DOT, MAIN_WORKTREE, found.where, head, {}, 1 << 40),
            "`reset --hard HEAD`": lambda: found.reset(head),
            "`reset --hard HEAD^`": lambda: found.reset(before),
            "`reset --hard` back": lambda: found.reset(head),
        }
        for what, work in measured.items():
            samples.setdefault(what, []).append(processor(work))
        took = processor(lambda: store.log(DOT, head))
        samples.setdefault("`log`, for each commit that it lists", []).append(took / len(store.log(DOT, head)))
    return {what: statistics.median(times) for what, times in samples.items()}


def processor(work: Callable[[], object]) -> float:
    """Do something in this process; return the seconds that the processor worked for it, which other work changes little."""
    began = time.process_time()
    work()
    return time.process_time() - began


def fragments(base: Path, size: int, count: int, writes: int, rounds: int) -> list[Finding]:
    """Many commits with random writes into one file: a restore of the last one beside one of the first."""
    what = f"{count} commits, {writes} random blocks each, in a {size / GIB:g} GiB file"
    with files(base, "fragments", {"table": size}) as found:
        first = found.commit()
        for _ in range(count):
            found.change("table", writes)
            found.commit()
        lines = [Finding(f"{what}: store", f"{taken(found.home) / 1e9:.2f} GB")]
        for kind, cold in (("nothing in memory", True), ("all in memory", False)):
            samples: dict[CommitId, list[float]] = {first: [], found.head: []}
            for _ in range(rounds):
                for commit, times in samples.items():
                    if not cold:
                        found.export(commit, cold=False)
                    times.append(found.export(commit, cold=cold))
            early, late = (statistics.median(times) for times in samples.values())
            figure = f"{late:.2f} s, the first {early:.2f} s: {late / early:.2f}x"
            text = f"- restore of the last into an empty directory, {kind}"
            lines.append(Finding(text, figure, "≤ 1.5x", late / early <= 1.5))
    return lines
