"""Hooks and fixtures. Everything that does something is in runner.py and below."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from dm_compose.core.units import seconds, size
from dm_compose.errors import DmError
from pytest_dotmesh.config import DmConfig, add_options, read_config
from pytest_dotmesh.runner import Runner, TestCost
from pytest_dotmesh.stack import DmStack
from pytest_dotmesh.workers import KEY, Worker

_runner_key = pytest.StashKey[Runner]()
_config_key = pytest.StashKey[DmConfig]()
_told_key = pytest.StashKey[list[str]]()
_costs_key = pytest.StashKey[list[TestCost]]()
_lent_key = pytest.StashKey[contextlib.ExitStack]()
_shared_key = pytest.StashKey[dict[str, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Read the settings, so that a wrong one ends the run before it begins."""
    config.addinivalue_line("markers", "dm(commit=REF): restore the stack before this test, to another commit if one is named.")
    config.stash[_config_key] = read_config(config)


def _runner(config: pytest.Config) -> Runner:
    if _runner_key not in config.stash:
        settings, worker = config.stash[_config_key], Worker.of(config)
        config.stash[_runner_key] = Runner(settings, worker, lambda text: _write_line(config, text))
    return config.stash[_runner_key]


def _write_line(config: pytest.Config, text: str) -> None:
    """Print a line at once, past the capture of a test's output: somebody is waiting."""
    capture = config.pluginmanager.getplugin("capturemanager")
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None:  # a worker's lines are printed by the controller, at the end
        config.stash.setdefault(_told_key, []).append(text)
        return
    if capture is None:
        reporter.write_line(text)
        return
    with capture.global_and_fixture_disabled():
        reporter.ensure_newline()
        reporter.write_line(text)


def _wants_stack(item: pytest.Item, config: DmConfig) -> bool:
    return "dm_session_stack" in getattr(item, "fixturenames", ()) or _is_restored(item, config)


def _is_restored(item: pytest.Item, config: DmConfig) -> bool:
    return config.autouse or "dm_stack" in getattr(item, "fixturenames", ()) or item.get_closest_marker("dm") is not None


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


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Give the stack back, should the fixture's own end not have come to it, and hand what is to be said to the controller."""
    stash = session.config.stash
    if _lent_key in stash:  # workers have ended
        stash[_lent_key].close()
    if _runner_key not in stash:
        return
    stash[_runner_key].close()
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        costs = [dataclasses.asdict(cost) for cost in stash[_runner_key].costs]
        output[KEY] = {"costs": costs, "told": stash.get(_told_key, [])}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: Sequence[object]) -> None:
    """In the controller: have the stack up before there are workers, if they are to share it."""
    if not config.stash[_config_key].workers_share or len(specs) < 2:
        return
    lent = config.stash[_lent_key] = contextlib.ExitStack()
    try:
        config.stash[_shared_key] = lent.enter_context(_runner(config).lent())
    except DmError as error:
        pytest.exit(_text(error), returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """In the controller: tell a worker which stack it shares."""
    node.workerinput[KEY] = node.config.stash.get(_shared_key, {})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """In the controller: take what a worker has to say."""
    found = getattr(node, "workeroutput", {}).get(KEY)
    if found is not None:
        stash = node.config.stash
        stash.setdefault(_told_key, []).extend(found["told"])
        stash.setdefault(_costs_key, []).extend(TestCost(**cost) for cost in found["costs"])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what workers had to say, and what each test dirtied and what its restore cost (--dm-report)."""
    told: list[str] = config.stash.get(_told_key, [])
    for line in dict.fromkeys(told):
        terminalreporter.write_line(line)
    costs = config.stash.get(_costs_key, [])
    costs += config.stash[_runner_key].costs if _runner_key in config.stash else []
    if not config.stash[_config_key].report or not (costs or _runner_key in config.stash):
        return
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
    runner = _runner(pytestconfig)
    try:
        session = runner.session
    except DmError as error:
        pytest.fail(_text(error), pytrace=False)
    assert session.commit is not None
    yield DmStack(session, session.commit, runner.restore)
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
def _dm_turn(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have the stack alone for a test that uses it, where workers share it."""
    if not _wants_stack(request.node, request.config.stash[_config_key]):
        yield
        return
    try:
        turn = _runner(request.config).turn()
        turn.__enter__()
    except DmError as error:
        pytest.fail(_text(error), pytrace=False)
    if not _is_restored(request.node, request.config.stash[_config_key]):
        _runner(request.config).touched()
    yield
    turn.__exit__(None, None, None)


@pytest.fixture(autouse=True)
def _dm_autouse(request: pytest.FixtureRequest, _dm_turn: None) -> None:
    """Give dm_stack to tests that are marked, and to all of them with --dm-autouse."""
    if _is_restored(request.node, request.config.stash[_config_key]):
        request.getfixturevalue("dm_stack")


def _text(error: DmError) -> str:
    return f"dm: {error.message}" + (f"\nhint: {error.hint}" if error.hint else "")
