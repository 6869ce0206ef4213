"""Names on remotes as types. A name that has passed `parse` is safe in paths, URLs and messages."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Self

from dm_compose.core.names import CommitId, DotName, RefName
from dm_compose.errors import UntrustedError, UsageError

MAX_TAG = 128  # OCI distribution specification 1.1
_COMMIT = re.compile(r"_([0-9a-f]{32})")
_SLASH = re.compile(r"\.\.(?!\.)")


class Digest(str):
    """The digest of a blob: `sha256:` and 64 lower-case hex digits."""

    __slots__ = ()
    _pattern = re.compile(r"sha256:[0-9a-f]{64}")

    @classmethod
    def parse(cls, text: object) -> Self:
        """Return `text` as this type. UntrustedError if it is no digest, because digests come from remotes."""
        if not isinstance(text, str) or not cls._pattern.fullmatch(text):
            raise UntrustedError(f"{str(text)[:100]!r} is not a sha256 digest")
        return cls(text)

    @property
    def hex(self) -> str:
        return self[7:]

    @property
    def short(self) -> str:
        """The first twelve hex digits, for messages."""
        return self[7:19]


def digest_of(data: bytes) -> Digest:
    """Return the digest of a blob."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


class Tag(str):
    """The name of a manifest in a repository.

    The tag of a branch is the branch's name with `..` for each `/`. The tag of a commit is `_` and the commit's id.
    """

    __slots__ = ()
    _pattern = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")

    @classmethod
    def parse(cls, text: object) -> Self:
        """Return `text` as this type. UntrustedError if it is no tag, because tags come from remotes."""
        if not isinstance(text, str) or not cls._pattern.fullmatch(text):
            raise UntrustedError(f"{str(text)[:200]!r} is not a tag")
        return cls(text)

    @classmethod
    def of_branch(cls, branch: RefName) -> Self:
        """Return the tag of a branch. UsageError when the branch's name is too long for a tag.

        `..` can stand for `/`, because no branch name has `..`, or a `.` after a `/`.
        """
        text = branch.replace("/", "..")
        if len(text) > MAX_TAG:
            raise UsageError(f"branch name {branch} is too long for a remote", hint=f"A tag has up to {MAX_TAG} characters.")
        return cls(text)

    @classmethod
    def of_commit(cls, commit_id: CommitId) -> Self:
        """Return the tag of a commit."""
        return cls(f"_{commit_id}")

    @property
    def branch(self) -> RefName | None:
        """The branch that has this tag. None when it is not the tag of a branch."""
        try:
            return RefName.parse(_SLASH.sub("/", self))
        except UsageError:
            return None

    @property
    def commit_id(self) -> CommitId | None:
        """The commit that has this tag. None when it is not the tag of a commit."""
        match = _COMMIT.fullmatch(self)
        return CommitId(match[1]) if match else None


@dataclass(frozen=True, order=True)
class RemoteName:
    """The name of a dot on a remote: `NAMESPACE/DOT`."""

    namespace: DotName
    dot: DotName

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return `text` as this type. UsageError for anything but two names with a slash between them."""
        namespace, slash, dot = text.partition("/")
        if not slash:
            raise UsageError(f"invalid name of a dot on a remote {text!r}", hint="It has two parts: NAMESPACE/DOT.")
        return cls(DotName.parse(namespace), DotName.parse(dot))

    def __str__(self) -> str:
        return f"{self.namespace}/{self.dot}"
