"""Many `dm` processes use one store at once. benchmarks/mixed.py does so for longer; here it is seen to find fault, too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]


def _mixed(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.mixed", "--minutes", "0.1", "--processes", "4", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def test_a_few_processes_lose_nothing_and_do_not_wait_for_each_other_for_ever() -> None:
    done = _mixed()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wrong: 0" in done.stdout


def test_a_command_that_does_not_end_in_time_is_found_and_shows_where_it_stands() -> None:
    done = _mixed("--limit", "0.001")
    assert done.returncode == 1
    assert "VIOLATION: dm " in done.stdout
    assert "had not ended" in done.stdout
