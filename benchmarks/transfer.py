"""Measure push and clone beside restic, borg, and tar with zstd: the same data, one run, every tool a process of its own.

Real servers made the data, which is that of a stack's datastores. Between the two pushes two databases get 300 updates of single
rows each. dm-compose pushes a commit that was made before. The time of that commit is a line of its own, because the others read
the live files.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from benchmarks.common import ROOT, headline, table
from benchmarks.seeds import Amounts, MariaDb, Mongo, Postgres, Seeds
from benchmarks.stacks import projects, stack_parser
from tests.support.projects import TestProject

UPDATES, DATABASES_UPDATED = 300, 2
TEXT_BYTES = 350
SETTLE_S = 6.0  # ext4 looks for recently deleted inodes for five seconds whenever it makes one
Figures = dict[str, list[float]]


def ours(verb: str, store: Path, where: object) -> tuple[float, int]:
    """Run the worker; return seconds, in which Python's start is included, and bytes."""
    command = [sys.executable, "-m", "benchmarks.transfer_worker", verb, str(store), str(where)]
    seconds, output = run(command, cwd=ROOT)
    return seconds, int(json.loads(output).get("bytes", 0))


def run(command: list[str], **options: object) -> tuple[float, str]:
    """Run a program when nothing from before is left to write back; return seconds and its output."""
    os.sync()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    seconds = time.perf_counter() - began
    os.sync()
    Timed.durable = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    Timed.processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, done.stdout


class Timed:
    """Two times of the last program.

    Its processor seconds are a figure that other work on the machine does not change. The other time is that until everything it
    wrote was on the disk. Some programs wait for that and some do not.
    """

    processor = durable = 0.0


def shell(line: str, **options: object) -> float:
    return run(["bash", "-ec", f"set -o pipefail; {line}"], **options)[0]


def size(path: Path) -> int:
    """Return the bytes of all files below a directory."""
    return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())


# Data


def make_data(project: TestProject, amounts: Amounts, base: Path, changed: Path) -> None:
    """Have the stack's datastores make their data; make copies of the data before and after updates in two databases."""
    project.compose("up", "-d")
    with Seeds(project, amounts) as seeds:
        seeds.make()
        copy_data(project, base)
        project.compose("up", "-d")
        databases = [d for d in seeds.datastores if isinstance(d, (MariaDb, Mongo, Postgres))][:DATABASES_UPDATED]
        for database in databases:
            database.found(project)
            database.await_ready()
            database.update(UPDATES)
        print(f"{UPDATES} updates of single rows in each of {', '.join(d.service for d in databases)}")
    copy_data(project, changed)
    project.compose("down", "-v")


def copy_data(project: TestProject, target: Path) -> None:
    """Stop the stack in an orderly way and copy its volumes."""
    project.compose("stop")
    target.mkdir()
    with project.stack().live(lock=False, create=True) as live:
        for subdot, directory in live.directories.items():
            subprocess.run(["cp", "-a", "--sparse=auto", directory, str(target / subdot)], check=True)


def update(live: Path, changed: Path) -> None:
    """Make `live` the same as `changed`, in place as a database writes: only blocks that differ."""
    subprocess.run(["rsync", "-a", "--delete", "--inplace", "--no-whole-file", f"{changed}/", str(live)], check=True)


# Tools


class Tool:
    """A backup program that keeps everything below `place`."""

    name = ""
    program = ""

    def __init__(self, place: Path) -> None:
        self.place = place

    def begin(self) -> None:
        """Make the repository. This is not timed."""

    def save(self, live: Path, number: int) -> float:
        raise NotImplementedError

    def restore(self, target: Path, number: int) -> float:
        raise NotImplementedError


class Tar(Tool):
    name, program = "tar, zstd -T0 -3", "zstd"

    def save(self, live: Path, number: int) -> float:
        return shell(f"tar -C {live} -cf - . | zstd -q -T0 -3 -o {self.place}/{number}.tar.zst")

    def restore(self, target: Path, number: int) -> float:
        return shell(f"zstd -dcq {self.place}/{number}.tar.zst | tar -C {target} -xf -")


class Restic(Tool):
    name, program = "restic", "restic"

    @property
    def _options(self) -> str:
        return f"RESTIC_PASSWORD=x RESTIC_CACHE_DIR={self.place}-cache restic -q -r {self.place}"

    def begin(self) -> None:
        shell(f"{self._options} init")

    def save(self, live: Path, number: int) -> float:
        return shell(f"{self._options} backup .", cwd=live)

    def restore(self, target: Path, number: int) -> float:
        return shell(f"{self._options} restore latest --target {target}")


class Borg(Tool):
    name, program, compression = "borg, lz4", "borg", "lz4"

    @property
    def _environment(self) -> str:
        unasked = "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes BORG_RELOCATED_REPO_ACCESS_IS_OK=yes"
        return f"BORG_BASE_DIR={self.place}-home {unasked} borg"

    def begin(self) -> None:
        shell(f"{self._environment} init -e none {self.place}")

    def save(self, live: Path, number: int) -> float:
        return shell(f"{self._environment} create -C {self.compression} {self.place}::{number} .", cwd=live)

    def restore(self, target: Path, number: int) -> float:
        return shell(f"{self._environment} extract {self.place}::{number}", cwd=target)


class BorgZstd(Borg):
    name, compression = "borg, zstd,3", "zstd,3"


TOOLS = (Tar, Restic, Borg, BorgZstd)


# Rounds


def one_round(base: Path, changed: Path, scratch: Path, figures: dict[str, Figures]) -> None:
    """Measure everything once. `figures` has the samples by the line of the table, then by column."""
    live = scratch / "live"
    subprocess.run(["cp", "-a", "--sparse=auto", str(base), str(live)], check=True)
    tools = [kind(scratch / kind.__name__) for kind in TOOLS]
    for tool in tools:
        tool.place.mkdir()
        tool.begin()
    store, remote, clone = scratch / "store", scratch / "remote", scratch / "clone"
    mine = figures["dm-compose"]

    def commit() -> None:
        mine["commit"].append(ours("commit", store, live)[0])

    def push(column: str) -> None:
        seconds, sent = ours("push", store, remote)
        mine[column].append(seconds)
        mine[f"{column} cpu"].append(Timed.processor)
        mine[f"{column} durable"].append(Timed.durable)
        mine[f"{column} bytes"].append(sent)

    def save(tool: Tool, column: str, number: int) -> None:
        before = size(tool.place)
        figures[tool.name][column].append(tool.save(live, number))
        figures[tool.name][f"{column} cpu"].append(Timed.processor)
        figures[tool.name][f"{column} durable"].append(Timed.durable)
        figures[tool.name][f"{column} bytes"].append(size(tool.place) - before)

    def fetch(column: str, into: Path, verb: str = "fetch") -> None:
        seconds, received = ours(verb, into, remote)
        mine[column].append(seconds)
        mine[f"{column} cpu"].append(Timed.processor)
        mine[f"{column} durable"].append(Timed.durable)
        mine[f"{column} bytes"].append(received)

    commit()
    push("first")
    for tool in tools:
        save(tool, "first", 1)
    fetch("restore", clone)
    mine["in place"].append(ours("export", clone, scratch / "placed")[0])
    for tool in tools:
        target = scratch / f"restored-{type(tool).__name__}"
        target.mkdir()
        figures[tool.name]["restore"].append(tool.restore(target, 1))  # removed later: ext4 is slow to make files after that
        figures[tool.name]["restore cpu"].append(Timed.processor)
        figures[tool.name]["restore durable"].append(Timed.durable)
    update(live, changed)
    commit()
    push("second")
    for tool in tools:
        save(tool, "second", 2)
    fetch("pull", clone)
    fetch("tip", scratch / "tip", "tip")


def references(base: Path, scratch: Path, figures: dict[str, Figures]) -> None:
    """Push the same data to a registry and to S3 on loopback, once."""
    from tests.support.servers import registry, registry_program, s3_server

    os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x")
    store = scratch / "store"
    ours("commit", store, base)

    def measure(name: str, url: str) -> None:
        figures[name]["first"].append(ours("push", store, url)[0])
        figures[name]["restore"].append(ours("fetch", scratch / f"clone-{name.split()[-1]}", url)[0])

    if registry_program():
        with registry(scratch / "registry") as port:
            measure("dm-compose, registry", f"oci://127.0.0.1:{port}/team")
    else:
        print("no registry here (tools/registry fetches one)")
    try:
        with s3_server() as port:
            subprocess.run(
                [sys.executable, "-c", f"import requests; requests.put('http://127.0.0.1:{port}/bucket').raise_for_status()"],
                check=True,
            )
            measure("dm-compose, s3", f"s3://bucket/x?endpoint=http://127.0.0.1:{port}&region=us-east-1")
    except AssertionError:
        print("no S3 server here (moto)")


def show(figures: dict[str, Figures]) -> None:
    def seconds(row: Figures, column: str) -> str:
        samples = row.get(column)
        if not samples:
            return "-"
        spread = f" ({min(samples):.2f}-{max(samples):.2f})" if len(samples) > 1 else ""
        return f"{statistics.median(samples):.2f}{spread}"

    def megabytes(row: Figures, column: str) -> str:
        samples = row.get(f"{column} bytes")
        return f"{statistics.median(samples) / 1e6:.2f}" if samples else "-"

    def processor(row: Figures, column: str) -> str:
        samples = row.get(f"{column} cpu")
        return f"{statistics.median(samples):.2f}" if samples else "-"

    def durable(row: Figures, column: str) -> str:
        samples = row.get(f"{column} durable")
        return f"{statistics.median(samples):.2f}" if samples else "-"

    columns = ("first", "second", "restore")
    rows = [
        [name, *(cell(row, column) for column in columns for cell in (seconds, durable, processor, megabytes))]
        for name, row in figures.items()
    ]
    header = [text for column in ("first", "after updates", "restore") for text in (f"{column}, s", "on disk", "CPU s", "MB")]
    table(["", *header], rows)
    mine = figures["dm-compose"]
    print(f"dm-compose besides: incremental pull {seconds(mine, 'pull')} s, {megabytes(mine, 'pull')} MB;")
    print(f"the newest of two commits only, into an empty store {seconds(mine, 'tip')} s, {megabytes(mine, 'tip')} MB;")
    print(f"files of a clone put in place {seconds(mine, 'in place')} s; commits {seconds(mine, 'commit')} s\n")


def judge(figures: dict[str, Figures]) -> None:
    """Print which targets are met in this run."""
    mine = {column: statistics.median(samples) for column, samples in figures["dm-compose"].items()}
    others = [
        {c: statistics.median(s) for c, s in row.items()} for name, row in figures.items() if not name.startswith("dm-compose")
    ]

    def best(column: str) -> float:
        return min(row[column] for row in others)

    def line(text: str, value: float, limit: float) -> None:
        print(f"  {'met ' if value <= limit else 'MISSED'} {text}: {value:.2f}, allowed {limit:.2f}")

    line("first push, seconds, fastest of the others", mine["first"], best("first"))
    line("first push, MB, smallest of the others + 5 %", mine["first bytes"] / 1e6, best("first bytes") * 1.05 / 1e6)
    line("second push, seconds, a third of the fastest", mine["second"], best("second") / 3)
    line("second push, MB, a fifth of the smallest", mine["second bytes"] / 1e6, best("second bytes") / 5 / 1e6)
    line("clone, seconds, fastest restore", mine["restore"], best("restore"))
    line("clone, seconds until it is on the disk, fastest restore", mine["restore durable"], best("restore durable"))
    line("incremental pull, MB, the push's", mine["pull bytes"] / 1e6, mine["second bytes"] * 1.05 / 1e6)
    line("incremental pull, seconds, the push's", mine["pull"], mine["second"])


def main() -> None:
    parser = stack_parser(__doc__ or "", rounds=3)
    parser.set_defaults(stack=["five"])
    parser.add_argument("--rows", type=int, default=400_000, help="in the seed of each SQL database (default 400,000)")
    parser.add_argument("--documents", type=int, default=60_000, help="in each Mongo (default 60,000)")
    options = parser.parse_args()
    headline("Transfers into a local directory, beside restic, borg and tar; median (range)")
    missing = [kind.program for kind in TOOLS if not shutil.which(kind.program)]
    if missing or not shutil.which("rsync"):
        raise SystemExit(f"these are needed (Debian has them): rsync, {', '.join(sorted({kind.program for kind in TOOLS}))}")
    amounts = Amounts(rows=options.rows, documents=options.documents, size_bytes=TEXT_BYTES)
    for title, project in projects(options.stack):
        with tempfile.TemporaryDirectory(prefix="dm-bench-") as directory:
            work = Path(directory)
            base, changed = work / "base", work / "changed"
            make_data(project, amounts, base, changed)
            files = sum(1 for item in base.rglob("*") if item.is_file())
            print(f"data directories of {title}: {size(base) / 1e6:.0f} MB in {files} files\n", flush=True)
            figures: dict[str, Figures] = defaultdict(lambda: defaultdict(list))
            for number in range(options.rounds):
                scratch = work / f"round{number}"
                scratch.mkdir()
                one_round(base, changed, scratch, figures)
                shutil.rmtree(scratch)
                time.sleep(SETTLE_S)
            scratch = work / "references"
            scratch.mkdir()
            references(base, scratch, figures)
            show(figures)
            judge(figures)
    load = os.getloadavg()[0]
    print(f"\nload of the machine at the end: {load:.1f} on {os.cpu_count()} cores" + (" (noisy)" if load > 2.5 else ""))


if __name__ == "__main__":
    main()
