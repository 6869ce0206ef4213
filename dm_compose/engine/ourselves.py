"""The containers without which this process cannot go on: the one that it runs in, and one that carries its calls to the engine.

A process that freezes or kills one of them never comes to the thaw.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import tempfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from dm_compose.core.containers import Container

_PROC = Path("/proc")
_ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 (as Docker reports it)
_NETWORK_FILES = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")  # Docker mounts them from CONTAINER-ID/
_PLACES = ("/", "/var/tmp", "/tmp", "/root", "/home")  # noqa: S108 (the file has a name that nobody can guess)
_ID = re.compile(r"\b[0-9a-f]{64}\b")


@dataclass(frozen=True)
class Whereabouts:
    """The signs by which this process recognises the container that it runs in. On a host they fit no container.

    `layer` is the upper directory of the overlay that is our root, '' if the root is none. `cgroups` are the ids in our control
    groups: none in a control-group namespace of its own. `network` are the ids from which our /etc/hostname and its like are
    mounted: those of another container if we share its network.
    """

    layer: str
    cgroups: frozenset[str]
    network: frozenset[str]
    hostname: str

    @classmethod
    def here(cls) -> Self:
        """Read the signs of this process."""
        mounts = [_Mount.read(line) for line in _text("self/mountinfo").splitlines()]
        roots = [m for m in mounts if m.target == "/"]
        return cls(
            layer=roots[-1].option("upperdir") if roots else "",
            cgroups=frozenset(_ID.findall(_text("self/cgroup"))),
            network=frozenset(i for m in mounts if m.target in _NETWORK_FILES for i in _ID.findall(m.root)),
            hostname=socket.gethostname(),
        )

    def is_in(self, container: Container) -> bool | None:
        """Whether this process runs in a container. None if only a look at the container's files can tell."""
        if container.id in self.cgroups:
            return True
        if container.layer:  # the engine says where the container's root is, and with overlayfs it is nobody else's
            return bool(self.layer) and (f"/{container.layer}").endswith(f"/{self.layer.lstrip('/')}")
        shares = container.network_mode.removeprefix("container:")
        return None if container.hostname == self.hostname or {container.id, shares} & self.network else False


@contextlib.contextmanager
def own_file(hidden: Collection[str]) -> Iterator[str | None]:
    """Make a file on our root's file system for the time of the block, and return its path. None if there is no place for it.

    It is not below the directories `hidden`.
    """
    made = None
    for directory in _PLACES:
        covered = any(directory == h or directory.startswith(f"{h}/") for h in hidden if h)
        with contextlib.suppress(OSError):
            if not covered and os.stat(directory).st_dev == os.stat("/").st_dev:
                descriptor, made = tempfile.mkstemp(prefix=".dm-compose-", dir=directory)
                os.close(descriptor)
                break
    try:
        yield made
    finally:
        if made is not None:
            os.unlink(made)


@dataclass(frozen=True)
class Route:
    """The way by which calls reach the engine: the addresses and the port of a TCP endpoint, or the process at a unix socket."""

    addresses: frozenset[str]
    port: int
    cgroups: frozenset[str]

    @classmethod
    def of(cls, base_url: str, socket_path: str | None) -> Self:
        """Find out where an endpoint is, as docker-py names it."""
        if socket_path is not None:
            return cls(frozenset(), 0, frozenset(_peer(socket_path)))
        try:
            parts = urlsplit(base_url)
            port = parts.port or 0
            found = {str(entry[4][0]) for entry in socket.getaddrinfo(parts.hostname, port or None)} if port else set()
        except (OSError, ValueError):
            return cls(frozenset(), 0, frozenset())
        return cls(frozenset(found), port, frozenset())

    def leads_through(self, container: Container) -> bool:
        """Whether calls pass through a container: it has the endpoint's address, publishes its port or has its socket."""
        published = [binding for bindings in container.ports.values() for binding in bindings]
        return (
            container.id in self.cgroups
            or not self.addresses.isdisjoint(container.addresses)
            or any(p == self.port and (a in _ANY_ADDRESS or a in self.addresses) for a, p in published)
        )


@dataclass(frozen=True)
class _Mount:
    """A line of /proc/PID/mountinfo (proc(5)): what is mounted, where, and the options of its file system."""

    root: str
    target: str
    options: str

    @classmethod
    def read(cls, line: str) -> Self:
        before, _, after = line.partition(" - ")
        fields = before.split()
        return cls(fields[3], fields[4], after.split(maxsplit=2)[-1]) if len(fields) > 4 else cls("", "", "")

    def option(self, name: str) -> str:
        return next((o.partition("=")[2] for o in self.options.split(",") if o.startswith(f"{name}=")), "")


def _text(name: str) -> str:
    try:
        return (_PROC / name).read_text(errors="surrogateescape")
    except OSError:
        return ""


def _peer(path: str) -> Iterable[str]:
    """Return the ids in the control groups of the process that listens at a socket, none if it cannot be seen from here."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        connection.connect(path)
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid = struct.unpack("3i", credentials)[0]
        return _ID.findall(_text(f"{pid}/cgroup")) if pid else ()
    return ()
