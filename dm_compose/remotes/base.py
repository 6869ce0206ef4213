"""The contract of a remote: it keeps blobs by digest, and tags that name manifests. docs/format.md builds all else on that.

dm_compose.remotes.testing has the tests that every kind of remote passes. The author of a plugin runs the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from dm_compose.remotes.names import Digest, RemoteName, Tag
from dm_compose.remotes.url import RemoteUrl

MAX_BLOB_BYTES = 64 << 20  # a blob is in memory as a whole while it travels; writers stay far below
MAX_MANIFEST_BYTES = 4 << 20  # registries accept no larger one
GRACE_S = 24 * 3600.0  # gc leaves a blob that nobody names alone for so long: a push may be under way


class Blob(NamedTuple):
    """A blob that a repository holds. `modified` is None where the kind of remote cannot tell it."""

    digest: Digest
    size: int
    modified: datetime | None


class Credentials(NamedTuple):
    """A user's access to a registry: either a name with a password, or an identity token."""

    username: str
    password: str
    identity_token: str = ""

    def __repr__(self) -> str:
        return "Credentials(...)"  # secrets stay out of tracebacks and logs


@dataclass(frozen=True)
class Context:
    """The surroundings that a kind of remote may use.

    `credentials(host)` returns user, password and identity token for a registry, as the user's Docker knows them. It returns
    None where Docker knows nothing of the host.
    """

    credentials: Callable[[str], tuple[str, str, str] | None] = field(default=lambda _: None)


class Repository(Protocol):
    """The part of a remote that belongs to one dot: its blobs, manifests and tags. Thread-safe.

    The first `put` creates the repository. Before that it has no tags and no blobs.

    A method raises NotFoundError for something that is not there. It raises RemoteError for anything else that goes wrong, with
    `passing=True` if another try may succeed. The methods check no digest of what they return: the caller does.
    """

    def has(self, digest: Digest) -> bool:
        """Whether the repository has the whole blob or manifest, and gc will leave it alone for the next hours.

        A kind with time stamps makes an old blob look new. If it cannot, it says False, so that the caller puts the blob again.
        """

    def put(self, digest: Digest, data: bytes) -> None:
        """Store a blob. Idempotent.

        Atomic: `has` never reports a blob that a killed or concurrent `put` has written in part. The blob is durable when a
        later `update` has returned.
        """

    def get(self, digest: Digest, start: int = 0) -> Iterator[bytes]:
        """Yield the bytes of a blob from the offset `start` to its end.

        NotFoundError when there is no such blob, raised by the call or by the first step of the iteration. A stream that breaks
        raises a passing RemoteError.
        """

    def put_manifest(self, data: bytes) -> Digest:
        """Store a manifest and return its digest; with the promises of `put`. The caller has put the manifest's blobs before."""

    def get_manifest(self, digest: Digest) -> bytes:
        """Return the bytes of a manifest. NotFoundError when there is none of that digest."""

    def tags(self) -> list[Tag]:
        """Return all tags, sorted; none for a repository that does not exist. Names that are no Tag are left out."""

    def resolve(self, tag: Tag) -> Digest | None:
        """Return the digest of the manifest that a tag names. None when there is no such tag."""

    def update(self, changes: Mapping[Tag, Digest | None], expected: Mapping[Tag, Digest | None]) -> None:
        """Change tags: each tag in `changes` gets its digest; None removes the tag. Durable when this returns.

        Compares first: a tag in `expected` must name that digest, or not exist (None). Otherwise DivergedError is raised, and no
        tag has changed. `Remote.guarantee` says how exact that is when two write at once. The caller has put the manifests.
        """

    def blobs(self) -> Iterator[Blob] | None:
        """Yield all blobs and manifests. Return None where the kind cannot list them."""

    def delete(self, digest: Digest) -> None:
        """Remove a blob or a manifest, which no tag needs any more. Idempotent. RemoteError where the kind cannot."""

    def remove(self) -> None:
        """Remove all tags of the repository, and then everything else. Idempotent. RemoteError where the kind cannot."""


class Remote(Protocol):
    """A place with one repository for each dot.

    `guarantee` says in words how far `Repository.update` can be relied on when two write at once. `connections` is the number
    of calls at once that make sense. A `local` remote is read as fast as our own disk, so no downloads from it are kept for a
    next try.
    """

    url: RemoteUrl
    guarantee: str
    connections: int
    local: bool

    def repositories(self) -> list[RemoteName]:
        """Return the names of all repositories that have a tag, sorted."""

    def repository(self, name: RemoteName) -> Repository:
        """Return the repository of a dot. It need not exist. Does not talk to the remote."""

    def below(self) -> list[RemoteUrl]:
        """Return the addresses with a longer path at which dots lie, sorted. Empty also where the kind cannot tell.

        The verbs name them to a user whose address has no dots itself.
        """

    def exposed(self) -> str | None:
        """Return a sentence if others than the user can read pushed data. None if they cannot, or if nobody can tell."""

    def close(self) -> None:
        """Close the connections. Idempotent."""


@dataclass(frozen=True)
class RemoteKind:
    """A kind of remote: its name, the schemes of its addresses (`s3` of s3://...), and a function that opens an address.

    `open` does not talk to the remote yet. It raises UsageError for an address or an option that it does not know.
    """

    name: str
    schemes: tuple[str, ...]
    open: Callable[[RemoteUrl, Context], Remote]
