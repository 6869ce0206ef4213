"""The `x-dotmesh` settings of a compose file, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from dm_compose.core.names import DotName, SubdotName, did_you_mean
from dm_compose.core.project import Project
from dm_compose.errors import UsageError

N = TypeVar("N", DotName, SubdotName)
_TOP = ("dot", "include", "exclude")
_SERVICE = ("include", "exclude", "engine", "port", "subdot")
_VOLUME = ("include", "exclude")


@dataclass(frozen=True)
class Settings:
    """The `x-dotmesh` settings of a compose file.

    `include` and `exclude` hold volume keys and `service:/path` pairs. `engines`, `ports` and `subdots` are by service; the last
    has the name of the service's data.
    """

    dot: DotName | None = None
    include: frozenset[str] = frozenset()
    exclude: frozenset[str] = frozenset()
    engines: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    subdots: Mapping[str, SubdotName] = field(default_factory=dict)


def read_settings(project: Project, engine_names: list[str]) -> Settings:
    """Collect the settings of a project. UsageError names a key, volume, service or engine that does not exist."""
    _check_keys("x-dotmesh", project.settings, _TOP)
    given = project.settings.get("dot")
    dot = None if given is None else _name("x-dotmesh.dot", given, DotName)
    marked: dict[str, set[str]] = {"include": set(), "exclude": set()}
    engines: dict[str, str] = {}
    ports: dict[str, int] = {}
    subdots: dict[str, SubdotName] = {}
    for word, items in marked.items():
        for item in _list("x-dotmesh", word, project.settings):
            items.update(_expand(project, word, item))
    for key, volume in project.volumes.items():
        where = f"volumes.{key}.x-dotmesh"
        _check_keys(where, volume.settings, _VOLUME)
        for word, items in marked.items():
            if word in volume.settings and _truth(where, word, volume.settings[word]):
                items.add(key)
    for name, found in project.providers.items():
        if found:
            raise UsageError(f"services.{name}.x-dotmesh: a provider makes this service, so it has no state here")
    for name, service in project.services.items():
        where = f"services.{name}.x-dotmesh"
        _check_keys(where, service.settings, _SERVICE)
        for word, items in marked.items():
            value = service.settings.get(word)
            if isinstance(value, str):
                if _truth(where, word, value):
                    items.update(_expand(project, word, name))
            else:
                items.update(f"{name}:{_path(f'{where}.{word}', path)}" for path in _list(where, word, service.settings))
        if "engine" in service.settings:
            engines[name] = str(service.settings["engine"])
            if engines[name] not in (*engine_names, "none"):
                hint = did_you_mean(engines[name], [*engine_names, "none"]) or f"Known: {', '.join(engine_names)}, none."
                raise UsageError(f"{where}: unknown engine {engines[name]!r}", hint=hint)
        if "port" in service.settings:
            text = str(service.settings["port"])
            if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
                raise UsageError(f"{where}: port {text!r} is not a port number")
            ports[name] = int(text)
        if "subdot" in service.settings:
            subdots[name] = _name(f"{where}.subdot", service.settings["subdot"], SubdotName)
    return Settings(dot, frozenset(marked["include"]), frozenset(marked["exclude"]), engines, ports, subdots)


def _check_keys(where: str, found: Mapping[str, object], known: tuple[str, ...]) -> None:
    if "" in found:
        raise UsageError(f"{where} must be a mapping; found {found['']!r}", hint=f"Known keys: {', '.join(known)}.")
    for key in found:
        if key not in known:
            hint = did_you_mean(key, known) or f"Known: {', '.join(known)}."
            raise UsageError(f"{where}: unknown key {key!r}", hint=hint)


def _name(where: str, value: object, kind: type[N]) -> N:
    try:
        return kind.parse(value)  # type: ignore[arg-type]
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", hint=error.hint) from None


def _path(where: str, path: str) -> str:
    if not path.startswith("/"):
        raise UsageError(f"{where}: {path!r} is not a path in the container", hint="Such a path starts with '/'.")
    return path.rstrip("/") or "/"


def _list(where: str, key: str, found: Mapping[str, object]) -> list[str]:
    value = found.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"{where}.{key} must be a list", hint="For example: include: [uploads, 'web:/var/www/html']")
    return value


def _truth(where: str, key: str, value: object) -> bool:
    if value is None:
        return False
    if value not in ("true", "false"):
        raise UsageError(f"{where}.{key} must be true or false, or a list of paths on a service; found {value!r}")
    return value == "true"


def _expand(project: Project, word: str, item: str) -> set[str]:
    """Return the volume keys and service:path pairs that one item of a list means."""
    service, colon, path = item.partition(":")
    if colon and service in project.services:
        return {f"{service}:{_path(f'x-dotmesh.{word}', path)}"}
    if item in project.inactive or (colon and service in project.inactive):
        return set()
    if item in project.volumes:
        return {item}
    if item in project.services:
        return {f"{item}:*"}
    known = [*project.volumes, *project.services, *project.inactive]
    raise UsageError(
        f"x-dotmesh.{word}: no service uses a volume {item!r}, and there is no such service",
        hint=did_you_mean(item, known) or "Name a top-level volume, a service, or service:/path.",
    )
