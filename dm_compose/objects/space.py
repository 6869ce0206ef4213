"""Giving back the space of objects that nobody needs: whole files, and ranges of files that maps name in part."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from dm_compose.objects.contents import extents
from dm_compose.objects.extents import BLOCK_BYTES, Extent, ExtentMap, Run
from dm_compose.objects.store import DATA, MANIFEST, MAP, PUT_ASIDE, ObjectStore
from dm_compose.objects.sums import SUM
from dm_compose.objects.system import punch_hole, sync_filesystem

SUM_ENDING = os.fsdecode(SUM)
_MERGE_AT = 4096
_MOST_KNOWN = 1 << 20  # runs: some 200 MB


class Blocks:
    """A set of blocks of files of the store."""

    def __init__(self) -> None:
        self._runs: dict[str, set[tuple[int, int]]] = defaultdict(set)
        self._merge_at: dict[str, int] = {}

    def add(self, extent: Extent) -> None:
        """Add the blocks of an extent."""
        self.add_run(extent.source, extent.at, extent.at + extent.blocks)

    def add_run(self, source: str, first: int, end: int) -> None:
        """Add blocks of a file: those from `first` up to `end`."""
        runs = self._runs[source]
        runs.add((first, end))
        if len(runs) > self._merge_at.get(source, _MERGE_AT):
            merged = self._runs[source] = set(self.of(source))
            self._merge_at[source] = 2 * len(merged) + _MERGE_AT

    def sources(self) -> list[str]:
        """Return the ids of the files, sorted."""
        return sorted(self._runs)

    def __contains__(self, source: str) -> bool:
        return source in self._runs

    def of(self, source: str) -> list[tuple[int, int]]:
        """Return the runs (first, end) of one file, in order and without overlap."""
        found: list[tuple[int, int]] = []
        for first, end in sorted(self._runs.get(source, ())):
            if found and first <= found[-1][1]:
                found[-1] = found[-1][0], max(end, found[-1][1])
            else:
                found.append((first, end))
        return found


@dataclass(frozen=True)
class Needed:
    """Everything that commits need: ids of objects and manifests, and the blocks that the objects' maps name."""

    refs: Collection[str]
    blocks: Blocks


def needed(store: ObjectStore, refs: Collection[str], maps: Iterable[ExtentMap] = (), known: set[Run] | None = None) -> Needed:
    """Return what these objects and manifests need, and some maps. DamagedError when the map of an object cannot be read.

    Blocks that are `known` are left out, and those that are found become known. Maps of one file differ little, so this is quick.
    """
    blocks, seen = Blocks(), set() if known is None else known
    for found in maps:
        for extent in found.extents:
            blocks.add(extent)
    by_batch: dict[str, set[str]] = defaultdict(set)
    for ref in refs:
        by_batch[ref.partition("/")[0]].add(ref)
    for batch, wanted in by_batch.items():
        files = store.files(batch)
        for ref in wanted:
            name = ref.partition("/")[2]
            if name + MAP not in files or name in files:
                continue
            fresh = store.named_runs(ref) - seen
            for source, first, end in fresh:
                blocks.add_run(source, first, end)
            if len(seen) > _MOST_KNOWN:
                seen.clear()  # which costs time and nothing else
            seen |= fresh
    return Needed(refs, blocks)


@dataclass
class Spare:
    """Everything that can be given back, with the bytes on the disk.

    `objects` are the ids of objects and manifests that nobody needs. `files` can be removed whole, `set_aside` are objects of
    which others need a part, and `ranges` are the (offset, length) of a file that nobody needs.
    """

    objects: set[str] = field(default_factory=set)
    files: dict[str, int] = field(default_factory=dict)
    set_aside: set[str] = field(default_factory=set)
    ranges: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """The bytes on the disk. Those of ranges are exact where the file system has blocks of up to 4 KiB."""
        return sum(self.files.values()) + sum(length for found in self.ranges.values() for _, length in found)


def spare(store: ObjectStore, batches: Collection[str], wanted: Needed) -> Spare:
    """Return what can be given back of some published batches."""
    found = Spare()
    for batch in batches:
        files = store.files(batch)
        for name, allocated in files.items():
            file = f"{batch}/{name}"
            if name.endswith(SUM_ENDING):
                continue  # it goes with its file
            is_data = name == DATA or name.endswith(PUT_ASIDE)
            named = f"{batch}/{name.removesuffix(PUT_ASIDE)}"  # the id under which maps name it
            if not is_data:
                ref = file if name.endswith(MANIFEST) else f"{batch}/{name.removesuffix(MAP)}"
                if ref in wanted.refs:
                    continue
                found.objects.add(ref)
            if named in wanted.blocks and not name.endswith(MAP):
                if not is_data:
                    found.set_aside.add(file)
                if ranges := list(_unneeded(store, file, wanted.blocks.of(named))):
                    found.ranges[file] = ranges
            else:
                found.files[file] = allocated + files.get(named.partition("/")[2] + SUM_ENDING, 0)
    return found


def _unneeded(store: ObjectStore, file: str, runs: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the ranges (offset, length) of a file that have data and are in none of the runs of blocks."""
    with contextlib.suppress(IsADirectoryError), open(store.path(file), "rb") as opened:
        fd = opened.fileno()
        size = os.fstat(fd).st_size
        starts = [0, *(end * BLOCK_BYTES for _, end in runs)]
        ends = [*(first * BLOCK_BYTES for first, _ in runs), size]
        for start, end in zip(starts, ends, strict=True):
            for is_data, first, last in extents(fd, start, min(end, size)):
                if is_data:
                    yield first, last - first


def give_back(store: ObjectStore, found: Spare) -> None:
    """Remove and punch what `spare` has found. Idempotent. Nobody may need it any more, nor find it in an index.

    An object is gone before a block of it is: a crash leaves no object that has lost a part of its contents.
    """
    for file in found.files:
        path = store.objects / file
        if path.is_dir():  # a damaged store may have a directory there
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        (store.objects / (file.removesuffix(PUT_ASIDE) + SUM_ENDING)).unlink(missing_ok=True)
    for file in found.set_aside:
        os.rename(store.path(file), store.path(file + PUT_ASIDE))
    if found.ranges:
        sync_filesystem(store.objects)
    for file, ranges in found.ranges.items():
        with open(store.path(file + PUT_ASIDE if file in found.set_aside else file), "r+b", buffering=0) as opened:
            if not all(punch_hole(opened.fileno(), offset, length) for offset, length in ranges):
                break  # the file system cannot, and the space comes back with the file
        os.utime((store.objects / file).parent)  # by this objects.usage sees that the batch has changed
    for batch in store.batches():
        with contextlib.suppress(OSError):
            (store.objects / batch).rmdir()
