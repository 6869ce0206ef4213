"""What every kind of remote offers: blobs by digest, and tags that name manifests. The rest is built on that, see docs/format.md.

dm_compose.remotes.testing has the tests that every kind passes; a plugin's author runs the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from dm_compose.remotes.names import Digest, RemoteName, Tag
from dm_compose.remotes.url import RemoteUrl

MAX_BLOB_BYTES = 64 << 20  # a blob travels as a whole in memory; writers stay far below
MAX_MANIFEST_BYTES = 4 << 20  # what registries accept
GRACE_S = 24 * 3600.0  # how long gc leaves alone what nobody names yet


class Blob(NamedTuple):
    """A blob that a repository holds. `modified` is None where the kind cannot tell."""

    digest: Digest
    size: int
    modified: datetime | None


class Credentials(NamedTuple):
    """What a registry wants to know of its user. Either a user's name with a password, or an identity token."""

    username: str
    password: str
    identity_token: str = ""

    def __repr__(self) -> str:
        return "Credentials(...)"  # secrets stay out of tracebacks and logs


@dataclass(frozen=True)
class Context:
    """What a kind of remote may use of its surroundings.

    `credentials(host)` returns what the user's Docker knows of a registry: user, password, identity token; None for nothing.
    """

    credentials: Callable[[str], tuple[str, str, str] | None] = field(default=lambda _: None)


class Repository(Protocol):
    """What a remote holds of one dot. Thread-safe. It comes to be with the first `put`; before, it is empty.

    Methods raise RemoteError, `passing` when another try may succeed, and NotFoundError for what is not there. Nothing
    that is returned has been checked: the caller checks digests.
    """

    def has(self, digest: Digest) -> bool:
        """Whether there is a blob or manifest of that digest, whole, that gc will leave alone for the hours to come. A kind
        with time stamps makes it look new, or says no when it is old, so that it is put again.
        """

    def put(self, digest: Digest, data: bytes) -> None:
        """Store a blob. Idempotent and atomic: a killed or concurrent `put` leaves nothing that `has` would report. It is durable
        when a later `update` has returned.
        """

    def get(self, digest: Digest, start: int = 0) -> Iterator[bytes]:
        """Yield a blob's bytes from an offset. NotFoundError, possibly at the first step. A broken stream is a passing error."""

    def put_manifest(self, data: bytes) -> Digest:
        """Store a manifest, whose blobs are there already, and return its digest; as `put`."""

    def get_manifest(self, digest: Digest) -> bytes:
        """Return a manifest, or NotFoundError."""

    def tags(self) -> list[Tag]:
        """Return all tags, sorted; none for a repository that does not exist. Tags by other programs are left out."""

    def resolve(self, tag: Tag) -> Digest | None:
        """Return the digest of the manifest that a tag names, None when there is no such tag."""

    def update(self, changes: Mapping[Tag, Digest | None], expected: Mapping[Tag, Digest | None]) -> None:
        """Move, make or remove (None) tags, whose manifests are there already, durably, if those in `expected` are what it says.

        DivergedError, and nothing changed, when one of them is not. `Remote.guarantee` says how exact that is.
        """

    def blobs(self) -> Iterator[Blob] | None:
        """Yield all blobs and manifests, or return None where the kind cannot list them."""

    def delete(self, digest: Digest) -> None:
        """Remove a blob or manifest that no tag needs. Idempotent. RemoteError where the kind cannot."""

    def remove(self) -> None:
        """Remove all tags, then everything else, of the repository. Idempotent. RemoteError where the kind cannot."""


class Remote(Protocol):
    """A place with repositories. `guarantee` says in words what `update` promises when two write at once.

    `connections` is how many calls at once make sense. A `local` one is read as fast as our own disk, so nothing of it is kept.
    """

    url: RemoteUrl
    guarantee: str
    connections: int
    local: bool

    def repositories(self) -> list[RemoteName]:
        """Return the names of all repositories that have a tag, sorted."""

    def repository(self, name: RemoteName) -> Repository:
        """Return a repository, which need not exist."""

    def below(self) -> list[RemoteUrl]:
        """Return the addresses with a longer path at which dots lie, sorted. Empty also where the kind cannot tell.

        The verbs name them to a user whose address has no dots itself.
        """

    def exposed(self) -> str | None:
        """Return a sentence when others than the user can read what is pushed here, None when not or when nobody can tell."""

    def close(self) -> None:
        """Give connections back. Idempotent."""


@dataclass(frozen=True)
class RemoteKind:
    """A kind of remote: the schemes of its addresses and how to open one.

    `open` does not talk to the remote yet. It raises UsageError for an address or option that it does not know.
    """

    name: str
    schemes: tuple[str, ...]
    open: Callable[[RemoteUrl, Context], Remote]
