"""A Docker Engine of the tests' own, for what must not happen to an engine that others use.

An engine keeps every volume plugin that it has met until it ends, and waits 15 s at look-ups of volumes once that is gone. So
plugins are tried on an engine that ends with the test run. It lives in namespaces of its own (mounts, network, processes), has
its own plugin directory, images and containers, and dies as a whole when its first process is killed, which the kernel does
when the test process dies. The next run sweeps the files that are left on the disk then. The `dockerd` first in PATH is tried.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dm_compose.driver.running import end, identity

BASE = Path(tempfile.gettempdir()) / "dm-compose-test-engines"
START_TIMEOUT_S = 170.0  # one that waits for its plugins takes a minute or two
_CGROUPS = Path("/sys/fs/cgroup")
_HOLD = """
mount --bind "$1" /run/docker && mkdir -p /run/docker/plugins /run/containerd || exit
mount -t tmpfs none /run/containerd || exit  # a containerd that others use is not this engine's
echo ready
while :; do sleep 3600; done  # a shell that waits reaps what its processes leave
"""


@functools.cache
def why_not() -> str | None:
    """Return why this machine cannot run a second engine, as far as can be told without trying."""
    if os.geteuid() != 0:
        return "only root can run a second engine"
    if not Path("/run/docker").is_dir():
        return "no Docker Engine has run on this machine"
    missing = [tool for tool in ("dockerd", "unshare", "nsenter", "setpriv") if shutil.which(tool) is None]
    return f"{', '.join(missing)} missing" if missing else None


@dataclass
class PrivateEngine:
    """An engine below `home`, which may be stopped, killed and started again."""

    home: Path
    holder: subprocess.Popen[str] = field(init=False)
    daemon: subprocess.Popen[bytes] | None = None
    _log_start: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make docker clients talk to this engine."""
        return {"DOCKER_HOST": f"unix://{self.home}/docker.sock"}

    @property
    def plugins(self) -> Path:
        """The engine's plugin directory, as the tests see it."""
        return self.home / "run" / "plugins"

    def open(self) -> None:
        """Make the namespaces."""
        for name in ("run", "root"):
            (self.home / name).mkdir()
        (self.home / "owner").write_text(identity(os.getpid()) or "")
        (self.home / "daemon.json").write_text("{}")
        flags = ["--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child", "--propagation", "private"]
        self.holder = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", *flags, "sh", "-c", _HOLD, "sh", str(self.home / "run")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.holder.stdout is not None
        if self.holder.stdout.readline().strip() != "ready":
            raise AssertionError("this machine cannot make the namespaces of a second engine")

    def _inside(self) -> list[str]:
        children = Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().split()
        return ["nsenter", "-t", children[0], "--mount", "--net", "--pid"]

    def start(self) -> None:
        """Start the engine and wait until it answers."""
        arguments = {
            "--data-root": self.home / "root",
            "--exec-root": "/run/docker",
            "--pidfile": self.home / "dockerd.pid",
            "--host": self.environment["DOCKER_HOST"],
            "--bip": "172.31.99.1/24",
            "--cgroup-parent": self.home.name,
            "--exec-opt": "native.cgroupdriver=cgroupfs",
            "--config-file": self.home / "daemon.json",
        }
        (self.home / "dockerd.pid").unlink(missing_ok=True)
        self._log_start = (self.home / "dockerd.log").stat().st_size if (self.home / "dockerd.log").exists() else 0
        with open(self.home / "dockerd.log", "ab") as log:
            self.daemon = subprocess.Popen(
                [
                    *self._inside(),
                    "dockerd",
                    *(str(word) for pair in arguments.items() for word in pair),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.docker("version", check=False, timeout_s=START_TIMEOUT_S).returncode:
            if time.monotonic() > deadline or self.daemon.poll() is not None:
                raise AssertionError(f"the engine did not start:\n{self.log()[-2000:]}")
            time.sleep(0.05)

    def log(self) -> str:
        """Return what the engine has logged since it was started the last time."""
        return (self.home / "dockerd.log").read_bytes()[self._log_start :].decode(errors="replace")

    def _signal(self, number: int) -> None:
        """nsenter is the engine's parent: it ends with it."""
        assert self.daemon is not None
        children = Path(f"/proc/{self.daemon.pid}/task/{self.daemon.pid}/children").read_text().split()
        os.kill(int(children[0]), number)
        self.daemon.wait(timeout=60)
        self.daemon = None

    def stop(self) -> None:
        """Shut the engine down, as a service manager does."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the engine. Its containers live on."""
        self._signal(signal.SIGKILL)

    def docker(self, *words: str, check: bool = True, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a docker command on this engine; within `timeout_s`, or it is a failure."""
        done = subprocess.run(
            ["docker", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, **self.environment},
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"docker {' '.join(words)} -> {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def load(self, image: str) -> None:
        """Bring an image of the machine's engine."""
        archive = self.home / "image.tar"
        subprocess.run(["docker", "save", "-o", str(archive), image], check=True, capture_output=True, timeout=120)
        self.docker("load", "-q", "-i", str(archive))
        archive.unlink()

    def close(self) -> None:
        """End everything in it and remove it."""
        self.holder.kill()
        self.holder.wait(timeout=30)
        if self.holder.stdout is not None:
            self.holder.stdout.close()
        if self.daemon is not None:
            self.daemon.wait(timeout=30)
        _remove(self.home)


def _remove(home: Path) -> None:
    """Remove what an engine leaves on the disk, and the drivers that were started for it, which live outside."""
    for file in home.glob("stores/*/*-driver.pid"):
        text = file.read_text().strip()
        pid = text.partition(" ")[0]
        if pid.isdigit() and identity(int(pid)) == text:
            end(int(pid))
    for top in (_CGROUPS / home.name, *_CGROUPS.glob(f"*/{home.name}")):
        for directory, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
    shutil.rmtree(home, ignore_errors=True)


def sweep() -> None:
    """Remove what killed runs left."""
    for home in BASE.iterdir() if BASE.is_dir() else ():
        owner = (home / "owner").read_text() if (home / "owner").exists() else ""
        pid = owner.partition(" ")[0]
        if pid.isdigit() and identity(int(pid)) != owner:
            _remove(home)


@contextlib.contextmanager
def private_engine(*images: str) -> Iterator[PrivateEngine]:
    """Run an engine for the length of a block."""
    BASE.mkdir(exist_ok=True)
    sweep()
    engine = PrivateEngine(Path(tempfile.mkdtemp(prefix="dmt", dir=BASE)))
    engine.open()
    try:
        engine.start()
        for image in images:
            engine.load(image)
        yield engine
    finally:
        engine.close()
