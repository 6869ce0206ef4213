"""The bytes on the disk that objects take: of a whole store, cheaply, and of each of several claimants, exactly."""

from __future__ import annotations

import contextlib
import heapq
import json
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dm_compose.objects.contents import extents
from dm_compose.objects.extents import BLOCK_BYTES
from dm_compose.objects.space import SUM_ENDING, Needed
from dm_compose.objects.store import DATA, MANIFEST, MAP, PUT_ASIDE, ObjectStore
from dm_compose.objects.system import write_file

_Run = tuple[int, int, int]  # first block, end, number of the claim
_SIZES = "sizes.json"


def batch_sizes(store: ObjectStore) -> dict[str, int]:
    """Return the bytes on the disk of each published batch. A batch is looked into once, and again when its directory changed.

    The sizes are kept in a file of the index, where an earlier look is as good as a new one; without it the look takes longer.
    """
    cache = store.root / "index" / _SIZES
    known: dict[str, tuple[int, int]] = {}
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        known = {batch: (int(changed), int(size)) for batch, (changed, size) in json.loads(cache.read_bytes()).items()}
    found: dict[str, tuple[int, int]] = {}
    with os.scandir(store.objects) as listing:
        for item in listing:
            with contextlib.suppress(FileNotFoundError):  # gc is at work
                changed = item.stat(follow_symlinks=False).st_mtime_ns
                earlier = known.get(item.name)
                if earlier is not None and earlier[0] == changed:
                    found[item.name] = earlier
                elif item.is_dir(follow_symlinks=False):
                    found[item.name] = changed, sum(store.files(item.name).values())
    if found != known:
        with contextlib.suppress(OSError):
            cache.parent.mkdir(mode=0o700, exist_ok=True)
            write_file(cache, json.dumps(found).encode(), durable=False)
    return {batch: size for batch, (_, size) in found.items()}


def disk_usage(path: Path) -> int:
    """Return the bytes on the disk of a file, or of all files below a directory, but for those that are removed meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        if not path.is_dir() or path.is_symlink():
            return path.lstat().st_blocks * 512
        with os.scandir(path) as listing:
            return sum(disk_usage(Path(item.path)) for item in listing)
    return 0


@dataclass(frozen=True)
class Shares:
    """The bytes on the disk that each claim needs and no claim before it, and those that no claim needs."""

    claims: list[int]
    nobody: int


def shares(store: ObjectStore, batches: Collection[str], claims: Sequence[Needed]) -> Shares:
    """Share the bytes of published batches out: each block once, to the first claim that needs it. The sum is what they take.

    A claim need not name the objects that a claim before it has named. A file's checksums, and what its file system needs for it
    beyond its blocks of data, count for the first claim that needs a block of it.
    """
    owners: dict[str, int] = {}
    named_blocks: dict[str, list[_Run]] = defaultdict(list)
    for number, needs in enumerate(claims):
        for ref in needs.refs:
            owners.setdefault(ref, number)
        for source in needs.blocks.sources():
            named_blocks[source] += [(first, end, number) for first, end in needs.blocks.of(source)]
    found, nobody = [0] * len(claims), 0
    for batch in batches:
        files = store.files(batch)
        for name, allocated in files.items():
            if name.endswith(SUM_ENDING):
                continue  # it goes with its file
            is_data = name == DATA or name.endswith(PUT_ASIDE)
            named = f"{batch}/{name.removesuffix(PUT_ASIDE)}"
            owner = (
                None
                if is_data
                else owners.get(f"{batch}/{name}" if name.endswith(MANIFEST) else f"{batch}/{name.removesuffix(MAP)}")
            )
            runs = [] if name.endswith(MAP) else named_blocks.get(named, [])
            first = min([run[2] for run in runs] + ([owner] if owner is not None else []), default=None)
            total = allocated + files.get(name.removesuffix(PUT_ASIDE) + SUM_ENDING, 0)
            if first is None:
                nobody += total
                continue
            left = total
            split = runs and owner != first
            for claim, size in _by_claim(store, f"{batch}/{name}", runs, owner) if split else []:
                part = min(size, left)  # where the file system compresses, the data takes less than its length
                left -= part
                if claim is None:
                    nobody += part
                else:
                    found[claim] += part
            found[first] += left
    return Shares(found, nobody)


def _by_claim(store: ObjectStore, file: str, runs: Sequence[_Run], owner: int | None) -> list[tuple[int | None, int]]:
    """Return the bytes of data of a file by claim. None stands for those that no claim needs, and comes first."""
    with contextlib.suppress(IsADirectoryError, FileNotFoundError), open(store.path(file), "rb") as opened:
        fd = opened.fileno()
        size = os.fstat(fd).st_size
        whole = [] if owner is None else [(0, -(-size // BLOCK_BYTES), owner)]
        found: dict[int, int] = defaultdict(int)
        needed, taken = 0, _first_claims([*runs, *whole])
        run = next(taken, None)
        data = [(first, last) for is_data, first, last in extents(fd, 0, size) if is_data]
        for first, last in data:
            while run is not None and run[0] * BLOCK_BYTES < last:
                amount = min(last, run[1] * BLOCK_BYTES) - max(first, run[0] * BLOCK_BYTES)
                if amount > 0:
                    found[run[2]] += amount
                    needed += amount
                if run[1] * BLOCK_BYTES > last:
                    break
                run = next(taken, None)
        spare = sum(last - first for first, last in data) - needed
        return [(None, spare), *sorted(found.items())]
    return []


def _first_claims(runs: Sequence[_Run]) -> Iterator[_Run]:
    """Yield runs in order and without overlap: each block with the first claim that has it."""
    starts = sorted(runs)
    active: list[tuple[int, int]] = []  # (claim, end)
    position, following = 0, 0
    while active or following < len(starts):
        if not active:
            position = max(position, starts[following][0])
        while following < len(starts) and starts[following][0] <= position:
            _, end, claim = starts[following]
            heapq.heappush(active, (claim, end))
            following += 1
        while active and active[0][1] <= position:
            heapq.heappop(active)
        if not active:
            continue
        claim, end = active[0]
        if following < len(starts):
            end = min(end, starts[following][0])
        yield position, end, claim
        position = end
