"""The leftovers of test runs: on the engine, in the store, among the processes."""

from __future__ import annotations

import contextlib
from pathlib import Path

import docker

from dm_compose.core.labels import CLONE_LABEL
from dm_compose.engine import Engine
from tests.support.projects import TestProject


def resources(project: TestProject) -> list[str]:
    """Return the names of all that is of clones of this project."""
    engine = Engine()
    found = sorted(r.name for r in engine.labelled(CLONE_LABEL) if r.labels[CLONE_LABEL].startswith(f"{project.name}-t"))
    engine.close()
    return found


def leftovers(project: TestProject) -> list[str]:
    """Return everything that is left of clones of this project."""
    with contextlib.closing(docker.from_env()) as client:
        containers = [
            c.name for c in client.containers.list(all=True, ignore_removed=True) if f"{project.name}-t" in (c.name or "")
        ]
        volumes = [v.name for v in client.volumes.list() if f"{project.name}-t" in v.name]
    files = [str(p) for top in (project.home, project.directory.parent / "state") for p in top.rglob(f"{project.name}-t*")]
    return [*resources(project), *containers, *volumes, *files]


def engine_view(project: TestProject) -> dict[str, list[str]]:
    """Return what the engine has that is named after a project and its clones, containers with their state.

    Things without a name may be those of tests beside this one: only a Watch tells whose they are.
    """
    with contextlib.closing(docker.from_env()) as client:
        containers = client.containers.list(all=True, ignore_removed=True)
        mine = [c for c in containers if c.labels.get("com.docker.compose.project", "").startswith(project.name)]
        return {
            "containers": sorted(f"{c.name} {c.id[:12]} {c.status}" for c in mine),
            "networks": sorted(n.name for n in client.networks.list() if n.name.startswith(project.name)),
            "volumes": sorted(v.name for v in client.volumes.list() if v.name.startswith(project.name)),
        }


def processes_with(variable: str) -> dict[int, str]:
    """Return the living processes that were started with `NAME=VALUE` in their environment, with their command lines."""
    found = {}
    for directory in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if directory.name.isdecimal() and variable.encode() in (directory / "environ").read_bytes().split(b"\0"):
                found[int(directory.name)] = (
                    (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]
                )
    return found
