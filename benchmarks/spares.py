"""Measure warm spares: the time until the next stack is ready while spares stand by, and the tests per second."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from benchmarks.common import headline, ms, table, timed
from benchmarks.stacks import Writers, bring_up, projects, stack_arguments
from dm_compose.clones.settle import SettleOptions, settled
from dm_compose.core.events import Event
from dm_compose.sessions.options import SessionOptions
from dm_compose.sessions.spares import SpareStacks, with_spares
from tests.support.projects import TestProject, eventually

SPARES = 2
STANDING_BY_S = 120.0


def percentiles(samples: list[float]) -> tuple[str, str]:
    """Return median and 95th percentile."""
    return ms(statistics.median(samples)), ms(statistics.quantiles(samples, n=20)[-1])


def dirty(stacks: SpareStacks, project: TestProject, services: Collection[str]) -> None:
    """Write to services of the clone in use."""
    writers = Writers(replace(project, name=stacks.session.stack.name, directory=project.directory))
    writers.count = time.monotonic_ns()
    for service, write in writers.by_service_of(stacks.session.stack).items():
        if service in services:
            write(service)


def bare(stacks: SpareStacks, rounds: int) -> list[float]:
    """Return the seconds of the engine's own unpause of the clone in use, all containers at once."""
    engine, samples = stacks.session.stack.facts.engine, []
    containers = [c.id for c in stacks.session.stack.containers() if c.state == "running"]
    with ThreadPoolExecutor(len(containers)) as pool:
        for _ in range(rounds):
            list(pool.map(engine.pause, containers))
            samples.append(timed(lambda: list(pool.map(engine.unpause, containers))))
    return samples


def standing_by(stacks: SpareStacks) -> Callable[[], bool]:
    """Return a function that says whether all spares stand by."""
    return lambda: len(stacks._rotation._fresh) == SPARES


def run_stack(name: str, project: TestProject, rounds: int) -> list[tuple[str, ...]]:
    every = bring_up(project).keys()
    left_alone = every & {"rabbitmq"}
    stack = project.stack()
    rows = []
    said: list[Event] = []
    stack.listener = said.append
    options = replace(SessionOptions(), commit=settled(stack, SettleOptions(), "bench"))
    with with_spares(stack, options, SPARES, "bench", "main") as stacks:
        for what, services in (("all", every), *((f"all but {s}", every - {s}) for s in left_alone)):
            seconds = []
            for _ in range(rounds):
                eventually(standing_by(stacks), "spares", timeout_s=STANDING_BY_S)
                dirty(stacks, project, services)
                seconds.append(timed(lambda: stacks.restore(stacks.commit)))
            began = time.monotonic()
            for _ in range(rounds):
                dirty(stacks, project, services)
                stacks.restore(stacks.commit)
            rate = rounds / (time.monotonic() - began)
            rows.append((name, what, *percentiles(seconds), *percentiles(bare(stacks, rounds)), f"{rate:.2f}"))
            print(rows[-1], flush=True)
    print("; ".join(e.text for e in said if e.what in ("spares", "warning")), flush=True)
    return rows


def main() -> None:
    options = stack_arguments(__doc__ or "", rounds=10)
    headline(f"{SPARES} spares: hand-out of the next stack while they stand by, and tests per second when nobody waits for them")
    rows = []
    for name, project in projects(options.stack):
        rows += run_stack(name, project, options.rounds)
    table(("stack", "each test dirties", "hand-out", "p95", "Docker's own unpause", "p95", "tests/s sustained"), rows)


if __name__ == "__main__":
    main()
