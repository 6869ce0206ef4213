"""Part one of benchmarks.stress: find tests that see the traces of another one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.stressed import stores
from tests.support.projects import TestProject, eventually

FILES = Path(__file__).parent / "stressed"
_NOBODY_RESTORES = """
import pytest

@pytest.fixture
def dm_stack(dm_session_stack):
    return dm_session_stack
"""
WORK = "what the user has not committed"


class ViolationError(AssertionError):
    """A broken promise: a leak, or a leftover. The message names it."""


@dataclass(frozen=True)
class Leaks:
    """The number of tests, processes and spares.

    With `some`, each test touches datastores at random. Unless they are `restored`, nobody restores between the tests, and leaks
    must be found.
    """

    tests: int
    workers: int = 0
    spares: int = 0
    seed: int = 0
    some: bool = False
    restored: bool = True
    options: Sequence[str] = ()
    timeout_s: float = 3600.0


@dataclass
class Findings:
    """The outcome: the number of looks, the number of each way of writing, and the message of each failed test."""

    tests: int = 0
    looks: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Original:
    """The user's own stack. It has the members that stores need."""

    project: TestProject

    def address(self, service: str, port: int) -> tuple[str, int]:
        return self.project.address(service), port


def bring_up(project: TestProject) -> dict[str, stores.View]:
    """Start the stack, give every datastore a seed, commit, and write something uncommitted; return the seed's contents."""
    project.dm("up", "-d")
    stack = Original(project)
    services = [service for service in stores.SEED if service in project.file.read_text()]
    for service in services:
        _eventually_seeded(stack, service)
    project.seed = project.json("commit", "-m", "seed")["id"]
    seen = {service: stores.SEE[service](stack) for service in services}
    stores.cache(stack).set("work", WORK)
    return seen


def _eventually_seeded(stack: Original, service: str) -> None:
    def answers() -> bool:
        try:
            stores.SEE[service](stack)
        except stores.pymysql.Error as error:
            if error.args[0] == 1146:  # it is there, and has no table yet
                return True
            raise
        return True

    eventually(answers, f"{service} to answer", timeout_s=90)
    stores.SEED[service](stack)


def pytest_environment(project: TestProject) -> dict[str, str]:
    """Return the environment of a pytest of the project's own, without that of the pytest in which this may run."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {**outer, **project.environment}


def pytest_command(*options: str) -> list[str]:
    """Return the command of a pytest without plugins that only get in the way."""
    off = ("cacheprovider", "asyncio", "django", "randomly", "rerunfailures", "timeout", "hypothesispytest")
    return [sys.executable, "-m", "pytest", *(word for name in off for word in ("-p", f"no:{name}")), *options]


def look_for_leaks(project: TestProject, seen: dict[str, stores.View], directory: Path, leaks: Leaks) -> Findings:
    """Run the tests on a stack that `bring_up` has made. It finds leaks and does not judge them."""
    directory.mkdir()
    shutil.copy(FILES / "stores.py", directory / "stores.py")
    shutil.copy(FILES / "leaks.py", directory / "test_leaks.py")
    (directory / "pytest.ini").write_text(f"[pytest]\ndm_file = {project.file}\n")
    settings = {"tests": leaks.tests, "seed": leaks.seed, "some": leaks.some, "seen": seen}
    (directory / "settings.json").write_text(json.dumps(settings))
    if not leaks.restored:
        (directory / "conftest.py").write_text(_NOBODY_RESTORES)
    words = [
        *(["-n", str(leaks.workers)] if leaks.workers else []),
        *(["--dm-spares", str(leaks.spares)] if leaks.spares else []),
    ]
    command = pytest_command("-q", "--tb=short", "--junitxml=junit.xml", *words, *leaks.options)
    with open(directory / "output", "w") as output:
        code = subprocess.run(
            command,
            cwd=directory,
            env=pytest_environment(project),
            stdout=output,
            stderr=output,
            timeout=leaks.timeout_s,
            check=False,
        ).returncode
    return _read(directory, code)


def _read(directory: Path, code: int) -> Findings:
    found = Findings()
    for file in directory.glob("done-*.jsonl"):
        for line in map(json.loads, file.read_text().splitlines()):
            found.tests += "looked" in line
            found.looks.update(line.get("looked", ()))
            found.ways.update(line.get("ways", ()))
    if not (directory / "junit.xml").exists():
        raise AssertionError(f"pytest ended with {code}: {(directory / 'output').read_text()[-3000:]}")
    for case in ET.parse(directory / "junit.xml").getroot().iter("testcase"):
        for problem in (*case.findall("failure"), *case.findall("error")):
            found.failed[str(case.get("name"))] = f"{problem.get('message')}\n{problem.text}"
    if code and not found.failed:
        found.failed["pytest"] = (directory / "output").read_text()[-3000:]
    return found


def check_leaks(found: Findings, leaks: Leaks) -> None:
    """Raise ViolationError for the first test that saw a trace of another one, or failed."""
    for name, what in sorted(found.failed.items(), key=lambda item: "LEAK" not in item[1]):
        raise ViolationError(f"{len(found.failed)} tests failed, for example {name}: {what[:3000]}")
    if found.tests != leaks.tests:
        raise ViolationError(f"{found.tests} of {leaks.tests} tests have come to their end")
