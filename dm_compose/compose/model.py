"""The output of `docker compose config` as a Project."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml

from dm_compose.core.containers import Image
from dm_compose.core.project import ComposeService, ComposeVolume, Project, ServiceMount
from dm_compose.errors import UsageError

EXTENSION = "x-dotmesh"


class _Loader(getattr(yaml, "CBaseLoader", yaml.BaseLoader)):  # type: ignore[misc]
    """Builds strings only, whatever Compose prints unquoted, and None for `null`."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"null$"), ["n"])
_Loader.add_constructor("tag:yaml.org,2002:null", lambda loader, node: None)


def parse_project(as_json: str, as_yaml: str) -> Project:
    """Build a Project from both outputs of `docker compose config`: the settings from the YAML, everything else from the JSON.

    The YAML may have more services and volumes than the JSON: those of profiles that are not enabled. Compose prints `$` as
    `$$`, so that its output can be its input again. The values of the Project have a plain `$`, its document has `$$`.
    """
    document = json.loads(as_json)
    plain = _unescape(document)
    extended = _unescape(yaml.load(as_yaml, Loader=_Loader) or {})  # noqa: S506 (it builds strings only)
    if wrong := [key for key in extended if str(key).startswith(f"{EXTENSION}.")]:
        word = str(wrong[0]).removeprefix(f"{EXTENSION}.")
        raise UsageError(f"{wrong[0]} is no setting", hint=f"The settings are a mapping: `{EXTENSION}: {{{word}: ...}}`.")
    name = plain["name"]
    named = plain.get("services") or {}
    providers = {key: _settings(extended, "services", key) for key, value in named.items() if value.get("provider")}
    services = {
        key: _service(name, key, value, _settings(extended, "services", key))
        for key, value in named.items()
        if key not in providers
    }
    volumes = {
        key: _volume(key, value or {}, _settings(extended, "volumes", key)) for key, value in (plain.get("volumes") or {}).items()
    }
    services = {key: _with_borrowed(service, named[key], services) for key, service in services.items()}
    everything = {*(extended.get("services") or ()), *(extended.get("volumes") or ())}
    return Project(
        name=name,
        services=services,
        volumes=volumes,
        document=document,
        digest=hashlib.sha256(as_json.encode()).hexdigest(),
        settings=_mapping(extended.get(EXTENSION)),
        providers=providers,
        inactive=frozenset(everything - named.keys() - volumes.keys()),
    )


def can_be_parsed(file: str) -> bool:
    """Whether a file is YAML. True also for a file that cannot be opened, because that is another fault."""
    try:
        with open(file, "rb") as stream:
            for _ in yaml.parse(stream, Loader=_Loader):
                pass
    except yaml.YAMLError:
        return False
    except OSError:
        return True
    return True


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
    return _mapping(item.get(EXTENSION) if isinstance(item, dict) else None)


def _mapping(found: object) -> Mapping[str, object]:
    """Return settings as a mapping. A value that is no mapping stands under the key '', for a message."""
    if found is None or found == "":
        return {}
    return found if isinstance(found, dict) else {"": found}


def _service(project: str, name: str, value: Mapping[str, Any], settings: Mapping[str, object]) -> ComposeService:
    mounts = [
        ServiceMount(m["type"], m.get("source") or "", _tidy(m["target"]), bool(m.get("read_only")))
        for m in value.get("volumes") or ()
    ]
    mounts += [ServiceMount("tmpfs", "", _tidy(str(target).partition(":")[0])) for target in value.get("tmpfs") or ()]
    for kind, section, directory in (("secret", "secrets", "/run/secrets"), ("config", "configs", "/")):
        for item in value.get(section) or ():
            target = posixpath.join(directory, item.get("target") or item["source"])
            mounts.append(ServiceMount(kind, item["source"], _tidy(target), read_only=True))
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
        user=str(value.get("user") or ""),
        built="build" in value,
        settings=settings,
    )


def _with_borrowed(service: ComposeService, value: Mapping[str, Any], services: Mapping[str, ComposeService]) -> ComposeService:
    """Add the mounts that `volumes_from` takes from another service, but not anonymous volumes: they have no name to share."""
    mounts = list(service.mounts)
    for word in value.get("volumes_from") or ():
        lender, _, mode = word.partition(":")
        if lender in services:
            taken = [m for m in services[lender].mounts if m.source and m.target not in {mine.target for mine in mounts}]
            mounts += [replace(m, read_only=m.read_only or mode == "ro") for m in taken if m.kind in ("volume", "bind")]
    return replace(service, mounts=tuple(mounts))


def _tidy(path: str) -> str:
    return "/" + posixpath.normpath(path).strip("/")


def _volume(key: str, value: Mapping[str, Any], settings: Mapping[str, object]) -> ComposeVolume:
    options = {name: str(option) for name, option in (value.get("driver_opts") or {}).items()}
    return ComposeVolume(
        key, value.get("name") or key, bool(value.get("external")), value.get("driver") or "local", options, settings
    )
