"""Try whether the pytest plugin keeps its promises under stress.

Some tests leave traces in every datastore and look for those of others. Some test runs are killed at random moments. The program
ends with an error that names the first violation.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.common import headline, table
from benchmarks.stacks import THREE
from benchmarks.stress_kills import kill_runs, victims
from benchmarks.stress_leaks import Leaks, ViolationError, bring_up, check_leaks, look_for_leaks
from tests.support.projects import Run, project_in, sweep_dead_runs


def listed(counts: Counter[str]) -> str:
    """Return counts in one line."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def run_leaks(options: argparse.Namespace, run: Run) -> None:
    """Print the findings about tests that touch all datastores, and about tests that touch some or none."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="dm-stress-") as base:
        for project in project_in(Path(base) / "project", run, "leaks", THREE):
            seen = bring_up(project)
            for some in (touch == "some" for touch in options.touch):
                leaks = Leaks(options.tests, options.workers, options.spares, options.seed, some=some)
                began = time.monotonic()
                found = look_for_leaks(project, seen, Path(base) / f"tests-{some}", leaks)
                took_s = time.monotonic() - began
                check_leaks(found, leaks)
                what = "some, at random" if some else "all"
                rows.append((what, str(found.tests), listed(found.looks), "0", f"{took_s:.0f} s", f"{found.tests / took_s:.2f}"))
                print(
                    f"each test touches {what}: {found.tests} tests, 0 leaks, {took_s:.0f} s; wrote: {listed(found.ways)}",
                    flush=True,
                )
    table(("each test touches", "tests", "looks at the seed", "leaks", "took", "tests/s"), rows)


def run_kills(options: argparse.Namespace, run: Run) -> None:
    """Print the findings about test runs that were killed."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dm-stress-") as base, victims(Path(base), run) as found:
        tell = functools.partial(print, flush=True) if options.verbose else lambda _: None
        tally = kill_runs(found, options.kills, options.seed, until=began + options.minutes * 60, tell=tell)
    killed, took_s = sum(tally.killed.values()), time.monotonic() - began
    print(f"{killed} runs killed in {took_s:.0f} s, {tally.ended} ended before; nothing was left at {tally.checks} looks")
    print(f"killed: {listed(tally.whole)}; while they were at: {listed(tally.stages)}\n")
    table(("runs", "killed"), [(what, str(count)) for what, count in sorted(tally.killed.items())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", type=int, default=500, help="tests, of each of two kinds (default 500; 0: none)")
    parser.add_argument("--touch", nargs="+", default=["all", "some"], choices=["all", "some"], help="which kinds (default both)")
    parser.add_argument("--workers", type=int, default=2, help="processes of pytest-xdist (default 2)")
    parser.add_argument("--spares", type=int, default=0, help="warm spares of each process (default 0)")
    parser.add_argument("--kills", type=int, default=200, help="test runs to kill (default 200; 0: none)")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no further run to kill after so long (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="of what is random (default 0)")
    parser.add_argument("--verbose", action="store_true", help="print a line for each run that is killed")
    options = parser.parse_args()
    headline("tests that look for what others left, and killed test runs")
    sweep_dead_runs()
    run = Run()
    try:
        if options.tests:
            run_leaks(options, run)
        if options.kills:
            run_kills(options, run)
    except ViolationError as error:
        print(f"VIOLATION: {error}", flush=True)
        sys.exit(1)
    finally:
        run.finish()


if __name__ == "__main__":
    main()
