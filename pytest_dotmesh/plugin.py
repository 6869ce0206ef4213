"""The plugin's hooks and fixtures. They only call run.py, runner.py and other modules, which do the work."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import pytest

from dm_compose.errors import DmError
from dm_compose.sessions.leases import GivenUp
from pytest_dotmesh import hookspecs
from pytest_dotmesh.config import add_options, read_config
from pytest_dotmesh.fixtures import NotGivenError, fail, stack_fixture
from pytest_dotmesh.keeping import watch_teardown
from pytest_dotmesh.reporting import Reports, Spent, attach
from pytest_dotmesh.run import Run, run_key
from pytest_dotmesh.telling import heard
from pytest_dotmesh.workers import KEY

_told_key = pytest.StashKey[list[str]]()
_lent_key = pytest.StashKey[contextlib.ExitStack]()
_lines_key = pytest.StashKey[str]()
_shared_key = pytest.StashKey[dict[str, str]]()
_reports_key = pytest.StashKey[Reports]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks around restores."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Read the settings. A wrong one ends the run before it begins."""
    config.addinivalue_line("markers", "dm(commit): restore the stack before this test, to another commit if one is named.")
    settings = read_config(config)
    run = config.stash[run_key] = Run(config, settings)
    path = settings.report_json if getattr(config, "workerinput", None) is None else None
    reports = config.stash[_reports_key] = Reports(wanted=settings.report, path=path)
    config.pluginmanager.register(reports, "dm-reports")
    config.pluginmanager.register(run.ending, "dm-ending")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """End the run before its first test if a marker is wrong, or if there is no such stack or commit.

    A worker of pytest-xdist hands the reason to the controller, which ends the run.
    """
    run = Run.of(session.config)
    problem = run.problem(session.items, markers_only=session.config.option.collectonly or bool(session.testsfailed))
    is_worker = getattr(session.config, "workerinput", None) is not None
    if problem is None:
        for line in run.header(session.items) if is_worker else ():
            run.teller.note(line)
        return
    if not is_worker:
        raise pytest.UsageError(problem)
    pytest.exit(problem, returncode=pytest.ExitCode.USAGE_ERROR)


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Show the stack, its dot, the commit and the strategy, if a test of this run uses the stack."""
    return Run.of(config).header(items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Notice a test that may change a stack without asking for it. Watch for failures in the teardown of a test."""
    run = Run.of(item.config)
    run.begins(item)
    if run.settings.keep_failed.wanted:
        watch_teardown(item)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the state after a failed test before anybody cleans up, and put the test's cost on its last report."""
    report = yield
    run = Run.of(item.config)
    if report.when == "teardown":
        attach(report, *run.taken())
    elif report.failed and not (call.excinfo and isinstance(call.excinfo.value, NotGivenError)):
        run.keep(item, "failed" if report.when == "call" else "failed in setup")
    return report


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """Give back the stacks that no fixture has given back. A worker hands its messages and times to the controller.

    A second ^C ends what fixtures do at their end, and the stacks are given back at once. A ^C while they are given back leaves
    that to the next command.
    """
    stash = session.config.stash
    run = stash.get(run_key, None)
    try:
        yield
    except KeyboardInterrupt:
        if run is None or not run.has_taken:
            raise
    if _lent_key in stash:  # workers have ended
        with contextlib.suppress(GivenUp):  # which `close` tells
            stash[_lent_key].close()
    if run is not None:
        run.close()
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[KEY] = {"told": run.teller.kept, "refused": run.refused, "spent": [asdict(spent) for spent in run.spent]}
        else:
            session.config.stash[_reports_key].spent += run.spent


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: Sequence[object]) -> None:
    """In the controller: hear the lines of workers. Bring the stack up before there are any, if they are to share it."""
    run = Run.of(config)
    lent = config.stash[_lent_key] = contextlib.ExitStack()
    config.stash[_lines_key] = lent.enter_context(heard(run.teller.tell))
    if not run.settings.workers_share or len(specs) < 2:
        return
    lent.enter_context(run.ending.by_signals())
    try:
        config.stash[_shared_key] = lent.enter_context(run.main.lent())
    except DmError as error:
        raise pytest.UsageError(f"dm: {error}") from None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """In the controller: tell a worker where its lines are heard, and about the stack that it shares with others."""
    stash = node.config.stash
    node.workerinput[KEY] = {"shared": stash.get(_shared_key, {}), "lines": stash.get(_lines_key, "")}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """In the controller: take over a worker's messages. pytest.UsageError if the worker found that the run cannot begin."""
    found = getattr(node, "workeroutput", {}).get(KEY)
    if found is not None:
        node.config.stash.setdefault(_told_key, []).extend(found["told"])
        node.config.stash[_reports_key].spent += [Spent(**spent) for spent in found["spent"]]
        if found["refused"]:
            raise pytest.UsageError(found["refused"])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the messages of workers."""
    told: list[str] = config.stash.get(_told_key, [])
    for line in dict.fromkeys(told):
        terminalreporter.write_line(line)


dm_session_stack = stack_fixture(scope="session")
dm_package_stack = stack_fixture(scope="package")
dm_module_stack = stack_fixture(scope="module")
dm_class_stack = stack_fixture(scope="class")
dm_stack = stack_fixture()


@pytest.fixture(autouse=True)
def _dm_turn(request: pytest.FixtureRequest) -> Iterator[None]:
    """Reserve the stack for a test that uses it, if workers share the stack."""
    run = Run.of(request.config)
    if not run.wants_main(request.node):
        yield
        return
    try:
        turn = run.main.turn()
        turn.__enter__()
    except DmError as error:
        fail(error)
    if not run.is_restored(request.node):
        run.main.forget_pristine()
    yield
    turn.__exit__(None, None, None)


@pytest.fixture(autouse=True)
def _dm_autouse(request: pytest.FixtureRequest, _dm_turn: None) -> None:
    """Give dm_stack to tests that are marked, and with --dm-autouse to all tests."""
    if Run.of(request.config).is_restored(request.node):
        request.getfixturevalue("dm_stack")
