"""Measure the wall time of `dm-compose plan` and `status` beside Compose's own `config`, on the running Sock Shop stack."""

from __future__ import annotations

import statistics
import subprocess

from benchmarks.common import arguments, headline, spread, table, timed
from benchmarks.stacks import bring_up, projects


def main() -> None:
    rounds = arguments(__doc__ or "", rounds=9).rounds
    headline("wall time of commands on the Sock Shop stack, median (range)")
    rows = []
    for _, project in projects(["sockshop"]):
        writers = bring_up(project)
        for service, write in writers.items():
            write(service)
        config = ["docker", "compose", "-f", str(project.file), "config", "--format", "json"]
        own = [timed(lambda: subprocess.run(config, check=True, capture_output=True)) for _ in range(rounds)]
        rows.append(("docker compose config", spread(own), ""))
        for verb in ("plan", "status", "log", "diff"):
            samples = [timed(lambda verb=verb: project.dm(verb)) for _ in range(rounds)]
            beside = statistics.median(samples) - statistics.median(own)
            rows.append((f"dm-compose {verb}", spread(samples), f"{beside * 1000:.0f} ms"))
    table(("command", "wall time", "beside Compose's own"), rows)


if __name__ == "__main__":
    main()
