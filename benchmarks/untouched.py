"""Measure the proof that containers are untouched, beside one call of Docker's own API that reads statistics."""

from __future__ import annotations

import statistics
import time

import docker

from benchmarks.common import arguments, headline, table, timed
from dm_compose.engine import Engine
from dm_compose.untouched.witness import Witness
from tests.support.projects import LABEL, Run, eventually

COUNTS = (1, 5)


def figures(samples: list[float]) -> tuple[str, str]:
    """Return median and 95th percentile in milliseconds."""
    percentile = statistics.quantiles(samples, n=20)[-1]
    return f"{statistics.median(samples) * 1000:.1f} ms", f"{percentile * 1000:.1f} ms"


def own_cpu(since_s: float, rounds: int) -> str:
    """Return the mean CPU time of this process. On a busy machine it says more than wall time."""
    return f"{(time.process_time() - since_s) / rounds * 1000:.1f} ms"


def main() -> None:
    rounds = arguments(__doc__ or "", rounds=300).rounds
    headline(f"proving idle Redis containers with a health check untouched, {rounds} rounds")
    run, client, engine = Run(), docker.from_env(), Engine()
    name = run.new_project("untouched")
    rows = []
    try:
        client.networks.create(name, labels={LABEL: run.id})
        check = {"test": ["CMD", "redis-cli", "ping"], "interval": 10**9}
        made = [
            client.containers.run("dm-example/redis:7.0", detach=True, network=name, labels={LABEL: run.id}, healthcheck=check)
            for _ in range(max(COUNTS))
        ]
        eventually(lambda: all(engine.run(c.id, ["redis-cli", "ping"])[1].startswith("PONG") for c in made), "redis")
        witness = Witness(engine)
        for count in COUNTS:
            containers = [engine.container(c.id) for c in made[:count]]
            remembered = [timed(lambda: witness.remember(containers)) for _ in range(max(2, rounds // 10))]
            answers: list[dict[str, str]] = []
            cpu_s = time.process_time()
            samples = [timed(lambda: answers.append(witness.touches(containers))) for _ in range(rounds)]
            rows.append((f"touched, {count}", *figures(samples), own_cpu(cpu_s, rounds), str(sum(map(bool, answers)))))
            rows.append((f"remember, {count}", *figures(remembered), "", ""))
        stats = [timed(lambda: client.api.stats(made[0].id, stream=False, one_shot=True)) for _ in range(max(2, rounds // 10))]
        rows.append(("Docker's own /stats, 1", *figures(stats), "", ""))
    finally:
        run.finish()
    table(("call, containers", "median", "p95", "own CPU time", "wrongly called touched"), rows)


if __name__ == "__main__":
    main()
