"""Carrying out a plan. Decides nothing: what to do and what waits for what is in the plan."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from dm_compose.core.plan import Action, Plan, Step

Work = Callable[[str], object]


@dataclass(frozen=True)
class Done:
    """A step that has been done: what its work returned, and when it began and ended, in seconds since the plan's start."""

    step: Step
    result: object
    began_s: float
    ended_s: float


def execute(plan: Plan, work: Mapping[Action, Work], told: Callable[[Step], None] = lambda _: None) -> list[Done]:
    """Do every step, at once where none waits for another, by calling `work[action](target)`; return them in order of completion.

    After an error no further step begins; those under way are waited for, and the first error is raised.
    """
    start = time.monotonic()
    waiting = {step.number: step for step in plan.steps}
    running: dict[Future[Done], Step] = {}
    done: list[Done] = []
    finished: set[int] = set()
    error: BaseException | None = None

    def run(step: Step) -> Done:
        began = time.monotonic() - start
        result = work[step.action](step.target)
        return Done(step, result, began, time.monotonic() - start)

    with ThreadPoolExecutor(max(len(plan.steps), 1), thread_name_prefix="step") as pool:
        while True:
            if error is None:
                for number in [n for n, step in waiting.items() if finished.issuperset(step.after)]:
                    step = waiting.pop(number)
                    told(step)
                    running[pool.submit(run, step)] = step
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                step = running.pop(future)
                if (problem := future.exception()) is not None:
                    error = error or problem
                else:
                    done.append(future.result())
                    finished.add(step.number)
    if error is not None:
        raise error
    if waiting:
        raise AssertionError(f"plan with steps that wait for each other: {plan}")
    return sorted(done, key=lambda d: d.ended_s)
