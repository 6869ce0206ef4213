"""Tell by files how far a test run is, and which tests failed in it. The run may not live to say so itself."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUN = os.environ["STRESS_RUN"]
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
_first = [True]


def stage(name: str) -> None:
    (HERE / f"stage-{RUN}-{WORKER}").write_text(name)


def pytest_sessionstart() -> None:
    stage("start")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    stage("bring-up" if _first else "restore before a test")
    _first.clear()


def pytest_runtest_call() -> None:
    stage("test")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    stage("restore after a test" if nextitem is not None else "giving back")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        line = {"time": time.time(), "test": report.nodeid, "when": report.when, "what": report.longreprtext}
        with open(HERE / f"failed-{RUN}.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")


def pytest_unconfigure() -> None:
    stage("end")
