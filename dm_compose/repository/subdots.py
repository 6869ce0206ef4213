"""Which mounts of a stack are its state, and why. Pure: files in, plan out."""

from __future__ import annotations

import itertools
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dm_compose.core.containers import Image
from dm_compose.core.names import DotName, SubdotName
from dm_compose.core.project import ComposeService, ComposeVolume, Project, ServiceMount
from dm_compose.core.stack import Kind, Skipped, StackPlan, Subdot
from dm_compose.datastores import Datastore, Service
from dm_compose.datastores.registry import Registry
from dm_compose.errors import UsageError
from dm_compose.repository.settings import Settings, read_settings

GENERATED_PREFIX = "dm-"
ANCESTOR_DRIVER = "dm"
_LONGEST_NAME = 100
_NO_FILES = {"tmpfs": "in memory", "secret": "secret", "config": "configuration"}

_CACHES = re.compile(
    r"/(node_modules|bower_components|target|vendor|_build|deps|__pycache__|\.venv|venv|\.m2|\.ivy2|\.sbt|\.gradle|\.cargo|\.rustup"
    r"|\.npm|\.yarn|\.?pnpm-store|\.bundle|\.composer|\.nuget|\.mix|\.hex|\.pub-cache|\.next|\.nuxt|\.angular|\.svelte-kit|\.turbo"
    r"|\.parcel-cache|\.?cache|\.mypy_cache|\.pytest_cache|site-packages|\.local/share/pnpm)(/|$)"
    r"|^/(bundle|gems)(/|$)|/go/(pkg|bin)(/|$)|^/usr/local/(bundle|cargo)(/|$)|^/var/lib/apt(/|$)"
)
_SOCKETS = re.compile(r"^(/var)?/run(/|$)|\.sock$|/\.X11-unix(/|$)")
_CERTIFICATES = re.compile(r"/(certs?|certificates|letsencrypt|ca-certificates|pki|ssl|tls)(/|$)")
_TEMPORARY = re.compile(r"^/(var/)?tmp(/|$)|/tmp$")
_LOGS = re.compile(r"^/(var/)?logs?(/|$)")
_INIT_SCRIPTS = re.compile(r"(^|/)(docker-entrypoint-)?init(db)?\.d(/|$)|^/docker-entrypoint")
_CLOCK = re.compile(r"^/etc/(localtime|timezone)$")
_FILE_NAME = re.compile(r"\.[A-Za-z][A-Za-z0-9]*$")
_CONFIGURATION = re.compile(r"^/etc(/|$)|/config(s|uration)?(/|$)|\.(conf|cnf|ini|cfg|ya?ml|json|toml|properties|xml|env|rc)$")


@dataclass(frozen=True)
class _Candidate:
    """One mount of one service, or one directory that its image makes durable without a mount.

    `task` says why the service is not the datastore that its image is, '' otherwise.
    """

    service: str
    path: str
    kind: Kind
    source: str
    datastore: Datastore | None
    holds_data: bool
    read_only: bool = False
    declared: bool = False
    task: str = ""

    @property
    def key(self) -> str:
        return f"{self.service}:{self.path}"


@dataclass(frozen=True)
class _Use:
    """A candidate and its verdict: True for state, False for never; None follows the other users of the same directory."""

    candidate: _Candidate
    verdict: bool | None
    reason: str


def make_plan(project: Project, images: Mapping[str, Image], registry: Registry) -> StackPlan:
    """Decide for every mount of every service whether it is a subdot.

    `images` are the images of the services that the engine has, by service; without them only known datastores can have
    state that the compose file does not mention. UsageError for settings that make no sense.
    """
    settings = read_settings(project, registry.names())
    skipped: list[Skipped] = []
    uses: dict[str, list[_Use]] = defaultdict(list)
    unseen = {item for item in settings.include if ":/" in item}
    ending = _awaited_to_end(project)
    for service in project.services.values():
        image = images.get(service.name, service.image)
        for candidate in _candidates(service, image, settings, registry, skipped, ends=service.name in ending):
            unseen.discard(candidate.key)
            uses[_identity(project, candidate)].append(_Use(candidate, *_judge(candidate, project, service, settings)))
    dot, names = _ancestor_names(project)
    subdots = []
    for users in uses.values():
        is_state = any(use.verdict for use in users)
        mine = [use for use in users if is_state and use.verdict is not False]
        skipped += [Skipped(u.candidate.service, u.candidate.path, u.reason) for u in users if u not in mine]
        if is_state:
            subdots.append(_subdot(project, mine, names))
    for item in unseen:
        service_name, _, path = item.partition(":")
        skipped.append(Skipped(service_name, path, "named in x-dotmesh.include, but nothing is mounted there"))
    return StackPlan(
        dot=settings.dot or dot or DotName.parse(project.name),
        project=project.name,
        subdots=tuple(sorted(_unique(project, subdots, names), key=lambda s: s.name)),
        skipped=tuple(sorted(skipped, key=lambda s: (s.service, s.path))),
    )


def _identity(project: Project, candidate: _Candidate) -> str:
    """Return what is the same for all mounts of one directory: two keys may name one volume."""
    if candidate.kind is Kind.NAMED:
        volume = project.volumes.get(candidate.source)
        return f"volume {volume.name if volume else candidate.source}"
    return candidate.source if candidate.kind is Kind.BIND else candidate.key


def service_facts(service: ComposeService, image: Image) -> Service:
    """Return what a service runs, image and compose file taken together."""
    return Service(image, {**image.environment, **service.environment}, service.command or image.command)


def datastore_of(service: ComposeService, image: Image, settings: Settings, registry: Registry) -> Datastore | None:
    """Return the datastore that a service runs, as the compose file says or as its image tells; None for a client of it that
    runs in the datastore's own image.
    """
    told = settings.engines.get(service.name)
    facts = service_facts(service, image)
    found = registry.get(told) if told is not None else registry.find(facts)
    if told is None and _other_program(facts.command):
        return None
    port = settings.ports.get(service.name)
    return replace(found, port=port) if found is not None and port is not None else found


def _candidates(
    service: ComposeService, image: Image, settings: Settings, registry: Registry, skipped: list[Skipped], *, ends: bool
) -> Iterable[_Candidate]:
    facts = service_facts(service, image)
    datastore = datastore_of(service, image, settings, registry)
    task = ""
    if service.name not in settings.engines:
        datastore = registry.find(facts)
        task = _task(facts, datastore, ends=ends)
    data = [_tidy(path) for path in datastore.data_paths(facts)] if datastore else []
    covering = [mount.target for mount in service.mounts if not _is_aside(mount, data)]
    for mount in service.mounts:
        if mount.kind not in ("volume", "bind"):
            skipped.append(Skipped(service.name, mount.target, _NO_FILES.get(mount.kind, f"{mount.kind} mount")))
            continue
        kind = Kind.BIND if mount.kind == "bind" else Kind.NAMED if mount.source else Kind.ANONYMOUS
        holds_data = not task and mount.target in covering and any(_related(mount.target, path) for path in data)
        yield _Candidate(service.name, mount.target, kind, mount.source, datastore, holds_data, mount.read_only)
    targets = [mount.target for mount in service.mounts]
    volumes = [_tidy(path) for path in image.volumes]
    for path in dict.fromkeys([*data, *volumes]):
        declared = path in volumes
        if path not in targets and (declared or not any(_related(target, path) for target in covering)):
            yield _Candidate(service.name, path, Kind.IMAGE, "", datastore, path in data, declared=declared, task=task)


def _tidy(path: str) -> str:
    return path.rstrip("/") or "/"


def _is_aside(mount: ServiceMount, data: Iterable[str]) -> bool:
    """Whether what is mounted below a data path is something else than the data: a file, scripts, certificates, read-only."""
    below = next((mount.target.removeprefix(path) for path in data if mount.target.startswith(f"{path}/")), "")
    if not below:
        return False
    patterns = (_FILE_NAME, _SOCKETS, _INIT_SCRIPTS, _CERTIFICATES, _CONFIGURATION)
    return mount.read_only or (mount.kind == "bind" and any(pattern.search(below) for pattern in patterns))


def _related(path: str, other: str) -> bool:
    """Whether one path is the other or holds it."""
    a, b = path.rstrip("/") + "/", other.rstrip("/") + "/"
    return a.startswith(b) or b.startswith(a)


def _judge(candidate: _Candidate, project: Project, service: ComposeService, settings: Settings) -> tuple[bool | None, str]:
    """Return verdict and reason; see _Use."""
    keys = {candidate.key, f"{candidate.service}:*"} | ({candidate.source} if candidate.kind is Kind.NAMED else set())
    if keys & settings.exclude:
        return False, "excluded by x-dotmesh"
    if candidate.read_only:
        return None, "read-only mount"
    if candidate.kind in (Kind.ANONYMOUS, Kind.IMAGE) and service.replicas > 1:
        return False, f"{service.replicas} replicas have a volume each; a named volume could be a subdot"
    named = project.volumes.get(candidate.source) if candidate.kind is Kind.NAMED else None
    if named is not None and (problem := _unreachable(named)):
        return False, problem
    if keys & settings.include and not (
        candidate.kind is Kind.BIND and _bind_reason(candidate) in ("socket", "clock of the host")
    ):
        return True, "included by x-dotmesh"
    if named is not None and named.external:
        return None, "external volume; name it in x-dotmesh.include to adopt it"
    if candidate.datastore is not None and (reason := candidate.datastore.not_data.get(candidate.path)):
        return None, reason
    if candidate.task:
        return None, candidate.task
    if candidate.holds_data:
        return True, _data_reason(candidate)
    if candidate.kind is Kind.BIND:
        return None, _bind_reason(candidate)
    for pattern, reason in (
        (_CACHES, "dependency or build cache"),
        (_SOCKETS, "sockets"),
        (_TEMPORARY, "temporary files"),
        (_CERTIFICATES, "certificates"),
        (_LOGS, "logs"),
    ):
        if pattern.search(candidate.path):
            return None, reason
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


def _bind_reason(candidate: _Candidate) -> str:
    for pattern, reason in (
        (_CLOCK, "clock of the host"),
        (_SOCKETS, "socket"),
        (_INIT_SCRIPTS, "initialisation scripts"),
        (_CACHES, "dependency or build cache"),
        (_CERTIFICATES, "certificates"),
        (_CONFIGURATION, "configuration"),
        (_LOGS, "logs"),
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


def _subdot(project: Project, uses: list[_Use], names: Mapping[str, SubdotName]) -> Subdot:
    uses = sorted(uses, key=lambda use: (use.candidate.read_only, not use.candidate.holds_data, not use.verdict))
    owner, reason = uses[0].candidate, uses[0].reason
    services = tuple(dict.fromkeys(use.candidate.service for use in uses))
    volume: str | None = None
    name = _name(owner.service)
    if owner.kind is Kind.NAMED:
        volume = project.volumes[owner.source].name if owner.source in project.volumes else owner.source
        name = names.get(owner.source) or _name(owner.source)
    engine = owner.datastore.name if owner.datastore is not None and owner.holds_data else None
    return Subdot(name, services, owner.path, owner.kind, volume, owner.source, engine, reason)


def _name(text: str) -> SubdotName:
    return SubdotName.parse(re.sub(r"^[^A-Za-z0-9_]+", "", text)[:_LONGEST_NAME] or "_")


def _unique(project: Project, subdots: list[Subdot], names: Mapping[str, SubdotName]) -> list[Subdot]:
    """Give every subdot a name that nobody else has, and the volume that `up` will make where it has none.

    Names of volumes come first, then a datastore's data has its service's name, whatever other volumes the service has or gets;
    these have their path in the name when there are several.
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
            name = _name(f"{subdot.services[0]}-{re.sub('[^A-Za-z0-9]+', '-', subdot.path).strip('-')}")
        name = SubdotName(_free(name, taken))
        taken.add(name)
        volume = subdot.volume
        if subdot.kind in (Kind.ANONYMOUS, Kind.IMAGE):
            prefix = f"{project.name}_"
            keys = {*project.volumes, *project.inactive, *(v.name.removeprefix(prefix) for v in project.volumes.values())}
            volume = prefix + _free(f"{GENERATED_PREFIX}{name}", keys)
        found.append(replace(subdot, name=name, volume=volume))
    return found


def _free(name: str, taken: Collection[str]) -> str:
    """Return `name`, with a number where it is taken."""
    numbered = (f"{name[: _LONGEST_NAME - 4]}-{number}" for number in itertools.count(2))
    return name if name not in taken else next(other for other in numbered if other not in taken)


# Tasks: a datastore's image that runs a client of it, or a job that ends. Their data directories are empty.

_CLIENT = re.compile(
    r"psql|pg_(dump|dumpall|restore|isready)|createdb|mysql(dump|admin|import|sh)?|mariadb-(dump|admin|import)|cqlsh|nodetool|etcdctl"
    r"|mongo(sh|dump|restore|import|export)?|(redis|valkey|keydb)-cli|kafka-(topics|configs|acls|console-\w+|consumer-groups)(\.sh)?"
    r"|clickhouse-client|rabbitmqadmin|influx|cypher-shell|curl|wget"
)
_HELPERS = re.compile(
    r"elasticsearch-[a-z-]+|echo|printf|sleep|true|false|:|test|\[\[?|cat|ls|mkdir|chown|chmod|cp|mv|rm|find|grep|sed|awk|cut|tr|head"
    r"|date|unzip|tar|gzip|export|set|cd|exit|wait|cub|nc|fi|done|\}"
)
_KEYWORDS = frozenset(("if", "then", "elif", "else", "while", "until", "do", "!", "{", "exec"))
_SHELLS = frozenset(("sh", "bash", "ash", "dash", "zsh"))
_SEPARATORS = frozenset(";&|()\n")


def _task(facts: Service, datastore: Datastore | None, *, ends: bool) -> str:
    """Return why a service's own data directories are no state, '' when they are."""
    instead = f", not {datastore.name}" if datastore else ""
    if datastore is not None and (program := _other_program(facts.command)):
        return f"runs {program}{instead}"
    return f"a task that ends{instead}" if ends else ""


def _awaited_to_end(project: Project) -> set[str]:
    """Return the services whose end another one waits for."""
    services: Any = project.document.get("services") or {}
    waits = [wait for service in services.values() for wait in (service.get("depends_on") or {}).items()]
    return {name for name, wait in waits if wait.get("condition") == "service_completed_successfully"}


def _other_program(command: Sequence[str]) -> str | None:
    """Return what a command runs when that is certainly no server: nothing but clients and helpers of shell scripts."""
    programs = _programs(command)
    if not programs or not all(_CLIENT.fullmatch(program) or _HELPERS.fullmatch(program) for program in programs):
        return None
    return next((program for program in programs if _CLIENT.fullmatch(program)), programs[0])


def _programs(command: Sequence[str]) -> list[str]:
    """Return the names of the programs that a command starts, itself or by `sh -c`; empty where that cannot be told."""
    if not command or command[0].rpartition("/")[2] not in _SHELLS:
        return [word.rpartition("/")[2] for word in command[:1]]
    scripts = [text for option, text in itertools.pairwise(command) if re.fullmatch(r"-[a-z]*c", option)]
    lexer = shlex.shlex((scripts or [""])[0].replace("\\\n", " "), posix=True, punctuation_chars="".join(_SEPARATORS))
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    programs: list[str] = []
    at_start = True
    try:
        for word in lexer:
            if set(word) <= _SEPARATORS:
                at_start = True
            elif at_start and word not in _KEYWORDS and not re.match(r"\w+=", word):
                programs += [] if word == "for" else [word.rpartition("/")[2]]
                at_start = False
    except ValueError:
        return []
    return programs
