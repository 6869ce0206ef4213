"""^C, again and again: the first ends a run, one while stacks are given back leaves them, and all others do nothing."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from dm_compose.sessions.leases import GivenUp
from pytest_dotmesh.ending import Ending


@pytest.fixture(autouse=True)
def _default_handlers() -> Iterator[None]:
    """Have the handlers of a fresh process in a test. SIGHUP is left to tests of whole runs, because it closes the terminal."""
    fresh: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in fresh.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def press(*numbers: int) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def test_outside_of_giving_back_each_interrupt_is_one() -> None:
    ending = Ending()
    with ending.by_signals():
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt) as caught:
                press(signal.SIGINT)
            assert caught.type is KeyboardInterrupt
    assert not ending.interrupted, "a test may catch it and go on"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_while_stacks_are_given_back_one_interrupt_is_heard_and_none_after_it() -> None:
    ending = Ending()
    with ending.by_signals():
        with ending.giving_back():
            press(signal.SIGTERM)
            with pytest.raises(GivenUp):
                press(signal.SIGINT)
            press(signal.SIGINT, signal.SIGTERM)
        assert ending.given_up
    press(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_an_interrupt_while_a_stack_comes_up_has_it_given_back_and_says_so() -> None:
    told: list[str] = []
    ending = Ending(lambda: told.append("given back"))
    with ending.by_signals(), ending.coming_up():
        with pytest.raises(KeyboardInterrupt) as caught:
            press(signal.SIGINT)
        assert (caught.type, told) == (KeyboardInterrupt, ["given back"])
        with pytest.raises(GivenUp):
            press(signal.SIGINT)
        press(signal.SIGINT)


def test_a_request_to_end_is_heard_once() -> None:
    with Ending().by_signals():
        with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
            press(signal.SIGTERM)
        press(signal.SIGTERM)


def test_a_handler_of_somebody_else_stays() -> None:
    heard: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    with Ending().by_signals():
        press(signal.SIGINT)
    assert heard == [signal.SIGINT]


def test_a_second_interrupt_has_the_name_that_people_know() -> None:
    assert traceback.format_exception_only(GivenUp()) == ["KeyboardInterrupt\n"]
