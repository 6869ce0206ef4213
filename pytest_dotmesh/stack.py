"""What a test holds in its hands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dm_compose.core.commit import Commit
from dm_compose.core.names import SubdotName
from dm_compose.core.tree import TreeDiff
from dm_compose.sessions.session import Lease

DEFAULT_LOG_LINES = 100


@dataclass(frozen=True)
class ExecResult:
    """How a command in a container ended: its exit code, and standard output and error together."""

    exit_code: int
    output: str


class DmStack:
    """The stack under test, at the commit that the test starts from.

    Addresses may change whenever a datastore is restarted, so ask for them when you connect and not once per session.
    """

    def __init__(
        self,
        lease: Lease,
        commit: Commit,
        restore: Callable[[Commit], object],
        start_at: Callable[[Commit], object] = lambda _: None,
    ) -> None:
        self._lease = lease
        self._commit = commit
        self._restore = restore
        self._start_at = start_at

    @property
    def dot(self) -> str:
        """Name of the stack's dot."""
        return self._commit.dot

    @property
    def project(self) -> str:
        """Name of the Compose project."""
        return self._lease.session.stack.facts.project.name

    @property
    def start(self) -> Commit:
        """The commit that the test started from."""
        return self._commit

    def address(self, service: str, port: int) -> tuple[str, int]:
        """Return (host, port) to connect to a port of a service: its published port, else the container's own address."""
        return self._lease.endpoint(service, port)

    def host(self, service: str, port: int) -> str:
        """Return the host of `address`."""
        return self.address(service, port)[0]

    def port(self, service: str, port: int) -> int:
        """Return the port of `address`."""
        return self.address(service, port)[1]

    def exec(self, service: str, *command: str, user: str = "") -> ExecResult:
        """Run a command in the service's container and wait for it; a failing command is not an error."""
        return ExecResult(*self._lease.session.run(service, command, user=user))

    def logs(self, service: str, lines: int = DEFAULT_LOG_LINES) -> str:
        """Return the last lines of the service's log."""
        return self._lease.session.logs(service, lines)

    def commit(self, message: str) -> str:
        """Commit the state as it is now and return the commit's id; no branch moves, and gc may forget it one day."""
        return self._lease.session.keep(message).id

    def reset(self, ref: str | None = None) -> None:
        """Put the stack to a commit, by default the one the test started from, and return when all of it answers."""
        self._restore(self._commit if ref is None else self._lease.session.resolve(ref))

    def start_here(self) -> str:
        """Commit the state as it is now, as `commit` does, and start from there: `reset` and, of a stack of a wider scope than a
        test, every test within that scope. Returns the commit's id.
        """
        self._commit = self._lease.session.keep("start of tests")
        self._start_at(self._commit)
        return self._commit.id

    def touched(self) -> Mapping[str, str]:
        """Return the services with state that anything may have reached since the stack was last put to a commit, and how.

        A service that is not there is proven to be as it was. Reading from one reaches it.
        """
        return self._lease.session.touched_services()

    def changed(self) -> set[str]:
        """Return the subdots that were written to since the stack was last put to a commit.

        Datastores write out what they hold in memory first. What an engine does to its files by itself does not count as long
        as nobody has reached it. For data in memory only, as in a memcached, ask `touched`; for a plain file
        that was removed, `diff`.
        """
        return {str(name) for name in self._lease.session.written_subdots()}

    def diff(self) -> Mapping[SubdotName, TreeDiff]:
        """Return the files that changed since the test started, per subdot; subdots without changes are falsy."""
        return self._lease.session.diff(self._commit)
