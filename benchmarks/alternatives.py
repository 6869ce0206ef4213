"""What people do between two tests today beside what the plugin does: the same stacks, the same seed, one run. Every measured
action begins with dirty datastores and ends when all answer and hold the seed, which is verified after each.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from benchmarks.common import arguments_parser, headline, spread, table, timed
from benchmarks.restore import THREE, Writers
from benchmarks.seeds import Amounts, Seeds
from benchmarks.today import WAYS
from dm_compose.repository.session import SessionOptions, StackSession
from dm_compose.repository.settling import settled
from tests.support.projects import Run, TestProject, example, project_in

BROKER = "rabbitmq"
STACKS: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "three": ("Postgres + MariaDB + Redis", lambda: THREE),
    "sockshop": (
        "Sock Shop: MariaDB, three Mongo stand-ins, RabbitMQ",
        lambda: example("sockshop/docker-compose.local.yaml"),
    ),
}
PLUGIN = "dm-compose"
ALL, NO_BROKER, ONE, NONE = "a test that touched all", "all but RabbitMQ", "one", "none"
TARGETS = (("logical", 8), ("down", 40))


@dataclass
class Figures:
    """Seconds of each round, by the name of a way and by what a test with the plugin touched."""

    ways: dict[str, list[float]] = field(default_factory=dict)
    plugin: dict[str, list[float]] = field(default_factory=dict)
    one: str = ""


def measure_ways(project: TestProject, amounts: Amounts, names: Collection[str], rounds: int, figures: Figures) -> None:
    """Measure what people do today, in a stack that plain docker compose has brought up."""
    project.compose("up", "-d")
    with Seeds(project, amounts) as seeds, tempfile.TemporaryDirectory(prefix="dm-bench-") as scratch:
        seeds.fill()
        writers = Writers(project).by_service()
        for way in (kind(seeds, Path(scratch)) for kind in WAYS if kind.name in names):
            way.prepare()
            seeds.verify()
            samples = figures.ways[way.name] = []
            for _ in range(rounds):
                dirty(seeds, writers)
                samples.append(timed(way.again))
                seeds.verify()
    project.compose("down", "-v")


def dirty(seeds: Seeds, writers: dict[str, Callable[[str], None]]) -> None:
    """Write to all datastores; AssertionError where that cannot be seen, since then nothing would be measured."""
    for service, write in writers.items():
        write(service)
    clean = [d.service for d in seeds.datastores if d.state() == seeds.expected[d.service]]
    assert not clean, f"{', '.join(clean)}: still the seed"


def measure_plugin(project: TestProject, amounts: Amounts, rounds: int, figures: Figures) -> None:
    """Measure restores as the pytest plugin does them: in a stack that it brought up, to the settled form of a commit."""
    project.dm("up", "-d")
    with Seeds(project, amounts) as seeds:
        seeds.fill()
        project.dm("commit", "-m", "seed")
        project.dm("down")
        writers = Writers(project).by_service()
        stack, options = project.stack(), SessionOptions()
        options = replace(options, commit=settled(stack, options, project.run_id))
        figures.one = next(iter(writers))
        touched = {ALL: list(writers), ONE: [figures.one], NONE: []}
        if BROKER in writers:
            touched[NO_BROKER] = [service for service in writers if service != BROKER]
        with StackSession(stack, options) as session:
            assert session.commit is not None
            seeds.verify()
            for what, services in touched.items():
                samples = figures.plugin[what] = []
                for _ in range(rounds):
                    session.restore(session.commit)  # verifying has touched all of them
                    for service in services:
                        writers[service](service)
                    samples.append(timed(lambda: session.restore(session.commit)))
                    seeds.verify()


def show(figures: Figures) -> None:
    """Print medians, and how many times as long as the plugin each way takes."""
    compared = [what for what in (ALL, NO_BROKER, ONE) if what in figures.plugin]
    rows = []
    for way in WAYS:
        if samples := figures.ways.get(way.name):
            rows.append((way.title, spread(samples), *(f"{ratio(samples, figures.plugin[what]):.1f}x" for what in compared)))
    for what in (ALL, NO_BROKER, ONE, NONE):
        if what in figures.plugin:
            title = f"{PLUGIN}: {what}" + (f" ({figures.one})" if what == ONE else "")
            rows.append((title, spread(figures.plugin[what]), *(" " for _ in compared)))
    table(("between two tests", "to all ready with the seed", *(f"over {PLUGIN}, {what}" for what in compared)), rows)


def judge(figures: Figures) -> None:
    """Print what is to be shown of the five datastores."""
    for name, least in TARGETS:
        if NO_BROKER in figures.plugin and name in figures.ways:
            found = ratio(figures.ways[name], figures.plugin[NO_BROKER])
            verdict = "met   " if found >= least else "MISSED"
            print(f"{verdict} {name} over {PLUGIN}, {NO_BROKER}: {found:.1f}x, to show: at least {least}x")
    print(flush=True)


def ratio(samples: list[float], others: list[float]) -> float:
    return statistics.median(samples) / statistics.median(others)


def parsed() -> argparse.Namespace:
    parser = arguments_parser(__doc__ or "", rounds=5)
    names = [*STACKS, *(way.name for way in WAYS), PLUGIN]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=f"of {', '.join(names)}")
    for amount in fields(Amounts):
        option = f"--{amount.name.replace('_', '-')}"
        parser.add_argument(option, type=int, default=amount.default, help=f"in the seed (default {amount.default})")
    return parser.parse_args()


def main() -> None:
    options = parsed()
    amounts = Amounts(**{amount.name: getattr(options, amount.name) for amount in fields(Amounts)})
    headline("between two tests: what people do today, and the plugin; every datastore dirty; median (range)")
    print(
        f"seed: {amounts.rows} rows in each SQL database, {amounts.keys} keys in Redis, {amounts.documents} documents in each"
        f" Mongo, {amounts.messages} persistent messages in RabbitMQ, {amounts.size_bytes} bytes each; {options.rounds} rounds,"
        " the state verified after each\n"
    )
    stacks = [name for name in STACKS if name in options.only] or list(STACKS)
    ways = [name for name in options.only if name not in STACKS] or [*(way.name for way in WAYS), PLUGIN]
    run = Run()
    try:
        for name in stacks:
            title, document = STACKS[name]
            figures = Figures()
            with tempfile.TemporaryDirectory(prefix="dm-bench-") as base:
                for project in project_in(Path(base) / "today", run, "today", document()):
                    measure_ways(project, amounts, ways, options.rounds, figures)
                for project in project_in(Path(base) / "plugin", run, "plugin", document()):
                    if PLUGIN in ways:
                        measure_plugin(project, amounts, options.rounds, figures)
            print(f"{title}\n")
            show(figures)
            judge(figures)
    finally:
        run.finish()
    print(f"load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
