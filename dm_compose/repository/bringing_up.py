"""`dm-compose up` and other verbs that make or remove containers: Compose does it, from a generated file where one is needed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from dm_compose.compose.words import read_words
from dm_compose.core.containers import Container
from dm_compose.core.events import Event
from dm_compose.core.names import SubdotName
from dm_compose.core.stack import Kind, Subdot
from dm_compose.repository.generated import Situation, generate
from dm_compose.repository.stack import Stack
from dm_compose.storage.system import file_errors, write_file

STOP_TIMEOUT_S = 60


def compose_with_state(stack: Stack, words: Sequence[str], *, creates: bool) -> int:
    """Run a Compose verb with the volumes that all state gets to live in; return Compose's exit code.

    When the verb creates containers, missing images are pulled or built first, because an image tells what is state; and data
    that an existing container keeps in its writable layer is copied into the new volume before Compose replaces that
    container. On an error the container is started again and the volume removed.
    """
    if creates:
        _get_images(stack)
    recorded = stack.recorded_places()
    containers = stack.containers()
    scaled = _scaled(words)
    plan = replace(stack.plan, subdots=tuple(s for s in stack.plan.subdots if s.services[0] not in scaled))
    situations = {s.name: _situation(stack, s, containers, recorded) for s in plan.subdots}
    document = generate(stack.compose.project(all_profiles=True), plan, situations)
    if document is None:
        return stack.compose.pass_through(words)
    for subdot in plan.subdots if creates else ():
        if subdot.kind in (Kind.ANONYMOUS, Kind.IMAGE):
            if situations[subdot.name].in_layer:
                _adopt(stack, subdot, containers)
            elif situations[subdot.name] == Situation():
                _prepare(stack, subdot)
    directory = stack.compose.directory()
    file = generated_file(stack.project.name, directory)
    with file_errors(f"writing {file}"):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode(), durable=False)
    return stack.compose.pass_through(words, file=file, directory=directory)


def _get_images(stack: Stack) -> None:
    """Have Compose get the images that the engine lacks; should that fail, the verb itself will say why."""
    missing = [service for name, service in stack.project.services.items() if name not in stack.images]
    pulled, built = [s.name for s in missing if not s.built], [s.name for s in missing if s.built]
    if pulled:
        stack.compose.pass_through(["pull", "--ignore-pull-failures", "--policy", "missing", *pulled])
    if built:
        stack.compose.pass_through(["build", *built])
    if missing:
        stack.look_at_images_again()


def _scaled(words: Sequence[str]) -> set[str]:
    """Return the services that the command line gives several containers, which cannot share a volume."""
    verb = read_words(words)
    pairs = [*verb.values("scale"), *(verb.names if verb.verb == "scale" else ())]
    return {name for name, equals, count in (pair.partition("=") for pair in pairs) if equals and count not in ("0", "1")}


def _prepare(stack: Stack, subdot: Subdot) -> None:
    """Make the volume of a path that the image does not have, where its server runs as somebody else than root."""
    service, image = stack.project.services[subdot.services[0]], stack.images.get(subdot.services[0])
    assert subdot.volume is not None
    if image is None or subdot.path in image.volumes or stack.engine.volume(subdot.volume) is not None:
        return
    user = service.user or image.user
    if user.partition(":")[0] not in ("", "root", "0"):
        stack.engine.give_new_volume(image.digest, subdot.path, user, subdot.volume, stack.volume_labels(subdot))


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
        stack.engine.copy_into_new_volume(container.id, subdot.path, subdot.volume, stack.volume_labels(subdot))
    except BaseException:
        if container.running:
            stack.engine.start(container.id)
        raise


def generated_file(project: str, directory: Path) -> Path:
    """Return where the generated file of a project is kept: the user's state directory, one per project and directory."""
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return base / "dm-compose" / f"{project}-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]}" / "compose.yaml"
