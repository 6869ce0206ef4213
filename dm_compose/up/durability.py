"""Test stacks whose engines do not wait for the disk (`--dm-durability off`): which services, and by which words.

A datastore's module has the words for its server (datastores.base.Relaxed). They are put at the end of the service's command, in
the project that Compose is given. This is done only for containers that a test run makes and removes. Neither files of the state
nor the user's containers are changed.

Such an engine is captured, killed and restored like any other. A freeze, a kill and our own reading all see the page cache, which
has every acknowledged write in the order in which it was made. The store syncs a commit itself before it lists it. Only a power
cut of the machine shows the difference. Then the next command puts back the state that the run had found, as after any killed
run.

Settled forms are made by engines as the compose file has them, because they stay with the commit, for runs of either kind.
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
    """The words that a service's server is given, or the reason why there are none (`obstacle`)."""

    words: tuple[str, ...] = ()
    obstacle: str = ""


def relaxations(document: Mapping[str, Any], stack: Stack) -> dict[str, Relaxation]:
    """Return the words for each service of a project document whose datastore keeps its data in files."""
    services = stack.facts.plan.services
    stores = {n: s.datastore for n, s in services.items() if s.datastore is not None and not s.datastore.in_memory}
    names = document["services"].keys() & stack.facts.plan.stateful_services() & stores.keys()
    found = {n: relaxation(document["services"][n], stack.facts.images.get(n), stores[n].relaxed) for n in sorted(names)}
    unknown = {n: Relaxation(obstacle=f"nothing sound is known for {stores[n].name}") for n in found if not stores[n].relaxed}
    return {**found, **unknown}


def relaxation(service: Mapping[str, Any], image: Image | None, relaxed: Relaxed | None) -> Relaxation:
    """Return the words for one service, or the obstacle.

    The words reach the server in two cases: the service runs the server itself; or it runs the image's own entrypoint, which is
    given the server as its command. If that entrypoint is given options only, it runs the program of the image's own command, as
    images of datastores do.
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
    """Give the services their words. The document is changed in place."""
    for name, each in found.items():
        if each.words:
            service = document["services"][name]
            service["command"] = [*what_runs(service, images[name])[1], *each.words]


def told(found: Mapping[str, Relaxation]) -> str:
    """Return a line for people that says for which services durability is off, and why it is not for the others."""
    off = [name for name, each in found.items() if each.words]
    others = defaultdict(list)
    for name, each in found.items():
        if not each.words:
            others[each.obstacle].append(name)
    parts = [f"unchanged for {', '.join(names)} ({obstacle})" for obstacle, names in others.items()]
    return "; ".join([f"off for {', '.join(off) or 'none'}", *parts])


def _name(word: str) -> str:
    return word.rpartition("/")[2]


def _names(words: Iterable[str]) -> list[str]:
    return [_name(word) for word in words]
