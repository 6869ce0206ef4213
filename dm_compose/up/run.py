"""`dm-compose up` and other verbs that make or remove containers. Compose runs them, from a generated file if one is needed."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import os
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from dm_compose.compose.words import VerbWords, read_words
from dm_compose.core.containers import Container
from dm_compose.core.labels import PROJECT_LABEL
from dm_compose.core.names import SubdotName
from dm_compose.discovery.stack_plan import Kind, Subdot
from dm_compose.dots.stack import Rewrite, Stack
from dm_compose.engine import Engine
from dm_compose.errors import ComposeError
from dm_compose.live.access import store_exists
from dm_compose.objects.system import file_errors, private_directory, write_file
from dm_compose.up.layers import Layer, carried_over, refuse_to_overwrite, replaceable
from dm_compose.up.project_file import Situation, generate

INTERRUPTED = 128  # exit codes from here on mean a signal
GIVEN = (Kind.ANONYMOUS, Kind.IMAGE)  # subdots of these kinds get a volume from us


def compose_with_state(stack: Stack, words: Sequence[str], *, creates: bool, rewrites: Sequence[Rewrite] = ()) -> int:
    """Run a Compose verb on a project in which all state is in volumes, and with `rewrites`. Return Compose's exit code.

    If the verb `creates` containers, two things are done first. Missing images are pulled or built, because an image tells what
    is state. Data that a container keeps in its writable layer is copied into the new volume before Compose replaces that
    container (see layers.carried_over). With Compose's `--dry-run` nothing is done at all.
    """
    verb = read_words(words)
    dry_run = verb.asks("dry-run")
    if creates and not dry_run and (interrupted := get_images(stack)):
        return interrupted
    recorded = {} if dry_run and not store_exists(stack.facts.engine, stack.variables) else stack.recorded_places()
    containers = stack.containers()
    project = stack.compose.project(all_profiles=True)
    situations = {s.name: _situation(stack, s, containers, recorded) for s in stack.facts.plan.subdots}
    subdots = [s for s in stack.facts.plan.subdots if s.services[0] not in _scaled(verb)]
    layers = []
    if creates:
        replaced = replaceable(verb, project)
        subdots = [s for s in subdots if s.services[0] in replaced or not situations[s.name].in_layer]
        layers = [_layer(stack, s, containers) for s in subdots if situations[s.name].in_layer]
        refuse_to_overwrite(stack.facts.engine, layers)
    rewrites = [*stack.rewrites, *rewrites]
    document = generate(project, replace(stack.facts.plan, subdots=tuple(subdots)), situations)
    if document is None and rewrites:
        document = copy.deepcopy(dict(project.document))
    if document is None:
        return stack.compose.pass_through(words)
    for rewrite in rewrites:
        rewrite(document)
    directory = stack.compose.directory()
    with contextlib.ExitStack() as meanwhile:
        if dry_run:
            file = Path(meanwhile.enter_context(tempfile.TemporaryDirectory())) / "compose.yaml"
        else:
            file = generated_file(stack.variables.state_directory, stack.facts.project.name, directory)
            meanwhile.enter_context(carried_over(stack.facts.engine, layers, stack.listener))
            for subdot in subdots if creates else ():
                if situations[subdot.name] == Situation():
                    _prepare(stack, subdot)
        with file_errors(f"writing {file}"):
            text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)  # has the secrets that Compose put in
            if not dry_run:
                private_directory(stack.variables.state_directory)
                private_directory(file.parent)
            write_file(file, text.encode(), durable=False, private=True)
        return stack.compose.pass_through(words, file=file, directory=directory)


def require_compose(stack: Stack, words: Sequence[str], *, creates: bool, rewrites: Sequence[Rewrite] = ()) -> None:
    """Run a Compose verb as `compose_with_state` does. ComposeError if it fails."""
    if code := compose_with_state(stack, words, creates=creates, rewrites=rewrites):
        raise ComposeError(f"`docker compose {' '.join(words)}` failed with exit code {code}", hint="Its own output says why.")


def get_images(stack: Stack) -> int:
    """Have Compose pull or build the images that the engine lacks. If that fails, the verb itself will say why.

    Return 0, or Compose's exit code if a signal has interrupted it.
    """
    missing = [service for name, service in stack.facts.project.services.items() if name not in stack.facts.images]
    pulled, built = [s.name for s in missing if not s.built], [s.name for s in missing if s.built]
    for names, words in ((pulled, ["pull", "--ignore-pull-failures", "--policy", "missing"]), (built, ["build"])):
        if names and (code := stack.compose.pass_through([*words, *names])) >= INTERRUPTED:
            return code
    if missing:
        stack.facts.look_at_images_again()
    return 0


def _scaled(verb: VerbWords) -> set[str]:
    """Return the services that get several containers by the command line. These containers cannot share a volume."""
    pairs = [*verb.values("scale"), *(verb.names if verb.verb == "scale" else ())]
    return {name for name, equals, count in (pair.partition("=") for pair in pairs) if equals and count not in ("0", "1")}


def _prepare(stack: Stack, subdot: Subdot) -> None:
    """Make the volume of a path that the image does not have, if its server does not run as root and so could not write to it."""
    service, image = stack.facts.project.services[subdot.services[0]], stack.facts.images.get(subdot.services[0])
    if subdot.kind not in GIVEN or image is None or subdot.path in image.volumes:
        return
    assert subdot.volume is not None
    user = service.user or image.user
    if user.partition(":")[0] not in ("", "root", "0") and stack.facts.engine.volume(subdot.volume) is None:
        stack.facts.engine.give_new_volume(image.digest, subdot.path, user, subdot.volume, stack.facts.volume_labels(subdot))


def _situation(stack: Stack, subdot: Subdot, containers: Sequence[Container], recorded: Mapping[SubdotName, str]) -> Situation:
    if subdot.kind not in GIVEN:
        return Situation()
    mine = _containers(subdot, containers)
    mounted = [m.place for c in mine for m in c.mounts if m.target == subdot.path]
    place = recorded.get(subdot.name)
    return Situation(
        mounted=mounted[0] if mounted else None,
        recorded=place if place and stack.facts.engine.volume(place) is not None else None,
        in_layer=bool(mine) and not mounted and stack.facts.engine.has_data(mine[0].id, subdot.path),
    )


def _layer(stack: Stack, subdot: Subdot, containers: Sequence[Container]) -> Layer:
    return Layer(subdot, _containers(subdot, containers)[0], stack.facts.volume_labels(subdot))


def layers_of(stack: Stack, services: Sequence[str]) -> list[Layer]:
    """Return the data that containers of these services (by default all) keep in their writable layers."""
    containers = stack.containers()
    subdots = [s for s in stack.facts.plan.subdots if not services or s.services[0] in services]
    return [_layer(stack, s, containers) for s in subdots if _situation(stack, s, containers, {}).in_layer]


def _containers(subdot: Subdot, containers: Sequence[Container]) -> list[Container]:
    return [c for c in containers if c.service == subdot.services[0] and not c.one_off]


def generated_file(state: Path, project: str, directory: Path) -> Path:
    """Return where the generated file of a project is kept in the user's state directory: one per project and directory."""
    return state / f"{project}-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]}" / "compose.yaml"


def generated_projects(state: Path) -> dict[str, list[Path]]:
    """Return the directories of all generated files, by project."""
    found: dict[str, list[Path]] = {}
    for file in sorted(state.glob(f"*-{'[0-9a-f]' * 12}/compose.yaml")):
        found.setdefault(file.parent.name[:-13], []).append(file.parent)
    return found


def gone_projects(engine: Engine, state: Path) -> list[str]:
    """Return the projects with generated files of which nothing is on the engine. The next `up` generates the files anew."""
    return [project for project in generated_projects(state) if not engine.labelled(f"{PROJECT_LABEL}={project}")]


def forget_if_gone(engine: Engine | None, state: Path, projects: Collection[str | None]) -> None:
    """Remove the generated files of those of these projects of which nothing is on the engine."""
    for project in gone_projects(engine, state) if engine is not None and any(projects) else ():
        if project in projects:
            forget_generated_files(state, project)


def forget_generated_files(state: Path, project: str) -> None:
    """Remove the generated files of a project, whatever its directory. Idempotent."""
    for directory in state.glob(f"{project}-{'?' * 12}"):
        shutil.rmtree(directory, ignore_errors=True)
