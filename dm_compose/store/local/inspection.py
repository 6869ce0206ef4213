"""The outcome of looking at some objects and manifests of a store, whole or block by block."""

from __future__ import annotations

import abc
import contextlib
import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dm_compose.core.tree import FILE, Manifest
from dm_compose.errors import DamagedError
from dm_compose.objects.contents import CHUNK_BYTES, digest_of, digest_of_file
from dm_compose.objects.extents import BLOCK_BYTES, Extent, ExtentMap, blocks_of
from dm_compose.objects.manifests import text_of
from dm_compose.objects.space import Blocks
from dm_compose.objects.store import ObjectStore
from dm_compose.objects.sums import Check, Sums, padded, wrong_blocks
from dm_compose.objects.system import sync_file
from dm_compose.state import Database
from dm_compose.storage.beneath import Beneath
from dm_compose.storage.scan import FoundPath, Tree

THREADS = 4


class Inspection(abc.ABC):
    """The damage of some objects and manifests.

    `sizes` names them and says which size each should have, None for a manifest. `bad` are those that are damaged, each with
    the rest of a sentence about it. `digests` tell what they should hold, as far as is known: two with the same digest hold the
    same. `first_seen` of them have been looked at for the first time.
    """

    first_seen = 0

    def __init__(self, sizes: Mapping[str, int | None]) -> None:
        self.sizes = sizes
        self.bad: dict[str, str] = {}
        self.digests: dict[str, str] = {}

    @abc.abstractmethod
    def is_right(self, ref: str, copy: bytes) -> bool:
        """Return whether the file at a path has the contents of an object or manifest, as far as is known."""

    def wants(self, known: Tree) -> bool:
        """Return whether a live tree with this index may have the contents of something damaged."""
        return any(found.entry.ref in self.bad for found in known.values())

    @abc.abstractmethod
    def repair_blocks(self, files: Beneath, known: Tree, tree: Tree) -> None:
        """Repair single blocks with those of live files, where an inspection knows of blocks.

        `known` is the index of the tree, and `tree` the tree now.
        """


class WholeInspection(Inspection):
    """The outcome of reading some objects and manifests whole, and comparing each with its digest."""

    def __init__(
        self, sizes: Mapping[str, int | None], database: Database, objects: ObjectStore, progress: Callable[[int], None]
    ) -> None:
        super().__init__(sizes)
        self._objects = objects
        self._progress = progress
        for batch in {ref.partition("/")[0] for ref in sizes}:
            self.digests |= database.digests(batch)
        known = set(self.digests)
        with ThreadPoolExecutor(THREADS, thread_name_prefix="hash") as pool:
            for ref, (digest, problem) in zip(sizes, pool.map(self._read, sizes), strict=True):
                if problem:
                    self.bad[ref] = problem
                elif self.digests.setdefault(ref, digest) != digest:
                    self.bad[ref] = "has changed since it was written"
        new = {ref: digest for ref, digest in self.digests.items() if ref not in known}
        database.add_digests(new)
        self.first_seen = len(new)

    def is_right(self, ref: str, copy: bytes) -> bool:
        if self.sizes[ref] is None:
            digest = hashlib.sha256(text_of(Path(os.fsdecode(copy)).read_bytes(), name=ref)).hexdigest()
        else:
            digest = digest_of_file(copy)
        return self.sizes[ref] in (None, os.stat(copy).st_size) and self.digests.get(ref, digest) == digest

    def repair_blocks(self, files: Beneath, known: Tree, tree: Tree) -> None:
        pass

    def _read(self, ref: str) -> tuple[str, str]:
        """Return the digest of an object's contents, and the damage that shows without comparing digests ("" for none)."""
        path, size = self._objects.path(ref), self.sizes[ref]
        try:
            if size is not None:
                self._objects.check_object(ref, size)
                with self._objects.open_object(ref) as found:
                    return digest_of(found, self._progress), ""
            with open(path, "rb") as file:
                text = text_of(file.read(), name=ref)
            Manifest.decode(text, name=ref)
            return hashlib.sha256(text).hexdigest(), ""
        except DamagedError as error:
            return "", error.message
        except FileNotFoundError:
            return "", "is missing"
        except OSError as error:
            return "", f"cannot be read: {error.strerror}"


class BlockInspection(Inspection):
    """The outcome of reading the blocks that some objects are made of, each of them once.

    `maps` are those of the objects that could be opened. Files of blocks are `bad`, too. An object is not `bad` because a file of
    blocks is that it shares with others: see `users`.
    """

    def __init__(self, sizes: Mapping[str, int], objects: ObjectStore, progress: Callable[[int], None]) -> None:
        super().__init__(dict(sizes))
        self.maps: dict[str, ExtentMap] = {}
        self._objects = objects
        for ref, size in sizes.items():
            with contextlib.closing(Sums(objects.path(ref))) as sums:
                if all(known := sums.of(0, blocks_of(size))):
                    self.digests[ref] = hashlib.sha256(f"{size} {known}".encode()).hexdigest()
        self._blocks = Blocks()
        for ref, size in sizes.items():
            try:
                with objects.open_object(ref) as found:
                    self._take(ref, size, found.extent_map())
            except DamagedError as error:
                self.bad[ref] = error.message
            except OSError as error:
                self.bad[ref] = f"cannot be read: {error.strerror}"
        self.checks = {source: Check(objects.path(source)) for source in self._blocks.sources()}
        with ThreadPoolExecutor(THREADS, thread_name_prefix="check") as pool:
            for source, problem in zip(self.checks, pool.map(lambda s: self._read(s, progress), self.checks), strict=True):
                if problem:
                    self.bad[source] = problem
        self.first_seen = sum(check.first_seen for check in self.checks.values())

    def is_right(self, ref: str, copy: bytes) -> bool:
        with open(copy, "rb", buffering=0) as file, contextlib.closing(Sums(self._objects.path(ref))) as sums:
            size, block = os.fstat(file.fileno()).st_size, 0
            while data := os.pread(file.fileno(), CHUNK_BYTES, block * BLOCK_BYTES):
                if wrong_blocks(data, sums.of(block, blocks_of(len(data)))):
                    return False
                block += blocks_of(len(data))
            return size == self.sizes[ref]

    def _take(self, ref: str, size: int, found: ExtentMap) -> None:
        if found.size != size:
            self.bad[ref] = f"has {found.size} bytes instead of {size}"
            return
        self.maps[ref] = found
        for extent in found.extents:
            self._blocks.add(extent)

    def _read(self, source: str, progress: Callable[[int], None]) -> str:
        """Check one file of blocks. Return its damage, or ''."""
        check, runs = self.checks[source], self._blocks.of(source)
        try:
            fd = self._objects.open_source(source)
        except (DamagedError, OSError):
            check.bad.update(block for first, end in runs for block in range(first, end))
            return "is missing"
        try:
            check.run(fd, runs, progress)
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        finally:
            os.close(fd)
        return "has changed since it was written" if check.bad else ""

    def users(self, file: str) -> Iterator[str]:
        """Yield the objects that are damaged because a file of blocks is."""
        bad = self.checks[file].bad if file in self.checks else set()
        for ref, found in self.maps.items():
            extents = (e for e in found.extents if e.source == file)
            if any(not bad.isdisjoint(range(e.at, e.at + e.blocks)) for e in extents):
                yield ref

    def wants(self, known: Tree) -> bool:
        return bool(self.bad)

    def repair_blocks(self, files: Beneath, known: Tree, tree: Tree) -> None:
        """See Inspection. A block is taken if its checksum is right. If none is known, the index has to prove its contents."""
        for path, old in known.items():
            if old.entry.kind != FILE or old.entry.ref not in self.maps or path not in tree:
                continue
            wanted = [e for e in self.maps[old.entry.ref].extents if e.source in self.checks]
            damaged = [e for e in wanted if not self.checks[e.source].bad.isdisjoint(range(e.at, e.at + e.blocks))]
            if damaged:
                with contextlib.suppress(OSError):
                    self._repair_with(files, tree[path], damaged, proven=tree[path].entry.ref == old.entry.ref)

    def _repair_with(self, files: Beneath, live: FoundPath, damaged: Iterable[Extent], *, proven: bool) -> None:
        fd = files.open_file(live.entry.path)
        try:
            found: dict[str, dict[int, bytes]] = defaultdict(dict)
            for extent in damaged:
                check = self.checks[extent.source]
                for block in check.bad.intersection(range(extent.at, extent.at + extent.blocks)):
                    data = padded(os.pread(fd, BLOCK_BYTES, (extent.start + block - extent.at) * BLOCK_BYTES))
                    if data and check.is_right(block, data, otherwise=proven):
                        found[extent.source][block] = data
            info = os.fstat(fd)
            if not proven or (info.st_ino, info.st_ctime_ns) == (live.inode, live.ctime_ns):
                for source, blocks in found.items():
                    self._write(source, blocks)
        finally:
            os.close(fd)

    def _write(self, source: str, blocks: Mapping[int, bytes]) -> None:
        path = self._objects.source_path(source)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            for block, data in blocks.items():
                os.pwrite(fd, data, block * BLOCK_BYTES)
            if source in self.maps:  # it is an object itself, and its last block may be cut short
                os.ftruncate(fd, self.maps[source].size)
        finally:
            os.close(fd)
        sync_file(path)
        check = self.checks[source]
        check.bad.difference_update(blocks)
        if not check.bad:
            del self.bad[source]
