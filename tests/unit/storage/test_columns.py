"""The columns of an index tell what a scan tells, whatever writers have done, and mention no file that is as it was."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm_compose.core.tree import FILE, UNKNOWN
from dm_compose.storage import columns as looking
from dm_compose.storage.beneath import Root
from dm_compose.storage.columns import Columns, Entries
from dm_compose.storage.index import load_columns, load_index, save_index
from dm_compose.storage.scan import Tree, scan, scan_synced
from tests.support.trees import make_socket

NAMES = ("a", "b", "d", "d/a", "d/b", "d/d", "d/d/a", "e", "e/é", "z")


def put(path: Path, other: Path) -> None:
    path.write_bytes(str(other).encode())


def append(path: Path, other: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def swapped(path: Path, other: Path) -> None:
    spare = path.with_name("spare")
    path.rename(spare)
    other.rename(path)
    spare.rename(other)


STEPS: dict[str, Callable[[Path, Path], object]] = {
    "put": put,
    "again": lambda path, other: path.write_bytes(path.read_bytes()),
    "append": append,
    "touch": lambda path, other: os.utime(path, ns=(1, 1 << 70 >> 8)),
    "mode": lambda path, other: path.chmod(0o711),
    "remove": lambda path, other: path.unlink(),
    "remove all": lambda path, other: shutil.rmtree(path),
    "directory": lambda path, other: path.mkdir(parents=True),
    "rename": lambda path, other: path.rename(other),
    "swap": swapped,
    "symlink": lambda path, other: path.symlink_to(other.name),
    "fifo": lambda path, other: os.mkfifo(path),
    "socket": lambda path, other: make_socket(path),
    "link": lambda path, other: os.link(path, other),
}
MANY = st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=8)


def carry_out(root: Path, steps: list[tuple[str, str, str]]) -> None:
    for step, name, other in steps:
        with contextlib.suppress(OSError, shutil.Error):
            STEPS[step](root / name, root / other)


def index_of(root: Path, file: Path) -> Columns:
    """Save the index of a tree whose files have an object each, and return it as columns."""
    with Root(str(root)).open() as files:
        tree = scan_synced(files, Tree())
    for number, (path, found) in enumerate(tree.items()):
        if found.entry.ref == UNKNOWN and found.entry.kind == FILE:
            tree[path] = found._replace(entry=found.entry._replace(ref=f"batch/{number:x}"))
    save_index(file, tree)
    columns = load_columns(file)
    assert columns is not None
    assert columns.tree() == load_index(file)
    return columns


def by_scan(root: Path, file: Path, without: frozenset[str]) -> tuple[Entries, Entries] | None:
    known = load_index(file)
    with Root(str(root)).open() as files:
        tree = scan(files, known, without=without)
    if any(found.entry.kind == FILE and found.links > 1 for found in tree.values()):
        return None
    paths = tree.differing_from(known)
    before = {path: known[path].entry for path in paths if path in known}
    return before, {path: tree[path].entry for path in paths if path in tree}


@settings(max_examples=150, deadline=None)
@given(before=MANY, after=MANY, without=st.frozensets(st.sampled_from(NAMES), max_size=2))
def test_columns_tell_what_a_scan_tells(
    before: list[tuple[str, str, str]], after: list[tuple[str, str, str]], without: frozenset[str]
) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as directory:
        root, file = Path(directory) / "tree", Path(directory) / "index"
        (root / "d").mkdir(parents=True)
        for name in ("a", "b", "d/a", "d/b", "z"):
            (root / name).write_bytes(name.encode())
        carry_out(root, before)
        columns = index_of(root, file)
        carry_out(root, after)
        with Root(str(root)).open() as files:
            assert columns.changes(files, without) == by_scan(root, file, without)


def test_a_file_that_is_as_it_was_costs_no_object(fast_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fast_path / "tree"
    for number in range(40):
        (root / f"{number % 4}").mkdir(parents=True, exist_ok=True)
        (root / f"{number % 4}/{number}").write_bytes(b"%d" % number)
    columns = index_of(root, fast_path / "index")
    (root / "2/22").write_bytes(b"changed")
    looked_at = []
    original = looking.found_path

    def counted(path: str, *others: object) -> object:
        looked_at.append(path)
        return original(path, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(looking, "found_path", counted)
    with Root(str(root)).open() as files:
        found = columns.changes(files, ())
    assert found is not None
    assert [*found[0]] == [*found[1]] == ["2/22"]
    assert sorted(looked_at) == ["", "0", "1", "2", "2/22", "3"], "directories, and the file that was written to"


def test_a_socket_that_came_hides_no_change_beside_it(fast_path: Path) -> None:
    root = fast_path / "tree"
    root.mkdir()
    for name in ("a", "y", "z"):
        (root / name).write_bytes(name.encode())
    columns = index_of(root, fast_path / "index")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "b"))
        (root / "z").write_bytes(b"changed")
        with Root(str(root)).open() as files:
            found = columns.changes(files, ())
    assert found is not None
    assert [*found[0]] == [*found[1]] == ["", "z"]


def test_a_file_with_several_names_is_left_to_a_scan(fast_path: Path) -> None:
    root = fast_path / "tree"
    root.mkdir()
    (root / "a").write_bytes(b"a")
    (root / "b").write_bytes(b"b")
    os.link(root / "a", fast_path / "elsewhere")
    columns = index_of(root, fast_path / "index")
    with Root(str(root)).open() as files:
        assert columns.changes(files, ()) is None
    os.unlink(fast_path / "elsewhere")
    with Root(str(root)).open() as files:
        assert columns.changes(files, ()) == by_scan(root, fast_path / "index", frozenset())
