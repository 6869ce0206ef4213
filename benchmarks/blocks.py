"""Measure that a commit costs the blocks that changed: disk space and time, with the targets, in one run.

rows       one row changed in each of two real databases: a commit, and resets in a row (needs an engine)
large      one byte changed in a large file
many       a thousand small commits
fragments  a thousand commits of random blocks in one file
bounds     what other bounds of fragmentation would cost, and where a map stops being worth it
others     twenty states of the two databases beside restic, borg and plain copies (needs an engine, restic and borg)
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks.blocks_bounds import bounds, small
from benchmarks.blocks_files import GIB, MIB, Finding, fragments, large, many
from benchmarks.blocks_stack import others, rows
from benchmarks.common import file_system, headline, table
from tests.support.projects import Run, sweep_dead_runs

PARTS = ("rows", "large", "many", "fragments", "bounds", "others")
WITH_ENGINE = {"rows", "others"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each figure (default 3)")
    parser.add_argument("--postgres-mb", type=int, default=360, help="size of the table in Postgres (default 360)")
    parser.add_argument("--mariadb-mb", type=int, default=150, help="size of the table in MariaDB (default 150)")
    parser.add_argument("--unsaved", action="store_true", help="in `rows`, have the servers keep the new tables in memory")
    parser.add_argument("--large-mib", type=int, default=4096, help="size of the file of `large` (default 4096)")
    parser.add_argument("--many-mib", type=int, default=1024, help="size of the stack of `many` (default 1024)")
    parser.add_argument("--fragments-mib", type=int, default=1024, help="size of the file of `fragments` (default 1024)")
    parser.add_argument("--bounds-mib", type=int, default=128, help="size of the file of `bounds` (default 128)")
    parser.add_argument("--commits", type=int, default=1000, help="of `many`, `fragments` and `bounds` (default 1000)")
    parser.add_argument("--states", type=int, default=20, help="of `others` (default 20)")
    parser.add_argument("--writes-per-gib", type=int, default=64, help="random blocks in a commit of `fragments` (default 64)")
    parser.add_argument("--scratch", type=Path, help="a directory for all files (default: that of temporary files)")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return options


def main() -> None:
    options = arguments()
    headline("A commit costs the blocks that changed")
    findings: list[Finding] = []
    run = None
    if WITH_ENGINE.intersection(options.only):
        sweep_dead_runs()
        run = Run()
    try:
        with tempfile.TemporaryDirectory(prefix="dm-bench-", dir=options.scratch) as directory:
            base = Path(directory)
            print(f"files and stores on {file_system(base)}\n", flush=True)
            for part in options.only:
                findings += measure(part, options, base / part, run)
    finally:
        if run is not None:
            run.finish()
    table(("what", "figure", "target", ""), [finding.cells() for finding in findings])
    load = os.getloadavg()[0]
    print(f"load of the machine at the end: {load:.1f} on {os.cpu_count()} cores" + (" (noisy)" if load > 2.5 else ""))


def measure(part: str, options: argparse.Namespace, base: Path, run: Run | None) -> list[Finding]:
    """Do one part in a directory of its own."""
    print(f"{part} (load {os.getloadavg()[0]:.1f})", flush=True)
    base.mkdir()
    rounds, count = options.rounds, options.commits
    assert run is not None or part not in WITH_ENGINE
    if part == "rows":
        return rows(base, run, options.postgres_mb, options.mariadb_mb, rounds, saved=not options.unsaved)
    if part == "large":
        return large(base, options.large_mib * MIB, rounds)
    if part == "many":
        return many(base, options.many_mib * MIB, count)
    if part == "others":
        return others(base, run, options.postgres_mb, options.mariadb_mb, options.states)
    size = (options.fragments_mib if part == "fragments" else options.bounds_mib) * MIB
    writes = max(1, options.writes_per_gib * size // GIB)
    if part == "fragments":
        return fragments(base, size, count, writes, rounds)
    bounds(base, size, count, writes, rounds)
    small(base, rounds)
    return []


if __name__ == "__main__":
    main()
