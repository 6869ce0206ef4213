"""A commit on a remote, named in one word: `REMOTE:NS/DOT[@REF]`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self

from dm_compose.core.names import DEFAULT_BRANCH, CommitId, DotName, RefName
from dm_compose.errors import UsageError
from dm_compose.remotes.names import RemoteName

NAMESPACE = DotName("admin")
_HINT = "For example: hub:team/shop, hub:team/shop@BRANCH, oci://hub.example/team:admin/shop, /srv/dots:admin/shop@COMMIT"
_PORT = re.compile(r"(?P<host>[a-z][a-z0-9+.-]*://[^/]+):\d+(/[^:]*)?")


@dataclass(frozen=True)
class RemoteRef:
    """A commit of a dot on a remote: the newest of a branch, or one by its whole id. `remote` is a known name or an address.

    `told` says that the user has named the REF.
    """

    remote: str
    name: RemoteName
    ref: RefName | CommitId
    told: bool = field(default=True, compare=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `REMOTE:NS/DOT[@REF]`. UsageError if it is nothing of the kind.

        The last colon ends REMOTE, because neither NS/DOT nor a REF has one. A text that ends like the port and path of an
        address is an address without a dot. The default of NS is `admin`, that of REF the branch `master`, or the only
        branch that there is (`Remotes.on_its_branch`).
        """
        remote, colon, rest = text.rpartition(":")
        if not colon or not remote or rest.startswith("//") or _PORT.fullmatch(text):
            raise UsageError(f"{text!r} does not say which dot of a remote is meant", hint=_HINT)
        dot, at, ref = rest.partition("@")
        if at and not ref:
            raise UsageError(f"{text!r} has nothing after the @", hint=_HINT)
        try:
            return cls(remote, remote_name(dot), _ref(ref) if at else DEFAULT_BRANCH, told=bool(at))
        except UsageError as error:
            error.hint = _HINT
            raise

    def __str__(self) -> str:
        return f"{self.remote}:{self.name}@{self.ref}"


def remote_name(text: str) -> RemoteName:
    """Read `NS/DOT`, or `DOT` in the namespace `admin`. UsageError."""
    return RemoteName.parse(text if "/" in text else f"{NAMESPACE}/{text}")


def _ref(text: str) -> RefName | CommitId:
    return CommitId(text) if CommitId.pattern.fullmatch(text) else RefName.parse(text)
