"""Test sessions that do not have the stack to themselves: on a clone of it, or in turn with others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from dm_compose.clones.clone import Clone, made
from dm_compose.core.commit import SESSION
from dm_compose.errors import InUseError
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.restore import check_versions
from dm_compose.sessions.session import SessionOptions, StackSession


class CloneSession(StackSession):
    """One test run's use of a clone of a stack, made for it and removed with it. The original is not touched, and need not be up.

    Sessions on clones do not exclude each other, nor one on the original.
    """

    def __init__(self, clone: Clone, options: SessionOptions) -> None:
        super().__init__(clone, options)
        self.clone = clone

    @contextlib.contextmanager
    def _store_opened(self) -> Iterator[None]:
        with made(self.clone, self.options.commit) as self.commit:
            self._access, self._places = self.clone.open(make_volumes=False)
            try:
                yield
            finally:
                self._access.store.close()

    @contextlib.contextmanager
    def _lock_taken(self) -> Iterator[None]:
        yield  # `made` holds it

    @contextlib.contextmanager
    def _state_borrowed(self) -> Iterator[None]:
        yield  # there is nothing to give back

    @contextlib.contextmanager
    def _brought_up(self) -> Iterator[None]:
        self._mine = set(self.stack.project.services)
        try:
            self._compose(["up", "-d"], creates=True, rewrites=[self._relax, self._supervise])
            self.wait_until_ready()
            self._check_versions()
            self._has_arrived()
            with self._kept_up():
                yield
        finally:
            if self.stack.project.providers:  # `made` removes the containers, but only Compose can tell a provider
                self._compose(["down"], creates=False)

    def _check_versions(self) -> None:
        assert self.commit is not None
        if not self.options.any_version:
            with self._live() as live:
                check_versions(live, self.commit)


class SharedSession(StackSession):
    """A session on a stack that another process has up and lends to several, by a session of its own.

    It takes nothing and gives nothing back: restores are what it is for. All raise InUseError once that process has gone: the
    stack is its user's again.
    """

    @contextlib.contextmanager
    def _live(self, *, new_session: bool = False) -> Iterator[LiveWorktree]:
        with super()._live(new_session=new_session) as live:
            entries = live.store.unfinished(live.dot)
            if not any(e.operation == SESSION and e.worktree == live.worktree for e in entries):
                raise InUseError("the test run that had this stack has ended", hint="Run the tests again.")
            yield live

    @contextlib.contextmanager
    def _lock_taken(self) -> Iterator[None]:
        yield

    @contextlib.contextmanager
    def _state_borrowed(self) -> Iterator[None]:
        yield

    @contextlib.contextmanager
    def _brought_up(self) -> Iterator[None]:
        yield
