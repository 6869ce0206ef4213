"""The description of a datastore. docs/plugins.md shows how to add one in twenty lines."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dm_compose.core.containers import Image

Probe = Callable[[str, int, float], bool]
"""`probe(host, port, timeout_s)`: whether the server answers its own protocol. An OSError means no."""


@dataclass(frozen=True)
class Service:
    """What one service runs: its image, environment (the image's and the compose file's) and command line."""

    image: Image
    environment: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()

    def option(self, *names: str) -> str | None:
        """Return the value of a command-line option, given as `--name value`, `--name=value` or `name=value`; the last one
        counts.
        """
        value = None
        for position, word in enumerate(self.command):
            name, equals, rest = word.partition("=")
            if name in names:
                if equals:
                    value = rest
                elif position + 1 < len(self.command):
                    value = self.command[position + 1]
        return value


class Running(Protocol):
    """A datastore that runs, as a quiesce hook sees it."""

    @property
    def service(self) -> Service:
        """What it runs."""

    @property
    def host(self) -> str:
        """Where it can be reached from here."""

    @property
    def port(self) -> int:
        """The port that belongs to `host`."""

    def run(self, command: Sequence[str], *, user: str = "", environment: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Run a command in the container; return its exit code and output."""


Resume = Callable[[], None]
Quiesce = Callable[[Running], Resume | None]
"""Bring acknowledged writes to the disk. Returns how to undo what it switched off, if anything.

Called while every other container of the stack is frozen, just before this one is frozen too; what it returns is called after
the thaw. It must hold within seconds, raise DmError when it cannot do its work (the commit is then given up), and switch off
nothing that does not come back by itself should dm-compose be killed.
"""


@dataclass(frozen=True)
class Relaxed:
    """How a server is told not to wait for the disk: `words` at the end of its command line, if it is one of `programs` and has
    none of the options `unless`.

    It may give up what a power cut would leave, and nothing else. An acknowledged write has to be with the kernel (`write`, not
    only the server's memory), in the order that the server's recovery relies on: then neither a kill nor a freeze loses or
    reorders anything, because both leave the page cache as it is. What protects pages that were half written stays on: a kill
    may cut a `write` short between two pages of memory. And the files have to be what a server of that version without the words
    reads.
    """

    programs: tuple[str, ...]
    words: tuple[str, ...]
    unless: tuple[str, ...] = ()


@dataclass(frozen=True)
class Datastore:
    """What dm-compose needs to know of one kind of datastore.

    name: as shown to people and stored in commits.
    images: shell patterns of repositories without registry host and tag (`postgres`, `postgis/postgis`, `*/postgresql`).
    data: where the data is in a container; a function of the service where image, version or settings decide.
    port, ready: where and how to ask whether it answers; a function of the service where settings decide. Port 0: nothing
        can be asked.
    volatile: shell patterns, below the data path, of files that change without meaning anything; restored, but no dirt.
    own_files: shell patterns, below the data path, of files that nobody but a running server may write to. Where that server is
        proven untouched, a change of them is its own housekeeping (a checkpoint after its start), so that a test's roll-back
        may leave it running. Configuration files that people edit are not among them.
    not_data: container paths that its images declare as volumes and that hold no state, with the reason.
    markers: environment variables that only images of this datastore set, to tell an image without a telling name.
    version_from: environment variables that hold the engine's version, tried before the image's tag.
    tag_version: regular expression whose first group is the engine's version in an image tag.
    version_parts: how many leading numbers of the version its data files depend on.
    quiesce: see Quiesce; None when every acknowledged write is in a file already.
    files_are_proof: whether unchanged files prove that nothing changed, so that a restore may leave it running. True only
        where an acknowledged write has always reached a file and nothing else that a client can change is kept in memory.
    in_memory: whether it keeps its data in memory only. No commit has that data; a restore takes a running one down, and it
        comes back empty.
    relaxed: see Relaxed, for stacks that tests have to themselves; None where nothing sound is known.
    """

    name: str
    images: tuple[str, ...]
    data: tuple[str, ...] | Callable[[Service], tuple[str, ...]]
    port: int | Callable[[Service], int] = 0
    ready: Probe | None = None
    volatile: tuple[str, ...] = ()
    own_files: tuple[str, ...] = ()
    not_data: Mapping[str, str] = field(default_factory=dict)
    markers: tuple[str, ...] = ()
    version_from: tuple[str, ...] = ()
    tag_version: str = r"v?(\d+(?:\.\d+)*)"
    version_parts: int = 2
    quiesce: Quiesce | None = None
    files_are_proof: bool = False
    in_memory: bool = False
    relaxed: Relaxed | None = None

    def data_paths(self, service: Service) -> tuple[str, ...]:
        """Return the container paths that hold this service's data."""
        return self.data(service) if callable(self.data) else self.data

    def port_of(self, service: Service) -> int:
        """Return the port that this service listens on."""
        return self.port(service) if callable(self.port) else self.port

    def version(self, service: Service) -> str | None:
        """Return the part of the version that data files depend on, None where it cannot be read."""
        candidates = [service.environment.get(name) or service.image.environment.get(name, "") for name in self.version_from]
        matches = [re.match(r"(?:\d+:)?v?(\d+(?:\.\d+)*)", text) for text in candidates]
        for match in [*matches, re.match(self.tag_version, service.image.tag)]:
            if match:
                return ".".join(match[1].split(".")[: self.version_parts])
        return None

    def fits(self, repository: str) -> bool:
        """Whether an image of this repository is this datastore by one of its patterns."""
        return any(fnmatch.fnmatchcase(repository.lower(), pattern) for pattern in self.images)

    def volatile_below(self) -> tuple[str, ...]:
        """Return the volatile patterns, for a subdot that is the data path or a directory above it."""
        return _below(self.volatile)

    def own_below(self) -> tuple[str, ...]:
        """Return the patterns of own files likewise."""
        return _below(self.own_files)


def _below(patterns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(p for pattern in patterns for p in (pattern, f"*/{pattern}"))
