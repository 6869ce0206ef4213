"""Carrying out a plan. Nothing is decided here: the plan has the steps, and says which of them wait for which."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from graphlib import TopologicalSorter

from dm_compose.core.at_once import await_calls, begun
from dm_compose.core.events import Event, told
from dm_compose.core.plan import Action, Plan, Step
from dm_compose.engine import Supervisor
from dm_compose.errors import DmError
from dm_compose.live.freeze import Freeze, refuse_to_hold_ourselves
from dm_compose.live.ready import await_ready
from dm_compose.live.worktree import LiveWorktree

Work = Callable[[str], object]
ONLY_LOOK = frozenset({Action.AWAIT})  # steps that change nothing, so that nobody has to wait for their end


@dataclass(frozen=True)
class Done:
    """A step that has been done, with the result of its work. It began and ended so many seconds after the plan did."""

    step: Step
    result: object
    began_s: float
    ended_s: float


def execute(
    plan: Plan, work: Mapping[Action, Work], around: Callable[[Step], AbstractContextManager[None]] = lambda _: nullcontext()
) -> list[Done]:
    """Do every step by calling `work[action](target)`, and return the steps in the order in which they ended.

    Steps that do not wait for each other run at the same time, each within the block that `around` gives. After an error no
    further step begins; those under way are waited for, and then the first error is raised. A signal's exception (^C) is raised
    likewise; a second one ends the wait. Steps that only look (ONLY_LOOK) are not waited for then, but left to themselves. Steps
    that wait for each other in a circle raise graphlib.CycleError before the first one begins.
    """
    start = time.monotonic()
    steps = {step.number: step for step in plan.steps}
    order = TopologicalSorter({step.number: step.after for step in plan.steps})
    order.prepare()
    running: dict[Future[Done], Step] = {}
    done: list[Done] = []
    error: BaseException | None = None

    def run(step: Step) -> Done:
        began = time.monotonic() - start
        with around(step):
            result = work[step.action](step.target)
        return Done(step, result, began, time.monotonic() - start)

    try:
        while order.is_active() or running:
            for number in order.get_ready() if error is None else ():
                running[begun(partial(run, steps[number]))] = steps[number]
            if not running or (error is not None and _all_only_look(running.values())):
                break
            await_calls(running, until=FIRST_COMPLETED)
            for future in [f for f in running if f.done()]:
                step = running.pop(future)
                if (problem := future.exception()) is not None:
                    error = error or problem
                else:
                    done.append(future.result())
                    order.done(step.number)
    except BaseException:
        await_calls([future for future, step in running.items() if step.action not in ONLY_LOOK])
        raise
    if error is not None:
        raise error
    return sorted(done, key=lambda d: d.ended_s)


def _all_only_look(steps: Iterable[Step]) -> bool:
    return all(step.action in ONLY_LOOK for step in steps)


def carry_out(live: LiveWorktree, plan: Plan, freeze: Freeze, timeout_s: float, work: Mapping[Action, Work]) -> list[Done]:
    """Do the steps of a plan; the listener is told of each as it begins and ends. See `execute`.

    The listener hears of no wait for a container that cannot answer, because such a container is started and no more.

    `work` has the steps that act on no container. It may also replace the work on containers.

    InUseError, before the first step, if a lifeline of this process would go down. A container that `freeze` holds is killed, and
    `freeze` forgets it. In any other container that respawns only the program is
    taken down and up.
    """
    members = {m.container.id: m for m in live.members}
    engine = live.engine
    emptied: set[str] = set()
    refuse_to_hold_ourselves(live, plan.targets(Action.KILL))

    def kill(container_id: str) -> None:
        assert engine is not None
        container = members[container_id].container
        if container.respawns and container.state == "running" and not freeze.holds(container_id):
            try:
                with Supervisor(engine, container) as supervisor:
                    supervisor.down()
                emptied.add(container_id)
                return
            except DmError as error:
                live.listener(Event("warning", f"{error.message}; its container is taken down"))
        freeze.kill(container)

    def start(container_id: str) -> None:
        assert engine is not None
        if container_id in emptied:
            with Supervisor(engine, members[container_id].container) as supervisor:
                supervisor.up()
        else:
            engine.start(container_id)

    def await_answer(container_id: str) -> float:
        assert engine is not None
        return await_ready(engine, members[container_id], live.listener, timeout_s)

    def pause(container_id: str) -> None:
        assert engine is not None
        engine.pause(container_id)

    to_containers: dict[Action, Work] = {
        Action.KILL: kill,
        Action.START: start,
        Action.AWAIT: await_answer,
        Action.PAUSE: pause,
    }

    def around(step: Step) -> AbstractContextManager[None]:
        if step.action is Action.AWAIT and not members[step.target].answers:
            return nullcontext()
        return told(live.listener, step.action.value, step.label)

    return execute(plan, {**to_containers, **work}, around)
