"""The description of a datastore. docs/plugins.md shows how to add one in twenty lines."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dm_compose.core.containers import Image

ReadinessProbe = Callable[[str, int, float], bool]
"""`probe(host, port, timeout_s)` returns whether the server answers its own protocol. An OSError means no.

It opens its connections with `datastores.connections.connect`, as the ready probes of `datastores.protocols` do. Otherwise a test
run takes them for somebody else's, and restores the datastore more often than it has to.

NotSetUpError means that a server answers, and turns everybody away as one does whose data is not set up.
"""


class NotSetUpError(OSError):
    """The server answers, and its answer is that of a server whose first set-up has not ended. The text says what it answered."""


@dataclass(frozen=True)
class ServiceFacts:
    """The facts about one service: its image, its environment (the image's and the compose file's) and its command line."""

    image: Image
    environment: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()

    def option(self, *names: str) -> str | None:
        """Return the value of a command-line option; None if it is not given. Of several values the last one counts.

        An option is given as `--name value`, `--name=value` or `name=value`.
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
    """A running datastore, as the hooks of its module see it."""

    @property
    def service(self) -> ServiceFacts:
        """The service that it runs."""

    @property
    def host(self) -> str:
        """The address under which this process reaches it."""

    @property
    def port(self) -> int:
        """The port at `host`."""

    def run(self, command: Sequence[str], *, user: str = "", environment: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Run a command in the container and return its exit code and output."""


Resume = Callable[[], None]
Quiesce = Callable[[Running], Resume | None]
"""Bring acknowledged writes from memory to files, and return how to undo this; None if there is nothing to undo.

It is called twice for a commit. The first call comes before the freeze, so that little is left for the second one. The second
call comes while every other container of the stack is frozen, just before this one is frozen too; its result is called after the
thaw. Commands that compare a running stack with a commit call it as well.

The function must finish within seconds. A second call that takes longer than five seconds and twice the time of the first one is
given up, and the stack is thawed. It raises DmError if it cannot do its work, and the commit is given up. If it switches
anything off, that must come back by itself, because dm-compose may be killed before it can undo it.

The first paragraph of its docstring stands in docs/datastores.md.
"""


@dataclass(frozen=True)
class Checked:
    """The outcome of a datastore's own checker. `by` names the checker. `problems` is its complaint, '' about sound data."""

    by: str
    problems: str = ""


Check = Callable[[Running], Checked]
"""Have a datastore's own checker look at all its data, and return the outcome. DmError if the checker cannot be run.

The datastore runs in a clone of its stack, which is removed afterwards, so the function may change what it likes. The first
paragraph of its docstring stands in docs/datastores.md.
"""


@dataclass(frozen=True)
class Relaxed:
    """The words that tell a server not to wait for the disk.

    They are put at the end of its command line, if its program is one of `programs` and it has none of the options `unless`.

    Such a server may lose data in a power cut, and in no other case. Three conditions follow. First, the server hands an
    acknowledged write to the kernel (`write`), in the order that its recovery relies on. A kill and a freeze leave the page cache
    as it is, so neither loses or reorders anything then. Second, the server keeps its protection against half-written pages on,
    because a kill may cut a `write` short between two pages of memory. Third, a server of the same version without the words can
    read the files.
    """

    programs: tuple[str, ...]
    words: tuple[str, ...]
    unless: tuple[str, ...] = ()


@dataclass(frozen=True)
class Datastore:
    """The description of one kind of datastore.

    name: the name that people see and that commits store.
    images: shell patterns of repositories without registry host and tag (`postgres`, `postgis/postgis`, `*/postgresql`).
    data: the container paths that hold the data; a function of the service if image, version or settings decide. The first
        paragraph of its docstring stands in docs/datastores.md.
    port, ready: the port, and the probe that asks there whether the server answers. The port is a function of the service if
        settings decide. Port 0 means that nothing can be asked.
    probe_lines: a regular expression for the lines that this probe leaves in the server's log, '' if it leaves none. They are not
        shown when the end of the log is.
    set_up: tells whether the first set-up has ended. It is asked if the probe raises NotSetUpError. Without it that answer means
        that the set-up has not ended.
    entrypoint_ends: whether the image's entrypoint script becomes the server (`exec`) when it is done. Such a script may set the
        data up at the first start, so as long as it is the container's first process, the datastore is not ready.
    volatile: shell patterns, below the data path, of files that change without a meaning. A restore puts them back, but a change
        of them does not make the subdot dirty.
    own_files: shell patterns, below the data path, of files that only a running server may write to. If the server is proven
        untouched, a change of them is its own housekeeping, for example a checkpoint after its start. The roll-back of a test
        then leaves the server running. Configuration files that people edit do not belong here.
    not_data: container paths that images declare as volumes although they hold no state, each with the reason.
    markers: environment variables that only images of this datastore set. They identify an image whose name says nothing.
    version_from: environment variables that hold the engine's version. They are tried before the image's tag.
    tag_version: a regular expression. Its first group is the engine's version in an image tag.
    version_parts: the number of leading parts of the version on which the data files depend.
    quiesce: see Quiesce. None if every acknowledged write is in a file already.
    unsaved: tells whether the running server has acknowledged writes in memory that are in no file yet. It changes nothing. None
        if there never are such writes, or if nothing is known that could be asked. DmError or OSError if the server cannot be
        asked.
    files_are_proof: whether unchanged files prove that nothing changed, so that a restore may leave the server running. True only
        if an acknowledged write has always reached a file, and memory holds nothing else that a client can change.
    in_memory: whether the datastore keeps its data in memory only. No commit has that data. A restore takes a running server
        down, and it comes back empty.
    check: see Check. None if nothing is known that could be run in its container.
    relaxed: see Relaxed, for stacks that only tests use. None if nothing sound is known.
    tried: the versions of the real engine with which commits and restores have been tried. Empty if this description is known
        from documentation only. A stand-in that speaks the engine's protocol does not count.
    """

    name: str
    images: tuple[str, ...]
    data: tuple[str, ...] | Callable[[ServiceFacts], tuple[str, ...]]
    port: int | Callable[[ServiceFacts], int] = 0
    ready: ReadinessProbe | None = None
    probe_lines: str = ""
    set_up: Callable[[Running], bool] | None = None
    entrypoint_ends: bool = False
    volatile: tuple[str, ...] = ()
    own_files: tuple[str, ...] = ()
    not_data: Mapping[str, str] = field(default_factory=dict)
    markers: tuple[str, ...] = ()
    version_from: tuple[str, ...] = ()
    tag_version: str = r"v?(\d+(?:\.\d+)*)"
    version_parts: int = 2
    quiesce: Quiesce | None = None
    unsaved: Callable[[Running], bool] | None = None
    files_are_proof: bool = False
    in_memory: bool = False
    check: Check | None = None
    relaxed: Relaxed | None = None
    tried: tuple[str, ...] = ()

    def data_paths(self, service: ServiceFacts) -> tuple[str, ...]:
        """Return the container paths that hold this service's data."""
        return self.data(service) if callable(self.data) else self.data

    def port_of(self, service: ServiceFacts) -> int:
        """Return the port that this service listens on."""
        return self.port(service) if callable(self.port) else self.port

    def version(self, service: ServiceFacts) -> str | None:
        """Return the part of the version that data files depend on; None if it cannot be found out."""
        candidates = [service.environment.get(name) or service.image.environment.get(name, "") for name in self.version_from]
        matches = [re.match(r"(?:\d+:)?v?(\d+(?:\.\d+)*)", text) for text in candidates]
        for match in [*matches, re.match(self.tag_version, service.image.tag)]:
            if match:
                return ".".join(match[1].split(".")[: self.version_parts])
        return None

    def fits(self, repository: str) -> bool:
        """Return whether one of the patterns fits this repository."""
        return any(fnmatch.fnmatchcase(repository.lower(), pattern) for pattern in self.images)

    def volatile_below(self) -> tuple[str, ...]:
        """Return the volatile patterns for a subdot that is the data path or a directory above it."""
        return _below(self.volatile)

    def own_below(self) -> tuple[str, ...]:
        """Return the patterns of own files for a subdot that is the data path or a directory above it."""
        return _below(self.own_files)


def _below(patterns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(p for pattern in patterns for p in (pattern, f"*/{pattern}"))
