"""Which mounts of a stack are its state, and why. Pure: files in, plan out."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from dm_compose.core.containers import Image
from dm_compose.core.names import DotName, SubdotName
from dm_compose.core.project import ComposeService, ComposeVolume, Project
from dm_compose.core.stack import Kind, Skipped, StackPlan, Subdot
from dm_compose.datastores import Datastore, Service
from dm_compose.datastores.registry import Registry
from dm_compose.errors import UsageError
from dm_compose.repository.settings import Settings, read_settings

GENERATED_PREFIX = "dm-"
ANCESTOR_DRIVER = "dm"

_CACHES = re.compile(
    r"/(node_modules|bower_components|target|vendor|_build|deps|__pycache__|\.venv|venv|\.m2|\.ivy2|\.sbt|\.gradle|\.cargo|\.rustup"
    r"|\.npm|\.yarn|\.pnpm-store|\.bundle|\.composer|\.nuget|\.next|\.nuxt|\.turbo|\.parcel-cache|\.cache|\.mypy_cache|\.pytest_cache)(/|$)"
    r"|^/go/(pkg|bin)(/|$)|^/usr/local/(bundle|cargo)(/|$)|^/var/cache(/|$)|/composer/cache(/|$)|/vendor/bundle(/|$)"
)
_SOCKETS = re.compile(r"^(/var)?/run(/|$)|\.sock$|/\.X11-unix(/|$)")
_CERTIFICATES = re.compile(r"/(certs?|certificates|letsencrypt|ca-certificates|pki|ssl|tls)(/|$)")
_TEMPORARY = re.compile(r"^/(var/)?tmp(/|$)")
_LOGS = re.compile(r"^/(var/)?logs?(/|$)")
_INIT_SCRIPTS = re.compile(r"(^|/)(docker-entrypoint-)?init(db)?\.d(/|$)|^/docker-entrypoint")
_CLOCK = re.compile(r"^/etc/(localtime|timezone)$")
_CONFIGURATION = re.compile(r"^/etc(/|$)|/config(s|uration)?(/|$)|\.(conf|cnf|ini|cfg|ya?ml|json|toml|properties|xml|env|rc)$")


@dataclass(frozen=True)
class _Candidate:
    """One mount of one service, or one directory that its image makes durable without a mount."""

    service: str
    path: str
    kind: Kind
    source: str
    datastore: Datastore | None
    holds_data: bool
    read_only: bool = False
    declared: bool = False

    @property
    def key(self) -> str:
        return f"{self.service}:{self.path}"


def make_plan(project: Project, images: Mapping[str, Image], registry: Registry) -> StackPlan:
    """Decide for every mount of every service whether it is a subdot.

    `images` are the images of the services that the engine has, by service; without them only known datastores can have
    state that the compose file does not mention. UsageError for settings that make no sense.
    """
    settings = read_settings(project, registry.names())
    skipped: list[Skipped] = []
    state: dict[str, list[tuple[_Candidate, str]]] = defaultdict(list)
    read_only: list[_Candidate] = []
    for service in project.services.values():
        image = images.get(service.name, service.image)
        datastore = datastore_of(service, image, settings, registry)
        for candidate in _candidates(service, image, datastore, skipped):
            identity = candidate.source if candidate.kind in (Kind.NAMED, Kind.BIND) else candidate.key
            verdict, reason = _judge(candidate, project, service, settings)
            if verdict is True:
                state[identity].append((candidate, reason))
            elif verdict is None:
                read_only.append(candidate)
            else:
                skipped.append(Skipped(candidate.service, candidate.path, reason))
    for candidate in read_only:
        if candidate.source in state:
            state[candidate.source].append((candidate, "read-only mount"))
        else:
            skipped.append(Skipped(candidate.service, candidate.path, "read-only mount"))
    dot, names = _ancestor_names(project)
    subdots = [_subdot(project, identity, uses, names) for identity, uses in state.items()]
    return StackPlan(
        dot=settings.dot or dot or DotName.parse(project.name),
        project=project.name,
        subdots=tuple(sorted(_unique(project, subdots), key=lambda s: s.name)),
        skipped=tuple(sorted(skipped, key=lambda s: (s.service, s.path))),
    )


def service_facts(service: ComposeService, image: Image) -> Service:
    """Return what a service runs, image and compose file taken together."""
    return Service(image, {**image.environment, **service.environment}, service.command or image.command)


def datastore_of(service: ComposeService, image: Image, settings: Settings, registry: Registry) -> Datastore | None:
    """Return the datastore that a service runs, as the compose file says or as its image tells."""
    told = settings.engines.get(service.name)
    found = registry.get(told) if told is not None else registry.find(service_facts(service, image))
    port = settings.ports.get(service.name)
    return replace(found, port=port) if found is not None and port is not None else found


def _candidates(
    service: ComposeService, image: Image, datastore: Datastore | None, skipped: list[Skipped]
) -> Iterable[_Candidate]:
    data = datastore.data_paths(service_facts(service, image)) if datastore else ()
    for mount in service.mounts:
        if mount.kind == "volume":
            kind = Kind.NAMED if mount.source else Kind.ANONYMOUS
        elif mount.kind == "bind":
            kind = Kind.BIND
        else:
            skipped.append(Skipped(service.name, mount.target, "in memory" if mount.kind == "tmpfs" else f"{mount.kind} mount"))
            continue
        holds_data = any(_related(mount.target, path) for path in data)
        yield _Candidate(service.name, mount.target, kind, mount.source, datastore, holds_data, mount.read_only)
    targets = [mount.target for mount in service.mounts]
    for path in dict.fromkeys([*data, *image.volumes]):
        declared = path in image.volumes
        if path in targets or (not declared and any(_related(target, path) for target in targets)):
            continue
        if declared or path in data:
            yield _Candidate(service.name, path, Kind.IMAGE, "", datastore, path in data, declared=declared)


def _related(path: str, other: str) -> bool:
    """Whether one path is the other or holds it."""
    a, b = path.rstrip("/") + "/", other.rstrip("/") + "/"
    return a.startswith(b) or b.startswith(a)


def _judge(candidate: _Candidate, project: Project, service: ComposeService, settings: Settings) -> tuple[bool | None, str]:
    """Return (is state, reason); None for a read-only mount, which follows the volume's other users."""
    keys = {candidate.key, f"{candidate.service}:*"} | ({candidate.source} if candidate.kind is Kind.NAMED else set())
    if keys & settings.exclude:
        return False, "excluded by x-dotmesh"
    if candidate.read_only:
        return None, ""
    if candidate.kind in (Kind.ANONYMOUS, Kind.IMAGE) and service.replicas > 1:
        return False, f"{service.replicas} replicas have a volume each; a named volume could be a subdot"
    named = project.volumes.get(candidate.source) if candidate.kind is Kind.NAMED else None
    if named is not None and (problem := _unreachable(named)):
        return False, problem
    if keys & settings.include:
        return True, "included by x-dotmesh"
    if named is not None and named.external:
        return False, "external volume; name it in x-dotmesh.include to adopt it"
    if candidate.datastore is not None and (reason := candidate.datastore.not_data.get(candidate.path)):
        return False, reason
    if candidate.holds_data:
        assert candidate.datastore is not None
        return True, _data_reason(candidate)
    if candidate.kind is Kind.BIND:
        return False, _bind_reason(candidate)
    for pattern, reason in ((_CACHES, "dependency or build cache"), (_SOCKETS, "sockets"), (_TEMPORARY, "temporary files")):
        if pattern.search(candidate.path):
            return False, reason
    if _CERTIFICATES.search(candidate.path):
        return False, "certificates"
    if _LOGS.search(candidate.path):
        return False, "logs"
    words = {Kind.NAMED: "named volume", Kind.ANONYMOUS: "anonymous volume", Kind.IMAGE: "volume declared by the image"}
    return True, words[candidate.kind]


def _unreachable(volume: ComposeVolume) -> str | None:
    if volume.driver not in ("local", ANCESTOR_DRIVER):
        return f"volume driver {volume.driver} is not supported"
    kind = volume.options.get("type", "")
    if kind == "tmpfs":
        return "in memory"
    if kind.startswith(("nfs", "cifs")):
        return f"network volume ({kind}) is not supported"
    return None


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


def _bind_reason(candidate: _Candidate) -> str:
    for pattern, reason in (
        (_CLOCK, "clock of the host"),
        (_SOCKETS, "socket"),
        (_INIT_SCRIPTS, "initialisation scripts"),
        (_CACHES, "dependency or build cache"),
        (_CERTIFICATES, "certificates"),
        (_CONFIGURATION, "configuration"),
    ):
        if pattern.search(candidate.path) or (pattern is _SOCKETS and pattern.search(candidate.source)):
            return reason
    return "host directory: source code or files of the host; name it in x-dotmesh.include to adopt it"


def _ancestor_names(project: Project) -> tuple[DotName | None, dict[str, SubdotName]]:
    """Return the dot that `driver: dm` volumes name (`DOT.SUBDOT`), and the subdots' names by volume key."""
    dots: dict[str, str] = {}
    names: dict[str, SubdotName] = {}
    for key, volume in project.volumes.items():
        if volume.driver == ANCESTOR_DRIVER:
            dot, _, subdot = volume.name.partition(".")
            dots[dot.partition("@")[0]] = key
            names[key] = SubdotName.parse(subdot or "__default__")
    if len(dots) > 1:
        raise UsageError(f"the volumes of driver dm name several dots: {', '.join(sorted(dots))}", hint="A stack has one dot.")
    return (DotName.parse(next(iter(dots))) if dots else None), names


def _subdot(project: Project, identity: str, uses: list[tuple[_Candidate, str]], names: Mapping[str, SubdotName]) -> Subdot:
    uses = sorted(uses, key=lambda use: (use[0].read_only, not use[0].holds_data))
    owner, reason = uses[0]
    services = tuple(dict.fromkeys(candidate.service for candidate, _ in uses))
    if owner.kind is Kind.NAMED:
        volume: str | None = project.volumes[identity].name if identity in project.volumes else identity
        name = names.get(identity) or SubdotName.parse(identity)
    else:
        name = SubdotName.parse(owner.service)
        volume = None
    engine = owner.datastore.name if owner.datastore is not None and owner.holds_data else None
    return Subdot(name, services, owner.path, owner.kind, volume, owner.source, engine, reason)


def _unique(project: Project, subdots: list[Subdot]) -> list[Subdot]:
    """Give subdots without a volume name of their own a name nobody else has, and the volume that `up` will make for them."""
    taken = [s.name for s in subdots]

    def slug(subdot: Subdot) -> SubdotName:
        return SubdotName.parse(f"{subdot.services[0]}-{re.sub('[^A-Za-z0-9]+', '-', subdot.path).strip('-')}"[:100])

    renamed = [s if s.kind is Kind.NAMED or taken.count(s.name) == 1 else replace(s, name=slug(s)) for s in subdots]
    return [
        replace(s, volume=f"{project.name}_{GENERATED_PREFIX}{s.name}") if s.kind in (Kind.ANONYMOUS, Kind.IMAGE) else s
        for s in renamed
    ]
