"""Decide which mounts of a stack are its state, and why. Pure: files in, plan out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from dm_compose.core.containers import Image
from dm_compose.core.names import DotName, SubdotName
from dm_compose.core.project import ComposeService, ComposeVolume, Project
from dm_compose.core.volumes import DRIVER
from dm_compose.datastores import Datastore, ServiceFacts
from dm_compose.datastores.registry import Registry
from dm_compose.discovery.client_services import awaited_to_end, other_program, task_of
from dm_compose.discovery.mount_rules import NEVER_STATE, TO_INCLUDE, bind_reason, is_aside, related, tidy, volume_reason
from dm_compose.discovery.naming import ancestor_names, as_told, subdot_name, unique
from dm_compose.discovery.settings import Settings, read_settings
from dm_compose.discovery.stack_plan import Kind, PlannedService, Skipped, StackPlan, Subdot
from dm_compose.errors import UsageError

_NO_FILES = {"tmpfs": "in memory", "secret": "secret", "config": "configuration"}
_IN_VAIN = "; named in x-dotmesh.include, to no effect"


@dataclass(frozen=True)
class _Candidate:
    """One mount of one service, or one directory that its image makes durable without a mount.

    `task` says why the service does not run the datastore of its image. It is '' where it does.
    """

    service: str
    path: str
    kind: Kind
    source: str
    datastore: Datastore | None
    holds_data: bool
    read_only: bool = False
    is_file: bool = False
    declared: bool = False
    task: str = ""

    @property
    def key(self) -> str:
        return f"{self.service}:{self.path}"


@dataclass(frozen=True)
class _Use:
    """A candidate and its verdict.

    True means state. False means that this mount is left out. None means that the mount is no state by itself, but follows the
    other mounts of the same directory.
    """

    candidate: _Candidate
    verdict: bool | None
    reason: str


def make_plan(
    project: Project, images: Mapping[str, Image], registry: Registry, files: Collection[str] = frozenset()
) -> StackPlan:
    """Decide for every mount of every service whether it is a subdot.

    `images` has the images that are on the engine, by service. Without its image only a known datastore can have state that the
    compose file does not mention. `files` are the sources of bind mounts that are no directories. UsageError for settings that
    make no sense, and for a file that they include by name.
    """
    settings = read_settings(project, registry.names())
    skipped: list[Skipped] = []
    uses: dict[str, list[_Use]] = defaultdict(list)
    unseen = {item for item in settings.include if ":/" in item}
    ending = awaited_to_end(project)
    services: dict[str, PlannedService] = {}
    for service in project.services.values():
        planned = services[service.name] = plan_service(service, images.get(service.name, service.image), settings, registry)
        for candidate in _candidates(service, planned, settings, registry, skipped, files, ends=service.name in ending):
            unseen.discard(candidate.key)
            uses[_identity(project, candidate)].append(_Use(candidate, *_judge(candidate, project, service, settings)))
    dot, names = ancestor_names(project)
    subdots = []
    for users in uses.values():
        is_state = any(use.verdict for use in users)
        mine = [use for use in users if is_state and use.verdict is not False]
        skipped += [Skipped(u.candidate.service, u.candidate.path, u.reason) for u in users if u not in mine]
        if is_state:
            subdots.append(_subdot(project, mine, names))
    for item in unseen - {f"{s.service}:{s.path}" for s in skipped}:
        service_name, _, path = item.partition(":")
        skipped.append(Skipped(service_name, path, "named in x-dotmesh.include, but nothing is mounted there"))
    return StackPlan(
        dot=settings.dot or dot or DotName.parse(project.name),
        project=project.name,
        subdots=tuple(sorted(unique(project, as_told(subdots, settings.subdots), names, settings.subdots), key=lambda s: s.name)),
        skipped=tuple(sorted(skipped, key=lambda s: (s.service, s.path))),
        services=services,
    )


def _identity(project: Project, candidate: _Candidate) -> str:
    """Return a text that is the same for all mounts of one directory. Two keys of the compose file may name one volume."""
    if candidate.kind is Kind.NAMED:
        volume = project.volumes.get(candidate.source)
        return f"volume {volume.name if volume else candidate.source}"
    return candidate.source if candidate.kind is Kind.BIND else candidate.key


def plan_service(service: ComposeService, image: Image, settings: Settings, registry: Registry) -> PlannedService:
    """Return the service with the datastore that the compose file names, or else the one that its image tells."""
    facts = ServiceFacts(image, {**image.environment, **service.environment}, service.command or image.command)
    port = settings.ports.get(service.name)
    told = settings.engines.get(service.name)
    if told is not None:
        return PlannedService(facts, _at_port(registry.get(told), port), told=True, port=port)
    return PlannedService(facts, running_datastore(facts, registry, port), port=port)


def running_datastore(facts: ServiceFacts, registry: Registry, port: int | None = None) -> Datastore | None:
    """Return the datastore that a service runs by its image and command, None where it runs only a client or none.

    `port`, if given, replaces the datastore's usual port.
    """
    return None if other_program(facts.command) else _at_port(registry.find(facts), port)


def _at_port(datastore: Datastore | None, port: int | None) -> Datastore | None:
    return replace(datastore, port=port) if datastore is not None and port is not None else datastore


def _candidates(
    service: ComposeService,
    planned: PlannedService,
    settings: Settings,
    registry: Registry,
    skipped: list[Skipped],
    files: Collection[str],
    *,
    ends: bool,
) -> Iterable[_Candidate]:
    facts, image = planned.facts, planned.facts.image
    datastore = planned.datastore if planned.told else registry.find(facts)  # the image's, even if it does not run
    task = "" if planned.told else task_of(facts, datastore, ends=ends)
    data = [tidy(path) for path in datastore.data_paths(facts)] if datastore else []
    covering = [mount.target for mount in service.mounts if not is_aside(mount, data) and mount.source not in files]
    for mount in service.mounts:
        if mount.kind not in ("volume", "bind"):
            reason = _NO_FILES.get(mount.kind, f"{mount.kind} mount")
            wholesale = f"{service.name}:*" in settings.include and mount.kind == "tmpfs"
            in_vain = _IN_VAIN if wholesale or f"{service.name}:{mount.target}" in settings.include else ""
            skipped.append(Skipped(service.name, mount.target, reason + in_vain))
            continue
        kind = Kind.BIND if mount.kind == "bind" else Kind.NAMED if mount.source else Kind.ANONYMOUS
        holds_data = not task and mount.target in covering and any(related(mount.target, path) for path in data)
        is_file = kind is Kind.BIND and mount.source in files
        yield _Candidate(service.name, mount.target, kind, mount.source, datastore, holds_data, mount.read_only, is_file)
    targets = [mount.target for mount in service.mounts]
    volumes = [tidy(path) for path in image.volumes]
    for path in dict.fromkeys([*data, *volumes]):
        declared = path in volumes
        if not declared and any(related(other, path) for other in (*covering, *volumes)):
            continue
        if path not in targets:
            holds_data = any(related(path, other) for other in data)
            yield _Candidate(service.name, path, Kind.IMAGE, "", datastore, holds_data, declared=declared, task=task)


def _judge(candidate: _Candidate, project: Project, service: ComposeService, settings: Settings) -> tuple[bool | None, str]:
    """Return the verdict on a candidate (see _Use) and the reason."""
    keys = {candidate.key, f"{candidate.service}:*"} | ({candidate.source} if candidate.kind is Kind.NAMED else set())
    if keys & settings.exclude:
        return False, "excluded by x-dotmesh"
    in_vain = _IN_VAIN if keys & settings.include else ""
    if candidate.read_only:
        return None, f"read-only mount{in_vain}"
    if candidate.kind in (Kind.ANONYMOUS, Kind.IMAGE) and service.replicas > 1:
        return False, f"{service.replicas} replicas have a volume each; a named volume could be a subdot{in_vain}"
    named = project.volumes.get(candidate.source) if candidate.kind is Kind.NAMED else None
    if named is not None and (problem := _unreachable(named)):
        return False, f"{problem}{in_vain}"
    if in_vain:
        if candidate.kind is not Kind.BIND or (never := bind_reason(candidate.path, candidate.source)) not in NEVER_STATE:
            return (True, "included by x-dotmesh") if not candidate.is_file else _refuse_file(candidate, settings)
        if candidate.key in settings.include:
            return None, f"{never}{in_vain}"
    if named is not None and named.external:
        return None, f"external volume; {TO_INCLUDE}"
    if candidate.datastore is not None and (reason := candidate.datastore.not_data.get(candidate.path)):
        return None, reason
    if candidate.task:
        return None, candidate.task
    if candidate.holds_data:
        return True, _data_reason(candidate)
    if candidate.kind is Kind.BIND:
        return None, bind_reason(candidate.path, candidate.source)
    if reason := volume_reason(candidate.path):
        return None, reason
    words = {Kind.NAMED: "named volume", Kind.ANONYMOUS: "anonymous volume", Kind.IMAGE: "volume declared by the image"}
    return True, words[candidate.kind]


def _refuse_file(candidate: _Candidate, settings: Settings) -> tuple[None, str]:
    """Leave a file out that is included together with all mounts of its service. UsageError if it is included by name."""
    if candidate.key not in settings.include:
        return None, f"single file of the host; a subdot is a directory{_IN_VAIN}"
    raise UsageError(
        f"x-dotmesh.include names {candidate.key}, which is a single file of the host; a subdot is a directory",
        hint="Mount a directory that holds the file, with what a database writes beside it, and include that.",
    )


def _unreachable(volume: ComposeVolume) -> str | None:
    if volume.driver not in ("local", DRIVER):
        return f"volume driver {volume.driver} is not supported"
    kind = volume.options.get("type", "")
    if kind == "tmpfs":
        return "in memory"
    if kind.startswith(("nfs", "cifs")):
        return f"network volume ({kind}) is not supported"
    return None if kind in ("", "none", "bind") else f"volume of type {kind} is not supported"


def _data_reason(candidate: _Candidate) -> str:
    assert candidate.datastore is not None
    name = candidate.datastore.name
    if candidate.kind is not Kind.IMAGE:
        return f"data path of {name}"
    return (
        f"data path of {name}, volume declared by the image"
        if candidate.declared
        else f"data path of {name}, without a volume line"
    )


def _subdot(project: Project, uses: list[_Use], names: Mapping[str, SubdotName]) -> Subdot:
    uses = sorted(uses, key=lambda use: (use.candidate.read_only, not use.candidate.holds_data, not use.verdict))
    owner, reason = uses[0].candidate, uses[0].reason
    services = tuple(dict.fromkeys(use.candidate.service for use in uses))
    volume: str | None = None
    name = subdot_name(owner.service)
    if owner.kind is Kind.NAMED:
        volume = project.volumes[owner.source].name if owner.source in project.volumes else owner.source
        name = names.get(owner.source) or subdot_name(owner.source)
    engine = owner.datastore.name if owner.datastore is not None and owner.holds_data else None
    return Subdot(name, services, owner.path, owner.kind, volume, owner.source, engine, reason)
