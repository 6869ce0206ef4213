"""Measure how long people wait between two tests today, and with the plugin: the same stacks, the same seed, one run.

Every measured action begins with dirty datastores. It ends when all datastores answer and hold the seed, which is verified after
each. `--json FILE` keeps all samples; `python -m benchmarks.plot` draws them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from benchmarks.common import circumstances, headline, spread, table, timed
from benchmarks.seeds import Amounts, Seeds
from benchmarks.stacks import STACKS, Dirtying, Writers, projects, stack_parser
from benchmarks.today import WAYS
from dm_compose.clones.settle import SettleOptions, settled
from dm_compose.core.plan import Action
from dm_compose.operations.restore import RestoreReport
from dm_compose.sessions.leases import own_stack
from dm_compose.sessions.options import SessionOptions
from tests.support.projects import TestProject

BROKER = "rabbitmq"
PLUGIN = "dm-compose"
ALL, NO_BROKER, ONE, NONE = "a test that touched all", "all but RabbitMQ", "one", "none"
TARGETS = (("logical", 8), ("down", 40))


@dataclass
class Figures:
    """The seconds of each round. `ways` has them by the name of a way, `plugin` by the datastores that a test touched.

    `taken_down` counts how often the plugin took each service down, and `parts` has the seconds of a way's steps. All begin from
    `seed` and end with it. `one` is the service that a test touches which touches one.
    """

    ways: dict[str, list[float]] = field(default_factory=dict)
    plugin: dict[str, list[float]] = field(default_factory=dict)
    taken_down: dict[str, Counter[str]] = field(default_factory=dict)
    parts: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    one: str = ""
    seed: dict[str, object] = field(default_factory=dict)

    def fill(self, seeds: Seeds) -> None:
        """Give the datastores the seed; AssertionError if it is not the one that they had before."""
        seeds.fill()
        assert seeds.expected == (self.seed or seeds.expected), "the seed differs between two runs of one stack"
        self.seed = seeds.expected


def measure_ways(project: TestProject, amounts: Amounts, names: Collection[str], rounds: int, figures: Figures) -> None:
    """Measure the ways of today, in a stack that plain docker compose has brought up."""
    project.compose("up", "-d")
    with Seeds(project, amounts) as seeds, tempfile.TemporaryDirectory(prefix="dm-bench-") as scratch:
        figures.fill(seeds)
        writers = Writers(project).by_service()
        for way in (kind(seeds, Path(scratch)) for kind in WAYS if kind.name in names):
            way.prepare()
            seeds.verify()
            samples = figures.ways[way.name] = []
            for _ in range(rounds):
                dirty(seeds, writers, list(writers))
                samples.append(timed(way.again))
                seeds.verify()
            figures.parts[way.name] = way.parts
    project.compose("down", "-v")


def dirty(seeds: Seeds, writers: Dirtying, services: Collection[str]) -> None:
    """Write to these datastores; AssertionError if that cannot be seen, because then nothing would be measured."""
    for service in services:
        writers[service](service)
    clean = [d.service for d in seeds.datastores if d.service in services and d.state() == seeds.expected[d.service]]
    assert not clean, f"{', '.join(clean)}: still the seed"


def measure_plugin(project: TestProject, amounts: Amounts, rounds: int, figures: Figures) -> None:
    """Measure restores as the pytest plugin does them: in a stack that it brought up, to the settled form of a commit."""
    project.dm("up", "-d")
    with Seeds(project, amounts) as seeds:
        figures.fill(seeds)
        project.dm("commit", "-m", "seed")
        project.down()
        writers = Writers(project).by_service()
        stack, options = project.stack(), SessionOptions()
        options = replace(options, commit=settled(stack, SettleOptions(), project.run_id))
        figures.one = next(service for service in ("db", "catalogue-db") if service in writers)
        touched = {
            ALL: list(writers),
            NO_BROKER: [service for service in writers if service != BROKER],
            ONE: [figures.one],
            NONE: [],
        }
        if BROKER not in writers:
            del touched[NO_BROKER]
        with own_stack(stack, options) as session:
            seeds.verify()
            for what, services in touched.items():
                samples = figures.plugin[what] = []
                taken_down = figures.taken_down[what] = Counter()
                for _ in range(rounds):
                    session.restore(session.commit)  # verifying has touched all of them
                    dirty(seeds, writers, services)
                    reports: list[RestoreReport] = []
                    samples.append(timed(lambda: reports.append(session.restore(session.commit))))
                    taken_down.update(step.label for step in reports[0].plan.steps if step.action is Action.KILL)
                    seeds.verify()


def show(figures: Figures) -> None:
    """Print medians, and the ratio of each way's time to the plugin's."""
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
    for name, parts in figures.parts.items():
        if parts:
            print(f"{name}: " + ", ".join(f"{part} {spread(samples)}" for part, samples in parts.items()))
    for what, counts in figures.taken_down.items():
        services = ", ".join(f"{service} {count}x" for service, count in sorted(counts.items()))
        print(f"{PLUGIN}, {what}: taken down in {len(figures.plugin[what])} rounds: {services or 'nothing'}")
    print()


def judge(figures: Figures) -> None:
    """Print whether the targets for the five datastores are met."""
    for name, least in TARGETS:
        if NO_BROKER in figures.plugin and name in figures.ways:
            found = ratio(figures.ways[name], figures.plugin[NO_BROKER])
            verdict = "met   " if found >= least else "MISSED"
            print(f"{verdict} {name} over {PLUGIN}, {NO_BROKER}: {found:.1f}x, to show: at least {least}x")
    print(flush=True)


def ratio(samples: list[float], others: list[float]) -> float:
    return statistics.median(samples) / statistics.median(others)


def plain(name: str, figures: Figures) -> dict[str, object]:
    """Return a stack's samples as plain data, in seconds."""
    samples = {"ways": figures.ways, "plugin": figures.plugin}
    rounded = {part: {key: [round(s, 4) for s in found] for key, found in kind.items()} for part, kind in samples.items()}
    return {"title": STACKS[name][0], "one": figures.one, **rounded}


def parsed() -> argparse.Namespace:
    parser = stack_parser(__doc__ or "", rounds=5)
    names = [*(way.name for way in WAYS), PLUGIN]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all samples in this file")
    for amount in fields(Amounts):
        option = f"--{amount.name.replace('_', '-')}"
        parser.add_argument(option, type=int, default=amount.default, help=f"in the seed (default {amount.default})")
    return parser.parse_args()


def main() -> None:
    options = parsed()
    os.environ["COMPOSE_PROGRESS"] = "quiet"
    amounts = Amounts(**{amount.name: getattr(options, amount.name) for amount in fields(Amounts)})
    headline("between two tests: what people do today, and the plugin; every datastore dirty; median (range)")
    print(
        f"seed: {amounts.rows} rows in each SQL database, {amounts.keys} keys in Redis, {amounts.documents} documents in each"
        f" Mongo, {amounts.messages} persistent messages in RabbitMQ, {amounts.size_bytes} bytes each; {options.rounds} rounds,"
        " the state verified after each\n"
    )
    if "rsync" in options.only and not shutil.which("rsync"):
        raise SystemExit("rsync is missing here (Debian: apt-get install rsync); --only can leave it out")
    stacks = []
    for name in options.stack:
        figures = Figures()
        for _, project in projects([name]) if {*options.only} - {PLUGIN} else ():
            measure_ways(project, amounts, options.only, options.rounds, figures)
        for _, project in projects([name]) if PLUGIN in options.only else ():
            measure_plugin(project, amounts, options.rounds, figures)
        print(f"{STACKS[name][0]}\n")
        show(figures)
        judge(figures)
        stacks.append(plain(name, figures))
    if options.json:
        options.json.write_text(json.dumps({**circumstances(), "stacks": stacks}, indent=2) + "\n")
    print(f"load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
