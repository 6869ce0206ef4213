"""Measure the volume driver beside Docker's own volumes, and the cost of its absence, on an engine that nobody else uses."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable

from benchmarks.common import arguments, headline, spread, table, timed
from dm_compose.core.variables import Variables
from dm_compose.driver.client import ask
from dm_compose.driver.running import Background, end, identity
from dm_compose.driver.service import DriverService
from dm_compose.engine import Engine
from tests.support.engines import PrivateEngine, private_engine

IMAGE = "dm-example/python"
PATIENT_S = 300


def seconds(work: Callable[[], object]) -> str:
    return f"{timed(work):.1f} s"


def kill(service: DriverService) -> None:
    """Kill the driver and leave its socket behind."""
    found = ask(service.socket)
    assert found is not None
    os.kill(found.pid, signal.SIGKILL)
    while identity(found.pid) is not None:
        time.sleep(0.01)


def stop(service: DriverService) -> None:
    """End the driver, and its socket with it."""
    found = ask(service.socket)
    if found is not None:
        end(found.pid)


def uses(engine: PrivateEngine, service: DriverService, rounds: int) -> None:
    def run(*words: str) -> Callable[[], object]:
        return lambda: engine.docker("run", "--rm", "--network", "none", *words, IMAGE, "true")

    engine.docker("volume", "create", "plain")
    kinds = {
        "docker run, no volume": run(),
        "docker run, volume of driver local": run("-v", "plain:/data"),
        "docker run, volume of driver dm": run("--volume-driver", "dm", "-v", "shop.db:/data"),
        "docker run, four volumes of driver dm": run(
            "--volume-driver", "dm", *(w for n in range(4) for w in ("-v", f"shop.db{n}:/data{n}"))
        ),
        "docker volume ls": lambda: engine.docker("volume", "ls"),
        "status": service.status,
        "init, driver runs": service.init,
    }
    samples: dict[str, list[float]] = {name: [] for name in kinds}
    for turn in range(rounds + 1):
        for name, work in kinds.items():
            took = timed(work)
            if turn:
                samples[name].append(took)
    table(("what", "time"), [(name, spread(taken)) for name, taken in samples.items()])


def absences(engine: PrivateEngine, service: DriverService) -> None:
    def look() -> object:
        return engine.docker("volume", "ls", timeout_s=PATIENT_S)

    rows = [("driver runs", seconds(look))]
    kill(service)
    rows.append(("driver was killed", seconds(look)))
    service.init()
    service.reset()
    rows.append(("after `dm cluster reset`", seconds(look)))
    service.reset(now=True)
    rows.append(("after `dm cluster reset --now`", seconds(look)))
    engine.stop()
    engine.start()
    rows.append(("the same, engine restarted", seconds(look)))
    table(("`docker volume ls`", "time"), rows)


def starts(engine: PrivateEngine, service: DriverService) -> None:
    def restart(before: Callable[[], object]) -> str:
        engine.stop()
        before()
        return seconds(engine.start)

    rows = [("no dm volume", restart(lambda: None))]
    service.init()
    engine.docker("create", "--name", "web", "--volume-driver", "dm", "-v", "shop.db:/data", IMAGE, "true")
    rows.append(("driver runs, a container has a dm volume", restart(lambda: None)))
    rows.append(("driver does not run", restart(lambda: stop(service))))
    service.init()
    rows.append(("driver was killed, socket left", restart(lambda: kill(service))))
    service.init()
    engine.docker("rm", "web")
    table(("start of the engine", "time"), rows)


def main() -> None:
    words = arguments(__doc__ or "", rounds=15)
    headline("The volume driver")
    with private_engine(IMAGE) as engine, contextlib.ExitStack() as after:
        os.environ.update(engine.environment)
        (engine.home / "stores").mkdir()
        variables = Variables({"DM_HOME": str(engine.home / "stores" / "bench")})
        service = DriverService(Engine(), variables, plugins=engine.plugins, keeper=Background())
        after.callback(stop, service)
        service.init()
        print(f"Docker Engine {service.engine.facts().version}\n")
        uses(engine, service, words.rounds)
        absences(engine, service)
        starts(engine, service)


if __name__ == "__main__":
    main()
