"""Measure going to another branch of the five-datastore stack, beside a reset of the same dirt."""

from __future__ import annotations

import statistics

from benchmarks.common import arguments, headline, spread, table, timed
from benchmarks.stacks import bring_up, projects
from dm_compose.core.names import RefName


def main() -> None:
    rounds = arguments(__doc__ or "", rounds=5).rounds
    headline("Sock Shop (MariaDB, three Mongo stand-ins, RabbitMQ), every datastore dirty: reset and checkout, median (range)")
    resets: list[float] = []
    checkouts: list[float] = []
    for _, project in projects(["sockshop"]):
        writers = bring_up(project)
        stack = project.stack()
        stack.checkout("HEAD", create=RefName("other"))
        for number in range(rounds):
            for service, write in writers.items():
                write(service)
            resets.append(timed(lambda: stack.reset("HEAD", hard=True)))
            for service, write in writers.items():
                write(service)
            branch = ("master", "other")[number % 2]
            checkouts.append(timed(lambda branch=branch: stack.checkout(branch)))
    ratio = statistics.median(checkouts) / statistics.median(resets)
    rows = [("reset --hard", spread(resets), "1.00"), ("checkout", spread(checkouts), f"{ratio:.2f}")]
    table(("verb", "to all ready", "to the first"), rows)


if __name__ == "__main__":
    main()
