"""Any tree arrives as the same tree: contents, kinds, owners, modes, times, attributes, holes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dm_compose.objects.mapped import WholeObject
from dm_compose.objects.store import ObjectStore
from dm_compose.store.exchange import ByteRange
from dm_compose.store.local.sending import compare
from dm_compose.transfer import codec
from dm_compose.transfer.tables import Definition, Frame, Piece, Table
from tests.support.transfers import Side, directory_remote
from tests.support.trees import allocated, describe, differences

ROOT = os.geteuid() == 0
_names = st.sampled_from(["a", "b", "c", "ü", "a b", "-", "x" * 200]) | st.binary(min_size=1, max_size=6).map(
    lambda raw: os.fsdecode(raw.replace(b"/", b"_").replace(b"\0", b"_").replace(b".", b"_"))
)
_chunks = st.lists(
    st.tuples(st.sampled_from(["noise", "text", "zeros", "hole"]), st.integers(1, 300_000), st.integers(0, 255)), max_size=5
)
_VERBS = [
    "file",
    "file",
    "patch",
    "patch",
    "grow",
    "cut",
    "punch",
    "dir",
    "symlink",
    "fifo",
    "link",
    "mode",
    "owner",
    "time",
    "xattr",
    "remove",
    "rename",
]
_ON_LINKS = {"link", "owner", "time", "remove", "rename"}  # what does not follow a symlink
_ON_FILES = {"file", "patch", "grow", "cut", "punch"}
_changes = st.lists(
    st.tuples(
        st.sampled_from(_VERBS),
        _names, _names, _chunks, st.integers(0, 1 << 20),
    ),
    max_size=12,
)  # fmt: skip


def _fill(path: str, chunks: list[tuple[str, int, int]]) -> None:
    with open(path, "wb") as file:
        for kind, size, seed in chunks:
            if kind == "hole":
                file.seek(size, os.SEEK_CUR)
                file.truncate()
            else:
                unit = {"noise": os.urandom(4096), "text": b"line %d\n" % seed, "zeros": b"\0"}[kind]
                file.write((unit * (size // len(unit) + 1))[:size])
        file.truncate()


class _Tree:
    """Carries out changes; those that do not apply are left out. Never through a symlink: these tests may run as root."""

    def __init__(self, root: Path) -> None:
        self.root = os.fspath(root)

    def apply(self, change: tuple[str, str, str, list[tuple[str, int, int]], int]) -> None:
        how, one, two, chunks, number = change
        path, other = os.path.join(self.root, one), os.path.join(self.root, two)
        if os.path.lexists(path) and not os.path.isfile(path) and how in _ON_FILES:
            return  # a fifo would wait for a reader
        if os.path.islink(path) and how not in _ON_LINKS:
            return
        try:
            getattr(self, how)(path, other, chunks, number)
        except OSError:
            return

    def file(self, path: str, other: str, chunks: list[tuple[str, int, int]], number: int) -> None:
        _fill(path, chunks)

    def patch(self, path: str, other: str, chunks: list[tuple[str, int, int]], number: int) -> None:
        with open(path, "r+b") as file:
            file.seek(number % (os.path.getsize(path) + 1))
            file.write(os.urandom(1 + number % 9000))

    def grow(self, path: str, other: str, chunks: list[tuple[str, int, int]], number: int) -> None:
        with open(path, "ab") as file:
            file.write(b"x" * (number % 100_000))

    def cut(self, path: str, other: str, chunks: list[tuple[str, int, int]], number: int) -> None:
        os.truncate(path, number % (os.path.getsize(path) + 1))

    def punch(self, path: str, other: str, chunks: list[tuple[str, int, int]], number: int) -> None:
        size = os.path.getsize(path)
        os.truncate(path, number % (size + 1))
        os.truncate(path, size)

    def dir(self, path: str, other: str, chunks: list[tuple[str, int, int]], number: int) -> None:
        os.mkdir(path)
        _fill(os.path.join(path, "inner"), chunks)

    def symlink(self, path: str, other: str, chunks: list[tuple[str, int, int]], number: int) -> None:
        os.symlink(["/nonexistent/x", "../..", other, "dangling"][number % 4], path)

    def fifo(self, path: str, other: str, chunks: list[tuple[str, int, int]], number: int) -> None:
        os.mkfifo(path)

    def link(self, path: str, other: str, chunks: list[tuple[str, int, int]], number: int) -> None:
        os.link(path, other, follow_symlinks=False)

    def mode(self, path: str, other: str, chunks: list[tuple[str, int, int]], number: int) -> None:
        os.chmod(path, number & 0o7777)

    def owner(self, path: str, other: str, chunks: list[tuple[str, int, int]], number: int) -> None:
        if ROOT:
            os.chown(path, number % 70_000, number % 1000, follow_symlinks=False)

    def time(self, path: str, other: str, chunks: list[tuple[str, int, int]], number: int) -> None:
        os.utime(path, ns=(number, number * 1_000_003), follow_symlinks=False)

    def xattr(self, path: str, other: str, chunks: list[tuple[str, int, int]], number: int) -> None:
        os.setxattr(path, f"user.n{number % 3}", os.urandom(number % 100))

    def remove(self, path: str, other: str, chunks: list[tuple[str, int, int]], number: int) -> None:
        shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)

    def rename(self, path: str, other: str, chunks: list[tuple[str, int, int]], number: int) -> None:
        os.rename(path, other)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(history=st.lists(_changes, min_size=1, max_size=4))
def test_any_tree_arrives_as_it_was(history: list[list[tuple[str, str, str, list[tuple[str, int, int]], int]]]) -> None:
    root = Path(tempfile.mkdtemp(prefix="dm-compose-test-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    try:
        ours, theirs = Side(root / "ours"), Side(root / "theirs")
        remote = directory_remote(root / "remote")
        tree = _Tree(ours.data)
        states = []
        for changes in history:
            for change in changes:
                tree.apply(change)
            states.append((ours.commit(), describe(ours.data)))
            if len(states) % 2:
                ours.push(remote)
        ours.push(remote)
        theirs.fetch(remote)
        for commit_id, state in states:
            theirs.restore(commit_id)
            assert differences(state, describe(theirs.data)) == []
        assert theirs.store.check({}, repair=False).sound
        only_last = Side(root / "shallow")
        only_last.restore(only_last.fetch(remote, depth=1).head)
        assert differences(states[-1][1], describe(only_last.data)) == []
        for side in (ours, theirs, only_last):
            side.close()
    finally:
        shutil.rmtree(root)


@pytest.mark.skipif(not ROOT, reason="not root")
def test_owners_and_capabilities_arrive(tmp_path: Path) -> None:
    ours, theirs = Side(tmp_path / "ours"), Side(tmp_path / "theirs")
    os.chown(ours.data, 999, 998)
    os.chmod(ours.data, 0o2750)
    path = ours.data / "program"
    path.write_text("#!/bin/sh\n")
    os.chown(path, 33, 44)
    os.chmod(path, 0o6755)
    ours.commit()
    remote = directory_remote(tmp_path / "remote")
    ours.push(remote)
    theirs.pull(remote)
    assert differences(describe(ours.data), describe(theirs.data)) == []


def test_a_sparse_file_stays_sparse_through_many_versions(tmp_path: Path) -> None:
    ours, theirs = Side(tmp_path / "ours"), Side(tmp_path / "theirs")
    remote = directory_remote(tmp_path / "remote")
    path = ours.data / "sparse"
    with path.open("wb") as file:
        file.truncate(32 << 20)
    for number in range(12):
        with path.open("r+b") as file:
            file.seek(number << 21)
            file.write(os.urandom(8192))
        ours.commit()
        ours.push(remote)
    theirs.pull(remote)
    assert differences(describe(ours.data), describe(theirs.data)) == []
    assert allocated(theirs.data / "sparse") <= 2 * allocated(path)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=5000), prefix=st.binary(max_size=5000))
def test_a_frame_of_changes_comes_back_with_the_same_prefix(data: bytes, prefix: bytes) -> None:
    frame = codec.compress_against(data, prefix)
    assert codec.decompress(frame, len(data), prefix=prefix, what="x") == data


@settings(max_examples=100, deadline=None)
@given(old=st.binary(max_size=30_000), edits=st.lists(st.tuples(st.integers(0, 40_000), st.binary(max_size=5000)), max_size=6))
def test_what_a_comparison_finds_makes_the_one_of_the_other(old: bytes, edits: list[tuple[int, bytes]]) -> None:
    new = bytearray(old)
    for offset, text in edits:
        new[offset : offset + len(text)] = text
    with tempfile.TemporaryFile() as base, tempfile.TemporaryFile() as current:
        base.write(old)
        current.write(new)
        base.flush()
        current.flush()
        store = ObjectStore(Path("/nowhere"))  # nothing is known of these blocks
        found = compare(WholeObject("new/1", current.fileno(), store), WholeObject("old/1", base.fileno(), store))
    rebuilt = bytearray(old[: len(new)].ljust(len(new), b"\0"))
    end = 0
    for run in found.runs:
        assert run.offset >= end
        end = run.offset + run.length
        rebuilt[run.offset : end] = bytes(run.length) if run.zero else new[run.offset : end]
    assert rebuilt == new
    assert all(isinstance(run, ByteRange) and run.length for run in found.runs)


_hex = st.text("0123456789abcdef", min_size=64, max_size=64)


@st.composite
def _tables(draw: Callable[..., object]) -> Table:
    from dm_compose.remotes import Digest

    table = Table()
    packs = [Digest(f"sha256:{text}") for text in draw(st.lists(_hex, min_size=1, max_size=3, unique=True))]  # type: ignore[attr-defined]
    frames = []
    for pack in packs:
        offset = 0
        for stored in draw(st.lists(st.integers(1, 1000), max_size=4)):  # type: ignore[attr-defined]
            frames.append(Frame(pack, offset, stored, 4096, False))
            offset += stored
        table.packs[pack] = offset
    for number in range(draw(st.integers(0, 5))):  # type: ignore[call-overload]
        ref = f"{number:032x}/1"
        pieces = tuple(
            Piece(n * 10_000, 100, draw(st.sampled_from([None, *frames])), 0)  # type: ignore[arg-type]
            for n in range(draw(st.integers(0, 4)))  # type: ignore[call-overload]
        )
        table.definitions[ref] = Definition(ref, 100_000, "0" * 64, None, 0, pieces)
    used = {p.frame.pack for d in table.definitions.values() for p in d.pieces if p.frame}
    table.packs = {pack: size for pack, size in table.packs.items() if pack in used}
    return table


@given(table=_tables())
def test_a_table_comes_back_as_it_was(table: Table) -> None:
    again = Table.decode(table.encode(), what="x")
    assert again == table
    assert again.encode() == table.encode()
