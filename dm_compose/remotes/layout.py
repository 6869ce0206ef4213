"""The documents of an OCI image layout (image specification 1.1): `oci-layout`, and `index.json`, which has the tags."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dm_compose.errors import DamagedError, DivergedError, UntrustedError
from dm_compose.remotes.names import Digest, Tag

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
COMMIT_TYPE = "application/vnd.dotmesh.commit.v1+json"
REF_NAME = "org.opencontainers.image.ref.name"


class LayoutIndex:
    """The tags of an image layout, read from its `index.json` and written back. Entries of other programs are kept as they are.

    `data` is None for a layout that does not exist yet. DamagedError names the file as `where` when it cannot be read.
    """

    def __init__(self, data: bytes | None, *, where: str) -> None:
        self._others: list[Any] = []
        self.tags: dict[Tag, tuple[Digest, int]] = {}
        if data is None:
            return
        try:
            for entry in json.loads(data)["manifests"]:
                self._take(entry)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedError(f"{where} cannot be read: {error}") from None

    def _take(self, entry: Any) -> None:
        try:
            tag = Tag.parse(entry.get("annotations", {}).get(REF_NAME))
            self.tags[tag] = Digest.parse(entry["digest"]), int(entry["size"])
        except UntrustedError:
            self._others.append(entry)

    def check(self, expected: Mapping[Tag, Digest | None]) -> None:
        """Raise DivergedError when a tag does not name the expected digest, or exists where None is expected."""
        for tag, wanted in expected.items():
            found = self.tags.get(tag)
            if (found[0] if found else None) != wanted:
                raise changed(tag)

    def encode(self) -> bytes:
        """Return the bytes of `index.json`."""
        manifests = [
            {
                "mediaType": MANIFEST_TYPE,
                "artifactType": COMMIT_TYPE,
                "digest": digest,
                "size": size,
                "annotations": {REF_NAME: tag},
            }
            for tag, (digest, size) in sorted(self.tags.items())
        ]
        document = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": self._others + manifests}
        return json.dumps(document, separators=(",", ":")).encode()


def changed(tag: Tag) -> DivergedError:
    """Return the error for a tag that somebody else has moved."""
    what = f"branch {tag.branch}" if tag.branch is not None else f"tag {tag}"
    return DivergedError(
        f"somebody else moved {what} on the remote meanwhile", hint="Pull what they pushed, then push again; nothing is lost."
    )
