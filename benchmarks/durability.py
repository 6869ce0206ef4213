"""Measure the time that engines save if they do not wait for the disk: transactions of one row each, and restores."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pymysql

from benchmarks.common import arguments, headline, spread, table
from benchmarks.restore import THREE, bring_up
from benchmarks.sessions import restores
from dm_compose.clones.settle import SettleOptions, settled
from dm_compose.sessions.leases import own_stack
from dm_compose.sessions.options import SessionOptions
from dm_compose.up.durability import DURABILITIES
from tests.support.projects import Run, TestProject, project_in

TRANSACTIONS = 200


def transactions(project: TestProject) -> dict[str, Callable[[], None]]:
    """Return functions that commit that many transactions, by service."""

    def postgres() -> None:
        with project.postgres() as connection:
            for _ in range(TRANSACTIONS):
                connection.execute("insert into bench (text) values ('x')")

    def maria() -> None:
        host = project.address("maria")
        connection = pymysql.connect(host=host, user="root", password="fake_password", database="socksdb", autocommit=True)
        with connection, connection.cursor() as cursor:
            for _ in range(TRANSACTIONS):
                cursor.execute("insert into bench (text) values ('x')")

    return {"db": postgres, "maria": maria}


def timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    rounds = arguments(__doc__ or "", rounds=7).rounds
    headline(f"durability full and off, Postgres + MariaDB + Redis: {TRANSACTIONS} transactions, and restores; median (range)")
    run = Run()
    try:
        with tempfile.TemporaryDirectory(prefix="dm-bench-") as base:
            for project in project_in(Path(base) / "project", run, "bench", THREE):
                writers = bring_up(project)
                project.dm("down")
                commits = {"settled": settled(project.stack(), SettleOptions(), "bench"), "as committed": project.seed}
                rows = []
                for durability in DURABILITIES:
                    for label, commit in commits.items():
                        options = SessionOptions(commit=commit, durability=durability)
                        with own_stack(project.stack(), options) as session:
                            took = {s: [timed(work) for _ in range(rounds)] for s, work in transactions(project).items()}
                            back, _ = restores(session, writers, list(writers), rounds)
                        rows.append((durability, label, spread(took["db"]), spread(took["maria"]), spread(back)))
                table(("durability", "commit", "Postgres", "MariaDB", "all dirty: restore to all ready"), rows)
    finally:
        run.finish()


if __name__ == "__main__":
    main()
