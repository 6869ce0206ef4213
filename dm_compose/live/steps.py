"""What the steps of plans do to containers: the same for a restore and for a switch between trees."""

from __future__ import annotations

from collections.abc import Mapping

from dm_compose.core.events import Event
from dm_compose.core.plan import Action, Plan
from dm_compose.engine import Supervisor
from dm_compose.errors import DmError
from dm_compose.live.executor import Done, Work, execute
from dm_compose.live.freeze import Freeze
from dm_compose.live.ready import await_ready
from dm_compose.live.worktree import LiveWorktree


def carry_out(live: LiveWorktree, plan: Plan, freeze: Freeze | None, timeout_s: float, work: Mapping[Action, Work]) -> list[Done]:
    """Do the steps of a plan, each told as it begins; `work` is for what is not done to a container, and wins where it is given.

    A container that `freeze` holds is forgotten by it when it has been taken down. In one that respawns only the program goes
    down and comes up, where it is not frozen.
    """
    members = {m.container.id: m for m in live.members}
    engine = live.engine
    emptied: set[str] = set()

    def kill(container_id: str) -> None:
        assert engine is not None
        container = members[container_id].container
        if container.respawns and container.state == "running" and (freeze is None or container_id not in freeze.containers):
            try:
                with Supervisor(engine, container) as supervisor:
                    supervisor.down()
                emptied.add(container_id)
                return
            except DmError as error:
                live.listener(Event("warning", f"{error.message}; its container is taken down"))
        engine.kill(container_id)
        if freeze is not None:
            freeze.forget(container_id)

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
    return execute(plan, {**to_containers, **work}, lambda step: live.listener(Event(step.action.value, step.label)))
