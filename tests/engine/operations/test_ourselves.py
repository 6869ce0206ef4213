"""dm-compose runs in a container of the stack, or reaches the engine through one: it never freezes or kills itself."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import REPOSITORY
from tests.support.projects import TestProject, eventually

pytestmark = pytest.mark.engine

NewProject = Callable[[Mapping[str, Any]], TestProject]
IN_USE = 8
RUNS_HERE = "dm-compose runs in it"
THROUGH_IT = "the Docker Engine is reached through it"
# Passes bytes on between a port and docker.sock.
PROXY = """
import socket, socketserver, threading
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        engine = socket.socket(socket.AF_UNIX)
        engine.connect("/var/run/docker.sock")
        def copy(source, target):
            try:
                while data := source.recv(65536):
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        other = threading.Thread(target=copy, args=(engine, self.request), daemon=True)
        other.start()
        copy(self.request, engine)
        other.join()
socketserver.ThreadingTCPServer.daemon_threads = True
socketserver.ThreadingTCPServer(("", 2375), Handler).serve_forever()
"""
CACHE = {"image": "dm-example/redis:7.0", "pull_policy": "never"}
IMAGE = {"image": "dm-example/python", "pull_policy": "never", "init": True}


DM_COMPOSE = "from dm_compose.cli.main import main; main()"
# Prints, for each container of a project, whether we are in it: by all signs, and without those that need no look at files.
WHERE = """
import dataclasses, sys
from dm_compose.engine import Engine
from dm_compose.engine.ourselves import Whereabouts
engine, here = Engine(), Whereabouts.here()
blind = dataclasses.replace(here, cgroups=frozenset())
for container in engine.containers(sys.argv[1]):
    hidden = dataclasses.replace(container, layer="")
    by_files = blind.is_in(hidden) is not False and engine._shows_our_files(hidden)
    print(container.service, here.is_in(container), here.is_in(hidden) is True, blind.is_in(container), by_files)
"""


def programs() -> list[str]:
    """Return the paths that a container needs to run dm-compose as this machine has it, beside its own Python."""
    configuration = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    found = [REPOSITORY, Path(sysconfig.get_path("purelib")), Path(shutil.which("docker") or ""), configuration]
    with contextlib.suppress(OSError, ValueError):
        plugins = json.loads((configuration / "config.json").read_text()).get("cliPluginsExtraDirs") or []
        found += map(Path, plugins)
    found += [Path("/usr/libexec/docker/cli-plugins"), Path("/usr/lib/docker/cli-plugins")]
    return [str(path) for path in dict.fromkeys(found) if path.exists()]


def workspace(directory: Path, *mounts: str, **more: Any) -> dict[str, Any]:
    """Return a service in which dm-compose is to run: a developer's container."""
    read_only = [f"{path}:{path}:ro" for path in (*programs(), str(directory / "project"))]
    writable = ["/var/run/docker.sock:/var/run/docker.sock", f"{directory / 'home'}:{directory / 'home'}", *mounts]
    return {**IMAGE, "command": ["sleep", "infinity"], "volumes": [*read_only, *writable], **more}


def inside(project: TestProject, program: str, *words: str, service: str = "workspace") -> subprocess.CompletedProcess[str]:
    """Run a Python program in a container of the project."""
    kept = {name: os.environ[name] for name in ("DOCKER_CONFIG",) if name in os.environ}
    paths = f"{REPOSITORY}:{sysconfig.get_path('purelib')}"
    variables = {**project.environment, **kept, "PYTHONPATH": paths, "DM_HELPER_IMAGE": IMAGE["image"], "DM_TIMEOUT": "30"}
    variables["PATH"] = f"{Path(shutil.which('docker') or '').parent}:/usr/local/bin:/usr/bin:/bin"
    options = [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]
    command = ["docker", "exec", *options, project.container(service)["Id"], "python3", "-c", program, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def with_workspace(new_project: NewProject, tmp_path: Path) -> Callable[..., TestProject]:
    """Bring up a Redis with a commit, beside a container in which dm-compose runs."""

    def make(*mounts: str, **more: Any) -> TestProject:
        directory = tmp_path / "0"
        services = {"cache": {**CACHE, "volumes": ["data:/data"]}, "workspace": workspace(directory, *mounts, **more)}
        (directory / "home").mkdir(parents=True)
        project = new_project({"services": services, "volumes": {"data": None}})
        project.compose("up", "-d")
        project.wait_ready()
        return project

    return make


def dm(project: TestProject, *words: str) -> subprocess.CompletedProcess[str]:
    done = inside(project, DM_COMPOSE, "-f", str(project.file), "-p", project.name, *words)
    if "No module named" in done.stderr:
        pytest.skip(f"this machine's libraries do not suit the image's Python: {done.stderr.splitlines()[-1]}")
    return done


def test_our_own_container_goes_on_while_the_others_stand_still(with_workspace: Callable[..., TestProject]) -> None:
    project = with_workspace()
    project.redis().set("note", "seed")
    done = dm(project, "commit", "-m", "seed")
    assert done.returncode == 0, done.stderr
    assert f"workspace goes on while the stack stands still, because {RUNS_HERE}" in done.stderr
    project.redis().set("note", "later")
    done = dm(project, "reset", "--hard")
    assert done.returncode == 0, done.stderr
    eventually(lambda: project.redis().get("note") == "seed", "the restored state")
    assert {project.state("cache"), project.state("workspace")} == {"running"}


def test_our_own_container_is_refused_where_it_may_write(with_workspace: Callable[..., TestProject]) -> None:
    project = with_workspace("data:/elsewhere")
    for words in (["commit", "-m", "x"], ["commit", "--stop", "-m", "x"]):
        done = dm(project, *words)
        assert done.returncode == IN_USE, done.stderr
        assert f"cannot be held still: {RUNS_HERE}" in done.stderr
    project.dm("commit", "-m", "from outside", DM_HELPER_IMAGE=IMAGE["image"])
    assert dm(project, "reset", "--hard").returncode == IN_USE
    assert {project.state("cache"), project.state("workspace")} == {"running"}


HOW = {"alone": {}, "network": {"network_mode": "service:cache"}, "host": {"network_mode": "host"}, "name": {"hostname": "shop"}}


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_each_sign_tells_our_container_from_the_others(with_workspace: Callable[..., TestProject], how: dict[str, str]) -> None:
    project = with_workspace(**how)
    done = inside(project, WHERE, project.name)
    assert done.returncode == 0, done.stderr
    signs = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert signs["cache"] == ["False", "False", "False", "False"]
    assert signs["workspace"][0] == "True"
    assert signs["workspace"][2:] == ["True", "True"]


def test_a_proxy_to_the_engine_goes_on_while_the_others_stand_still(new_project: NewProject) -> None:
    proxy = {**IMAGE, "command": ["python3", "-c", PROXY], "volumes": ["/var/run/docker.sock:/var/run/docker.sock"]}
    project = new_project({"services": {"cache": {**CACHE, "ports": ["127.0.0.1::6379"]}, "proxy": proxy}})
    project.dm("up", "-d")
    project.wait_ready()
    project.redis().set("note", "seed")
    address = f"tcp://{project.address('proxy')}:2375"
    eventually(lambda: project.command("docker", "version", DOCKER_HOST=address), "the proxy")
    done = project.dm("commit", "-m", "seed", check=False, DOCKER_HOST=address, DM_HELPER_IMAGE=IMAGE["image"])
    assert done.returncode == 0, done.stderr
    assert f"proxy goes on while the stack stands still, because {THROUGH_IT}" in done.stderr
    assert {project.state("cache"), project.state("proxy")} == {"running"}
