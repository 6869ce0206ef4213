"""Hooks and fixtures. Everything that does something is in runner.py and below."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from dm_compose.core.units import seconds, size
from dm_compose.errors import DmError
from pytest_dotmesh.config import DmConfig, add_options, read_config
from pytest_dotmesh.runner import Runner
from pytest_dotmesh.stack import DmStack

_runner_key = pytest.StashKey[Runner]()
_config_key = pytest.StashKey[DmConfig]()
_FIXTURES = {"dm_stack", "dm_session_stack"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Read the settings, so that a wrong one ends the run before it begins."""
    config.addinivalue_line("markers", "dm(commit=REF): restore the stack before this test, to another commit if one is named.")
    config.stash[_config_key] = read_config(config)


def _runner(config: pytest.Config) -> Runner:
    if _runner_key not in config.stash:
        config.stash[_runner_key] = Runner(config.stash[_config_key], lambda text: _write_line(config, text))
    return config.stash[_runner_key]


def _write_line(config: pytest.Config, text: str) -> None:
    """Print a line at once, past the capture of a test's output: somebody is waiting."""
    capture = config.pluginmanager.getplugin("capturemanager")
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None:
        return
    if capture is None:
        reporter.write_line(text)
        return
    with capture.global_and_fixture_disabled():
        reporter.ensure_newline()
        reporter.write_line(text)


def _wants_stack(item: pytest.Item, config: DmConfig) -> bool:
    fixtures = set(getattr(item, "fixturenames", ()))
    return config.autouse or bool(fixtures & _FIXTURES) or item.get_closest_marker("dm") is not None


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Show stack, dot, commit and strategy when a test of this run uses them."""
    settings = config.stash[_config_key]
    if not any(_wants_stack(item, settings) for item in items):
        return []
    runner = _runner(config)
    try:
        plan = runner.stack.plan
    except DmError as error:
        return [f"dm: {error.message}"]
    subdots = ", ".join(s.name for s in plan.subdots)
    commit, strategy = settings.source or settings.session.commit, settings.session.strategy
    return [f"dm: stack {plan.project}, dot {plan.dot} ({subdots}), commit {commit}, strategy {strategy}"]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Notice tests that run beside the stack without asking for it: they may change it all the same."""
    fixtures = getattr(item, "fixturenames", ())
    if _runner_key in item.config.stash and "dm_stack" not in fixtures:
        item.config.stash[_runner_key].touched()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Give the stack back, should the fixture's own end not have come to it."""
    if _runner_key in session.config.stash:
        session.config.stash[_runner_key].close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what each test dirtied and what its restore cost (--dm-report)."""
    if _runner_key not in config.stash or not config.stash[_config_key].report:
        return
    costs = config.stash[_runner_key].costs
    terminalreporter.section("dm: what tests dirtied, and what putting it back cost")
    for cost in costs:
        dirtied = ", ".join(f"{name} {size(count)}" for name, count in sorted(cost.dirtied.items())) or "no file"
        restarted = ", ".join(cost.restarted) or "nothing"
        terminalreporter.write_line(f"{seconds(cost.restore_s):>8}  {cost.nodeid}: {dirtied}; restarted {restarted}")
    total = sum(cost.restore_s for cost in costs)
    terminalreporter.write_line(f"{seconds(total):>8}  in all, {len(costs)} tests")


@pytest.fixture(scope="session")
def dm_session_stack(pytestconfig: pytest.Config) -> Iterator[DmStack]:
    """The stack, up and ready, once per session, at the session's commit. Tests that change it see each other's changes."""
    if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1:
        pytest.fail("dm: several pytest-xdist workers would share one stack; run with -n 0 or -n 1", pytrace=False)
    runner = _runner(pytestconfig)
    try:
        session = runner.session
    except DmError as error:
        pytest.fail(_text(error), pytrace=False)
    assert session.commit is not None
    yield DmStack(session, session.commit)
    runner.close()


@pytest.fixture
def dm_stack(dm_session_stack: DmStack, request: pytest.FixtureRequest) -> Iterator[DmStack]:
    """The stack, restored before the test to the session's commit (or its marker's) and rolled back after it, however it ends."""
    runner = _runner(request.config)
    marker = request.node.get_closest_marker("dm")
    try:
        stack = runner.before(marker.kwargs.get("commit") if marker else None)
    except DmError as error:
        pytest.fail(_text(error), pytrace=False)
    try:
        yield stack
    finally:
        try:
            runner.after(request.node)
        except DmError as error:
            pytest.fail(_text(error), pytrace=False)


@pytest.fixture(autouse=True)
def _dm_autouse(request: pytest.FixtureRequest) -> None:
    """Give dm_stack to tests that are marked, and to all of them with --dm-autouse."""
    if request.config.stash[_config_key].autouse or request.node.get_closest_marker("dm") is not None:
        request.getfixturevalue("dm_stack")


def _text(error: DmError) -> str:
    return f"dm: {error.message}" + (f"\nhint: {error.hint}" if error.hint else "")
