"""Maps of extents, and what is made of them: any file becomes any other one, and every map says what its object holds."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dm_compose.errors import DamagedError
from dm_compose.objects import delta as deltas
from dm_compose.objects.contents import OpenFile, differing_bytes, digest_of, patch
from dm_compose.objects.delta import DataFile, delta
from dm_compose.objects.extents import BLOCK_BYTES, Extent, ExtentMap, unlike
from dm_compose.objects.mapped import MappedObject, WholeObject
from dm_compose.objects.overlay import Overlay
from dm_compose.objects.sums import Sums

PROPERTY = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SIZES = st.one_of(st.integers(0, 9 * BLOCK_BYTES), st.integers(0, 9).map(lambda n: n * BLOCK_BYTES))
EDITS = st.lists(st.tuples(st.integers(0, 9 * BLOCK_BYTES), st.integers(1, 9000), st.sampled_from((0, 1, 2))), max_size=5)
NAMES = st.sampled_from(("a/1", "a/data", "b/data"))


@st.composite
def maps(draw: st.DrawFn) -> ExtentMap:
    position, extents = 0, []
    for gap, blocks, source, at in draw(
        st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4), NAMES, st.integers(0, 9)), max_size=6)
    ):
        extents.append(Extent(position + gap, blocks, source, at))
        position += gap + blocks
    return ExtentMap(position * BLOCK_BYTES + draw(st.integers(0, 9000)), extents)


def by_block(found: ExtentMap) -> dict[int, tuple[str, int]]:
    return {e.start + n: (e.source, e.at + n) for e in found.extents for n in range(e.blocks)}


@PROPERTY
@given(maps())
def test_a_map_comes_back_from_its_bytes(found: ExtentMap) -> None:
    again = ExtentMap.decode(found.encode(), name="x")
    assert (again.size, again.extents) == (found.size, found.extents)


@PROPERTY
@given(maps(), st.data())
def test_a_map_with_a_changed_byte_is_refused(found: ExtentMap, data: st.DataObject) -> None:
    encoded = bytearray(found.encode())
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DamagedError, match="the map of object x cannot be read"):
        ExtentMap.decode(bytes(encoded), name="x")
    with pytest.raises(DamagedError):
        ExtentMap.decode(bytes(encoded[:-1]), name="x")


@PROPERTY
@given(maps(), st.integers(0, 30), st.integers(0, 30))
def test_the_part_of_a_map_between_two_blocks_is_what_it_says_of_them(found: ExtentMap, first: int, end: int) -> None:
    part = ExtentMap(found.size, found.between(first, end))
    assert all(extent.blocks > 0 for extent in part.extents)
    assert by_block(part) == {block: place for block, place in by_block(found).items() if first <= block < end}


@PROPERTY
@given(maps(), maps())
def test_two_maps_are_unlike_where_they_name_different_blocks(a: ExtentMap, b: ExtentMap) -> None:
    mine, theirs = by_block(a), by_block(b)
    wanted = {block for block in mine.keys() | theirs.keys() if mine.get(block) != theirs.get(block)}
    ranges = list(unlike(a, b))
    assert {block for first, end in ranges for block in range(first, end)} == wanted
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ranges))


class Files:
    """Files in one directory, by their ids, as sources of blocks."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, ref: str) -> Path:
        return self.directory / ref.replace("/", ".")

    def open_source(self, ref: str) -> int:
        return os.open(self.path(ref), os.O_RDONLY)

    def open_sums(self, ref: str) -> Sums:
        return Sums(bytes(self.path(ref)))

    @contextlib.contextmanager
    def whole(self, ref: str, contents: bytes) -> Iterator[WholeObject]:
        self.path(ref).write_bytes(contents)
        with WholeObject(ref, self.open_source(ref), self) as found:
            yield found

    def clear(self) -> None:
        for path in self.directory.iterdir():
            path.unlink()


@pytest.fixture
def files(fast_path: Path) -> Files:
    return Files(fast_path)


def edited(contents: bytes, size: int, edits: list[tuple[int, int, int]]) -> bytes:
    made = bytearray(contents[:size].ljust(size, b"\0"))
    for offset, length, filler in edits:
        if offset < size:
            made[offset : offset + length] = bytes([filler]) * (min(size, offset + length) - offset)
    return bytes(made)


def pattern(size: int) -> bytes:
    return b"".join(b"%07d," % number for number in range(size // 8 + 1))[:size]


@PROPERTY
@given(old=SIZES, steps=st.lists(st.tuples(SIZES, EDITS), min_size=1, max_size=4), most=st.sampled_from((1, 2, 8)))
def test_a_chain_of_deltas_holds_what_the_file_held_each_time(
    files: Files, old: int, steps: list[tuple[int, list[tuple[int, int, int]]]], most: int
) -> None:
    files.clear()
    limit, deltas.MAX_EXTENTS = deltas.MAX_EXTENTS, most
    try:
        contents = pattern(old)
        with contextlib.ExitStack() as opened:
            objects: list[tuple[bytes, WholeObject | MappedObject]] = [
                (contents, opened.enter_context(files.whole("a/1", contents)))
            ]
            for number, (size, edits) in enumerate(steps):
                contents = edited(contents, size, edits)
                (files.directory / "live").write_bytes(contents)
                with open(files.directory / "live", "rb") as live:
                    data = DataFile(bytes(files.path(f"b{number}/data")), f"b{number}/data")
                    made = delta(OpenFile(live.fileno()), objects[-1][1], data)
                assert len(made.extents) <= most
                found = opened.enter_context(MappedObject(f"b{number}/1", made, files))
                found.check(found.read(size, 0), 0)
                assert (made.extents == objects[-1][1].extent_map().extents) or contents != objects[-1][0]
                objects.append((contents, found))
            for wanted, found in objects:
                assert found.read(len(wanted) + 1, 0) == wanted
                (files.directory / "copy").write_bytes(b"")
                with open(files.directory / "copy", "r+b") as copy:
                    found.copy_to(copy.fileno())
                    assert (files.directory / "copy").read_bytes() == wanted
                    for other, present in objects:
                        differing = differing_bytes(found, present)
                        assert (differing == 0) == (wanted == other)
                        patch(copy.fileno(), present, found)
                        assert (files.directory / "copy").read_bytes() == other
                        patch(copy.fileno(), found)
    finally:
        deltas.MAX_EXTENTS = limit


STEPS = st.lists(
    st.tuples(st.sampled_from(("write", "clear", "become")), st.integers(0, 9 * BLOCK_BYTES), st.integers(1, 9000)), max_size=8
)


@PROPERTY
@given(old=SIZES, size=SIZES, steps=STEPS)
@example(old=4097, size=4098, steps=[("clear", 0, 4097)])
def test_an_overlay_is_its_base_with_what_was_written(
    files: Files, old: int, size: int, steps: list[tuple[str, int, int]]
) -> None:
    files.clear()
    base = pattern(old)
    model = bytearray(base[:size].ljust(size, b"\0"))

    made: list[Overlay] = []

    class Own(Files):
        def open_source(self, ref: str) -> int:
            own = [overlay.path for overlay in made if overlay.own == ref]
            return os.open(own[0], os.O_RDONLY) if own else super().open_source(ref)

    sources = Own(files.directory)
    with files.whole("a/1", base) as found:
        overlay = Overlay("b/1", bytes(files.directory / "part0"), size, found.extent_map(), sources)
    made.append(overlay)
    for number, (step, offset, length) in enumerate(steps, 1):
        end = min(offset + length, len(model))
        if step == "become":
            model = bytearray(bytes(model)[:offset].ljust(offset, b"\0"))
            overlay.become(f"b/{number + 1}", bytes(files.directory / f"part{number}"), offset)
        elif offset < end:
            data = os.urandom(end - offset) if step == "write" else bytes(end - offset)
            model[offset:end] = data
            if step == "write":
                overlay.write(offset, data)
            else:
                overlay.clear(offset, end - offset)
        with overlay.open() as now:
            assert now.read(len(model) + 1, 0) == bytes(model)
    with overlay.open() as now, files.whole("c/1", bytes(model)) as wanted:
        assert digest_of(now) == digest_of(wanted)
        assert not any(e.source == "a/1" for e in now.extent_map().between(len(model) // BLOCK_BYTES, 99)) or len(model) >= old
