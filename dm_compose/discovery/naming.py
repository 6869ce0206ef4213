"""Names of dots, subdots and the volumes that `dm-compose up` makes. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

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


def unique(project: Project, subdots: list[Subdot], names: Mapping[str, SubdotName]) -> list[Subdot]:
    """Give every subdot a name of its own, and one that has no volume yet the name of the volume that `up` will make.

    A named volume keeps its name. A datastore's data is called after its service. Any other mount is called after its service
    too, with its path appended if several would have that name.
    """

    def rank(subdot: Subdot) -> int:
        if subdot.kind is Kind.NAMED:
            return 0 if subdot.source in names else 1
        return 2 if subdot.engine is not None else 3

    others = Counter(s.name for s in subdots if rank(s) == 3)
    taken: set[str] = set()
    found = []
    for subdot in sorted(subdots, key=lambda s: (rank(s), s.services[0], s.path, s.source)):
        name = subdot.name
        if name in taken or (rank(subdot) == 3 and others[name] > 1):
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
