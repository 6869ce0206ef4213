"""Rules that judge a mount by its path. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dm_compose.core.project import ServiceMount

_CACHES = re.compile(
    r"/(node_modules|bower_components|target|vendor|_build|deps|__pycache__|\.venv|venv|\.m2|\.ivy2|\.sbt|\.gradle|\.cargo|\.rustup"
    r"|\.npm|\.yarn|\.?pnpm-store|\.bundle|\.composer|\.nuget|\.mix|\.hex|\.pub-cache|\.next|\.nuxt|\.angular|\.svelte-kit|\.turbo"
    r"|\.parcel-cache|\.?cache|\.mypy_cache|\.pytest_cache|site-packages|\.local/share/pnpm)(/|$)"
    r"|^/(bundle|gems)(/|$)|/go/(pkg|bin)(/|$)|^/usr/local/(bundle|cargo)(/|$)|^/var/lib/apt(/|$)"
)
_SOCKETS = re.compile(r"^(/var)?/run(/|$)|\.sock$|/\.X11-unix(/|$)")
_CERTIFICATES = re.compile(r"/(certs?|certificates|letsencrypt|ca-certificates|pki|ssl|tls)(/|$)")
_TEMPORARY = re.compile(r"^/(var/)?tmp(/|$)|/tmp$")
_LOGS = re.compile(r"^/(var/)?logs?(/|$)")
_INIT_SCRIPTS = re.compile(r"(^|/)(docker-entrypoint-)?init(db)?\.d(/|$)|^/docker-entrypoint")
_CLOCK = re.compile(r"^/etc/(localtime|timezone)$")
_FILE_NAME = re.compile(r"\.[A-Za-z][A-Za-z0-9]*$")
_CONFIGURATION = re.compile(r"^/etc(/|$)|/config(s|uration)?(/|$)|\.(conf|cnf|ini|cfg|ya?ml|json|toml|properties|xml|env|rc)$")

NEVER_STATE = ("socket", "clock of the host")
TO_INCLUDE = "to include it, name it in x-dotmesh.include"
_HOST_FILES = f"host directory: source code or files of the host; {TO_INCLUDE}"


def tidy(path: str) -> str:
    """Return a path without slashes at its end."""
    return path.rstrip("/") or "/"


def related(path: str, other: str) -> bool:
    """Whether the two paths are the same, or one of them is within the other."""
    a, b = path.rstrip("/") + "/", other.rstrip("/") + "/"
    return a.startswith(b) or b.startswith(a)


def is_aside(mount: ServiceMount, data: Iterable[str]) -> bool:
    """Whether a mount below a data path holds something else than the data.

    This holds for a read-only mount, and for a bind mount of a file, a socket, scripts, certificates or configuration.
    """
    below = next((mount.target.removeprefix(path) for path in data if mount.target.startswith(f"{path}/")), "")
    if not below:
        return False
    patterns = (_FILE_NAME, _SOCKETS, _INIT_SCRIPTS, _CERTIFICATES, _CONFIGURATION)
    return mount.read_only or (mount.kind == "bind" and any(pattern.search(below) for pattern in patterns))


def volume_reason(path: str) -> str:
    """Return why a volume at this path is no state; '' means that nothing speaks against it."""
    for pattern, reason in (
        (_CACHES, "dependency or build cache"),
        (_SOCKETS, "sockets"),
        (_TEMPORARY, "temporary files"),
        (_CERTIFICATES, "certificates"),
        (_LOGS, "logs"),
    ):
        if pattern.search(path):
            return reason
    return ""


def bind_reason(path: str, source: str) -> str:
    """Return why a bind mount of the host's `source` at `path` is no state. The caller knows that it is no datastore's data."""
    for pattern, reason in (
        (_CLOCK, "clock of the host"),
        (_SOCKETS, "socket"),
        (_INIT_SCRIPTS, "initialisation scripts"),
        (_CACHES, "dependency or build cache"),
        (_CERTIFICATES, "certificates"),
        (_CONFIGURATION, "configuration"),
        (_LOGS, "logs"),
    ):
        if pattern.search(path) or (pattern is _SOCKETS and pattern.search(source)):
            return reason
    return _HOST_FILES
