"""When the terminal is closed, a command gives back what it has and ends. Its words go nowhere, and none of them fails."""

from __future__ import annotations

import os
import pty
import sys
from pathlib import Path

from tests.support.commands import PATIENCE_S
from tests.support.processes import REPOSITORY
from tests.support.projects import eventually

PROGRAM = """
import sys, time
from pathlib import Path
from dm_compose.cli.main import run
marks = Path(sys.argv[1])

def work():
    try:
        print("at work", flush=True)
        (marks / "begun").touch()
        time.sleep(600)
    finally:
        print("giving back", file=sys.stderr, flush=True)
        print("giving back", flush=True)
        (marks / "given back").touch()

sys.exit(run(work, ["dm-compose", "reset"]))
"""


def test_the_work_is_given_back_and_the_code_is_129(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(REPOSITORY)
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM, str(tmp_path)])
    eventually((tmp_path / "begun").exists, "the work to begin", timeout_s=PATIENCE_S)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert (tmp_path / "given back").exists()
