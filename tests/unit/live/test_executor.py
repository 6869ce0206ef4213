"""Carrying out a plan: order, what runs at once, and what an error does. No clock is asked: threads meet at barriers."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from graphlib import CycleError
from typing import Any

import pytest

from dm_compose.core.at_once import await_calls
from dm_compose.core.plan import Action, Plan, Step
from dm_compose.live.executor import Work, execute

PATIENCE_S = 20.0


def plan(*lines: str) -> Plan:
    """Read steps from `ACTION TARGET [after N ...]`, numbered from 1."""
    steps = []
    for number, line in enumerate(lines, 1):
        head, _, after = line.partition(" after ")
        action, target = head.split()
        steps.append(Step(number, Action(action), target, target, "why not", tuple(map(int, after.split()))))
    return Plan(tuple(steps))


def everything(work: Work) -> Mapping[Action, Work]:
    return dict.fromkeys(Action, work)


CHAIN = plan("kill db", "restore data after 1", "sync files after 2", "start db after 2", "await db after 4")


def test_nothing_is_done_for_an_empty_plan() -> None:
    assert execute(Plan(), {}) == []


def test_steps_that_wait_for_each_other_run_one_after_the_other() -> None:
    order: list[str] = []
    done = execute(plan("kill a", "restore b after 1", "start c after 2", "await d after 3"), everything(order.append))
    assert order == ["a", "b", "c", "d"]
    assert [d.step.number for d in done] == [1, 2, 3, 4]


def test_every_action_gets_its_own_work_with_the_steps_target() -> None:
    calls: list[tuple[Action, str]] = []
    lock = threading.Lock()

    def work(action: Action) -> Callable[[str], None]:
        def do(target: str) -> None:
            with lock:
                calls.append((action, target))

        return do

    execute(CHAIN, {action: work(action) for action in Action})
    assert set(calls) == {(step.action, step.target) for step in CHAIN.steps}
    assert len(calls) == len(CHAIN.steps)


def test_every_step_is_returned_with_what_its_work_returned() -> None:
    done = execute(CHAIN, everything(str.upper))
    assert {d.step.number: d.result for d in done} == {step.number: step.target.upper() for step in CHAIN.steps}


def test_steps_are_returned_in_the_order_in_which_they_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(futures: Any, **_: Any) -> Any:
        return concurrent.futures.wait(futures)

    # Even when all of them ended before anybody looked.
    monkeypatch.setattr("dm_compose.live.executor.await_calls", wait)
    ends = [d.ended_s for d in execute(plan(*(f"kill c{number}" for number in range(30))), everything(lambda _: None))]
    assert ends == sorted(ends)


def test_a_steps_times_are_within_those_that_it_waits_for() -> None:
    by_number = {d.step.number: d for d in execute(CHAIN, everything(lambda _: None))}
    for done in by_number.values():
        assert 0 <= done.began_s <= done.ended_s
        assert all(by_number[number].ended_s <= done.began_s for number in done.step.after)


def test_steps_that_do_not_wait_for_each_other_run_at_once() -> None:
    """Two chains of two: each meets the other at both steps, which no order one by one could do."""
    meetings = {"first": threading.Barrier(2), "second": threading.Barrier(2)}

    def work(target: str) -> None:
        meetings[target.partition("-")[0]].wait(PATIENCE_S)

    done = execute(plan("kill first-a", "kill first-b", "start second-a after 1", "start second-b after 2"), everything(work))
    assert len(done) == 4


def test_as_many_steps_run_at_once_as_there_are() -> None:
    meeting = threading.Barrier(30)
    execute(plan(*(f"kill c{number}" for number in range(30))), everything(lambda _: meeting.wait(PATIENCE_S)))


def test_a_step_does_not_begin_before_all_that_it_waits_for_are_over() -> None:
    slow = threading.Event()
    seen: list[str] = []

    def work(target: str) -> None:
        if target == "slow":
            assert slow.wait(PATIENCE_S)
        if target == "fast":
            slow.set()
        seen.append(target)

    execute(plan("kill slow", "kill fast", "restore both after 1 2"), everything(work))
    assert seen[-1] == "both"


def test_a_slow_chain_does_not_hold_up_another() -> None:
    held = threading.Event()

    def work(target: str) -> None:
        if target == "slow":
            assert held.wait(PATIENCE_S), "the other chain never came to its end"
        if target == "c":
            held.set()

    assert len(execute(plan("kill slow", "kill a", "restore b after 2", "start c after 3"), everything(work))) == 4


def test_a_step_is_told_when_it_begins_and_when_it_has_ended() -> None:
    told: list[tuple[int, str, int]] = []
    finished: list[str] = []

    @contextlib.contextmanager
    def around(step: Step) -> Iterator[None]:
        told.append((step.number, "begins", len(finished)))
        yield
        told.append((step.number, "has ended", len(finished)))

    execute(CHAIN, everything(finished.append), around)
    assert told[:3] == [(1, "begins", 0), (1, "has ended", 1), (2, "begins", 1)], "told when its turn comes, not before"
    assert {number for number, what, _ in told if what == "has ended"} == {1, 2, 3, 4, 5}


class BoomError(Exception):
    """The fault of a step."""


def test_after_an_error_no_further_step_begins() -> None:
    began: list[str] = []

    def work(target: str) -> None:
        began.append(target)
        if target == "b":
            raise BoomError

    with pytest.raises(BoomError):
        execute(plan("kill a", "restore b after 1", "start c after 2", "await d after 3"), everything(work))
    assert began == ["a", "b"]


@pytest.fixture
def noticed(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when `execute` has looked at the first step that ended, and waits for the next."""
    event = threading.Event()
    waits = 0

    def wait(*words: Any, **options: Any) -> Any:
        nonlocal waits
        waits += 1
        if waits > 1:
            event.set()
        return await_calls(*words, **options)

    monkeypatch.setattr("dm_compose.live.executor.await_calls", wait)
    return event


def test_after_an_error_steps_of_other_chains_do_not_begin_either(noticed: threading.Event) -> None:
    began: list[str] = []

    def work(target: str) -> None:
        began.append(target)
        if target == "bad":
            raise BoomError
        assert noticed.wait(PATIENCE_S)

    with pytest.raises(BoomError):
        execute(plan("kill bad", "kill good", "start next after 2"), everything(work))
    assert sorted(began) == ["bad", "good"]


def test_steps_under_way_are_waited_for_before_the_error_is_raised() -> None:
    failing = threading.Event()
    ended: list[str] = []

    def work(target: str) -> None:
        if target == "bad":
            failing.set()
            raise BoomError
        assert failing.wait(PATIENCE_S)
        ended.append(target)

    with pytest.raises(BoomError):
        execute(plan("kill bad", "kill one", "kill two"), everything(work))
    assert sorted(ended) == ["one", "two"]


def test_the_first_of_several_errors_is_raised(noticed: threading.Event) -> None:
    def work(target: str) -> None:
        if target == "second":
            assert noticed.wait(PATIENCE_S)
        raise BoomError(target)

    with pytest.raises(BoomError, match="first"):
        execute(plan("kill second", "kill first"), everything(work))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_after_an_interrupt_nobody_waits_for_an_answer(monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
    never, asked = threading.Event(), threading.Event()

    def work(_: str) -> None:
        asked.set()
        never.wait()

    def wait(*words: Any, **options: Any) -> None:
        if options:
            assert asked.wait(PATIENCE_S)
            raise error
        await_calls(*words, **options)

    monkeypatch.setattr("dm_compose.live.executor.await_calls", wait)
    with pytest.raises(error):
        execute(plan("await a"), everything(work))
    never.set()


def test_after_an_error_nobody_waits_for_an_answer() -> None:
    never, asked = threading.Event(), threading.Event()

    def work(target: str) -> None:
        if target == "slow":
            asked.set()
            never.wait()
        assert asked.wait(PATIENCE_S)
        raise BoomError

    with pytest.raises(BoomError):
        execute(plan("await slow", "kill bad"), everything(work))
    never.set()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_within_a_step_is_raised_like_any_error(error: type[BaseException]) -> None:
    began: list[str] = []

    def work(target: str) -> None:
        began.append(target)
        raise error

    with pytest.raises(error):
        execute(plan("kill a", "start b after 1"), everything(work))
    assert began == ["a"]


def test_an_interrupt_from_outside_waits_for_the_steps_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted = threading.Event()
    ended: list[str] = []

    def wait(*words: Any, **options: Any) -> None:
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt
        await_calls(*words, **options)

    def work(target: str) -> None:
        assert interrupted.wait(PATIENCE_S)
        ended.append(target)

    monkeypatch.setattr("dm_compose.live.executor.await_calls", wait)
    with pytest.raises(KeyboardInterrupt):
        execute(plan("kill a", "kill b", "start c after 1"), everything(work))
    assert sorted(ended) == ["a", "b"]


def test_a_plan_whose_steps_wait_for_each_other_is_a_bug_and_not_a_wait_for_ever() -> None:
    done: list[str] = []
    with pytest.raises(CycleError):
        execute(plan("kill a after 2", "kill b after 1", "kill c"), everything(done.append))
    assert done == []
