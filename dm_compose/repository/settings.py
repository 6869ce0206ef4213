"""The `x-dotmesh` settings of a compose file, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from dm_compose.core.names import DotName
from dm_compose.core.project import Project
from dm_compose.errors import UsageError

_TOP = ("dot", "include", "exclude")
_SERVICE = ("include", "exclude", "engine", "port")
_VOLUME = ("include", "exclude")


@dataclass(frozen=True)
class Settings:
    """What a compose file says of its state.

    `include` and `exclude` hold volume keys and `service:/path` pairs; `engines` and `ports` are by service.
    """

    dot: DotName | None = None
    include: frozenset[str] = frozenset()
    exclude: frozenset[str] = frozenset()
    engines: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)


def read_settings(project: Project, engine_names: list[str]) -> Settings:
    """Collect the settings of a project; UsageError names a key, volume, service or engine that does not exist."""
    _check_keys("x-dotmesh", project.settings, _TOP)
    dot = project.settings.get("dot")
    marked: dict[str, set[str]] = {"include": set(), "exclude": set()}
    engines: dict[str, str] = {}
    ports: dict[str, int] = {}
    for word, items in marked.items():
        for item in _list("x-dotmesh", word, project.settings):
            items.update(_expand(project, word, item))
    for key, volume in project.volumes.items():
        where = f"volumes.{key}.x-dotmesh"
        _check_keys(where, volume.settings, _VOLUME)
        for word, items in marked.items():
            if word in volume.settings and _truth(where, word, volume.settings[word]):
                items.add(key)
    for name, service in project.services.items():
        where = f"services.{name}.x-dotmesh"
        _check_keys(where, service.settings, _SERVICE)
        for word, items in marked.items():
            value = service.settings.get(word)
            if isinstance(value, str):
                if _truth(where, word, value):
                    items.update(_expand(project, word, name))
            else:
                items.update(f"{name}:{path}" for path in _list(where, word, service.settings))
        if "engine" in service.settings:
            engines[name] = str(service.settings["engine"])
            if engines[name] not in (*engine_names, "none"):
                raise UsageError(f"{where}: unknown engine {engines[name]!r}", hint=f"Known: {', '.join(engine_names)}, none.")
        if "port" in service.settings:
            text = str(service.settings["port"])
            if not text.isdigit() or not 0 < int(text) < 65536:
                raise UsageError(f"{where}: port {text!r} is not a port number")
            ports[name] = int(text)
    return Settings(
        DotName.parse(str(dot)) if dot is not None else None,
        frozenset(marked["include"]),
        frozenset(marked["exclude"]),
        engines,
        ports,
    )


def _check_keys(where: str, found: Mapping[str, object], known: tuple[str, ...]) -> None:
    for key in found:
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."
            raise UsageError(f"{where}: unknown key {key!r}", hint=hint)


def _list(where: str, key: str, found: Mapping[str, object]) -> list[str]:
    value = found.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"{where}.{key} must be a list", hint="For example: include: [uploads, 'web:/var/www/html']")
    return value


def _truth(where: str, key: str, value: object) -> bool:
    if value not in ("true", "false"):
        raise UsageError(f"{where}.{key} must be true or false, or a list of paths on a service; found {value!r}")
    return value == "true"


def _expand(project: Project, word: str, item: str) -> set[str]:
    """Return the volume keys and service:path pairs that one item of a list means."""
    service, colon, path = item.partition(":")
    if colon and service in project.services and path.startswith("/"):
        return {f"{service}:{path.rstrip('/') or '/'}"}
    if item in project.volumes:
        return {item}
    if item in project.services:
        return {f"{item}:*"}
    near = get_close_matches(item, [*project.volumes, *project.services], 1)
    raise UsageError(
        f"x-dotmesh.{word}: there is no volume or service {item!r}",
        hint=f"Did you mean {near[0]!r}?" if near else "Name a top-level volume, a service, or service:/path.",
    )
