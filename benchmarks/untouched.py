"""Measure the proof that containers are untouched, beside one call of Docker's own API that reads statistics.

With `--restarts`, count also how often a container that was just started anew is wrongly called touched while the engine
announces its neighbours' addresses.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter

import docker
from docker.models.containers import Container as Handle

from benchmarks.common import arguments_parser, headline, table, timed
from dm_compose.engine import Engine
from dm_compose.untouched.witness import Witness
from tests.support.projects import LABEL, Run, eventually

COUNTS = (1, 5)
ANNOUNCED_S = 2.5  # Engine 28 and later announce an address three times, a second apart


def figures(samples: list[float]) -> tuple[str, str]:
    """Return median and 95th percentile in milliseconds."""
    percentile = statistics.quantiles(samples, n=20)[-1]
    return f"{statistics.median(samples) * 1000:.1f} ms", f"{percentile * 1000:.1f} ms"


def own_cpu(since_s: float, rounds: int) -> str:
    """Return the mean CPU time of this process. On a busy machine it says more than wall time."""
    return f"{(time.process_time() - since_s) / rounds * 1000:.1f} ms"


def all_answer(engine: Engine, containers: list[Handle]) -> bool:
    return all(engine.run(str(c.id), ["redis-cli", "ping"])[1].startswith("PONG") for c in containers)


def restart_and_look(engine: Engine, made: list[Handle]) -> list[str]:
    """Restart containers, remember them when they answer, and return why they are called touched in the seconds after."""
    for handle in made:
        handle.restart(timeout=0)
    eventually(lambda: all_answer(engine, made), "redis")
    witness = Witness(engine)
    containers = [engine.container(str(c.id)) for c in made]
    witness.remember(containers)
    end, found = time.monotonic() + ANNOUNCED_S, dict[str, str]()
    while time.monotonic() < end and not found:
        found = witness.touches(containers)
        time.sleep(0.1)
    return [*found.values()]


def main() -> None:
    parser = arguments_parser(__doc__ or "", rounds=300)
    parser.add_argument("--restarts", type=int, default=0, help="rounds of restarting two containers (default 0)")
    words = parser.parse_args()
    rounds = words.rounds
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
        eventually(lambda: all_answer(engine, made), "redis")
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
        if words.restarts:
            causes = Counter(cause for _ in range(words.restarts) for cause in restart_and_look(engine, made[:2]))
            told = "; ".join(f"{count} times: {cause}" for cause, count in causes.items())
            rows.append((f"{words.restarts} restarts of 2", "", "", "", told or "0"))
            print(f"Engine {engine.facts().version}\n")
    finally:
        run.finish()
    table(("call, containers", "median", "p95", "own CPU time", "wrongly called touched"), rows)


if __name__ == "__main__":
    main()
