"""The key of a seed: a digest of everything that its data is made from. The same sources give the same key on every machine.

The key is the sha256, cut to 32 digits, of a JSON document with the version of this format, the engine's architecture, each
subdot with its datastore's image, the path, contents and executable bit of each file, and the user's own text.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dm_compose.core.containers import Image
from dm_compose.core.names import SEED_BRANCHES, RefName
from dm_compose.core.project import ComposeService
from dm_compose.dots.stack import Stack
from dm_compose.errors import NotFoundError, UsageError
from dm_compose.objects.system import file_errors

FORMAT = 1
_DIGITS = 32


@dataclass(frozen=True)
class KeySource:
    """One source of a key. `kind` is architecture, subdot, files or text. `digest` changes when the source does."""

    kind: str
    name: str
    digest: str


@dataclass(frozen=True)
class ContentKey:
    """A key, and its sources."""

    key: str
    parts: tuple[KeySource, ...]

    @property
    def branch(self) -> RefName:
        """The branch that a seed with this key has on a remote."""
        return RefName(f"{SEED_BRANCHES}/{self.key}")


def content_key(stack: Stack, globs: Sequence[str], text: str = "") -> ContentKey:
    """Return the key of a stack's seed.

    `globs` are relative to the project's directory. They match as in a shell, and `**` matches at any depth. A directory stands
    for all files below it, without hidden ones. UsageError without globs and text, and for an absolute glob. NotFoundError for a
    glob that matches no file, and for an image that the engine lacks.
    """
    if not globs and not text:
        raise UsageError("a key needs something to be made from", hint="For example: --key-from 'migrations/**'")
    parts = [KeySource("architecture", stack.facts.engine.facts().architecture, "")]
    for subdot in sorted(stack.facts.plan.subdots, key=lambda s: s.name):
        service = stack.facts.project.services[subdot.services[0]]
        identity = (
            _identity(stack, service) if subdot.engine is not None else ""
        )  # an application's image changes all the time, so it does not count
        parts.append(KeySource("subdot", f"{subdot.name} ({service.name}:{subdot.path})", identity))
    directory = stack.compose.directory()
    parts += [_files(directory, pattern) for pattern in sorted(set(globs))]
    parts += [KeySource("text", text, "")] if text else []
    document = json.dumps([FORMAT, *([p.kind, p.name, p.digest] for p in parts)], separators=(",", ":"))
    return ContentKey(hashlib.sha256(document.encode()).hexdigest()[:_DIGITS], tuple(parts))


def _identity(stack: Stack, service: ComposeService) -> str:
    """Return a text that identifies a datastore's image on any machine.

    For an image that was pulled it is the registry's digest. An image that Compose builds has another id on each machine, so its
    datastore and version stand for it. For any other image it is the engine's id.
    """
    image = stack.facts.images.get(service.name)
    if image is None:
        raise NotFoundError(
            f"the engine has no image {service.image.reference} of service {service.name}",
            hint="`docker compose pull`, or `docker compose build`, says why.",
        )
    if service.built:
        planned = stack.facts.plan.services[service.name]
        known = planned.datastore.name if planned.datastore is not None else "here"
        return f"built {known} {planned.version or '?'}"
    return _pulled(image) or image.digest


def _pulled(image: Image) -> str | None:
    """Return the image's digest in the registry that its name says, else in any. None for an image that was not pulled."""
    digests = [name.rpartition("@") for name in image.pulled]
    wanted = image.reference.partition("@")[0].removeprefix("docker.io/").removeprefix("library/")
    named = [digest for name, _, digest in digests if wanted == name or wanted.startswith(f"{name}:")]
    return next(iter(named or [digest for _, _, digest in digests]), None)


def _files(directory: Path, pattern: str) -> KeySource:
    if os.path.isabs(pattern):
        raise UsageError(f"--key-from {pattern} does not start from the project's directory", hint=f"Here that is {directory}.")
    with file_errors(f"reading the files that {pattern} matches"):
        paths = sorted(set(_matching(directory, pattern)))
        found = [[path, bool(os.stat(directory / path).st_mode & 0o100), _sha256(directory / path)] for path in paths]
    if not found:
        raise NotFoundError(
            f"--key-from {pattern} matches no file below {directory}",
            hint="Quote it, so that the shell does not expand it.",
        )
    digest = hashlib.sha256(json.dumps(found, separators=(",", ":")).encode()).hexdigest()
    return KeySource("files", f"{pattern} ({len(found)})", digest)


def _matching(directory: Path, pattern: str) -> Iterator[str]:
    for path in glob.iglob(pattern, root_dir=directory, recursive=True):
        path = os.path.normpath(path)
        if os.path.isfile(directory / path):
            yield path
        elif os.path.isdir(directory / path) and "**" not in pattern:
            below = glob.iglob(f"{glob.escape(path)}/**", root_dir=directory, recursive=True)
            yield from (os.path.normpath(p) for p in below if os.path.isfile(directory / p))


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
