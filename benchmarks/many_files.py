"""Measure how a commit and a look at uncommitted changes grow with the number of files: time frozen, time in all, memory.

Two bytes change before each commit. Each figure comes from a process of its own, as a command is one. Files are small; they lie
100 to a directory.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.common import ROOT, arguments_parser, file_system, headline, ms, scratch, table
from dm_compose.core.commit import CommitDraft
from dm_compose.core.names import MAIN_WORKTREE, DotName, SubdotName
from dm_compose.storage import capture
from dm_compose.store.api import COMPARE_BUDGET_BYTES
from dm_compose.store.local.store import LocalStore

DOT, DATA = DotName("bench"), SubdotName("data")
FILES_TOGETHER = 100


def make_tree(root: Path, files: int) -> None:
    """Make small files, each different from all others."""
    for number in range(files // FILES_TOGETHER):
        directory = root / f"{number // 100:03}" / f"{number % 100:03}"
        directory.mkdir(parents=True)
        for name in range(FILES_TOGETHER):
            (directory / f"file-{name:04}.dat").write_bytes(b"%d\n" % (number * FILES_TOGETHER + name) * 20)


def dirty(root: Path, turn: int) -> None:
    """Change one byte in each of two files."""
    for directory in ("000/000", "000/001"):
        with (root / directory / f"file-{turn % FILES_TOGETHER:04}.dat").open("r+b") as file:
            file.seek(1)
            file.write(b"%c" % (65 + turn % 26))


def commit(base: Path) -> dict[str, float]:
    """Make a commit. Return its seconds: all, and those for which a stack would be frozen."""
    store = LocalStore(base / "store")
    began = time.perf_counter()
    entry = store.prepare_commit(DOT, MAIN_WORKTREE, {DATA: str(base / "tree")})
    frozen = time.perf_counter()
    store.capture(entry)
    thawed = time.perf_counter()
    store.publish(entry, CommitDraft("bench", "bench"))
    return {"frozen": thawed - frozen, "all": time.perf_counter() - began}


def status(base: Path) -> dict[str, float]:
    """Count the bytes that differ from the head, as the verb `status` does. Return the seconds."""
    store = LocalStore(base / "store")
    began = time.perf_counter()
    head = store.resolve(DOT, MAIN_WORKTREE, "HEAD")
    found = store.diff_live(DOT, MAIN_WORKTREE, {DATA: str(base / "tree")}, head, {}, COMPARE_BUDGET_BYTES)
    took = time.perf_counter() - began
    assert len(found[DATA].changes) == 2, found
    return {"all": took}


def child(step: str, base: Path, *, watched: bool = True) -> dict[str, float]:
    """Do a step in a new process. Return its seconds, and its peak of memory in bytes as `memory`."""
    command = [sys.executable, "-m", "benchmarks.many_files", "--step", step, "--base", str(base)]
    done = subprocess.run([*command, *([] if watched else ["--whole"])], cwd=ROOT, capture_output=True, text=True, check=True)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def measure(base: Path, files: int, rounds: int) -> list[tuple[str, ...]]:
    """Return rows of the table: what, frozen, time in all, memory."""
    tree = base / "tree"
    if not tree.exists():
        make_tree(tree, files)
    store = LocalStore(base / "store")
    store.create_dot(DOT)
    store.close()
    os.sync()
    rows = []

    def add(what: str, samples: list[dict[str, float]]) -> None:
        frozen = ms(min(s["frozen"] for s in samples)) if "frozen" in samples[0] else "-"
        if "frozen" in samples[0] and len(samples) > 1:
            frozen += f" ({ms(statistics.median(s['frozen'] for s in samples))})"
        in_all = f"{min(s['all'] for s in samples):.2f} s"
        memory = max(s["memory"] for s in samples)
        rows.append((f"{files}", what, frozen, in_all, f"{memory / 2**20:.0f} MB", f"{memory / files:.0f} B"))

    add("first commit", [child("commit", base)])
    turns = iter(range(1, 1000))
    for what, watched in (("2 bytes", True), ("2 bytes, not watched", False)):
        samples = []
        for _ in range(rounds):
            dirty(tree, next(turns))
            samples.append(child("commit", base, watched=watched))
        add(what, samples)
    dirty(tree, next(turns))
    add("status", [child("status", base) for _ in range(rounds)])
    return rows


def main() -> None:
    parser = arguments_parser(__doc__ or "", rounds=5)
    parser.add_argument("--files", type=int, nargs="+", default=[20_000, 200_000], help="numbers of files")
    parser.add_argument("--step", choices=("commit", "status"), help="for the program's own use")
    parser.add_argument("--base", type=Path, help="a directory for tree and store, in which a tree of an earlier run is taken")
    parser.add_argument("--whole", action="store_true", help="for the program's own use: look at the whole tree in the freeze")
    told = parser.parse_args()
    if told.step:
        if told.whole:
            capture.WATCHED_PATHS = sys.maxsize
        found = commit(told.base) if told.step == "commit" else status(told.base)
        found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(found))
        return
    headline("many small files: a commit, and a look at what is uncommitted; the best of all rounds (median)")
    rows = []
    for files in told.files:
        with scratch("here", 0) if told.base is None else contextlib.nullcontext(told.base) as base:
            name = file_system(base)
            rows += [(name, *row) for row in measure(base, files, told.rounds)]
    table(("file system", "files", "what", "frozen", "in all", "memory", "per file"), rows)


if __name__ == "__main__":
    main()
