"""What a store offers for sending its objects elsewhere and for taking in those of others.

Objects are immutable and their ids are the same in every store that has them. Whoever sends reads; who receives builds
objects in a staging place, where a killed transfer finds them again, and has them taken over with `publish`. Calls may
cross a pipe, so each does much at a time, and none moves more than some MiB but for lists of what there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from dm_compose.core.commit import Commit
from dm_compose.core.names import CommitId, DotName, RefName

PART_BYTES = 1 << 20
ZEROS_BYTES = 64 << 10  # a run of zeros of this size becomes a hole


class Run(NamedTuple):
    """A range of a file. `zero`: it holds nothing but zeros."""

    offset: int
    length: int
    zero: bool


@dataclass(frozen=True)
class Part:
    """What an object of `size` bytes holds up to `end`: (offset, bytes) in order; between them are zeros, holes or not."""

    size: int
    end: int
    runs: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True)
class Difference:
    """What of an object differs from a base: runs of whole blocks, in order, and the object's sha256 (hex) and size.

    Beyond the end of the base everything that is not a hole differs.
    """

    size: int
    sha256: str
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class NewDot:
    """A dot to be made of commits that came: a tree that stands on a branch with that head, and settings of the store that go
    with it.
    """

    branch: RefName
    head: CommitId
    settings: Mapping[str, str] = field(default_factory=dict)


class Whole(NamedTuple):
    """A whole object and the sha256 (hex) it should have."""

    ref: str
    sha256: str
    data: bytes


class Exchange(Protocol):
    """The sending and receiving side of one store. Thread-safe.

    Needs no lock: an object that `gc` takes meanwhile is a DamagedError, and nothing is sent of it.
    """

    def manifest(self, ref: str) -> bytes:
        """Return a manifest as it is stored; DamagedError when it is missing."""

    def digests(self, refs: Set[str]) -> dict[str, str]:
        """Return the sha256 (hex) of those objects that have been digested before."""

    def add_digests(self, digests: Mapping[str, str]) -> None:
        """Remember digests, so that they need not be computed again."""

    def present(self, refs: Set[str]) -> set[str]:
        """Return those objects and manifests that the store has."""

    def part(self, ref: str, offset: int) -> Part:
        """Return what an object holds from `offset` on, up to PART_BYTES of data; runs of ZEROS_BYTES are left out."""

    def read(self, ref: str, ranges: Sequence[tuple[int, int]]) -> bytes:
        """Return (offset, length) ranges of an object, joined; each is shorter where the object ends."""

    def compare(self, ref: str, base: str) -> Difference:
        """Return how an object differs from another one."""

    def intact(self, digests: Mapping[str, str]) -> set[str]:
        """Return those of the store's objects whose contents have the sha256 (hex) given; reads all of them."""

    def has_commit(self, dot: DotName, commit_id: CommitId) -> bool:
        """Whether the dot has a commit."""

    def stage(self, dot: DotName) -> Staging:
        """Open the place where a dot's objects arrive; InUseError while another process receives for the same dot."""


class Staging(Protocol):
    """Objects on their way into a store. What is finished is kept when the process is killed, and found by the next one.

    `gc` removes a staging place that nobody has open. Thread-safe for different objects.
    """

    def close(self) -> None:
        """Let others have the place. What is in it stays. Idempotent."""

    def discard(self) -> None:
        """Remove everything that was received and not published, and close. Does nothing when that was done."""

    def free_bytes(self) -> int:
        """Return how much space the file system has for us."""

    # Blobs that are downloaded in parts

    def blob_size(self, name: str) -> int:
        """Return how much of a blob is there, from an earlier try perhaps; 0 for nothing."""

    def append_blob(self, name: str, data: bytes) -> None:
        """Add to the end of a blob, which is made when it is missing."""

    def read_blob(self, name: str) -> bytes:
        """Return what there is of a blob."""

    def remove_blob(self, name: str) -> None:
        """Remove a blob. Idempotent."""

    # Objects

    def finished(self, digests: Mapping[str, str]) -> set[str]:
        """Return those objects that an earlier try has finished, with the sha256 (hex) given; others of these are removed."""

    def start(self, ref: str, size: int, base: str | None, zeros: Sequence[Run], *, take: bool = False) -> None:
        """Begin an object: a hole of `size` bytes, or a copy of a `base` that is in the store or finished here, cut or extended
        to it, with ranges made zeros, holes where the file system can. With `take` the base is one that was started here, and
        whose file becomes this object's.
        """

    def read(self, ref: str, ranges: Sequence[tuple[int, int]], *, unfinished: bool = False) -> bytes:
        """Return (offset, length) ranges of an object that is finished here or in the store, or of one that was started; joined,
        each shorter where the object ends.
        """

    def write(self, ref: str, pieces: Sequence[tuple[int, bytes]]) -> None:
        """Write (offset, bytes) into an object that was started."""

    def finish(self, ref: str, sha256: str) -> bool:
        """Say that an object is complete. False, and the object is gone, when its contents are not what they should be."""

    def add(self, objects: Sequence[Whole]) -> list[str]:
        """Make whole objects, finished. Those whose contents are not what they should be are not made, but returned."""

    def publish(
        self,
        commits: Sequence[Commit],
        manifests: Mapping[str, bytes],
        objects: Set[str],
        digests: Mapping[str, str],
        *,
        new: NewDot | None = None,
    ) -> None:
        """Take finished objects and whole commits (their manifests by id, oldest commit first) into the store, and close.

        Everything is durable before the first commit is listed, and all are listed in one transaction. Objects that no
        commit names, because the process died in between, are garbage like any other. No ref is moved; the caller holds the dot's
        lock until one names the commits, or `gc` may take them. An object that is there stays as it is; of a commit that is there
        only the mark that it is shallow may be taken away.

        A `new` dot is made in the same transaction (ExistsError), with a restore in its journal that fills its tree and makes its
        branch: whoever works with the dot next finishes that.
        """
