"""Commits on a remote as an enemy would write them: with right digests and wrong contents."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from dm_compose.core.names import SubdotName
from dm_compose.remotes import Remote, Tag, digest_of
from dm_compose.transfer.codec import compress_document, decompress_document
from dm_compose.transfer.manifests import CommitManifest, Descriptor
from dm_compose.transfer.reading import read_blob, read_manifest
from tests.support.transfers import SHOP

Change = Callable[[Any], Any]
_MANY = 1 << 30


class Forge:
    """Changes the commit that `master` names on a remote, and names the changed one by `master`."""

    def __init__(self, remote: Remote) -> None:
        self.repository = remote.repository(SHOP)
        digest = self.repository.resolve(Tag("master"))
        assert digest is not None
        self.manifest: CommitManifest = read_manifest(self.repository, digest)

    def _put(self, data: bytes, subdot: SubdotName | None = None) -> Descriptor:
        self.repository.put(digest_of(data), data)
        return Descriptor(digest_of(data), len(data), subdot)

    def _document(self, layer: Descriptor) -> Any:
        return json.loads(decompress_document(read_blob(self.repository, layer, what="x"), _MANY, what="x"))

    def tree(self, change: Change) -> Forge:
        """Change the JSON of the first tree, and what the commit says of it."""
        first, *rest = self.manifest.trees
        document = self._document(first)
        del document["crc32"]  # an enemy leaves it out: it is for accidents
        document = change(document) or document
        layer = self._put(compress_document(json.dumps(document).encode()), first.subdot)
        self.manifest = replace(self.manifest, trees=(layer, *rest))
        entries = document["entries"] if isinstance(document["entries"], list) else []
        rows = [row for row in entries if isinstance(row, list) and len(row) == 9 and row[1] == "f"]
        sizes = sum(row[6] for row in rows if isinstance(row[6], int))
        return self.config(lambda c: c["commit"]["subdots"][first.subdot].update(files=len(rows), size_bytes=sizes))

    def raw_tree(self, blob: bytes) -> Forge:
        first, *rest = self.manifest.trees
        self.manifest = replace(self.manifest, trees=(self._put(blob, first.subdot), *rest))
        return self

    def config(self, change: Change) -> Forge:
        document = json.loads(read_blob(self.repository, self.manifest.config, what="x"))
        document = change(document) or document
        self.manifest = replace(self.manifest, config=self._put(json.dumps(document).encode()))
        return self

    def table(self, change: Change) -> Forge:
        first, *rest = self.manifest.tables
        document = self._document(first)
        document = change(document) or document
        self.manifest = replace(self.manifest, tables=(self._put(compress_document(json.dumps(document).encode())), *rest))
        return self

    def raw_table(self, blob: bytes) -> Forge:
        self.manifest = replace(self.manifest, tables=(self._put(blob),))
        return self

    def pack(self, change: Callable[[bytes], bytes]) -> Forge:
        """Change the first pack, with the table that names it."""
        first, *rest = self.manifest.packs
        layer = self._put(change(read_blob(self.repository, first, what="x")))
        self.manifest = replace(self.manifest, packs=(layer, *rest))

        def rename(document: Any) -> None:
            document["packs"] = [
                [layer.digest, layer.size] if pack == first.digest else [pack, size] for pack, size in document["packs"]
            ]

        return self.table(rename)

    def raw_manifest(self, change: Change) -> None:
        """Change the manifest's own JSON and publish it."""
        document = json.loads(self.manifest.encode())
        document = change(document) or document
        self._tag(json.dumps(document).encode())

    def publish(self) -> None:
        """Name the changed commit by `master`."""
        self._tag(self.manifest.encode())

    def _tag(self, data: bytes) -> None:
        self.repository.update({Tag("master"): self.repository.put_manifest(data)}, {})
