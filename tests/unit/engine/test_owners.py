"""A dead owner is known for certain. An owner of whom nothing is known is taken to live."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from dm_compose.engine.owners import Owner
from tests.support.processes import REPOSITORY


def test_an_owner_is_read_back_as_it_was_written() -> None:
    me = Owner.me()
    assert Owner.parse(str(me)) == me
    assert Owner.parse("nobody") is None


def test_this_process_lives() -> None:
    assert not Owner.me().is_gone


def test_a_process_that_has_ended_is_gone_before_and_after_it_was_waited_for() -> None:
    script = "from dm_compose.engine.owners import Owner; print(Owner.me())"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        owner = Owner.parse(child.stdout.readline().strip())
        assert owner is not None
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert owner.is_gone
        child.wait()
        assert owner.is_gone


def test_another_process_of_the_same_number_is_not_the_owner() -> None:
    assert replace(Owner.me(), started="1").is_gone


def test_a_restart_of_the_machine_ends_everybody() -> None:
    assert replace(Owner.me(), boot="another").is_gone


def test_of_another_host_nothing_is_known() -> None:
    assert not replace(Owner.me(), host="elsewhere", started="1").is_gone


def test_an_owner_that_an_older_version_wrote_is_read() -> None:
    me = Owner.me()
    old = Owner.parse(f"{me.host}/{me.boot}/{me.pid}/{me.started}")
    assert old is not None
    assert not old.is_gone
    assert replace(old, started="1").is_gone


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="a PID namespace needs root and unshare")
def test_of_another_pid_namespace_of_the_same_host_nothing_is_known() -> None:
    """It is the one of a CI job's container with the host's name, which has a /proc of its own."""
    program = (
        "import sys; from dm_compose.engine import abandoned; from dm_compose.engine.owners import OWNER_LABEL;"
        "print(abandoned({OWNER_LABEL: sys.argv[1]}))"
    )
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", program, str(Owner.me())]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"
