"""A commit on a remote: an OCI image manifest whose config is the commit and whose layers are its trees, tables and packs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dm_compose.core.commit import Commit
from dm_compose.core.names import CommitId, DotName, SubdotName
from dm_compose.core.plain import from_plain, to_plain
from dm_compose.errors import UntrustedError, UsageError
from dm_compose.remotes.base import MAX_BLOB_BYTES
from dm_compose.remotes.layout import COMMIT_TYPE, MANIFEST_TYPE
from dm_compose.remotes.names import Digest

CONFIG_TYPE = "application/vnd.dotmesh.commit.config.v1+json"
TREE_TYPE = "application/vnd.dotmesh.tree.v1+zstd"
TABLE_TYPE = "application/vnd.dotmesh.objects.v1+zstd"
PACK_TYPE = "application/vnd.dotmesh.pack.v1+zstd"
FORMAT = 1

COMMIT_NOTE, PARENT_NOTE, PARENT_MANIFEST_NOTE = "dev.dotmesh.commit", "dev.dotmesh.parent", "dev.dotmesh.parent.manifest"
SUBDOT_NOTE = "dev.dotmesh.subdot"
CREATED_NOTE = "org.opencontainers.image.created"
MAX_SUBDOTS = 10_000
MANIFEST_ID = re.compile(r"[0-9a-f]{32}/[^/]{1,200}\.manifest")


class Descriptor(NamedTuple):
    """Digest and size of a blob that a commit needs. A tree has its `subdot`; other blobs have none."""

    digest: Digest
    size: int
    subdot: SubdotName | None = None


@dataclass(frozen=True)
class CommitManifest:
    """The manifest of a commit. It names the manifest of the parent by digest, so its own digest covers the whole history."""

    commit: CommitId
    parent: CommitId | None
    parent_manifest: Digest | None
    created: str
    config: Descriptor
    trees: tuple[Descriptor, ...]
    tables: tuple[Descriptor, ...]
    packs: tuple[Descriptor, ...]
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Every blob that the commit needs, its config included."""
        return (self.config, *self.trees, *self.tables, *self.packs)

    @property
    def size_bytes(self) -> int:
        """The sum of the sizes of all blobs."""
        return sum(blob.size for blob in self.blobs)

    def encode(self) -> bytes:
        """Return the document. Equal manifests give equal bytes."""
        notes = {**self.annotations, COMMIT_NOTE: self.commit, CREATED_NOTE: self.created}
        if self.parent is not None and self.parent_manifest is not None:
            notes |= {PARENT_NOTE: self.parent, PARENT_MANIFEST_NOTE: self.parent_manifest}
        trees = [_encode_descriptor(TREE_TYPE, layer) for layer in self.trees]
        tables = [_encode_descriptor(TABLE_TYPE, layer) for layer in self.tables]
        packs = [_encode_descriptor(PACK_TYPE, layer) for layer in self.packs]
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": COMMIT_TYPE,
            "config": _encode_descriptor(CONFIG_TYPE, self.config),
            "layers": trees + tables + packs,
            "annotations": notes,
        }
        return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def decode(cls, data: bytes, *, what: str) -> CommitManifest:
        """Read a manifest from a remote. UntrustedError, which names it as `what`, when it is not the manifest of a commit."""
        try:
            document = json.loads(data)
            if document.get("artifactType") != COMMIT_TYPE:
                raise UntrustedError(f"{what} is not a commit of a dot, but {document.get('artifactType')!r}")
            notes = document["annotations"]
            layers: dict[str, list[Descriptor]] = {CONFIG_TYPE: [], TREE_TYPE: [], TABLE_TYPE: [], PACK_TYPE: []}
            for item in (document["config"], *document["layers"]):
                if item["mediaType"] not in layers:
                    raise UntrustedError(f"{what} has a layer of an unknown kind", hint="A newer dm-compose may know it.")
                layers[item["mediaType"]].append(_decode_descriptor(item, what))
            (config,) = layers[CONFIG_TYPE]
            parent, parent_manifest = notes.get(PARENT_NOTE), notes.get(PARENT_MANIFEST_NOTE)
            if (parent is None) != (parent_manifest is None) or len(layers[TREE_TYPE]) > MAX_SUBDOTS:
                raise UntrustedError(f"{what} is inconsistent")
            return cls(
                commit=CommitId.parse(notes[COMMIT_NOTE]),
                parent=None if parent is None else CommitId.parse(parent),
                parent_manifest=None if parent_manifest is None else Digest.parse(parent_manifest),
                created=str(notes[CREATED_NOTE])[:100],
                config=config,
                trees=tuple(layers[TREE_TYPE]),
                tables=tuple(layers[TABLE_TYPE]),
                packs=tuple(layers[PACK_TYPE]),
            )
        except (ValueError, KeyError, TypeError, AttributeError, UsageError, RecursionError) as error:
            raise UntrustedError(f"{what} cannot be read: {error}") from None


def _encode_descriptor(media_type: str, layer: Descriptor) -> dict[str, Any]:
    described: dict[str, Any] = {"mediaType": media_type, "digest": layer.digest, "size": layer.size}
    if layer.subdot is not None:
        described["annotations"] = {SUBDOT_NOTE: layer.subdot}
    return described


def _decode_descriptor(item: dict[str, Any], what: str) -> Descriptor:
    size = item["size"]
    if type(size) is not int or not 0 <= size <= MAX_BLOB_BYTES:
        raise UntrustedError(f"{what} has a blob of {size!r} bytes; up to {MAX_BLOB_BYTES} are accepted")
    subdot = SubdotName.parse(item["annotations"][SUBDOT_NOTE]) if item["mediaType"] == TREE_TYPE else None
    return Descriptor(Digest.parse(item["digest"]), size, subdot)


def encode_config(commit: Commit) -> bytes:
    """Return the config of a commit: the document with its fields. Equal commits give equal bytes."""
    return json.dumps({"format": FORMAT, "commit": to_plain(commit)}, separators=(",", ":"), sort_keys=True).encode()


def decode_config(data: bytes, manifest: CommitManifest, dot: DotName, *, what: str) -> Commit:
    """Return the commit in a config, as a commit of the local `dot`. UntrustedError when it does not fit its manifest."""
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise UntrustedError(f"{what} is of format {document['format']!r}", hint="A newer dm-compose may know it.")
        commit = from_plain(Commit, {**document["commit"], "dot": dot})
    except (ValueError, KeyError, TypeError, AttributeError, UsageError, RecursionError) as error:
        raise UntrustedError(f"{what} cannot be read: {error}") from None
    if commit.created.tzinfo is None or (commit.id, commit.parent) != (manifest.commit, manifest.parent):
        raise UntrustedError(f"{what} does not fit its manifest")
    trees = [layer.subdot for layer in manifest.trees]
    if len(trees) != len(set(trees)) or set(trees) != set(commit.subdots):
        raise UntrustedError(f"{what} and its manifest name different subdots")
    for subdot, state in commit.subdots.items():
        if not MANIFEST_ID.fullmatch(state.manifest) or state.manifest.partition("/")[2] != f"{subdot}.manifest":
            raise UntrustedError(f"{what} has a manifest of the invalid id {state.manifest[:200]!r}")
    return commit


def unique(descriptors: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    """Return each descriptor once. One that comes several times keeps its last place."""
    found = list(descriptors)
    last = {descriptor.digest: number for number, descriptor in enumerate(found)}
    return tuple(descriptor for number, descriptor in enumerate(found) if last[descriptor.digest] == number)
