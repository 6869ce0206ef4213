"""Wall time of `dm-compose plan` and `status`, beside Compose's own `config`, on the Sock Shop stack while it runs."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from pathlib import Path

from benchmarks.common import arguments, headline, spread, table, timed
from benchmarks.restore import bring_up
from tests.support.projects import Run, example, project_in


def main() -> None:
    rounds = arguments(__doc__ or "", rounds=9).rounds
    headline("wall time of commands on the Sock Shop stack, median (range)")
    run = Run()
    rows = []
    try:
        with tempfile.TemporaryDirectory(prefix="dm-bench-") as base:
            for project in project_in(Path(base) / "project", run, "bench", example("sockshop/docker-compose.local.yaml")):
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
    finally:
        run.finish()
    table(("command", "wall time", "beside Compose's own"), rows)


if __name__ == "__main__":
    main()
