"""docs/tutorial.md, run as it is written: every command, and its output compared."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.projects import Run, remove_leftovers

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[3]
STEP = re.compile(r"^\$ (?P<command>.*)\n(?P<output>(?:(?!\$ ).*\n)*)", re.MULTILINE)


def steps(document: str) -> Iterator[tuple[str, list[str]]]:
    """Yield every command of the console blocks with the output that the document shows."""
    for block in re.findall(r"^```console\n(.*?)^```$", document, re.MULTILINE | re.DOTALL):
        for step in STEP.finditer(block):
            yield step["command"], step["output"].splitlines()


def shows(expected: list[str], output: str) -> str | None:
    """Return the first expected line that the output does not have, in this order, None when all are there."""
    rest = iter(output.splitlines())
    for line in expected:
        pattern = re.compile(re.escape(line.strip()).replace(re.escape("..."), ".*"))
        if not any(pattern.fullmatch(found.strip()) for found in rest):
            return line
    return None


def test_the_tutorial_does_what_it_says(run: Run, tmp_path: Path) -> None:
    project = run.new_project("sockshop")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "COMPOSE_PROJECT_NAME": project,
        "DM_HOME": str(tmp_path / "home"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTEST_ADDOPTS": "-p no:pytester",
    }
    where = ROOT
    done = 0
    try:
        for command, expected in steps((ROOT / "docs" / "tutorial.md").read_text()):
            words = shlex.split(command)
            if words[0] == "cd":
                where = where / words[1]
                continue
            if words[0] == "export":
                environment.update([words[1].split("=")])
                continue
            code = 0
            if expected and (match := re.fullmatch(r"\[exit code (\d+)\]", expected[-1])):
                code, expected = int(match[1]), expected[:-1]
            result = subprocess.run(words, cwd=where, env=environment, capture_output=True, text=True, timeout=170, check=False)
            output = result.stdout + result.stderr
            assert result.returncode == code, f"$ {command}\n{output}"
            missing = shows([line.replace("sockshop...", f"{project}...") for line in expected], output)
            assert missing is None, f"$ {command}\nexpected: {missing}\n{output}"
            done += 1
    finally:
        remove_leftovers(None, [project])
    assert done > 20
