"""The driver's process from outside: to start it, to find it, to end it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dm_compose import process
from dm_compose.core.volumes import DRIVER
from dm_compose.errors import DmError, InUseError
from dm_compose.objects.system import file_errors, write_file

UNITS = Path("/etc/systemd/system")
STOP_TIMEOUT_S = 15.0
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_SYSTEMCTL_TIMEOUT_S = 60.0


def log_file(store: Path, plugin: str) -> Path:
    """Return the file in which a driver logs its calls and errors."""
    return store / f"{plugin}-driver.log"


def pid_file(store: Path, plugin: str) -> Path:
    """Return the file in which a driver writes its process number."""
    return store / f"{plugin}-driver.pid"


def command(store: Path, socket: Path) -> list[str]:
    """Return the command of a driver's process."""
    return [sys.executable, "-m", "dm_compose.driver", "--store", str(store), "--socket", str(socket)]


def identity(pid: int) -> str | None:
    """Return a text that no other process has, earlier or later ones with the same number included. None for no process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else f"{pid} {fields[19]} {_BOOT.read_text().strip()}"
    except OSError:
        return None


def process_of(store: Path, plugin: str) -> int | None:
    """Return the process that a driver's file names. None when there is no file or the process has ended."""
    try:
        text = pid_file(store, plugin).read_text()
    except (OSError, UnicodeDecodeError):
        return None
    pid = text.partition(" ")[0]
    return int(pid) if pid.isascii() and pid.isdigit() and identity(int(pid)) == text.strip() else None


def write_pid_file(store: Path, plugin: str) -> None:
    """Write into the driver's file that this process is the driver."""
    with file_errors("writing the driver's pid file"):
        write_file(pid_file(store, plugin), f"{identity(os.getpid())}\n".encode(), durable=False)


def remove_pid_file(store: Path, plugin: str) -> None:
    """Remove the driver's file, unless it names another process by now."""
    if process_of(store, plugin) == os.getpid():
        with contextlib.suppress(OSError):
            pid_file(store, plugin).unlink()


def end(pid: int, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
    """Ask a process to end and return when it has. It is killed after `timeout_s`; InUseError when even that does not help.

    A later process with the same number is never hit.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
            if select.select([descriptor], [], [], timeout_s)[0]:
                return
        raise InUseError(f"process {pid} does not end, not even by SIGKILL", hint="It waits for a disk or a debugger.")
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Started:
    """The way a driver was started, in words, and its process where that is known."""

    text: str
    pid: int | None


class Keeper(Protocol):
    """Starts the driver, and perhaps again after a crash or a restart of the machine."""

    name: str

    def start(self, store: Path, socket: Path) -> Started:
        """Start the driver, or start it anew. The driver answers some time later."""

    def forget(self, socket: Path) -> bool:
        """Do not start the driver again from now on. A running one goes on.

        Return whether there was anything to forget. Idempotent.
        """


class Background:
    """Starts the driver once, as a process in a session of its own."""

    name = "process"

    def start(self, store: Path, socket: Path) -> Started:
        """See Keeper."""
        log = log_file(store, socket.stem)
        with file_errors("starting the driver"):
            pid = process.start_background(command(store, socket), log)
        return Started(f"started in the background, process {pid} (log: {log})", pid)

    def forget(self, socket: Path) -> bool:
        """See Keeper."""
        return False


class Systemd:
    """Starts the driver as a unit of systemd: up before Docker, down after it, and up again after a crash."""

    name = "systemd"

    def __init__(self, units: Path = UNITS) -> None:
        self._units = units

    def unit(self, socket: Path) -> Path:
        """Return the unit's file."""
        return self._units / (
            "dm-compose-driver.service" if socket.stem == DRIVER else f"dm-compose-driver-{socket.stem}.service"
        )

    def start(self, store: Path, socket: Path) -> Started:
        """See Keeper."""
        unit = self.unit(socket)
        with file_errors("writing the systemd unit"):
            write_file(unit, unit_text(store, socket).encode(), durable=True)
            unit.chmod(0o644)
        self._systemctl("daemon-reload")
        self._systemctl("enable", unit.name)
        self._systemctl("restart", unit.name)
        return Started(f"started by systemd as {unit.name}, and at every start of this machine, before Docker", None)

    def forget(self, socket: Path) -> bool:
        """See Keeper."""
        unit = self.unit(socket)
        if not unit.exists():
            return False
        self._systemctl("disable", unit.name)
        with file_errors("removing the systemd unit"):
            unit.unlink()
        self._systemctl("daemon-reload")
        return True

    def _systemctl(self, *words: str) -> None:
        done = process.capture(["systemctl", *words], timeout_s=_SYSTEMCTL_TIMEOUT_S)
        if done.code:
            raise DmError(
                f"`systemctl {' '.join(words)}` failed: {done.stderr.strip()}", hint=f"`journalctl -u {words[-1]}` may say why."
            )


def keeper() -> Keeper:
    """Return the keeper for this machine: systemd where it runs (sd_booted(3)), otherwise a process in the background."""
    return Systemd() if Path("/run/systemd/system").is_dir() else Background()


def unit_text(store: Path, socket: Path) -> str:
    """Return the text of a driver's systemd unit.

    systemd starts Docker after the driver has said that it listens, and stops Docker before the driver. So containers find their
    volumes and can give them back. A driver that ends by itself without an error has been reset, so it is not started again.
    """
    return f"""\
# Written by `dm cluster init`, removed by `dm cluster reset`.
[Unit]
Description=dm-compose: volumes of dots for Docker (volume driver {socket.stem})
Before=docker.service
RequiresMountsFor={_quoted(str(store))}
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart={" ".join(_quoted(word, executed=True) for word in command(store, socket))}
WorkingDirectory=/
Restart=on-failure
RestartSec=200ms
TimeoutStopSec={STOP_TIMEOUT_S:.0f}s

[Install]
WantedBy=multi-user.target docker.service
"""


def _quoted(word: str, *, executed: bool = False) -> str:
    """Quote a word as systemd.syntax(7) wants it. `executed` words are quoted as systemd.service(5) wants them."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("\n", "\\n")
    return '"' + (text.replace("$", "$$") if executed else text) + '"'
