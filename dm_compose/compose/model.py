"""Reading what `docker compose config` prints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import yaml

from dm_compose.core.containers import Image
from dm_compose.core.project import ComposeService, ComposeVolume, Project, ServiceMount

EXTENSION = "x-dotmesh"
_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def parse_project(as_json: str, as_yaml: str) -> Project:
    """Build a Project from both outputs of `docker compose config`; settings are read from the YAML one, all else from JSON.

    Compose prints `$` as `$$`, so that its output can be its input again; here values hold plain `$`.
    """
    document = json.loads(as_json)
    plain = _unescape(document)
    extended = yaml.load(as_yaml, Loader=_Loader) or {}  # noqa: S506 (BaseLoader builds strings only)
    name = plain["name"]
    services = {
        key: _service(name, key, value, _settings(extended, "services", key))
        for key, value in (plain.get("services") or {}).items()
    }
    volumes = {
        key: _volume(key, value or {}, _settings(extended, "volumes", key)) for key, value in (plain.get("volumes") or {}).items()
    }
    settings = extended.get(EXTENSION) or {}
    return Project(name, services, volumes, document, hashlib.sha256(as_json.encode()).hexdigest(), settings)


def _unescape(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("$$", "$")
    if isinstance(value, dict):
        return {key: _unescape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unescape(item) for item in value]
    return value


def _settings(document: Mapping[str, Any], section: str, key: str) -> Mapping[str, object]:
    item = (document.get(section) or {}).get(key)
    found = item.get(EXTENSION) if isinstance(item, dict) else None
    if found is None or found == "":
        return {}
    return found if isinstance(found, dict) else {"": found}


def _service(project: str, name: str, value: Mapping[str, Any], settings: Mapping[str, object]) -> ComposeService:
    mounts = [
        ServiceMount(m["type"], m.get("source") or "", _tidy(m["target"]), bool(m.get("read_only")))
        for m in value.get("volumes") or ()
    ]
    mounts += [ServiceMount("tmpfs", "", _tidy(str(target).partition(":")[0])) for target in value.get("tmpfs") or ()]
    environment = {key: "" if item is None else str(item) for key, item in (value.get("environment") or {}).items()}
    command = [*(value.get("entrypoint") or ()), *(value.get("command") or ())]
    replicas = (value.get("deploy") or {}).get("replicas", value.get("scale", 1))
    return ComposeService(
        name=name,
        image=Image(value.get("image") or f"{project}-{name}"),
        mounts=tuple(mounts),
        environment=environment,
        command=tuple(str(word) for word in command),
        replicas=1 if replicas is None else int(replicas),
        hostname=value.get("hostname") or "",
        settings=settings,
    )


def _tidy(path: str) -> str:
    return path.rstrip("/") or "/"


def _volume(key: str, value: Mapping[str, Any], settings: Mapping[str, object]) -> ComposeVolume:
    options = {name: str(option) for name, option in (value.get("driver_opts") or {}).items()}
    return ComposeVolume(
        key, value.get("name") or key, bool(value.get("external")), value.get("driver") or "local", options, settings
    )
