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
from dm_compose.remotes.names import Digest

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
COMMIT_TYPE = "application/vnd.dotmesh.commit.v1+json"
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


class Layer(NamedTuple):
    """A blob that a commit needs. `subdot` is whose tree it is."""

    digest: Digest
    size: int
    subdot: SubdotName | None = None


@dataclass(frozen=True)
class CommitManifest:
    """What the manifest of a commit says. `parent_manifest` makes the digest of a commit one of its whole history."""

    commit: CommitId
    parent: CommitId | None
    parent_manifest: Digest | None
    created: str
    config: Layer
    trees: tuple[Layer, ...]
    tables: tuple[Layer, ...]
    packs: tuple[Layer, ...]
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every blob that the commit needs, its config among them."""
        return (self.config, *self.trees, *self.tables, *self.packs)

    @property
    def size_bytes(self) -> int:
        """Sum of the sizes of all its blobs."""
        return sum(layer.size for layer in self.layers)

    def encode(self) -> bytes:
        """Return the document; the same commit always gives the same bytes."""
        notes = {**self.annotations, COMMIT_NOTE: self.commit, CREATED_NOTE: self.created}
        if self.parent is not None and self.parent_manifest is not None:
            notes |= {PARENT_NOTE: self.parent, PARENT_MANIFEST_NOTE: self.parent_manifest}
        trees = [_described(TREE_TYPE, layer) for layer in self.trees]
        tables = [_described(TABLE_TYPE, layer) for layer in self.tables]
        packs = [_described(PACK_TYPE, layer) for layer in self.packs]
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": COMMIT_TYPE,
            "config": _described(CONFIG_TYPE, self.config),
            "layers": trees + tables + packs,
            "annotations": notes,
        }
        return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def decode(cls, data: bytes, *, what: str) -> CommitManifest:
        """Read a manifest from a remote; UntrustedError names it as `what` when it is not a commit's."""
        try:
            document = json.loads(data)
            if document.get("artifactType") != COMMIT_TYPE:
                raise UntrustedError(f"{what} is no commit of a dot, but {document.get('artifactType')!r}")
            notes = document["annotations"]
            layers: dict[str, list[Layer]] = {CONFIG_TYPE: [], TREE_TYPE: [], TABLE_TYPE: [], PACK_TYPE: []}
            for item in (document["config"], *document["layers"]):
                if item["mediaType"] not in layers:
                    raise UntrustedError(f"{what} has a layer of an unknown kind", hint="A newer dm-compose may know it.")
                layers[item["mediaType"]].append(_layer(item, what))
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


def _described(media_type: str, layer: Layer) -> dict[str, Any]:
    described: dict[str, Any] = {"mediaType": media_type, "digest": layer.digest, "size": layer.size}
    if layer.subdot is not None:
        described["annotations"] = {SUBDOT_NOTE: layer.subdot}
    return described


def _layer(item: dict[str, Any], what: str) -> Layer:
    size = item["size"]
    if type(size) is not int or not 0 <= size <= MAX_BLOB_BYTES:
        raise UntrustedError(f"{what} has a blob of {size!r} bytes; up to {MAX_BLOB_BYTES} are accepted")
    subdot = SubdotName.parse(item["annotations"][SUBDOT_NOTE]) if item["mediaType"] == TREE_TYPE else None
    return Layer(Digest.parse(item["digest"]), size, subdot)


def encode_config(commit: Commit) -> bytes:
    """Return the commit document."""
    return json.dumps({"format": FORMAT, "commit": to_plain(commit)}, separators=(",", ":"), sort_keys=True).encode()


def decode_config(data: bytes, manifest: CommitManifest, dot: DotName, *, what: str) -> Commit:
    """Return the commit that a config describes, as one of the local `dot`; UntrustedError when it does not fit its manifest."""
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


def unique(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """Return layers, each once, in the order in which they come last."""
    found = list(layers)
    last = {layer.digest: number for number, layer in enumerate(found)}
    return tuple(layer for number, layer in enumerate(found) if last[layer.digest] == number)
