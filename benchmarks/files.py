"""Measure the roll-back of files: a tree of 600 files with 1 MiB dirtied, and the same dirt in a tree ten times as large."""

from __future__ import annotations

import os
import random
import statistics
from pathlib import Path

from benchmarks.common import arguments, file_system, headline, scratch, spread, table, timed
from dm_compose.core.commit import CommitDraft
from dm_compose.core.names import MAIN_WORKTREE, CommitId, DotName, SubdotName
from dm_compose.store.local.store import LocalStore

DOT, DATA = DotName("bench"), SubdotName("data")
FILES, TREE_MIB = 600, 800
DIRTY_BLOCKS, BLOCK = 128, 8192  # 1 MiB in database pages


def make_tree(root: Path, files: int, mib: int) -> list[Path]:
    """Make files of equal size whose contents repeat nowhere. Real data directories are easier, with a few large files."""
    size = (mib << 20) // files
    made = []
    for number in range(files):
        path = root / f"d{number % 20}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
        made.append(path)
    return made


def dirty(files: list[Path], rng: random.Random) -> None:
    """Overwrite 128 pages of 8 KiB in 16 of the files."""
    for path in rng.sample(files, 16):
        with path.open("r+b") as file:
            for _ in range(DIRTY_BLOCKS // 16):
                file.seek(rng.randrange(path.stat().st_size // BLOCK) * BLOCK)
                file.write(os.urandom(BLOCK))


def measure(base: Path, files: int, mib: int, rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds of each roll-back of the files, and of the capture (the frozen part of a commit) of the same dirt."""
    tree = base / "tree"
    tree.mkdir()
    paths = make_tree(tree, files, mib)
    store = LocalStore(base / "store")
    store.create_dot(DOT)
    where = {DATA: str(tree)}
    seed = _commit(store, where)
    os.sync()  # what was made for the measurement is not written back while measuring
    rng = random.Random(1)
    rollbacks, captures = [], []
    for _ in range(rounds):
        dirty(paths, rng)
        entry = store.begin_restore(DOT, MAIN_WORKTREE, seed, [], None, None)
        rollbacks.append(timed(lambda: store.restore_subdot(entry, DATA, {DATA: str(tree)})))
        store.sync_restored(entry)
        store.end_restore(entry)
        assert not store.differing(DOT, MAIN_WORKTREE, where, seed)
        dirty(paths, rng)
        draft = store.prepare_commit(DOT, MAIN_WORKTREE, where)
        captures.append(timed(lambda: store.capture(draft)))
        store.abandon(draft)
    store.close()
    return rollbacks, captures


def _commit(store: LocalStore, where: dict[SubdotName, str]) -> CommitId:
    entry = store.prepare_commit(DOT, MAIN_WORKTREE, where)
    store.capture(entry)
    return store.publish(entry, CommitDraft("seed", "bench")).id


def main() -> None:
    rounds = arguments(__doc__ or "", rounds=9).rounds
    headline(
        f"roll-back of files: {TREE_MIB} MiB in {FILES} files, 1 MiB dirtied (128 pages of 8 KiB in 16 files), median (range)"
    )
    rows = []
    for kind in ("this machine's", "xfs"):
        small: list[float] = []
        for factor in (1, 10):
            with scratch(kind, 24) as base:
                name = "xfs, reflink" if kind == "xfs" else file_system(base)
                rollbacks, captures = measure(base, FILES * factor, TREE_MIB * factor, rounds)
            small = small or rollbacks
            ratio = statistics.median(rollbacks) / statistics.median(small)
            rows.append(
                (name, f"{TREE_MIB * factor} MiB, {FILES * factor} files", spread(rollbacks), f"{ratio:.1f}x", spread(captures))
            )
    table(("file system", "tree", "roll-back", "to the first", "capture of a commit"), rows)


if __name__ == "__main__":
    main()
