"""The address of a remote, as the user writes it."""

from __future__ import annotations

import ipaddress
import os
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from dm_compose.errors import UsageError

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://")


@dataclass(frozen=True)
class RemoteUrl:
    """A parsed address.

    `host` is '' for a directory. `path` has no slash at its ends, except the first one of a directory, which is absolute.
    `options` has the names and values that follow `?`. An address never has credentials in it: they would end up in messages
    and configuration.
    """

    scheme: str
    host: str
    path: str
    port: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, user_home: str | None = None) -> Self:
        """Read an address: `scheme://host[:port]/path?name=value`, or the path of a directory (/..., ./..., ../...).

        With `user_home`, the user's own directory, the path may begin with ~/ as well.

        UsageError names the mistake. It never repeats words that may be a password.
        """
        match = _SCHEME.match(text)
        if match is None:
            if text.startswith("~/") and user_home is not None:
                text = f"{user_home.rstrip('/')}{text[1:]}"
            if not text.startswith(("/", "./", "../")) and text not in (".", ".."):
                shown = "this" if set(text) & {":", "@"} else repr(text)  # it may be KEY:SECRET
                raise UsageError(
                    f"{shown} is not the address of a remote",
                    hint="Give a directory (/path, ./path), oci://HOST/PREFIX, s3://BUCKET/PREFIX, gs:// or az://.",
                )
            return cls("file", "", os.path.abspath(text))
        if match[1] != "file" and "@" in text:  # anywhere in the text: a secret may have slashes in it
            raise UsageError(
                "the address of the remote has a user or password in it, which would be stored and shown",
                hint="Use `docker login` for a registry, the provider's environment variables for object storage.",
            )
        try:
            parts = urllib.parse.urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise UsageError(f"the address of the remote cannot be read: {error}") from None
        options = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        if parts.scheme == "file":
            if parts.netloc not in ("", "localhost"):
                raise UsageError(f"file://{parts.netloc} is on another machine", hint="file:///path has three slashes.")
            return cls("file", "", os.path.abspath(urllib.parse.unquote(parts.path) or "/"), options=options)
        if not parts.hostname:
            raise UsageError(f"{text!r} names no host or bucket")
        path = urllib.parse.unquote(parts.path).strip("/")
        if any(part in ("", ".", "..") for part in path.split("/") if path):
            raise UsageError(f"the path of {text!r} has a part that is empty, '.' or '..'")
        host = parts.netloc.removesuffix(f":{port}") if port is not None else parts.netloc.removesuffix(":")
        return cls(match[1], host, path, port, options)

    @property
    def location(self) -> str:
        """The host, with the port if there is one: `HOST[:PORT]`."""
        return f"{self.host}:{self.port}" if self.port is not None else self.host

    @property
    def loopback(self) -> bool:
        """Whether the host is this machine."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    def flag(self, name: str) -> bool:
        """Whether an option is switched on: by 1, true or yes, or by its name without a value."""
        return self.options.get(name, "0").lower() in ("1", "true", "yes", "")

    def __str__(self) -> str:
        if self.scheme == "file":
            return self.path
        query = "?" + urllib.parse.urlencode(self.options) if self.options else ""
        return f"{self.scheme}://{self.location}" + (f"/{self.path}" if self.path else "") + query
