"""The part of the contract that is about transfers: sending a store's objects elsewhere, and receiving those of other stores.

Objects are immutable, and their ids are the same in every store that has them. A sender reads objects. A receiver builds them
in a staging place, and `publish` moves them into the store. A killed transfer finds its staging place again. Calls may cross a
pipe, so each call does much, and none carries more than a few MiB, except for lists of ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from dm_compose.core.commit import Commit
from dm_compose.core.names import CommitId, DotName, RefName

PART_BYTES = 1 << 20
ZEROS_BYTES = 64 << 10  # a run of zeros of this size becomes a hole


class ByteRange(NamedTuple):
    """A range of a file. `zero` says that it holds nothing but zeros."""

    offset: int
    length: int
    zero: bool


@dataclass(frozen=True)
class ObjectPart:
    """A part of an object of `size` bytes, up to the offset `end`.

    `runs` are (offset, bytes) in order. Between them are zeros, either holes or written ones.
    """

    size: int
    end: int
    runs: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True)
class Difference:
    """The difference between an object and a base. `runs` are the ranges of whole blocks that differ, in order.

    `size` and `sha256` (hex) are the object's. Beyond the end of the base everything that is not a hole differs.
    """

    size: int
    sha256: str
    runs: tuple[ByteRange, ...]


@dataclass(frozen=True)
class NewDot:
    """A dot to be made of received commits. Its tree is on `branch`, whose head is `head`. The store gets the `settings`."""

    branch: RefName
    head: CommitId
    settings: Mapping[str, str] = field(default_factory=dict)


class Whole(NamedTuple):
    """A whole object, and the sha256 (hex) that it should have."""

    ref: str
    sha256: str
    data: bytes


class Exchange(Protocol):
    """The sending and receiving side of one store. Thread-safe.

    No method needs a lock. If `gc` removes an object that is being sent, reading it raises DamagedError.
    """

    def manifest(self, ref: str) -> bytes:
        """Return a manifest as it is stored. DamagedError when it is missing."""

    def digests(self, refs: Set[str]) -> dict[str, str]:
        """Return the sha256 (hex) of those objects whose digest is recorded."""

    def add_digests(self, digests: Mapping[str, str]) -> None:
        """Record digests (sha256, hex) of objects, so that they need not be computed again."""

    def present(self, refs: Set[str]) -> set[str]:
        """Return those objects and manifests that the store has."""

    def part(self, ref: str, offset: int) -> ObjectPart:
        """Return the next PART_BYTES of an object's data from `offset` on. Runs of ZEROS_BYTES zeros are left out."""

    def read(self, ref: str, ranges: Sequence[tuple[int, int]]) -> bytes:
        """Return the bytes of (offset, length) ranges of an object, joined. A range beyond the object's end is cut short."""

    def compare(self, ref: str, base: str) -> Difference:
        """Return the difference between an object and another one, `base`."""

    def intact(self, digests: Mapping[str, str]) -> set[str]:
        """Return those objects of the store whose contents have the given sha256 (hex). All of them are read."""

    def has_commit(self, dot: DotName, commit_id: CommitId) -> bool:
        """Return whether there is a dot of that name that has the commit."""

    def stage(self, dot: DotName) -> Staging:
        """Open the staging place of a dot. InUseError while another process receives for the same dot."""


class Staging(Protocol):
    """A staging place: objects on their way into a store. Thread-safe for different objects.

    Finished objects survive the process, and the next one that opens the place finds them. `gc` removes a staging place that
    nobody has open.
    """

    def close(self) -> None:
        """Close the place, so that other processes can open it. Its contents stay. Idempotent."""

    def discard(self) -> None:
        """Remove everything that was not published, and close the place. Idempotent; after `close` nothing is removed."""

    def free_bytes(self) -> int:
        """Return the bytes of free space that the file system has for us."""

    # Blobs that are downloaded in parts

    def blob_size(self, name: str) -> int:
        """Return the number of bytes of a blob that have arrived, perhaps in an earlier process. 0 when there is none."""

    def append_blob(self, name: str, data: bytes) -> None:
        """Add bytes to the end of a blob. It is made when it is missing."""

    def read_blob(self, name: str) -> bytes:
        """Return all bytes of a blob that have arrived."""

    def remove_blob(self, name: str) -> None:
        """Remove a blob. Idempotent."""

    # Objects

    def finished(self, digests: Mapping[str, str]) -> set[str]:
        """Return those objects that an earlier process has finished and whose contents have the given sha256 (hex).

        Those with other contents are removed.
        """

    def start(self, ref: str, size: int, base: str | None, zeros: Sequence[ByteRange], *, take: bool = False) -> None:
        """Begin an object of `size` bytes.

        Without a `base` it is one hole. With one it begins as a copy of that object, cut or extended to `size`; the base is in
        the store or finished here. With `take` the base is an object that was started here, and its file becomes this object's.
        The ranges in `zeros` are then made zeros: holes, where the file system can.
        """

    def read(self, ref: str, ranges: Sequence[tuple[int, int]], *, unfinished: bool = False) -> bytes:
        """Return the bytes of (offset, length) ranges of an object, joined. A range beyond the object's end is cut short.

        The object is in the store or finished here. With `unfinished` it is one that was started here. DamagedError when it is
        missing.
        """

    def write(self, ref: str, pieces: Sequence[tuple[int, bytes]]) -> None:
        """Write (offset, bytes) into an object that was started."""

    def finish(self, ref: str, sha256: str) -> bool:
        """Finish an object that is complete. If its contents have not the given sha256 (hex), remove it and return False."""

    def add(self, objects: Sequence[Whole]) -> list[str]:
        """Make whole, finished objects. Return those whose contents have not the given sha256; they are not made."""

    def publish(
        self,
        commits: Sequence[Commit],
        manifests: Mapping[str, bytes],
        objects: Set[str],
        digests: Mapping[str, str],
        *,
        new: NewDot | None = None,
    ) -> bool:
        """Take finished objects and whole commits into the store, and close the place.

        `commits` begin with the oldest. `objects` are all objects that they need, finished here or in the store. `manifests`
        holds those of their manifests that the store lacked, by id, and `digests` the digests (sha256, hex) of the objects.

        Return False, with nothing changed, if an object, a manifest or a parent that they need is neither here nor in the store:
        `gc` has collected it since the caller looked. The caller then brings it, and publishes again. No collection runs between
        this check and the listing.

        Everything is durable before the first commit is listed, and all commits are listed in one
        transaction. If the process dies in between, the objects are garbage. An object that the store has already stays as it
        is. So does a commit, unless it is shallow and the received one is not.

        No ref moves. The caller holds the dot's lock until a ref names the commits, because `gc` may take them otherwise.

        A `new` dot is made in the same transaction, with a restore in its journal that will fill its tree and make its branch.
        The next command that works with the dot carries it out. ExistsError when the dot exists.
        """
