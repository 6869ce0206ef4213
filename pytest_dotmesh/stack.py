"""The stack as a test uses it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from dm_compose.core.commit import Commit
from dm_compose.core.names import SubdotName
from dm_compose.core.tree import TreeDiff
from dm_compose.errors import DmError
from dm_compose.sessions.session import Lease

DEFAULT_LOG_LINES = 100
__tracebackhide__ = True  # pytest shows the line of the test that calls, and not ours
P = ParamSpec("P")
R = TypeVar("R")


def _plainly(method: Callable[P, R]) -> Callable[P, R]:
    """Have a method raise its DmError without the frames in which it came about."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except DmError as error:
            raise error.with_traceback(None) from None

    return call


@dataclass(frozen=True)
class ExecResult:
    """The exit code of a command in a container, and its standard output and error together."""

    exit_code: int
    output: str


class DmStack:
    """The stack under test, at the commit that the test starts from.

    An address may change whenever a datastore is restarted. Ask for it when you connect, and not once per session.
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

    @_plainly
    def address(self, service: str, port: int) -> tuple[str, int]:
        """Return (host, port) to connect to a port of a service: the published port, else the container's own address."""
        return self._lease.endpoint(service, port)

    def host(self, service: str, port: int) -> str:
        """Return the host of `address`."""
        return self.address(service, port)[0]

    def port(self, service: str, port: int) -> int:
        """Return the port of `address`."""
        return self.address(service, port)[1]

    @_plainly
    def exec(self, service: str, *command: str, user: str = "") -> ExecResult:
        """Run a command in the service's container and wait until it ends. A command that fails raises no exception."""
        return ExecResult(*self._lease.session.run(service, command, user=user))

    @_plainly
    def logs(self, service: str, lines: int = DEFAULT_LOG_LINES) -> str:
        """Return the last lines of the service's log."""
        return self._lease.session.logs(service, lines)

    @_plainly
    def commit(self, message: str) -> str:
        """Commit the state as it is now, and return the commit's id. No branch moves, so gc may forget the commit one day."""
        return self._lease.session.keep(message).id

    @_plainly
    def reset(self, ref: str | None = None) -> None:
        """Put the stack to a commit, by default the one that the test started from. Return when all datastores answer."""
        self._restore(self._commit if ref is None else self._lease.session.resolve(ref))

    @_plainly
    def start_here(self) -> str:
        """Commit the state as it is now, as `commit` does, and have tests start from there. Return the commit's id.

        `reset` goes back to that commit from now on. If the stack is that of a class, module, package or session, every later
        test in that scope starts from it too.
        """
        self._commit = self._lease.session.keep("start of tests")
        self._start_at(self._commit)
        return self._commit.id

    @_plainly
    def touched(self) -> Mapping[str, str]:
        """Return the services that something may have reached since the stack was last put to a commit, each with the reason.

        Only services with state are among them. A service that is missing is proven to be as it was. A service that was only
        read from counts as reached.
        """
        return self._lease.session.touched_services()

    @_plainly
    def changed(self) -> set[str]:
        """Return the subdots that were written to since the stack was last put to a commit.

        Datastores write their memory to their files first. An engine's own changes of its files do not count as long as nothing
        has reached that engine. Two changes are not seen here: for data in memory only, as in a memcached, ask `touched`; for a
        plain file that was removed, ask `diff`.
        """
        return {str(name) for name in self._lease.session.written_subdots()}

    @_plainly
    def diff(self) -> Mapping[SubdotName, TreeDiff]:
        """Return the files that changed since the test started, by subdot. The diff of a subdot without changes is false."""
        return self._lease.session.diff(self._commit)
