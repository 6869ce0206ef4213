"""Contents of one file: any layout of data and holes is cloned, compared and patched into any other."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dm_compose.objects import contents
from dm_compose.objects.contents import (
    BLOCK_BYTES,
    CHUNK_BYTES,
    OpenFile,
    copy_data,
    copy_file,
    differing_bytes,
    extents,
    patch,
)
from tests.support.filesystems import Mount, leave_free
from tests.support.places import Place
from tests.support.trees import allocated

KIB, MIB = 1 << 10, 1 << 20
Layout = tuple[int, tuple[tuple[int, int, int], ...]]  # size, and (offset, length, filler) of each piece of data

OFFSETS = st.one_of(
    st.integers(0, 64 * KIB),
    st.integers(0, 600).map(lambda n: n * BLOCK_BYTES),
    st.sampled_from((CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES - BLOCK_BYTES)),
)
PIECES = st.tuples(OFFSETS, st.one_of(st.integers(1, 9000), st.just(CHUNK_BYTES)), st.sampled_from((0, 1, 2, 255)))
LAYOUTS: st.SearchStrategy[Layout] = st.tuples(OFFSETS, st.lists(PIECES, max_size=5).map(tuple))

PROPERTY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def lay_out(path: Path, layout: Layout) -> bytes:
    """Write a layout as a file with real holes; return what the file must read as."""
    size, pieces = layout
    image = bytearray(size)
    with open(path, "wb") as file:
        file.truncate(size)
        for offset, length, filler in pieces:
            data = bytes([filler]) * min(length, max(0, size - offset))
            if data:
                image[offset : offset + len(data)] = data
                os.pwrite(file.fileno(), data, offset)
    return bytes(image)


@contextlib.contextmanager
def opened(*paths: Path) -> Iterator[list[int]]:
    """Have files open for reading and writing."""
    fds = [os.open(path, os.O_RDWR | os.O_CREAT, 0o600) for path in paths]
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def blocks_that_differ(a: bytes, b: bytes) -> int:
    """Say what `differing_bytes` promises, slowly."""
    common = min(len(a), len(b))
    total = abs(len(a) - len(b))
    for start in range(0, common, BLOCK_BYTES):
        end = min(start + BLOCK_BYTES, common)
        total += end - start if a[start:end] != b[start:end] else 0
    return total


@PROPERTY
@given(old=LAYOUTS, new=LAYOUTS)
@example(old=(0, ()), new=(CHUNK_BYTES, ()))
@example(old=(CHUNK_BYTES, ((0, CHUNK_BYTES, 1),)), new=(CHUNK_BYTES, ()))
@example(old=(5000, ((0, 5000, 1),)), new=(4097, ((4096, 1, 2),)))
@example(old=(4097, ((4096, 1, 2),)), new=(5000, ((0, 5000, 1),)))
def test_patch_makes_any_file_equal_to_any_other(fast_path: Path, old: Layout, new: Layout) -> None:
    present, wanted = lay_out(fast_path / "old", old), lay_out(fast_path / "new", new)
    with opened(fast_path / "old", fast_path / "new") as (fd, object_fd):
        changed = patch(fd, OpenFile(object_fd))
        assert (fast_path / "old").read_bytes() == wanted
        assert (fast_path / "new").read_bytes() == wanted, "the object is only read"
        assert differing_bytes(OpenFile(fd), OpenFile(object_fd)) == 0
        assert patch(fd, OpenFile(object_fd)) <= BLOCK_BYTES, (
            "nothing is left to do, but for a part of a block that no hole can be"
        )
    real = blocks_that_differ(present[: len(wanted)], wanted[: len(present)]) + max(0, len(present) - len(wanted))
    assert changed >= real


@PROPERTY
@given(old=LAYOUTS, new=LAYOUTS)
def test_patch_makes_holes_of_blocks_that_the_object_does_not_have(fast_path: Path, old: Layout, new: Layout) -> None:
    """Zeros that are there already stay: databases write them to have the space."""
    before = lay_out(fast_path / "old", old)
    lay_out(fast_path / "new", new)
    blocks = [before[start : start + BLOCK_BYTES] for start in range(0, len(before), BLOCK_BYTES)]
    zeros = sum(BLOCK_BYTES for block in blocks if not any(block))
    with opened(fast_path / "old", fast_path / "new") as (fd, object_fd):
        patch(fd, OpenFile(object_fd))
    assert allocated(fast_path / "old") <= allocated(fast_path / "new") + BLOCK_BYTES + zeros


EDGES = [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + BLOCK_BYTES - 1, CHUNK_BYTES + 5000]


@pytest.mark.parametrize("offset", EDGES)
def test_a_single_byte_that_differs_is_found_wherever_it_is(fast_path: Path, offset: int) -> None:
    wanted = os.urandom(CHUNK_BYTES + 5001)
    present = wanted[:offset] + bytes([wanted[offset] ^ 1]) + wanted[offset + 1 :]
    (fast_path / "old").write_bytes(present)
    (fast_path / "new").write_bytes(wanted)
    size = min(BLOCK_BYTES, len(wanted) - offset // BLOCK_BYTES * BLOCK_BYTES)
    with opened(fast_path / "old", fast_path / "new") as (fd, object_fd):
        assert differing_bytes(OpenFile(fd), OpenFile(object_fd)) == size
        assert patch(fd, OpenFile(object_fd)) == size
    assert (fast_path / "old").read_bytes() == wanted


@PROPERTY
@given(a=LAYOUTS, b=LAYOUTS)
def test_differing_bytes_counts_the_blocks_that_differ(fast_path: Path, a: Layout, b: Layout) -> None:
    first, second = lay_out(fast_path / "a", a), lay_out(fast_path / "b", b)
    with opened(fast_path / "a", fast_path / "b") as (a_fd, b_fd):
        assert differing_bytes(OpenFile(a_fd), OpenFile(b_fd)) == blocks_that_differ(first, second)
        assert differing_bytes(OpenFile(b_fd), OpenFile(a_fd)) == blocks_that_differ(first, second)
        assert differing_bytes(OpenFile(a_fd), OpenFile(a_fd)) == 0


@PROPERTY
@given(layout=LAYOUTS)
def test_copy_data_copies_everything_and_keeps_holes(fast_path: Path, layout: Layout) -> None:
    wanted = lay_out(fast_path / "source", layout)
    (fast_path / "copy").unlink(missing_ok=True)
    with opened(fast_path / "source", fast_path / "copy") as (source_fd, copy_fd):
        copy_data(OpenFile(source_fd), copy_fd)
    assert (fast_path / "copy").read_bytes() == wanted
    assert allocated(fast_path / "copy") <= allocated(fast_path / "source")


@PROPERTY
@given(layout=LAYOUTS, start=OFFSETS)
def test_extents_cover_a_file_without_gaps_and_holes_are_zeros(fast_path: Path, layout: Layout, start: int) -> None:
    image = lay_out(fast_path / "file", layout)
    with opened(fast_path / "file") as (fd,):
        position = start
        for is_data, first, last in extents(fd, start, len(image)):
            assert first == position
            assert last > first
            position = last
            assert is_data or not any(image[first:last])
        assert position == max(start, len(image))


@pytest.mark.parametrize("new", [(0, ()), (3 * MIB + 5, ((MIB, 5000, 7),)), (2 * MIB, ((0, 2 * MIB, 9),))])
@pytest.mark.parametrize("old", [(0, ()), (4 * MIB, ((0, 4 * MIB, 3),)), (MIB + 1, ((MIB - 1, 2, 4),))])
def test_patch_works_on_every_file_system(anywhere: Place, old: Layout, new: Layout) -> None:
    lay_out(anywhere.trees / "old", old)
    wanted = lay_out(anywhere.stores / "new", new)
    with opened(anywhere.trees / "old", anywhere.stores / "new") as (fd, object_fd):
        patch(fd, OpenFile(object_fd))
    assert (anywhere.trees / "old").read_bytes() == wanted


@pytest.mark.parametrize("layout", [(0, ()), (1, ((0, 1, 1),)), (3 * MIB + 5, ((MIB, 5000, 7),)), (2 * MIB, ((0, 2 * MIB, 9),))])
def test_clone_makes_an_equal_private_file(anywhere: Place, layout: Layout) -> None:
    wanted = lay_out(anywhere.trees / "source", layout)
    os.chmod(anywhere.trees / "source", 0o4777)
    copy_file(bytes(anywhere.trees / "source"), bytes(anywhere.stores / "copy"))
    assert (anywhere.stores / "copy").read_bytes() == wanted
    assert os.stat(anywhere.stores / "copy").st_mode & 0o7777 == 0o600
    (anywhere.trees / "source").write_bytes(b"changed")
    assert (anywhere.stores / "copy").read_bytes() == wanted


def test_clone_never_overwrites(anywhere: Place) -> None:
    (anywhere.trees / "source").write_bytes(b"new")
    (anywhere.stores / "precious").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        copy_file(bytes(anywhere.trees / "source"), bytes(anywhere.stores / "precious"))
    assert (anywhere.stores / "precious").read_bytes() == b"old"


def test_clone_does_not_follow_a_symlink_that_took_the_sources_place(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"secret")
    os.symlink(tmp_path / "elsewhere", tmp_path / "source")
    with pytest.raises(OSError, match="symbolic links"):
        copy_file(bytes(tmp_path / "source"), bytes(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()


def test_clone_does_not_wait_for_a_writer_of_a_fifo_that_took_the_sources_place(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "source")
    failed = threading.Event()

    def try_it() -> None:
        try:
            copy_file(bytes(tmp_path / "source"), bytes(tmp_path / "copy"))
        except OSError:
            failed.set()

    thread = threading.Thread(target=try_it, daemon=True)
    thread.start()
    thread.join(5)
    hung = thread.is_alive()
    if hung:  # let it go, whatever comes of it
        os.close(os.open(tmp_path / "source", os.O_WRONLY))
        thread.join(5)
    assert not hung
    assert failed.is_set()


def test_a_file_that_is_truncated_while_it_is_copied_is_no_error(anywhere: Place) -> None:
    """WAL files do this all the time. The copy is worth nothing, and capture finds that out by the time stamps."""
    source = anywhere.trees / "source"
    source.write_bytes(b"")
    stop = threading.Event()

    def rewrite() -> None:
        with opened(source) as (fd,):
            while not stop.is_set():
                for offset in range(0, 40 * 8192, 8192):
                    os.pwrite(fd, b"x" * 100, offset)
                os.ftruncate(fd, 0)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for number in range(400):
            copy_file(bytes(source), bytes(anywhere.stores / f"{number}"))
            (anywhere.stores / f"{number}").unlink()
    finally:
        stop.set()
        writer.join()


def test_a_patch_that_runs_out_of_space_says_so_and_leaves_nothing_half_believed(small: Mount, tmp_path: Path) -> None:
    """A write may be carried out in part when the disk fills up: the part that is missing must not be taken for written."""
    (tmp_path / "object").write_bytes(os.urandom(3 * MIB))
    silent = []
    for free in range(64 * KIB, MIB, 96 * KIB + 512):
        target = small.path / "file"
        target.write_bytes(b"")
        ballast = leave_free(small.path, free)
        with opened(target, tmp_path / "object") as (fd, object_fd), contextlib.suppress(OSError):
            os.ftruncate(object_fd, CHUNK_BYTES)
            patch(fd, OpenFile(object_fd))
            os.fsync(fd)
            if target.read_bytes() != (tmp_path / "object").read_bytes():
                silent.append(free)
        ballast.unlink()
        target.unlink()
    assert silent == []


def test_a_copy_that_runs_out_of_space_is_an_error(small: Mount, tmp_path: Path) -> None:
    for source, size in ((tmp_path / "source", MIB), (small.path / "source", MIB)):
        source.write_bytes(os.urandom(size))
        for free in (0, 300 * KIB, 900 * KIB):
            ballast = leave_free(small.path, free)
            with pytest.raises(OSError, match="space"):
                copy_file(bytes(source), bytes(small.path / "copy"))
            (small.path / "copy").unlink(missing_ok=True)
            ballast.unlink()
        source.unlink()


def test_zeros_are_written_where_holes_cannot_be_punched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file system at hand refuses to punch, so the refusal itself is put in its place."""
    monkeypatch.setattr(contents, "punch_hole", lambda *_: False)
    lay_out(tmp_path / "old", (3 * MIB + 17, ((0, 3 * MIB + 17, 1),)))
    wanted = lay_out(tmp_path / "new", (3 * MIB + 100, ((0, 10, 2),)))
    with opened(tmp_path / "old", tmp_path / "new") as (fd, object_fd):
        patch(fd, OpenFile(object_fd))
    assert (tmp_path / "old").read_bytes() == wanted
