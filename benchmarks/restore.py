"""Measure restores of running stacks with every datastore dirty, and freezes by commits.

Each engine's own kill and start stands beside the restores.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

from benchmarks.common import file_system, headline, ms, scratch, spread, table
from benchmarks.stacks import THREE, Dirtying, bring_up, projects, stack_arguments
from dm_compose.core.plan import Action
from dm_compose.live.ready import await_ready
from dm_compose.live.worktree import Member
from dm_compose.operations.restore import RestoreReport
from tests.support.projects import Run, TestProject, project_in


def own_boot(project: TestProject, service: str, rounds: int) -> list[float]:
    """Return the seconds from killing one container, alone, to its first answer."""
    stack = project.stack()
    samples = []
    with stack.live(lock=True) as live:
        (member,) = [m for m in live.members if m.container.service == service]
        for _ in range(rounds):
            began = time.perf_counter()
            stack.facts.engine.kill(member.container.id)
            stack.facts.engine.start(member.container.id)
            await_ready(stack.facts.engine, member, lambda _: None, 120)
            samples.append(time.perf_counter() - began)
    return samples


def restores(project: TestProject, writers: Dirtying, rounds: int) -> tuple[list[float], list[RestoreReport]]:
    """Dirty everything and restore it, as the pytest plugin does, and return how long each call took."""
    from dm_compose.sessions.leases import own_stack
    from dm_compose.sessions.options import SessionOptions

    seconds, reports = [], []
    with own_stack(project.stack(), SessionOptions()) as session:
        for _ in range(rounds):
            for service, write in writers.items():
                write(service)
            began = time.perf_counter()
            reports.append(session.restore(session.commit))
            seconds.append(time.perf_counter() - began)
    return seconds, reports


def parts(reports: list[RestoreReport]) -> dict[str, dict[str, float]]:
    """Return the median seconds of each part of a restore, by service."""
    samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for report in reports:
        services = {d.step.target: d.step.label for d in report.done if d.step.action is Action.KILL}
        restored_by = {}
        for done in report.done:
            if done.step.action is Action.RESTORE:
                kills = [d.step for d in report.done if d.step.number in done.step.after]
                restored_by[done.step.target] = kills[0].label if kills else done.step.target
        for done in report.done:
            service = services.get(done.step.target) or restored_by.get(done.step.target)
            if service is not None:
                samples[service][done.step.action.value].append(done.ended_s - done.began_s)
    return {service: {name: statistics.median(values) for name, values in found.items()} for service, found in samples.items()}


def freezes(project: TestProject, writers: Dirtying, rounds: int) -> list[float]:
    """Dirty everything and commit; return for how long the stack stood still."""
    found = []
    for _ in range(rounds):
        for service, write in writers.items():
            write(service)
        found.append(project.stack().commit("bench", {}).frozen_s)
    return found


def bare(project: TestProject, rounds: int) -> list[float]:
    """Return the seconds of the engine's own kill and start of all datastores at once: no file work, no waiting for answers."""
    stack = project.stack()
    samples = []
    with stack.live(lock=True) as live, ThreadPoolExecutor(8) as pool:
        members = [m for m in live.members if m.mounts]

        def again(member: Member) -> None:
            stack.facts.engine.kill(member.container.id)
            stack.facts.engine.start(member.container.id)

        for _ in range(rounds):
            began = time.perf_counter()
            list(pool.map(again, members))
            samples.append(time.perf_counter() - began)
            for member in members:
                await_ready(stack.facts.engine, member, lambda _: None, 120)
    return samples


def run_stack(name: str, project: TestProject, rounds: int) -> None:
    writers = bring_up(project)
    alone = {service: own_boot(project, service, max(3, rounds // 2)) for service in writers}
    floor = bare(project, max(3, rounds // 2))
    seconds, reports = restores(project, writers, rounds)
    slowest = max(alone, key=lambda service: statistics.median(alone[service]))
    ratio = statistics.median(seconds) / statistics.median(alone[slowest])
    print(f"{name}, all dirty: restore to all ready {spread(seconds)}")
    print(f"the slowest killed and started alone is {slowest}: {spread(alone[slowest])}; ratio {ratio:.2f}")
    print(f"docker kill and docker start of all at once, without file work and without waiting for answers: {spread(floor)}\n")
    rows = []
    for service, found in sorted(parts(reports).items()):
        work = sum(found.get(part, 0) for part in ("kill", "restore", "start", "await"))
        share = found.get("restore", 0) / work
        columns = [ms(found.get(part, 0)) for part in ("kill", "restore", "start", "await")]
        rows.append((service, *columns, f"{share:.1%}", spread(alone[service])))
    table(("service", "kill", "files", "start command", "engine boot", "files' share", "killed and started alone"), rows)
    frozen = freezes(project, writers, rounds)
    print(f"{name}: frozen during a commit with every datastore dirty: {spread(frozen)}\n", flush=True)


def run_freezes(kind: str, run: Run, rounds: int) -> None:
    """Measure the freeze of commits with 1 MiB dirty: a Postgres whose data and store are on one file system."""
    with scratch(kind, 4) as base:
        data = base / "data"
        data.mkdir()
        bound = {"driver_opts": {"type": "none", "o": "bind", "device": str(data)}}
        document = {"services": {"db": THREE["services"]["db"]}, "volumes": {"db-data": bound}}
        for project in project_in(base / "project", run, "freeze", document):
            bring_up(project)
            found = []
            for _ in range(rounds):
                project.sql("insert into bench (text) select repeat('x', 100) from generate_series(1, 6500)")
                found.append(project.stack().commit("bench", {}).frozen_s)
            name = "xfs, reflink" if kind == "xfs" else file_system(base)
            print(f"Postgres on {name}, 6,500 rows (about 1 MiB) dirty: frozen during a commit for {spread(found)}\n", flush=True)


def main() -> None:
    options = stack_arguments(__doc__ or "", rounds=7)
    headline("restore of running stacks (kill and start), and freeze of commits; median (range)")
    run = Run()
    try:
        for kind in ("this machine's", "xfs"):
            run_freezes(kind, run, options.rounds)
    finally:
        run.finish()
    for name, project in projects(options.stack):
        run_stack(name, project, options.rounds)


if __name__ == "__main__":
    main()
