"""Measure the store of a stack of two real databases: one changed row in each, and twenty states. See benchmarks.blocks."""

from __future__ import annotations

import contextlib
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from benchmarks.blocks_files import Finding, megabytes, taken
from benchmarks.common import table
from benchmarks.stacks import THREE
from benchmarks.transfer import Borg, BorgZstd, Restic, Tool, ours, update
from tests.support.projects import Run, TestProject, eventually, project_in

DOCUMENT: dict[str, Any] = {
    "services": {name: THREE["services"][name] for name in ("db", "maria")},
    "volumes": THREE["volumes"],
}
DIGESTS = "abcdefghijk"  # a row has a digest (md5, in hex) for each of these: text that compresses to a half
UPDATES = 100  # in each database between two states of `others`
SETTLED_S = 3.0  # after this long without statements the servers write little on their own


class Stack:
    """The stack: a Postgres and a MariaDB with a table each."""

    def __init__(self, project: TestProject) -> None:
        self.project = project
        self.number = 0

    def fill(self, postgres_mb: int, mariadb_mb: int, *, saved: bool) -> None:
        """Bring the stack up, and give it tables of such sizes. If `saved`, have the servers write out all that they hold."""
        self.project.dm("up", "-d")
        self.wait_ready()
        self.rows = {"db": postgres_mb * 10**6 // 400, "maria": mariadb_mb * 10**6 // 420}
        digests = (" || ".join(f"md5(n || '{x}')" for x in DIGESTS), ", ".join(f"md5(concat(seq, '{x}'))" for x in DIGESTS))
        self.postgres(
            "create table big (id int primary key, text text not null)",
            f"insert into big select n, {digests[0]} from generate_series(1, {self.rows['db']}) n",
        )
        self.mariadb(
            "create table big (id int primary key, text varchar(1000) not null)",
            f"insert into big select seq, concat({digests[1]}) from seq_1_to_{self.rows['maria']}",
        )
        if saved:
            self.postgres("vacuum analyze")
            self.project.compose("stop")
            self.project.compose("start")
            self.wait_ready()

    def postgres(self, *statements: str) -> None:
        with contextlib.closing(self.project.postgres()) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]

    def mariadb(self, *statements: str) -> None:
        connection = pymysql.connect(
            host=self.project.address("maria"), user="root", password="fake_password", database="socksdb", autocommit=True
        )
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def change(self, count: int) -> None:
        """Change some rows in each database, other ones each time."""
        self.number += 1
        for service, run in (("db", self.postgres), ("maria", self.mariadb)):
            places = [1 + (self.number * 7919 + n * 104729) % self.rows[service] for n in range(count)]
            run(*(f"update big set text = concat('{self.number}', substr(text, 2)) where id = {place}" for place in places))

    def wait_ready(self) -> None:
        def answers() -> bool:
            try:
                self.postgres("select 1")
                self.mariadb("select 1")
            except (psycopg.Error, pymysql.Error, OSError):
                return False
            return True

        eventually(answers, "both databases", timeout_s=120)


@contextlib.contextmanager
def stack(base: Path, run: Run, postgres_mb: int, mariadb_mb: int, *, saved: bool = True) -> Iterator[Stack]:
    """Give the stack with its tables, and remove it and everything that it made."""
    for project in project_in(base / "project", run, "blocks", DOCUMENT):
        made = Stack(project)
        made.fill(postgres_mb, mariadb_mb, saved=saved)
        yield made


def rows(base: Path, run: Run, postgres_mb: int, mariadb_mb: int, rounds: int, *, saved: bool) -> list[Finding]:
    """One row changed in each database: a commit, and two resets in a row.

    Without `saved` the head is a state from which the servers have to recover all that they were told while the tables were made.
    """
    with stack(base, run, postgres_mb, mariadb_mb, saved=saved) as found:
        project = found.project
        project.dm("commit", "-m", "seed")
        said, added, objects, times, whole = [], [], [], [], []
        for _ in range(rounds):
            found.change(1)
            time.sleep(SETTLED_S)
            said.append(sum(d["changed_bytes"] for d in project.json("diff").values()))
            before, before_objects = taken(project.home), taken(project.home / "objects")
            began = time.perf_counter()
            done = project.json("commit", "-m", "one row")
            whole.append(time.perf_counter() - began)
            added.append(taken(project.home) - before)
            objects.append(taken(project.home / "objects") - before_objects)
            times.append(done["total_s"])
        lines = _commits(said, added, objects, times, whole)
        resets, own = [], []
        for number in range(2 * rounds):
            if number:  # the first one has nothing to put back but what the servers write on their own
                found.change(1)
            time.sleep(SETTLED_S)
            before = taken(project.home)
            done = project.json("reset", "--hard", "HEAD")
            back = sum(r["changed_bytes"] for r in done["restored"].values())
            resets.append((taken(project.home) - before, back, done["total_s"]))
            found.wait_ready()
            time.sleep(SETTLED_S)
            own.append(sum(d["changed_bytes"] for d in project.json("diff").values()))
        table(
            ("reset --hard", "adds to the store", "put back", "took", "then the servers write on their own"),
            [
                (str(n + 1), megabytes(a), megabytes(b), f"{s:.2f} s", megabytes(o))
                for n, ((a, b, s), o) in enumerate(zip(resets, own, strict=True))
            ],
        )
    most_added, most_back = max(a for a, _, _ in resets[1:]), max(b for _, b, _ in resets[1:])
    what = "`reset --hard` after one row in each"
    lines.append(Finding(f"{what}: adds", f"at most {megabytes(most_added)}", "≤ 6 MB", most_added <= 6e6))
    limit = 3e6
    lines.append(Finding(f"{what}: put back, in a row", f"at most {megabytes(most_back)}", "≤ 3 MB each", most_back <= limit))
    lines.append(Finding(f"{what}: time", f"{statistics.median(s for _, _, s in resets[1:]):.2f} s"))
    return lines


def _commits(said: list[int], added: list[int], objects: list[int], times: list[float], whole: list[float]) -> list[Finding]:
    table(
        ("commit", "`diff` says", "adds to the store", "of it objects", "took", "with Python and Compose"),
        [
            (str(n + 1), megabytes(d), megabytes(a), megabytes(o), f"{t:.2f} s", f"{w:.2f} s")
            for n, (d, a, o, t, w) in enumerate(zip(said, added, objects, times, whole, strict=True))
        ],
    )
    worst = max(a / d for a, d in zip(added, said, strict=True))
    took = statistics.median(times)
    what = "commit after one row in each of two databases"
    return [
        Finding(f"{what}: adds", f"at most {megabytes(max(added))}", "≤ 6 MB", max(added) <= 6e6),
        Finding(f"{what}: adds, to what `diff` says", f"at most {worst:.2f}x", "≤ 2x", worst <= 2),
        Finding(f"{what}: time", f"{took:.2f} s", "≤ 0.5 s", took <= 0.5),
    ]


class Plain(Tool):
    """Plain copies. Each is counted and removed, so that all of them need not fit on the disk."""

    name, program = "plain copies (cp -a)", "cp"

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.bytes = 0

    def save(self, live: Path, number: int) -> float:
        began = time.perf_counter()
        subprocess.run(["cp", "-a", f"{live}/.", str(self.place / str(number))], check=True)
        took = time.perf_counter() - began
        self.bytes += taken(self.place / str(number))
        shutil.rmtree(self.place / str(number))
        return took


class BorgPlain(Borg):
    name, compression = "borg, no compression", "none"


class Ours(Tool):
    name = "dm-compose"

    def save(self, live: Path, number: int) -> float:
        return ours("commit", self.place, live)[0]


def others(base: Path, run: Run, postgres_mb: int, mariadb_mb: int, states: int) -> list[Finding]:
    """Twenty states of the stack's files, kept by each tool: the disk that each uses."""
    missing = [tool.program for tool in (Restic, Borg) if not shutil.which(tool.program)]
    if missing or not shutil.which("rsync"):
        raise SystemExit(f"these are needed (Debian has them): rsync, {', '.join(missing)}")
    tools: list[Tool] = [kind(base / kind.__name__) for kind in (Ours, BorgPlain, Restic, BorgZstd, Borg, Plain)]
    for tool in tools:
        tool.place.mkdir(parents=True)
        tool.begin()
    live = base / "live"
    kept: dict[str, list[int]] = {tool.name: [] for tool in tools}
    seconds: dict[str, list[float]] = {tool.name: [] for tool in tools}
    with stack(base, run, postgres_mb, mariadb_mb) as found:
        for number in range(states):
            if number:
                found.project.compose("start")
                found.wait_ready()
                found.change(UPDATES)
            _copy(found.project, live)
            for tool in tools:
                seconds[tool.name].append(tool.save(live, number))
                kept[tool.name].append(tool.bytes if isinstance(tool, Plain) else taken(tool.place))
    print(f"\n{states} states, {UPDATES} rows changed in each database between two; files of one state: {megabytes(taken(live))}")
    table(
        ("", "the first", "all", "a later one", "seconds, the first", "a later one"),
        [
            (
                name,
                megabytes(sizes[0]),
                megabytes(sizes[-1]),
                megabytes((sizes[-1] - sizes[0]) / max(1, states - 1)),
                f"{seconds[name][0]:.2f}",
                f"{statistics.median(seconds[name][1:] or seconds[name]):.2f}",
            )
            for name, sizes in kept.items()
        ],
    )
    mine, best = kept[Ours.name], min((sizes[-1], name) for name, sizes in kept.items() if name != Ours.name)
    later, best_later = mine[-1] - mine[0], min((s[-1] - s[0], name) for name, s in kept.items() if name != Ours.name)
    return [
        Finding(f"{states} states on the disk", megabytes(mine[-1]), f"≤ {megabytes(best[0])} ({best[1]})", mine[-1] <= best[0]),
        Finding(
            "- of it all but the first state",
            megabytes(later),
            f"≤ {megabytes(best_later[0])} ({best_later[1]})",
            later <= best_later[0],
        ),
    ]


def _copy(project: TestProject, live: Path) -> None:
    """Stop the stack in an orderly way, and make `live` the same as its volumes, in place."""
    project.compose("stop")
    with project.stack().live(lock=False, create=True) as found:
        for subdot, directory in found.directories.items():
            (live / subdot).mkdir(parents=True, exist_ok=True)
            update(live / subdot, Path(directory))
