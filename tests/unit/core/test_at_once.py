"""Several calls at once: all are done, the first error is raised, and a call that hangs holds nobody up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from dm_compose.core.at_once import at_once, begun, in_time
from tests.support.processes import REPOSITORY

PATIENCE_S = 20.0


def test_results_are_in_the_order_of_the_items() -> None:
    meeting = threading.Barrier(8)

    def work(number: int) -> int:
        meeting.wait(PATIENCE_S)
        return number * 2

    assert at_once(work, range(8)) == [number * 2 for number in range(8)]
    assert at_once(work, []) == []


def test_at_most_so_many_calls_run_at_the_same_time() -> None:
    lock, running, most = threading.Lock(), 0, 0

    def work(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with lock:
            running -= 1

    at_once(work, range(20), most=3)
    assert most == 3


def test_the_first_error_in_the_order_of_the_items_is_raised_when_all_have_ended() -> None:
    ended: list[int] = []

    def work(number: int) -> None:
        ended.append(number)
        if number in (2, 4):
            raise ValueError(number)

    with pytest.raises(ValueError, match="2"):
        at_once(work, range(6))
    assert sorted(ended) == list(range(6))


def test_calls_under_way_are_waited_for_when_a_signal_comes_and_no_further_one_begins() -> None:
    began, ended = threading.Event(), threading.Event()
    seen: list[int] = []

    def work(number: int) -> None:
        seen.append(number)
        began.set()
        assert ended.wait(PATIENCE_S)

    def interrupt() -> None:
        assert began.wait(PATIENCE_S)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1.0)  # for the caller to notice
        ended.set()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        at_once(work, range(3), most=1)
    assert ended.is_set()
    assert seen == [0]
    thread.join()


def test_a_call_in_time_returns_its_result_or_raises_its_error() -> None:
    assert in_time(lambda: 7, PATIENCE_S) == 7

    def fails() -> None:
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        in_time(fails, PATIENCE_S)


def test_a_call_that_hangs_is_left_after_its_time() -> None:
    never = threading.Event()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        in_time(never.wait, 0.05)
    assert time.monotonic() - began < PATIENCE_S
    never.set()


def test_a_call_that_hangs_does_not_keep_the_process_from_ending() -> None:
    program = (
        "import threading\n"
        "from dm_compose.core.at_once import at_once, begun\n"
        "begun(lambda: at_once(lambda _: threading.Event().wait(), range(3)))\n"
        "print('begun', flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stdout) == (0, "begun\n")


def test_a_begun_call_goes_on_beside_its_caller() -> None:
    asked = threading.Event()
    call = begun(lambda: asked.wait(PATIENCE_S))
    assert not call.done()
    asked.set()
    assert call.result(PATIENCE_S) is True
