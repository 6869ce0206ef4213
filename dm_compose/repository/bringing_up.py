"""`dm-compose up` and other verbs that make or remove containers: Compose does it, from a generated file where one is needed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from dm_compose.core.containers import Container
from dm_compose.core.events import Event
from dm_compose.core.names import SubdotName
from dm_compose.core.stack import Kind, Subdot
from dm_compose.repository.generated import Situation, generate
from dm_compose.repository.stack import Stack
from dm_compose.storage.system import file_errors, write_file

_DEFAULT_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
STOP_TIMEOUT_S = 60


def compose_with_state(stack: Stack, words: Sequence[str], *, creates: bool) -> int:
    """Run a Compose verb with the volumes that all state gets to live in; return Compose's exit code.

    When the verb creates containers, data that an existing container keeps in its writable layer is copied into the new
    volume before Compose replaces that container; on an error the container is started again and the volume removed.
    """
    recorded = stack.recorded_places()
    containers = stack.containers()
    situations = {s.name: _situation(stack, s, containers, recorded) for s in stack.plan.subdots}
    everything = stack.compose.project(all_profiles=True)
    document = generate(everything, stack.plan, situations)
    if document is None:
        return stack.compose.pass_through(words)
    for subdot in stack.plan.subdots:
        if creates and situations[subdot.name].in_layer and subdot.kind in (Kind.ANONYMOUS, Kind.IMAGE):
            _adopt(stack, subdot, containers)
    directory = project_directory(stack)
    file = generated_file(stack.project.name, directory)
    with file_errors(f"writing {file}"):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode(), durable=False)
    return stack.compose.pass_through(words, file=file, directory=directory)


def _situation(stack: Stack, subdot: Subdot, containers: Sequence[Container], recorded: Mapping[SubdotName, str]) -> Situation:
    mine = [c for c in containers if c.service == subdot.services[0] and not c.one_off]
    mounted = [m.place for c in mine for m in c.mounts if m.target == subdot.path]
    place = recorded.get(subdot.name)
    return Situation(
        mounted=mounted[0] if mounted else None,
        recorded=place if place and stack.engine.volume(place) is not None else None,
        in_layer=bool(mine) and not mounted,
    )


def _adopt(stack: Stack, subdot: Subdot, containers: Sequence[Container]) -> None:
    """Copy a subdot out of its container's writable layer into the volume that it is about to get."""
    assert subdot.volume is not None
    container = next(c for c in containers if c.service == subdot.services[0] and not c.one_off)
    stack.listener(Event("adopt", f"{subdot.name}: copying {subdot.path} of {container.name} into volume {subdot.volume}"))
    if container.running:
        stack.engine.stop(container.id, STOP_TIMEOUT_S)
    try:
        labels = {"com.docker.compose.project": stack.project.name}
        labels["com.docker.compose.volume"] = subdot.volume.removeprefix(f"{stack.project.name}_")
        stack.engine.copy_into_new_volume(container.id, subdot.path, subdot.volume, labels)
    except BaseException:
        if container.running:
            stack.engine.start(container.id)
        raise


def project_directory(stack: Stack) -> Path:
    """Return the directory that Compose takes the project to be in."""
    options = stack.compose.options
    if options.project_directory is not None:
        return Path(options.project_directory).absolute()
    named = [
        *options.files,
        *filter(None, os.environ.get("COMPOSE_FILE", "").split(os.environ.get("COMPOSE_PATH_SEPARATOR", os.pathsep))),
    ]
    if named and named[0] != "-":
        return Path(named[0]).absolute().parent
    here = Path.cwd()
    return next((d for d in (here, *here.parents) if any((d / name).exists() for name in _DEFAULT_FILES)), here)


def generated_file(project: str, directory: Path) -> Path:
    """Return where the generated file of a project is kept: the user's state directory, one per project and directory."""
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return base / "dm-compose" / f"{project}-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]}" / "compose.yaml"
