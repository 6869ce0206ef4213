"""Names of dots, subdots and the volumes that `dm-compose up` makes. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from dm_compose.core.commit import SubdotState
from dm_compose.core.names import LONGEST_NAME, DotName, SubdotName, free_name
from dm_compose.core.project import Project
from dm_compose.core.volumes import DRIVER
from dm_compose.discovery.stack_plan import Kind, Subdot
from dm_compose.errors import UsageError

GENERATED_PREFIX = "dm-"


def ancestor_names(project: Project) -> tuple[DotName | None, dict[str, SubdotName]]:
    """Return the dot that `driver: dm` volumes name (`DOT.SUBDOT`), and the subdots' names by volume key.

    UsageError when they name several dots.
    """
    dots: dict[str, str] = {}
    names: dict[str, SubdotName] = {}
    for key, volume in project.volumes.items():
        if volume.driver == DRIVER:
            dot, _, subdot = volume.name.partition(".")
            dots[dot.partition("@")[0]] = key
            names[key] = SubdotName.parse(subdot or "__default__")
    if len(dots) > 1:
        raise UsageError(f"the volumes of driver dm name several dots: {', '.join(sorted(dots))}", hint="A stack has one dot.")
    return (DotName.parse(next(iter(dots))) if dots else None), names


def subdot_name(text: str) -> SubdotName:
    """Return another name as a subdot's: without '.', '_' and '-' in front, and not too long; `data` if nothing is left."""
    return SubdotName.parse(re.sub(r"^[^A-Za-z0-9]+", "", text)[:LONGEST_NAME] or "data")


def as_told(subdots: Sequence[Subdot], told: Mapping[str, SubdotName]) -> list[Subdot]:
    """Give subdots the names that `x-dotmesh.subdot` of their services says: the data of a datastore, or the only subdot.

    UsageError where that is not one.
    """
    found = list(subdots)
    for service, name in told.items():
        mine = [s for s in found if s.services[0] == service]
        named = [s for s in mine if s.engine is not None] or mine
        if len(named) != 1:
            many = f"has several subdots ({', '.join(sorted(s.path for s in named))})" if named else "has no subdot"
            raise UsageError(
                f"services.{service}.x-dotmesh.subdot: service {service} {many}",
                hint="It names the data of a service that has one subdot, or one datastore.",
            )
        found[found.index(named[0])] = replace(named[0], name=name)
    if twice := [name for name, count in Counter(told.values()).items() if count > 1]:
        raise UsageError(f"x-dotmesh.subdot names several subdots {twice[0]}", hint="Each subdot has a name of its own.")
    return found


def renamed(subdots: Iterable[Subdot], committed: Mapping[SubdotName, SubdotState]) -> dict[SubdotName, Subdot]:
    """Return subdots whose service seems to have another name since a commit, by the name that the subdot has there. Pure.

    The commit has a subdot that is not here, of the same datastore and at the same path, and there is one such pair only.
    """

    def kind(subdot: Subdot | SubdotState) -> tuple[str | None, str | None]:
        return subdot.engine, subdot.path

    here = [s for s in subdots if s.engine is not None]
    new = [s for s in here if s.name not in committed]
    old = {name: state for name, state in committed.items() if name not in {s.name for s in here}}
    found = {}
    for name, state in old.items():
        same = [s for s in new if kind(s) == kind(state)]
        if len(same) == 1 and sum(kind(other) == kind(state) for other in old.values()) == 1:
            found[name] = same[0]
    return found


def how_to_tell(name: SubdotName, subdot: Subdot) -> str:
    """Return the sentence that says how to tell that a service has another name."""
    service = subdot.services[0]
    line = f"services.{service}.x-dotmesh.subdot: {name}"
    return f"if {service} is another name of what was {name}, say so in the compose file: {line}"


def missing_here(subdots: Collection[Subdot], committed: Mapping[SubdotName, SubdotState]) -> list[str]:
    """Return a sentence for each subdot that the last commit has and the stack lacks, with the line that tells of a rename."""
    also = renamed(subdots, committed)
    found = []
    for name in sorted(committed.keys() - {s.name for s in subdots}):
        text = f"the last commit has a subdot {name}, and this stack has none"
        found.append(f"{text}; {how_to_tell(name, also[name])}" if name in also else text)
    return found


def unique(
    project: Project, subdots: list[Subdot], names: Mapping[str, SubdotName], told: Mapping[str, SubdotName]
) -> list[Subdot]:
    """Give every subdot a name of its own, and one that has no volume yet the name of the volume that `up` will make.

    A subdot that was `told` its name keeps that, and so does a named volume. A datastore's data is called after its service. Any
    other volume is called after its service too, with its path appended if several would have that name, and so is a directory of
    the host, if that leaves the name. So to include a directory renames no volume.
    """

    def rank(subdot: Subdot) -> int:
        if told.get(subdot.services[0]) == subdot.name:
            return -1
        if subdot.kind is Kind.NAMED:
            return 0 if subdot.source in names else 1
        return 2 if subdot.engine is not None else 3 if subdot.kind is not Kind.BIND else 4

    others = Counter((rank(s), s.name) for s in subdots if rank(s) >= 3)
    taken: set[str] = set()
    found = []
    for subdot in sorted(subdots, key=lambda s: (rank(s), s.services[0], s.path, s.source)):
        name = subdot.name
        if name in taken or others[rank(subdot), name] > 1:
            name = subdot_name(f"{subdot.services[0]}-{re.sub('[^A-Za-z0-9]+', '-', subdot.path).strip('-')}")
        name = SubdotName(free_name(name, taken))
        taken.add(name)
        volume = subdot.volume
        if subdot.kind in (Kind.ANONYMOUS, Kind.IMAGE):
            prefix = f"{project.name}_"
            keys = {*project.volumes, *project.inactive, *(v.name.removeprefix(prefix) for v in project.volumes.values())}
            volume = prefix + free_name(f"{GENERATED_PREFIX}{name}", keys)
        found.append(replace(subdot, name=name, volume=volume))
    return found
