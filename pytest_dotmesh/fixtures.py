"""Fixtures that give tests a stack: for one test, a class, a module, a package or the whole run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NoReturn

import pytest

from dm_compose.compose import ComposeOptions
from dm_compose.errors import DmError
from pytest_dotmesh.keeping import failed_in_teardown
from pytest_dotmesh.marker import commit_of
from pytest_dotmesh.run import Run
from pytest_dotmesh.runner import Runner
from pytest_dotmesh.stack import DmStack

ScopeName = Literal["function", "class", "module", "package", "session"]


def stack_fixture(
    *,
    scope: ScopeName = "function",
    commit: str | None = None,
    file: str | Sequence[str] = (),
    project_name: str | None = None,
    profile: Sequence[str] = (),
    env_file: Sequence[str] = (),
    project_directory: str | None = None,
) -> Any:
    """Return a fixture whose value is a stack, as a DmStack.

    The stack is put to the commit before each test, class, module or package (the `scope`), and rolled back after it. With the
    scope `session` it is not rolled back, so tests see each other's changes.

    Without the last five arguments it is the stack that the settings name, and `commit` defaults to the commit that tests start
    from. With any of them it is another stack, and `commit` defaults to its HEAD. Relative paths start from pytest's root
    directory.
    """
    files = (file,) if isinstance(file, str) else tuple(file)
    own = bool(files or project_name or profile or env_file or project_directory)

    def runner(config: pytest.Config) -> Runner:
        if not own:
            return Run.of(config).main
        at = config.rootpath
        options = ComposeOptions(
            files=tuple(str(at / path) for path in files),
            project_name=project_name,
            profiles=tuple(profile),
            env_files=tuple(str(at / path) for path in env_file),
            project_directory=str(at / project_directory) if project_directory else None,
        )
        return Run.of(config).other(options, commit or "HEAD")

    def alone(request: pytest.FixtureRequest) -> Iterator[DmStack]:
        yield from _shown(request, runner(request.config), scope, commit)

    def within_session(request: pytest.FixtureRequest, dm_session_stack: DmStack) -> Iterator[DmStack]:
        yield from _shown(request, runner(request.config), scope, commit)

    stack: Callable[..., Iterator[DmStack]] = alone if own or scope == "session" else within_session
    at = f"at commit {commit}" if commit is not None else "at the commit that tests start from" if not own else "at its HEAD"
    each = "each test" if scope == "function" else f"each {scope}"
    put = "put there before the first test" if scope == "session" else f"put there before {each}, and rolled back after it"
    stack.__doc__ = f"The stack {at}, {put}. See DmStack."  # `pytest --fixtures` shows it
    return pytest.fixture(scope=scope)(stack)


def _shown(request: pytest.FixtureRequest, runner: Runner, scope: ScopeName, commit: str | None) -> Iterator[DmStack]:
    Run.of(request.config).shows(request.fixturename or "", runner, per_test=scope == "function")
    if scope == "session":
        return _for_session(runner, request.session)
    if scope == "function":
        named = commit_of(request.node) if request.fixturename == "dm_stack" else None
        return for_test(runner, request.node, named or commit)
    return _for_several(runner, request.node.nodeid, commit)


def for_test(runner: Runner, item: pytest.Item, ref: str | None) -> Iterator[DmStack]:
    """Give one test a stack at a commit, and roll it back afterwards. An error of either fails the test."""
    began = time.monotonic()
    try:
        stack = runner.before(ref)
    except DmError as error:
        fail(error)
    before_s = time.monotonic() - began
    try:
        yield stack
    finally:
        if failed_in_teardown(item):
            Run.of(item.config).keep(item, "failed in teardown")
        try:
            runner.after(item.nodeid, before_s)
        except DmError as error:
            fail(error)


def _for_several(runner: Runner, nodeid: str, ref: str | None) -> Iterator[DmStack]:
    if runner.worker.shared:
        pytest.fail("dm: a stack that workers use in turn is restored for each test; leave --dm-workers-share out", pytrace=False)
    try:
        with runner.lasting(ref, nodeid) as stack:
            yield stack
    except DmError as error:
        fail(error)


def _for_session(runner: Runner, session: pytest.Session) -> Iterator[DmStack]:
    try:
        stack = runner.shown()
    except DmError as error:
        if runner is Run.of(session.config).main:
            session.shouldfail = "dm: the stack cannot be had, so no further test is run"
        fail(error)
    yield stack
    runner.close()


class NotGivenError(pytest.fail.Exception):  # type: ignore[name-defined, misc]  # it is made by a decorator
    """A stack cannot be given to a test, or not be put back after it. The test itself is not to blame."""

    __module__ = "builtins"  # so that pytest's summary has the short name, as of its own outcomes


def fail(error: DmError) -> NoReturn:
    """Fail the test with an error's message, without a traceback."""
    raise NotGivenError(f"dm: {error}", pytrace=False) from None
