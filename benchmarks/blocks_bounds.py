"""Measure what other bounds of fragmentation would cost, and where a map stops being worth it. See benchmarks.blocks.

Times here are those of the processor, user and system, which other work on the machine changes little.
"""

from __future__ import annotations

import os
import random
import statistics
from pathlib import Path

from benchmarks.blocks_files import MIB, files, processor, taken
from benchmarks.common import table
from dm_compose.objects import batch, delta
from dm_compose.objects.batch import Batch
from dm_compose.objects.extents import BLOCK_BYTES
from dm_compose.objects.store import ObjectStore

BOUNDS = tuple((extents, chunk) for chunk in (64 << 10, 256 << 10) for extents in (4, 8, 16, 32, 64))
SMALL_SIZES = (8, 16, 32, 64, 128, 256)  # KiB
SMALL_FILES = 400


def bounds(base: Path, size: int, count: int, writes: int, rounds: int) -> None:
    """Print a table of other bounds. The values in use are put back at the end.

    Only objects are made, and no commits around them.
    """
    used = delta.MAX_EXTENTS, delta.CHUNK_BYTES
    rows = []
    try:
        for number, (most, chunk) in enumerate(BOUNDS):
            _use(most, chunk)
            mark = " (in use)" if (most, chunk) == used else ""
            rows.append((f"{chunk >> 10} KiB", f"{most}{mark}", *_bounded(base / str(number), size, count, writes, rounds)))
            print(" ", *rows[-1], flush=True)
    finally:
        _use(*used)
    print(f"\nbounds: {count} commits, {writes} random blocks each, in a file of {size / MIB:g} MiB")
    table(
        ("chunk", "extents", "store, to the file", "extents of the last map", "a commit", "reading the last, to the first"), rows
    )


def _use(most: int, chunk: int) -> None:
    delta.MAX_EXTENTS, delta.CHUNK_BYTES, delta.CHUNK_BLOCKS = most, chunk, chunk // BLOCK_BYTES  # type: ignore[misc]


def _bounded(base: Path, size: int, count: int, writes: int, rounds: int) -> tuple[str, str, str, str]:
    base.mkdir()
    store, chance = ObjectStore(base), random.Random(1)
    store.create()
    times, refs = [], list[str]()
    with open(base / "file", "w+b", buffering=0) as file:
        for start in range(0, size, MIB):
            os.pwrite(file.fileno(), os.urandom(MIB), start)
        for number in range(count + 1):
            made = Batch(store, f"{number:032x}")
            times.append(processor(lambda: refs.append(made.add(file.fileno(), refs[-1] if refs else None))))
            made.publish()
            for _ in range(writes):
                os.pwrite(file.fileno(), chance.randbytes(BLOCK_BYTES), chance.randrange(size // BLOCK_BYTES) * BLOCK_BYTES)
    with store.open_object(refs[-1]) as last:
        extents = len(last.extent_map().extents)
    early, late = ([_read(store, ref, base / "copy") for _ in range(rounds)] for ref in (refs[0], refs[-1]))
    (base / "file").unlink()
    return (
        f"{taken(base) / size:.2f}x",
        str(extents),
        f"{statistics.median(times[-20:]) * 1000:.1f} ms",
        f"{statistics.median(late) / statistics.median(early):.2f}x",
    )


def _read(store: ObjectStore, ref: str, copy: Path) -> float:
    """Return the seconds of writing an object to a new file."""
    with open(copy, "xb") as file, store.open_object(ref) as found:
        took = processor(lambda: found.copy_to(file.fileno()))
    copy.unlink()
    return took


def small(base: Path, rounds: int) -> None:
    """Print a table of files that go in whole or with a map, by their size."""
    used = batch.SMALL_BYTES
    rows = []
    try:
        for kib in SMALL_SIZES:
            cells = []
            for line in (0, 1 << 30):  # all with a map, all whole
                batch.SMALL_BYTES = line  # type: ignore[misc]
                with files(base, "small", {f"f{number}": kib << 10 for number in range(SMALL_FILES)}) as found:
                    found.commit()
                    added, commits, restores = list[int](), list[float](), list[float]()
                    for _ in range(rounds):
                        for name in found.sizes:
                            found.change(name, 1)
                        before = taken(found.home)
                        commits.append(processor(found.commit))
                        added.append(taken(found.home) - before)
                        restores.append(processor(lambda: found.export(found.head, cold=True)))
                cells.append(f"{statistics.median(added) / SMALL_FILES / 1024:.1f} KiB")
                cells += [f"{statistics.median(times) * 1000:.0f} ms" for times in (commits, restores)]
            rows.append((f"{kib} KiB", *cells))
    finally:
        batch.SMALL_BYTES = used  # type: ignore[misc]
    print(f"\n{SMALL_FILES} files, one block of each changed; the line is at {used >> 10} KiB")
    table(("a file", "map: adds for each", "commit", "restore", "whole: adds for each", "commit", "restore"), rows)
