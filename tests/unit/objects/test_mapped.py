"""An object whose blocks lie in several files is copied whole, and never with a block that has changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dm_compose.errors import DamagedError
from dm_compose.objects.extents import BLOCK_BYTES, Extent, ExtentMap
from dm_compose.objects.mapped import MappedObject
from dm_compose.objects.sums import Sums, opened_sums, write_sums

BLOCKS = 5000  # more than the checksums that are read at once


class Files:
    """One file of a store, with checksums."""

    def __init__(self, base: Path) -> None:
        self.path = base / "data"
        self.contents = b"".join(f"{n:08}".encode() * (BLOCK_BYTES // 8) for n in range(BLOCKS))
        self.path.write_bytes(self.contents)
        with opened_sums(os.fsencode(self.path)) as fd:
            write_sums(fd, 0, self.contents)

    def open_source(self, ref: str) -> int:
        return os.open(self.path, os.O_RDONLY)

    def open_sums(self, ref: str) -> Sums:
        return Sums(os.fsencode(self.path))


def copied(files: Files, target: Path) -> bytes:
    """Copy an object that names all blocks of the file, then its sixth to eighth once more, behind a hole; return it."""
    size = (BLOCKS + 13) * BLOCK_BYTES
    extents = [Extent(0, BLOCKS, "data", 0), Extent(BLOCKS + 10, 3, "data", 5)]
    with MappedObject("object", ExtentMap(size, extents), files) as found, target.open("xb") as file:
        found.copy_to(file.fileno())
    return target.read_bytes()


def test_a_map_that_names_blocks_twice_is_copied_whole(tmp_path: Path) -> None:
    files = Files(tmp_path)
    again = files.contents[5 * BLOCK_BYTES : 8 * BLOCK_BYTES]
    assert copied(files, tmp_path / "copy") == files.contents + bytes(10 * BLOCK_BYTES) + again


@pytest.mark.parametrize("block", [0, 6, 255, 256, 4095, 4096, BLOCKS - 1])
def test_a_block_that_has_changed_is_not_copied(tmp_path: Path, block: int) -> None:
    files = Files(tmp_path)
    with files.path.open("r+b") as file:
        file.seek(block * BLOCK_BYTES + 17)
        file.write(b"damage")
    with pytest.raises(DamagedError, match="has changed since it was written"):
        copied(files, tmp_path / "copy")
