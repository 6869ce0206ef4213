"""Make a small store and a record of its contents, for tests/data/stores: `python tools/golden_store.py NAME [DIRECTORY]`.

The code that PYTHONPATH names writes the store. With the worktree of an old commit there, it is a store as that commit wrote it:

    git worktree add /tmp/old 9259480
    PYTHONPATH=/tmp/old python tools/golden_store.py format-3 tests/data/stores

It writes NAME.tar.gz, which holds the store's directory, and NAME.json, which has what the store must say and the sha256 of each
file of each commit. The digests are of the files that were committed, and nobody asks the store for them.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import tarfile
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dm_compose.core.names import RefName
from dm_compose.state.schema import SCHEMA_VERSION
from tests.support.stores import DOT, Bench, LocalStore

TABLE_BLOCKS, BLOCK = 40, 4096  # 160 KiB: more than goes in whole
FEATURE, TAG = RefName("feature"), RefName("v1")


class Golden:
    """A store with commits of every kind, and the contents of each."""

    def __init__(self, base: Path) -> None:
        self.data = base / "data"
        self.data.mkdir()
        self.bench = Bench(LocalStore(base / "store"), data=self.data)
        self.commits: dict[str, dict[str, dict[str, Any]]] = {}

    def write(self, name: str, text: str) -> None:
        path = self.data / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def table(self, version: int, *blocks: int) -> None:
        """Write blocks of the table, each of one byte's value, so that the store compresses well."""
        path = self.data / "table"
        path.touch()
        with path.open("r+b") as file:
            for block in blocks:
                file.seek(block * BLOCK)
                file.write(f"{block} {version} ".encode().ljust(64, b".") * (BLOCK // 64))

    def commit(self, message: str) -> str:
        made: str = self.bench.commit(message)
        self.commits[made] = contents(self.data)
        return made

    def make(self) -> None:
        self.table(0, *range(TABLE_BLOCKS))
        self.write("settings", "one")
        self.write("folder/notes", "notes\n" * 9)
        (self.data / "link").symlink_to("folder/notes")
        (self.data / "empty").mkdir()
        self.bench.aside()  # later maps name blocks of its table, and no commit needs it
        self.table(1, *range(20))
        first = self.commit("first")
        self.bench.store.set_tag(DOT, TAG, self.bench.head)
        self.table(2, 3, 4, 30)
        self.write("settings", "two")
        second = self.commit("second")
        self.table(3, 7)
        form = self.bench.aside()
        self.bench.store.set_settled(DOT, second, form)
        self.commits[form] = contents(self.data)
        self.write("settings", "uncommitted")
        self.table(4, 39)
        kept = contents(self.data)
        saved = self.bench.checkout(FEATURE, first)
        self.commits[saved] = kept
        self.write("settings", "of the feature")
        self.table(5, 0, 1)
        self.commit("feature")
        self.bench.store.collect(datetime.now(UTC) + timedelta(hours=1))

    def record(self) -> dict[str, Any]:
        """Return what the store must say, and what the files of each commit are."""
        store = self.bench.store
        branches = store.branches(DOT)
        return {
            "format": SCHEMA_VERSION,
            "branches": branches,
            "tags": store.tags(DOT),
            "uncommitted": store.uncommitted(DOT),
            "settled": {commit: form for commit in self.commits if (form := store.settled(DOT, commit)) is not None},
            "log": {branch: [commit.message for commit in store.log(DOT, head)] for branch, head in branches.items()},
            "commits": self.commits,
        }


def contents(root: Path) -> dict[str, dict[str, Any]]:
    """Return the kind and mode of each path below a directory, with the sha256 of a file and the target of a symlink."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        described = found[str(path.relative_to(root))] = {"mode": stat.filemode(mode)}
        if path.is_symlink():
            described["target"] = os.readlink(path)
        elif path.is_file():
            described["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def main() -> None:
    name, directory = sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else "tests/data/stores")
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="golden-") as base:
        golden = Golden(Path(base))
        golden.make()
        recorded = golden.record()
        golden.bench.store.close()
        with tarfile.open(directory / f"{name}.tar.gz", "w:gz", compresslevel=9) as archive:
            archive.add(Path(base) / "store", "store")
    (directory / f"{name}.json").write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
