"""States of failed tests. They are kept before the roll-back, and pushed on demand. An error here never hides the test's own."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable

import pytest

from dm_compose.clones.clone import Clone
from dm_compose.compose import ComposeOptions
from dm_compose.core.commit import Commit
from dm_compose.core.names import RefName
from dm_compose.dots.all_dots import Dots
from dm_compose.errors import DmError, UsageError
from dm_compose.remotes.names import RemoteName
from dm_compose.sessions.evidence import Failure
from dm_compose.sessions.session import Session
from dm_compose.sharing.named_remotes import Remotes
from dm_compose.sharing.remote_ref import RemoteRef
from pytest_dotmesh.config import KeepFailed
from pytest_dotmesh.reporting import KeptState

_RUN_DIGITS = 8
_failed_key = pytest.StashKey[bool]()


def keep(session: Session, start: Commit, settings: KeepFailed, run: str, test: str, what: str) -> KeptState:
    """Commit the state after a failed test, and push it if the settings say so. Raises nothing: the result has the problem."""
    command = None
    try:
        found = session.keep_evidence(start, Failure(run[:_RUN_DIGITS], test, what), settings.limits)
        if found.branch is None:
            return KeptState(test, None, found.why_not)
        stack = session.stack.original if isinstance(session.stack, Clone) else session.stack
        options = stack.compose.options
        command = _command(options, "checkout", found.branch)
        if settings.to:
            remote, theirs = _destination(settings.to)
            pushed = Remotes(Dots(stack.variables, stack.listener)).push(remote, stack, found.branch, theirs)
            command = _command(options, "up", "--from", f"{remote}:{pushed.name}@{pushed.branch}")
    except DmError as error:
        return KeptState(test, command, error.message if command is None else f"not pushed: {error.message}")
    except Exception as error:  # the failure of the test itself must come through
        return KeptState(test, command, f"{type(error).__name__}: {error}")
    return KeptState(test, command)


def _destination(text: str) -> tuple[str, RemoteName | None]:
    """Split REMOTE[:NS/DOT] into its two parts."""
    try:
        source = RemoteRef.parse(text)
    except UsageError:
        return text, None
    return source.remote, source.name


def _command(options: ComposeOptions, *words: str | RefName) -> str:
    """Return a command of dm-compose for people, with files named as seen from the working directory of the tests."""
    here = os.getcwd() + os.sep
    return shlex.join(["dm-compose", *(word.removeprefix(here) for word in options.arguments()), *words])


def watch_teardown(item: pytest.Item) -> None:
    """Take note, from now on, when the teardown of a test's fixture fails. Fixtures that were set up earlier can ask then."""
    watches = _failed_key in item.stash  # the test runs again
    item.stash[_failed_key] = False
    if watches:
        return
    add = item.addfinalizer

    def watched(finalizer: Callable[[], object]) -> None:
        def run() -> None:
            try:
                finalizer()
            except (Exception, pytest.fail.Exception):
                item.stash[_failed_key] = True
                raise

        add(run)

    item.__dict__["addfinalizer"] = watched


def failed_in_teardown(item: pytest.Item) -> bool:
    """Whether the teardown of a fixture has failed by now, of a test that is watched. False for other tests."""
    return item.stash.get(_failed_key, False)
