"""A check of this machine and this stack, so that users know what test runs can expect of them. Costs are measured."""

from __future__ import annotations

import contextlib
import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from dm_compose.clones.clone import Clone
from dm_compose.core.containers import EngineFacts
from dm_compose.core.names import DotName
from dm_compose.core.upkeep import FileSystemProbe
from dm_compose.dots.stack import Stack
from dm_compose.engine import RESPAWN_LABEL, Engine, Supervisor, supervised
from dm_compose.errors import DmError
from dm_compose.up.durability import Relaxation, relaxations
from dm_compose.up.respawn import respawn_obstacles

ROUNDS = 3


@dataclass(frozen=True)
class ServiceReport:
    """A service with state, as it would run in a test run's own containers.

    `strategy` is the way in which it goes down and up: `respawn` or `restart`. `obstacle` says why it cannot respawn, '' if it
    can. `relaxed` has the words that tell its server not to wait for the disk. `durable_because` says why there are none.
    """

    service: str
    engines: tuple[str, ...]
    strategy: str
    obstacle: str
    relaxed: tuple[str, ...] = ()
    durable_because: str = ""


@dataclass(frozen=True)
class Costs:
    """The costs of each thing that a restore does to a container: median seconds, measured with a shell that sleeps."""

    pause_s: float
    unpause_s: float
    restart_s: float
    respawn_s: float


@dataclass(frozen=True)
class Doctor:
    """The findings.

    `files` is the way in which files are reached: `in-process` or `helper`. `untouched` says whether it can be proven that a test
    left a container alone. `clones` has the reason why the stack cannot be cloned, or, if it is `clonable`, the warnings about
    its clones.
    """

    engine: EngineFacts
    files: str
    probe: FileSystemProbe
    untouched: bool
    services: tuple[ServiceReport, ...]
    costs: Costs | None
    clones: tuple[str, ...] = field(default_factory=tuple)
    clonable: bool = True


def examine(stack: Stack) -> Doctor:
    """Look at the engine, the store and the stack's services, and measure with a scratch container of one of its images.

    Nothing of the stack is touched. If no image has a shell, nothing is measured.
    """
    engine = stack.facts.engine
    document = dict(stack.facts.project.document)
    names = sorted(stack.facts.plan.stateful_services())
    obstacles = respawn_obstacles(document, stack.facts.images, engine, names)
    engines = {n: tuple(sorted({s.engine for s in stack.facts.plan.subdots if n in s.services and s.engine})) for n in names}
    told, untold = relaxations(document, stack), Relaxation(obstacle="no engine with files")
    services = tuple(
        ServiceReport(n, engines[n], "restart" if obstacle else "respawn", obstacle, found.words, found.obstacle)
        for n, obstacle, found in ((n, obstacles[n], told.get(n, untold)) for n in names)
    )
    with contextlib.closing(stack.open(make_volumes=False)) as opened:
        access = opened.access
        directories = {name: access.directory(place) for name, place in (opened.places or {}).items()}
        probe = access.store.probe(directories)
    able = [n for n in names if not obstacles[n]]
    costs = _costs(engine, stack.facts.images[able[0]].digest) if able else None
    clonable, clones = _clones(stack)
    facts = engine.facts()
    return Doctor(facts, access.how, probe, facts.local, services, costs, clones, clonable)


def _clones(stack: Stack) -> tuple[bool, tuple[str, ...]]:
    try:
        clone = Clone(stack, DotName.parse(f"{stack.facts.project.name[:40]}-doctor"), "doctor")
        return True, tuple(clone.problems(copy.deepcopy(dict(stack.facts.project.document))))
    except DmError as error:
        return False, (error.message,)


def _costs(engine: Engine, image: str) -> Costs:
    words = supervised(["/bin/sh", "-c", "sleep 3600 & wait"])
    with engine.scratch_container(image, words, {RESPAWN_LABEL: "1"}) as container:

        def respawn() -> None:
            with Supervisor(engine, container) as supervisor:
                supervisor.down()
                supervisor.up()

        def restart() -> None:
            engine.kill(container.id)
            engine.start(container.id)

        times: dict[str, list[float]] = {"pause": [], "unpause": [], "respawn": [], "restart": []}
        for _ in range(ROUNDS):
            times["pause"].append(_timed(lambda: engine.pause(container.id)))
            times["unpause"].append(_timed(lambda: engine.unpause(container.id)))
            times["respawn"].append(_timed(respawn))
        for _ in range(ROUNDS):
            times["restart"].append(_timed(restart))
    pause, unpause, respawned, restarted = (statistics.median(samples) for samples in times.values())
    return Costs(pause, unpause, restarted, respawned)


def _timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
