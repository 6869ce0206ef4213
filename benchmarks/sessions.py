"""Measure the price of a test: restores in a stack that the test run has brought up (respawn, settled commit).

Each engine's own boot stands beside them. So does pytest's time for tests that touch nothing, with and without the fixture.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.common import headline, spread, table
from benchmarks.stacks import Dirtying, bring_up, projects, stack_arguments
from dm_compose.clones.settle import SettleOptions, settled
from dm_compose.core.plan import Action
from dm_compose.engine import Supervisor
from dm_compose.live.ready import await_ready
from dm_compose.live.worktree import Member
from dm_compose.sessions.leases import own_stack
from dm_compose.sessions.options import SessionOptions
from dm_compose.sessions.session import Session
from tests.support.projects import TestProject

TESTS = 100
EMPTY = """
import pytest

@pytest.mark.parametrize("n", range({count}))
def test_nothing(n{fixture}):
    pass
"""
CLOCK = """
import statistics, time
import pytest

took = []

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    began = time.perf_counter()
    yield
    took.append(time.perf_counter() - began)

def pytest_sessionfinish():
    print("MEDIAN", statistics.median(took))
"""


def boots(session: Session, writers: Dirtying, services: list[str], rounds: int) -> list[float]:
    """Return the seconds of these engines' own boot on the commit's files, all at once, until the last one answers."""
    found: list[float] = []
    engine, commit = session.stack.facts.engine, session.commit
    assert commit is not None
    for _ in range(rounds):
        for service in services:
            writers[service](service)
        session.restore(commit)
        with session.stack.live(lock=False) as live:
            members = [m for m in live.members if m.container.service in services]

        def down(member: Member) -> None:
            with Supervisor(engine, member.container) as supervisor:
                supervisor.down()

        def boot(member: Member) -> None:
            with Supervisor(engine, member.container) as supervisor:
                supervisor.up()
            await_ready(engine, member, lambda _: None, 120)

        with ThreadPoolExecutor(len(members)) as pool:
            list(pool.map(down, members))
            began = time.perf_counter()
            list(pool.map(boot, members))
            found.append(time.perf_counter() - began)
    return found


def restores(session: Session, writers: Dirtying, dirty: list[str], rounds: int) -> tuple[list[float], set[str]]:
    """Dirty some services and restore; return the seconds of each restore, and the services that were taken down."""
    seconds, down = [], set()
    for _ in range(rounds):
        for service in dirty:
            writers[service](service)
        began = time.perf_counter()
        report = session.restore(session.commit)
        seconds.append(time.perf_counter() - began)
        down |= {step.label for step in report.plan.steps if step.action is Action.KILL}
    return seconds, down


def run_stack(name: str, project: TestProject, rounds: int) -> None:
    writers = bring_up(project)
    project.down()
    for label, commit in (("settled", settled(project.stack(), SettleOptions(), "bench")), ("as committed", project.seed)):
        with own_stack(project.stack(), SessionOptions(commit=commit)) as session:
            choices = {"all": list(writers), **{s: [s] for s in writers}, "nothing": []}
            if "rabbitmq" in writers:
                choices["all but rabbitmq"] = [s for s in writers if s != "rabbitmq"]
            samples = {touched: restores(session, writers, dirty, rounds) for touched, dirty in choices.items()}
            own = {touched: boots(session, writers, dirty, rounds) for touched, dirty in choices.items() if dirty}
        print(f"{name}, commit {label}\n")
        rows = [
            (touched, spread(seconds), ", ".join(sorted(down)) or "none", spread(own[touched]) if touched in own else "")
            for touched, (seconds, down) in samples.items()
        ]
        table(("touched", "restore to all ready", "taken down", "the engines' own boot at once, nothing else"), rows)
        all_s = statistics.median(samples["all"][0])
        slowest = max(writers, key=lambda s: statistics.median(own[s]))
        print(f"all touched: {all_s / statistics.median(own['all']):.2f} times the own boot of all at once,", end=" ")
        print(f"{all_s / statistics.median(own[slowest]):.2f} times that of the slowest alone, {slowest}\n", flush=True)
    overhead(project)


def overhead(project: TestProject) -> None:
    """Print pytest's time for a test that touches nothing, with and without the fixture: medians within one run each."""
    with tempfile.TemporaryDirectory(prefix="dm-bench-") as directory:
        env = {**os.environ, **project.environment}
        Path(directory, "pytest.ini").write_text(f"[pytest]\ndm_file = {project.file}\n")
        Path(directory, "conftest.py").write_text(CLOCK)
        medians = {}
        for fixture in ("", ", dm_stack"):
            Path(directory, "test_it.py").write_text(EMPTY.format(count=TESTS, fixture=fixture))
            command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider"]
            done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, check=True)
            medians[fixture] = float(done.stdout.partition("MEDIAN ")[2].split()[0])
    print(
        f"a test that touches nothing: {medians[', dm_stack'] * 1000:.1f} ms, without the fixture {medians[''] * 1000:.1f} ms\n",
        flush=True,
    )


def main() -> None:
    options = stack_arguments(__doc__ or "", rounds=7)
    headline("restores of a test session; median (range)")
    for name, project in projects(options.stack):
        run_stack(name, project, options.rounds)


if __name__ == "__main__":
    main()
