"""`dm cluster init`, `reset` and `status`: the driver is set up, taken away, or looked at.

An engine remembers each volume plugin that it has met, until the engine itself ends. It asks all of them whenever it looks for a
volume, and a plugin that does not answer costs 15 s each time, even where the plugin left no volume and no socket
behind (measured with 20.10: `docker volume ls`, the first use of any volume). So a driver that was reset lets go of its store,
but stays until the engine ends, and answers that it has no volumes.

An engine that starts waits in the same way, for each volume and each container of a driver that does not run. It answers nobody
meanwhile, and goes on when the driver comes.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import dm_compose
from dm_compose.core.events import Event, Listener, ignore
from dm_compose.core.variables import Variables
from dm_compose.core.volumes import DRIVER
from dm_compose.driver.client import DriverProcess, ask, tell_to_leave
from dm_compose.driver.listening import PLUGINS, socket_of
from dm_compose.driver.running import Keeper, end, identity, keeper, log_file, process_of
from dm_compose.driver.volumes import DotVolume, DotVolumes
from dm_compose.engine import Engine, engine_answers
from dm_compose.errors import EngineError, InUseError, NotReadyError
from dm_compose.live.access import find_store, likely_store
from dm_compose.store.local.store import LocalStore

START_TIMEOUT_S = 20.0
ANSWER_TIMEOUT_S = 3
_POLL_S = 0.02
_LOG_LINES = 5


@dataclass(frozen=True)
class VolumeStatus:
    """A volume of the driver, and the names of the containers that have it, running or not."""

    volume: DotVolume
    containers: tuple[str, ...]


@dataclass(frozen=True)
class DriverStatus:
    """The state of a driver.

    `leaving` says that it was reset and ends with the engine, `known` that the engine has met it. `store` is the store that it
    serves, or would serve.
    """

    driver: str
    running: bool
    leaving: bool
    known: bool
    pid: int | None
    version: str | None
    socket: str
    store: str | None
    log: str | None
    kept_by: str
    volumes: tuple[VolumeStatus, ...] = ()


@dataclass(frozen=True)
class Removed:
    """The volumes that a reset has removed from Docker. `leaving` says that a process stays until the engine ends."""

    volumes: tuple[str, ...]
    leaving: bool


@dataclass(frozen=True)
class DriverService:
    """The driver of one engine on this machine. `plugins` is the engine's plugin directory as this process sees it.

    Methods raise EngineError when this process is not root on the engine's own host.
    """

    engine: Engine
    variables: Variables
    driver: str = DRIVER
    plugins: Path = PLUGINS
    keeper: Keeper = field(default_factory=lambda: keeper())
    listener: Listener = ignore

    @property
    def socket(self) -> Path:
        """The socket at which the driver listens."""
        return socket_of(self.driver, self.plugins)

    @classmethod
    def waking(cls, variables: Variables, driver: str, plugins: Path, listener: Listener) -> DriverService:
        """Connect to the engine, for `init`.

        An engine that does not answer may be starting, and waiting for the driver. So a driver that was set up before is started
        first.
        """
        keeper_ = keeper()
        store, path = likely_store(variables), socket_of(driver, plugins)
        if not engine_answers(ANSWER_TIMEOUT_S) and os.geteuid() == 0 and (store / "state.db").exists() and ask(path) is None:
            listener(Event("engine", "does not answer; it may be starting and waiting for the driver"))
            listener(Event("driver", keeper_.start(store, path).text))
        return cls(Engine(), variables, driver, plugins, keeper_, listener)

    def init(self) -> DriverStatus:
        """Have the driver run. Idempotent.

        A driver that has died, that was reset, or that is of another version of dm-compose is replaced. InUseError while the
        driver serves another store. EngineError when the engine does not find the driver.
        """
        self._check_host()
        store = find_store(self.engine, self.variables, make=True)
        assert store is not None
        self._tell("store", str(store))
        self._tell("socket", str(self.socket))
        self._refuse_another_plugin()
        found = ask(self.socket)
        if found is not None and not found.leaving and found.store != store:
            raise InUseError(
                f"driver {self.driver} serves the store at {found.store}",
                hint="`dm cluster reset` first, or set DM_HOME to that one.",
            )
        if found is not None and not found.leaving and found.version == dm_compose.__version__:
            self._tell("driver", f"runs already (process {found.pid})")
        else:
            self._start(store, found)
        self._meet()
        self._tell("engine", f"has found the driver: docker run --volume-driver {self.driver} -v DOT.SUBDOT:/data ...")
        return self.status()

    def reset(self, *, now: bool = False) -> Removed:
        """Take the driver away. The dots keep their data. Idempotent.

        InUseError while a container, running or not, has a volume of the driver. Docker's registrations are removed first. A
        process without a store stays, which keeps the engine from waiting and ends with it. With `now` nothing stays, and the
        engine waits 15 s at each look-up of a volume until it is restarted.
        """
        self._check_host()
        found = ask(self.socket)
        if found is None and not self.socket.exists() and self.driver not in self.engine.volume_drivers():
            self.keeper.forget(self.socket)
            self._tell("driver", "is not there")
            return Removed((), leaving=False)
        self._refuse_users()
        if found is None:
            self._tell("driver", "does not answer; it is needed to remove its volumes")
            store = find_store(self.engine, self.variables, make=True)
            assert store is not None
            found = self._start(store, None)
        removed = tuple(self.engine.volumes_of_driver(self.driver))
        for name in removed:
            self.engine.remove_volume(name)
            self._tell("volume", f"{name} was removed from Docker; its data stays in its dot")
        if self.keeper.forget(self.socket):
            self._tell("service", "is not started again")
        if now:
            self._end(found)
            self._tell("driver", "has ended; restart the engine, or it waits 15 s for it at every look-up of a volume")
            return Removed(removed, leaving=False)
        tell_to_leave(self.socket)
        self._tell("driver", f'was reset; process {found.pid} stays and answers "no volumes" until the engine ends')
        return Removed(removed, leaving=True)

    def status(self) -> DriverStatus:
        """Return the driver's state. Changes nothing."""
        self._check_host()
        found = ask(self.socket)
        serving = found is not None and not found.leaving
        store = found.store if found is not None and serving else find_store(self.engine, self.variables, make=False)
        return DriverStatus(
            driver=self.driver,
            running=serving,
            leaving=found is not None and found.leaving,
            known=self.driver in self.engine.volume_drivers(),
            pid=found.pid or None if found is not None else None,
            version=found.version if found is not None else None,
            socket=str(self.socket),
            store=str(store) if store else None,
            log=str(log_file(store, self.driver)) if store else None,
            kept_by=self.keeper.name,
            volumes=self._volumes(store) if store else (),
        )

    def _volumes(self, store: Path) -> tuple[VolumeStatus, ...]:
        if not (store / "state.db").exists():
            return ()
        opened = LocalStore(store)
        try:
            registered = DotVolumes(opened).registered()
        finally:
            opened.close()
        containers = self.engine.containers_of_driver(self.driver)
        return tuple(
            VolumeStatus(volume, tuple(c.name for c in containers if any(m.place == volume.name for m in c.mounts)))
            for volume in registered
        )

    def _check_host(self) -> None:
        facts = self.engine.facts()
        if not facts.local:
            raise EngineError(
                f"the volume driver has to run on the engine's own host, and this engine ({facts.operating_system},"
                f" {facts.endpoint}) runs on another one or in a virtual machine",
                hint="Run the command there. `dm-compose` needs no driver and works with any engine.",
            )
        if os.geteuid() != 0:
            raise EngineError("only root can serve volumes to the Docker Engine", hint="Run the command with sudo.")

    def _refuse_another_plugin(self) -> None:
        flat = self.plugins / f"{self.driver}.sock"
        if flat.exists():
            raise InUseError(f"another plugin is there under the name {self.driver}: {flat}", hint="Remove that one first.")

    def _refuse_users(self) -> None:
        users = self.engine.containers_of_driver(self.driver)
        if users:
            named = ", ".join(f"{c.name} ({c.state})" for c in users)
            raise InUseError(
                f"containers have volumes of driver {self.driver}: {named}",
                hint=f"Remove them first (their data stays): docker rm -f {' '.join(c.name for c in users)}",
            )

    def _start(self, store: Path, found: DriverProcess | None) -> DriverProcess:
        """Start the driver and return when it answers. A process that was `found`, or that hangs, is ended first."""
        if found is not None:
            self._tell("driver", f"process {found.pid} gives way ({'it was reset' if found.leaving else 'another version'})")
            self._end(found)
        elif (hangs := process_of(store, self.driver)) is not None:
            self._tell("driver", f"process {hangs} does not answer, ending it")
            end(hangs)
        started = self.keeper.start(store, self.socket)
        self._tell("driver", started.text)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and (started.pid is None or identity(started.pid) is not None):
            answers = ask(self.socket)
            if answers is not None and not answers.leaving:
                return answers
            time.sleep(_POLL_S)
        raise NotReadyError(
            f"the driver does not answer at {self.socket}{_log_tail(log_file(store, self.driver))}",
            hint=f"It was given {START_TIMEOUT_S:.0f} s. `dm cluster init` tries again.",
        )

    def _end(self, found: DriverProcess) -> None:
        if found.pid == 0:
            raise InUseError(
                f"the driver at {self.socket} runs where it cannot be seen, in another container perhaps",
                hint="Stop it there: `docker stop`, not `docker rm -f`, so that it removes its socket.",
            )
        end(found.pid)

    def _meet(self) -> None:
        """Have the engine look for the driver. EngineError when it does not find it; the driver is taken away again then."""
        self.engine.volumes_of_driver(self.driver)
        if self.driver not in self.engine.volume_drivers():
            found = ask(self.socket)
            self.keeper.forget(self.socket)
            if found is not None:
                self._end(found)
            raise EngineError(
                f"the engine does not find the driver in {self.plugins}, so that is not its plugin directory; the driver was"
                " taken away again",
                hint="The engine runs on another host, in a virtual machine or without root.",
            )

    def _tell(self, what: str, text: str) -> None:
        self.listener(Event(what, text))


def _log_tail(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return f"; the end of {log}:\n" + "\n".join(lines[-_LOG_LINES:]) if lines else f"; {log} is empty"
