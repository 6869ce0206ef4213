"""Reading from a remote. Every function checks digests, except `stream`, whose caller does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from dm_compose.errors import DamagedError, NotFoundError, UntrustedError
from dm_compose.remotes.base import MAX_MANIFEST_BYTES, Repository
from dm_compose.remotes.names import Digest, digest_of
from dm_compose.transfer.manifests import CommitManifest, Descriptor
from dm_compose.transfer.tables import Table

_VERIFY = "`remote verify` lists all damage."


def read_manifest(repository: Repository, digest: Digest) -> CommitManifest:
    """Return the manifest of a commit. DamagedError when it is missing, or does not have its digest."""
    what = f"manifest {digest.short}"
    data = _get_manifest(repository, digest, what)
    if digest_of(data) != digest:  # perhaps only this one answer was damaged
        data = _get_manifest(repository, digest, what)
    if digest_of(data) != digest:
        raise damaged(what)
    return CommitManifest.decode(data, what=what)


def _get_manifest(repository: Repository, digest: Digest, what: str) -> bytes:
    try:
        data = repository.get_manifest(digest)
    except NotFoundError:
        raise DamagedError(f"{what} is missing from the remote", hint=_VERIFY) from None
    if len(data) > MAX_MANIFEST_BYTES:
        raise UntrustedError(f"{what} has {len(data)} bytes; up to {MAX_MANIFEST_BYTES} are accepted")
    return data


def read_blob(repository: Repository, layer: Descriptor, *, what: str) -> bytes:
    """Return a blob. DamagedError, which names it as `what`, when it is missing or does not have its digest."""
    what = f"{what} {layer.digest.short}"
    parts = []
    digest = hashlib.sha256()
    for data in stream(repository, layer, 0, what=what):
        digest.update(data)
        parts.append(data)
    if digest.hexdigest() != layer.digest.hex:
        raise damaged(what)
    return b"".join(parts)


def stream(repository: Repository, layer: Descriptor, start: int, *, what: str) -> Iterator[bytes]:
    """Yield a blob from the offset `start` to its end, without a check of its digest.

    An answer that ends too early is asked for again from there, as long as each answer brings more. DamagedError, which names the
    blob as `what`, when it is missing or has another size.
    """
    while start < layer.size:
        before = start
        try:
            for data in repository.get(layer.digest, start):
                start += len(data)
                if start > layer.size:
                    raise damaged(what)
                yield data
        except NotFoundError:
            raise DamagedError(f"{what} is missing from the remote", hint=_VERIFY) from None
        if start == before:
            raise damaged(what)


def read_table(repository: Repository, layer: Descriptor) -> Table:
    """Return a table of objects. DamagedError as for `read_blob`; UntrustedError for a table that cannot be."""
    return Table.decode(read_blob(repository, layer, what="table"), what=f"table {layer.digest.short}")


def damaged(what: str) -> DamagedError:
    """Return the error for a blob that does not have its digest."""
    return DamagedError(f"{what} on the remote is damaged: its contents do not match its digest", hint=_VERIFY)
