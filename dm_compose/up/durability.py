"""Test stacks whose engines do not wait for the disk (`--dm-durability off`): which services, and by what words.

What a module says of its server (datastores.base.Relaxed) is put at the end of the service's command in the project that Compose
is given, for containers that a test run makes and removes; neither files of the state nor the user's containers are changed.

Such an engine is captured, killed and restored like any other: a freeze, a kill and our own reading all see the page cache, which
has every acknowledged write in the order in which it was made, and the store syncs a commit itself before it lists it. Only a
power cut of the machine shows the difference; then the next command puts back what the run had found, as after any killed run.

Settled forms are made by engines as the compose file has them: they stay with the commit, for runs of either kind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dm_compose.core.containers import Image
from dm_compose.datastores import Relaxed
from dm_compose.dots.stack import Stack
from dm_compose.up.respawn import what_runs

FULL, OFF = "full", "off"
DURABILITIES = (FULL, OFF)


@dataclass(frozen=True)
class Relaxation:
    """The words that a service's server is told, or why there are none (`obstacle`)."""

    words: tuple[str, ...] = ()
    obstacle: str = ""


def relaxations(document: Mapping[str, Any], stack: Stack) -> dict[str, Relaxation]:
    """Return what each datastore of a project document that keeps its data in files would be told."""
    services = stack.facts.plan.services
    stores = {n: s.datastore for n, s in services.items() if s.datastore is not None and not s.datastore.in_memory}
    names = document["services"].keys() & stack.facts.plan.stateful_services() & stores.keys()
    found = {n: relaxation(document["services"][n], stack.facts.images.get(n), stores[n].relaxed) for n in sorted(names)}
    unknown = {n: Relaxation(obstacle=f"nothing sound is known for {stores[n].name}") for n in found if not stores[n].relaxed}
    return {**found, **unknown}


def relaxation(service: Mapping[str, Any], image: Image | None, relaxed: Relaxed | None) -> Relaxation:
    """Return what one service would be told.

    Its words reach the server if that is what is run, or what the image's own entrypoint is given to run; as images of datastores
    have it, an entrypoint that is given options only runs what the image's own command names.
    """
    if relaxed is None:
        return Relaxation(obstacle="nothing sound is known")
    if image is None:
        return Relaxation(obstacle="its image is not there yet")
    entrypoint, command = what_runs(service, image)
    words = [*entrypoint, *command]
    if not words:
        return Relaxation(obstacle="neither image nor service says what to run")
    if conflict := [word for word in words if word in relaxed.unless]:
        return Relaxation(obstacle=f"it runs with {conflict[0]}")
    program = _name(words[0])
    if program not in relaxed.programs and command and _names(entrypoint) == _names(image.entrypoint):
        run = image.command[len(image.entrypoint) :] if command[0].startswith("-") else command
        program = _name(run[0]) if run else program
    if program not in relaxed.programs:
        return Relaxation(obstacle=f"it runs {program}, not {relaxed.programs[0]}")
    return Relaxation(relaxed.words)


def relax(document: dict[str, Any], found: Mapping[str, Relaxation], images: Mapping[str, Image]) -> None:
    """Give the services their words; changes the document in place."""
    for name, each in found.items():
        if each.words:
            service = document["services"][name]
            service["command"] = [*what_runs(service, images[name])[1], *each.words]


def told(found: Mapping[str, Relaxation]) -> str:
    """Return that in a line for people."""
    off = [name for name, each in found.items() if each.words]
    others = defaultdict(list)
    for name, each in found.items():
        if not each.words:
            others[each.obstacle].append(name)
    parts = [f"as it is for {', '.join(names)} ({obstacle})" for obstacle, names in others.items()]
    return "; ".join([f"off for {', '.join(off) or 'none'}", *parts])


def _name(word: str) -> str:
    return word.rpartition("/")[2]


def _names(words: Iterable[str]) -> list[str]:
    return [_name(word) for word in words]
