"""A dead owner is known for certain. An owner of whom nothing is known is taken to live."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

from dm_compose.engine.owners import Owner


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
