"""The project of a clone: the same stack once more, beside the original and without anything in common with it. Pure.

It differs from the original's project like this:

- Every subdot is on a volume of the clone's own, also one that the original has in a host directory.
- Every other volume is the clone's own, unless it is external.
- Ports are published on 127.0.0.1, where Docker picks free ones.
- Networks are the clone's own, without fixed addresses.
- A `container_name` becomes a name that the container has on its networks.
- Images that Compose builds are the original's.

A service that cannot be there twice is a UsageError. A directory or volume that all clones share is a warning.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dm_compose.core.names import DotName, SubdotName
from dm_compose.core.project import Project
from dm_compose.discovery.mount_rules import related
from dm_compose.discovery.naming import GENERATED_PREFIX
from dm_compose.discovery.stack_plan import Kind, StackPlan, Subdot
from dm_compose.errors import UsageError
from dm_compose.up.project_file import mount_volume

_INSTEAD = "Or have all workers use one stack in turn: --dm-workers-share."
_SHARED_KINDS = ("none", "nfs", "cifs")


@dataclass(frozen=True)
class Original:
    """The stack that is cloned."""

    project: Project
    plan: StackPlan

    def subdot_of(self, key: str) -> Subdot | None:
        """Return the subdot that a volume of the compose file holds. Two keys may name one volume."""
        volume = self.project.volumes.get(key)
        found = (s for s in self.plan.subdots if s.kind is Kind.NAMED and volume is not None and s.volume == volume.name)
        return next(found, None)

    def directories(self) -> dict[str, Subdot]:
        """Return the host directories that are subdots."""
        found = {posixpath.normpath(s.source): s for s in self.plan.subdots if s.kind is Kind.BIND}
        for key, volume in self.project.volumes.items():
            if "device" in volume.options and (subdot := self.subdot_of(key)) is not None:
                found[posixpath.normpath(volume.options["device"])] = subdot
        return found


def clone_plan(plan: StackPlan, name: DotName) -> StackPlan:
    """Return the plan of a clone, whose Compose project and dot are both called `name`: each subdot has a volume of its own."""

    def own(subdot: Subdot) -> Subdot:
        key = subdot.source or (subdot.volume or "").removeprefix(f"{plan.project}_")
        key = f"{GENERATED_PREFIX}{subdot.name}" if subdot.kind is Kind.BIND else key
        return replace(subdot, kind=Kind.NAMED, volume=f"{name}_{key}", source=key)

    return replace(plan, dot=name, project=str(name), subdots=tuple(map(own, plan.subdots)))


def clone_document(document: dict[str, Any], original: Original, plan: StackPlan, labels: Mapping[str, str]) -> list[str]:
    """Turn the original's project document, as Compose resolves it, into that of the clone with this `plan`. Return warnings.

    The document is changed in place. Every container, volume and network gets `labels`. UsageError for a service that cannot be
    there twice.
    """
    document["name"] = plan.project
    active = original.project.services.keys() | original.project.providers
    services = {key: s for key, s in (document.get("services") or {}).items() if key in active}
    document["services"] = services
    warnings = [*_this_machine(services), *_networks(document, plan.project, labels)]
    warnings += _volumes(document, original, plan, labels)
    warnings += _mounts(services, original, plan)
    _containers(services)
    for key, service in services.items():
        if key not in original.project.providers:
            _image(service, original.project.services[key].image.reference)
        for port in service.get("ports") or ():
            port["published"], port["host_ip"] = "0", "127.0.0.1"
        if "depends_on" in service:
            service["depends_on"] = {name: how for name, how in service["depends_on"].items() if name in services}
        service["labels"] = {**(service.get("labels") or {}), **labels}
    return warnings


def _text(service: Mapping[str, Any]) -> str:
    """Return the settings by which a service may be told about others, as one text."""
    told = {key: service.get(key) for key in ("environment", "command", "entrypoint", "extra_hosts")}
    return json.dumps(told, ensure_ascii=False)


def _this_machine(services: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Warn of services whose settings name a fixed port of this machine, because that port is the original's."""
    published = {str(port.get("published")) for service in services.values() for port in service.get("ports") or ()}
    for key, service in services.items():
        named = re.findall(r"(?:(?:localhost|127\.0\.0\.1):(\d+))", _text(service))
        found = [f"localhost:{port}" for port in dict.fromkeys(named) if port in published]
        found += ["host.docker.internal"] if "host.docker.internal" in _text(service) else []
        if found:
            yield f"service {key} is told {', '.join(found)}: it does not reach the clone there, but perhaps the original"


def _image(service: dict[str, Any], reference: str) -> None:
    if service.pop("build", None) is not None or "image" not in service:
        service["image"] = reference.replace("$", "$$")
    if service.get("pull_policy") != "never":
        service["pull_policy"] = "missing"


# Containers that refer to others


def _containers(services: Mapping[str, dict[str, Any]]) -> None:
    """Drop fixed names of containers. Services that refer to one are made to refer to its service, or are refused."""
    names = {service["container_name"]: key for key, service in services.items() if service.get("container_name")}
    for key, service in services.items():
        if (fixed := service.pop("container_name", None)) is not None:
            for network, attached in (service.get("networks") or {}).items():
                attached = dict(attached or {})
                attached["aliases"] = [*(attached.get("aliases") or ()), fixed]
                service["networks"][network] = attached
        if service.get("network_mode") == "host":
            raise UsageError(
                f"service {key} cannot be cloned: with network_mode host it needs the ports of this machine for itself",
                hint=f"Publish its ports instead (`ports:`). {_INSTEAD}",
            )
        for field in ("network_mode", "pid", "ipc"):
            kind, _, target = str(service.get(field) or "").partition(":")
            if kind == "container":
                service[field] = f"service:{_own(names, key, f'{field} container:{target}', target)}"
        if service.get("volumes_from"):
            service["volumes_from"] = [_volumes_from(names, key, word) for word in service["volumes_from"]]
        for word in service.pop("external_links", None) or ():
            target, _, alias = word.partition(":")
            own = _own(names, key, f"external link {target}", target)
            service.setdefault("links", []).append(f"{own}:{alias or target}")


def _volumes_from(names: Mapping[str, str], key: str, word: str) -> str:
    if not word.startswith("container:"):
        return word
    target, colon, mode = word.removeprefix("container:").partition(":")
    return f"{_own(names, key, f'volumes_from {word}', target)}{colon}{mode}"


def _own(names: Mapping[str, str], key: str, what: str, target: str) -> str:
    """Return the service of a container's fixed name. UsageError for any other container, which all clones would share."""
    if target not in names:
        raise UsageError(
            f"service {key} cannot be cloned: its {what} is a container outside the stack",
            hint=f"Make {target} a service of the compose file. {_INSTEAD}",
        )
    return names[target]


# Networks


def _networks(document: dict[str, Any], project: str, labels: Mapping[str, str]) -> Iterator[str]:
    services: Mapping[str, dict[str, Any]] = document["services"]
    networks: dict[str, Any] = document.get("networks") or {}
    external = {key for key, network in networks.items() if (network or {}).get("external")}
    addresses = [
        (key, network, str(attached[field]))
        for key, service in services.items()
        for network, attached in (service.get("networks") or {}).items()
        for field in ("ipv4_address", "ipv6_address")
        if (attached or {}).get(field)
    ]
    for key, network, address in addresses:
        if network in external:
            raise UsageError(
                f"service {key} cannot be cloned: only one container can have {address} on the external network {network}",
                hint=f"Leave the address out. {_INSTEAD}",
            )
        for other, service in services.items():
            if re.search(rf"(?<![\w.]){re.escape(address)}(?!\w|\.\d)", _text(service)):
                raise UsageError(
                    f"service {other} cannot be cloned: it refers to {address}, the fixed address of {key}",
                    hint=f"Use the name {key} there. {_INSTEAD}",
                )
            attached = (service.get("networks") or {}).get(network) or {}
            attached.pop("ipv4_address", None)
            attached.pop("ipv6_address", None)
    for key in sorted(external):
        if any(key in (service.get("networks") or {}) for service in services.values()):
            yield f"network {key} is external: a clone has one of its own instead, and reaches nothing outside the stack by it"
    for key, network in networks.items():
        kept = {name: value for name, value in (network or {}).items() if name not in ("name", "external", "ipam")}
        options = {n: v for n, v in (kept.pop("driver_opts", None) or {}).items() if n != "com.docker.network.bridge.name"}
        kept |= {"driver_opts": options} if options else {}
        networks[key] = {**kept, "name": f"{project}_{key}", "labels": {**(kept.get("labels") or {}), **labels}}


# Volumes


def _volumes(document: dict[str, Any], original: Original, plan: StackPlan, labels: Mapping[str, str]) -> Iterator[str]:
    volumes: dict[str, Any] = document.get("volumes") or {}
    document["volumes"] = volumes
    shared = []
    for key, volume in volumes.items():
        subdot = original.subdot_of(key)
        if subdot is None and (volume or {}).get("external"):
            shared.append(key)
        elif subdot is None:
            options = (volume or {}).get("driver_opts") or {}
            shared += [key] if str(options.get("type", "")).startswith(_SHARED_KINDS) or "device" in options else []
            kept = {**(volume or {}), "name": f"{plan.project}_{key}"}
            volumes[key] = {**kept, "labels": {**(kept.get("labels") or {}), **labels}}
    for subdot in plan.subdots:
        volumes[subdot.source] = {"name": subdot.volume, "labels": dict(labels)}
    for key in volumes:
        if (subdot := original.subdot_of(key)) is not None:
            volumes[key] = {"name": _volume(plan, subdot.name), "labels": dict(labels)}
    writable = {m.get("source") for s in document["services"].values() for m in s.get("volumes") or () if _writable(m, "volume")}
    if found := sorted(writable.intersection(shared)):
        yield f"all clones share these, because they are no state: {', '.join(f'volume {key}' for key in found)}"


def _volume(plan: StackPlan, name: SubdotName) -> str | None:
    subdot = plan.subdot(name)
    return subdot.volume if subdot is not None else None


def _mounts(services: Mapping[str, dict[str, Any]], original: Original, plan: StackPlan) -> Iterator[str]:
    directories = original.directories()
    _refuse_nested(directories)
    shared = []
    for key, service in services.items():
        mounts = service.get("volumes") or []
        for number, mount in enumerate(mounts):
            source = posixpath.normpath(str(mount.get("source") or "").replace("$$", "$"))
            if mount["type"] != "bind":
                continue
            subdot = directories.get(source)
            if subdot is not None:
                own = plan.subdot(subdot.name)
                assert own is not None
                kept = {name: mount[name] for name in ("target", "read_only") if name in mount}
                mounts[number] = {"type": "volume", "source": own.source, **kept, "volume": {}}
                continue
            if (near := next((s for d, s in directories.items() if related(d, source)), None)) is not None:
                raise UsageError(
                    f"service {key} cannot be cloned: it mounts {source}, and subdot {near.name} is at {near.source}",
                    hint=f"A clone must not reach the original's data. {_INSTEAD}",
                )
            if _writable(mount, "bind"):
                shared.append(f"{key}:{mount['target']}")
    for subdot, own in zip(original.plan.subdots, plan.subdots, strict=True):
        if subdot.kind in (Kind.ANONYMOUS, Kind.IMAGE) and subdot.services[0] in services:
            mount_volume(services[subdot.services[0]], own.source, subdot.path)
    if shared:
        yield f"all clones share these, because they are no state: {', '.join(shared)}"


def _writable(mount: Mapping[str, Any], kind: str) -> bool:
    return mount["type"] == kind and not mount.get("read_only")


def _refuse_nested(directories: Mapping[str, Subdot]) -> None:
    pairs: Iterable[tuple[str, str]] = ((a, b) for a in directories for b in directories if a < b)
    for outer, inner in pairs:
        if related(outer, inner):
            raise UsageError(
                f"service {directories[inner].services[0]} cannot be cloned: subdot {directories[inner].name} is within subdot "
                f"{directories[outer].name}",
                hint=f"Mount them at places of their own. {_INSTEAD}",
            )
