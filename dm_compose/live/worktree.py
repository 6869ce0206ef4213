"""A worktree of a dot together with the containers that use it. Every operation works on one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dm_compose.core.commit import Commit, CommitDraft, JournalEntry, Origin, Worktree
from dm_compose.core.containers import Container
from dm_compose.core.events import Event, Listener
from dm_compose.core.names import DEFAULT_BRANCH, ROOT_SUBDOT, CommitId, DotName, SubdotName, WorktreeName
from dm_compose.core.overlap import reaches, within
from dm_compose.core.tree import TreeDiff
from dm_compose.datastores import Datastore, ServiceFacts
from dm_compose.discovery.naming import how_to_tell, renamed
from dm_compose.discovery.stack_plan import StackPlan
from dm_compose.engine import Engine
from dm_compose.live.access import Access
from dm_compose.live.locks import user_name
from dm_compose.store.api import Store
from dm_compose.store.history import Directories


@dataclass(frozen=True)
class Member:
    """A container that uses the dot or belongs to its stack.

    `mounts` has the subdots that it mounts, with True for those that it may write to. `datastore` is the one that it runs, and
    `port` the port at which that listens. A member that is `pinned` stays with its branch; the others go along when the dot's
    volumes follow another worktree. `lifeline` says why this process could not go on without the container, '' if it could.
    """

    container: Container
    service: ServiceFacts
    datastore: Datastore | None
    mounts: Mapping[SubdotName, bool]
    port: int = 0
    pinned: bool = False
    lifeline: str = ""

    @property
    def writes(self) -> bool:
        """Whether the container may change a subdot now."""
        return self.container.running and any(self.mounts.values())

    @property
    def must_stay(self) -> bool:
        """Whether the container may not be held still or taken down, although it has state that would need it."""
        return bool(self.lifeline) and self.container.running and self.has_state

    @property
    def answers(self) -> bool:
        """Whether the container can say that it is ready: it runs a known datastore, or has a health check."""
        return self.datastore is not None or bool(self.container.health_command)

    @property
    def in_memory(self) -> bool:
        """Whether the container runs a datastore whose data is in memory only."""
        return self.datastore is not None and self.datastore.in_memory

    @property
    def has_state(self) -> bool:
        """Whether the container has state: it may write to a subdot, or its datastore has its data in memory."""
        return any(self.mounts.values()) or self.in_memory


@dataclass(frozen=True)
class Recovered:
    """Operations of killed commands that were finished just now: test runs and restores.

    `kept` is the commit with the state that was live before, None if that state was nothing new.
    """

    entries: tuple[JournalEntry, ...] = ()
    kept: CommitId | None = None


@dataclass(frozen=True)
class LiveWorktree:
    """A worktree with its store open and its containers, observed once: all that an operation needs.

    `members` are the stack's containers, and others that mount a subdot. `project` is the Compose project that the members have
    to belong to. It is None where containers of any project may use the dot. `places` has the volume or path of each subdot. If
    the worktree is a `tree`, the places are directories of the store, and subdots come and go with these. `left` has unfinished
    restores and sessions that the next restore supersedes, and `recovered` those that were finished before this look (see
    operations.recovery).
    """

    access: Access
    engine: Engine | None
    dot: DotName
    worktree: WorktreeName
    project: str | None
    plan: StackPlan
    members: tuple[Member, ...]
    places: Mapping[SubdotName, str]
    listener: Listener
    compose_digest: str | None = None
    tree: bool = False
    left: tuple[JournalEntry, ...] = ()
    recovered: Recovered = Recovered()

    @property
    def store(self) -> Store:
        return self.access.store

    @property
    def directories(self) -> Directories:
        """The directory of each subdot, as the store's process sees it."""
        return {subdot: self.access.directory(place) for subdot, place in self.places.items()}

    @property
    def where(self) -> tuple[DotName, WorktreeName]:
        """The dot and the worktree, as the store's methods take them."""
        return self.dot, self.worktree

    def diff(
        self, base: CommitId | None, patterns: Mapping[SubdotName, Sequence[str]], budget_bytes: int | None
    ) -> Mapping[SubdotName, TreeDiff]:
        """Return the differences from a commit, by subdot. See Store.diff_live."""
        return self.store.diff_live(self.dot, self.worktree, self.directories, base, patterns, budget_bytes)

    def differing(self, target: CommitId) -> Sequence[SubdotName]:
        """Return the subdots whose files may differ from those of a commit. See Store.differing."""
        return self.store.differing(self.dot, self.worktree, self.directories, target)

    def state(self) -> Worktree:
        """Return the worktree as the store has it now. For a dot without a commit it is an empty one."""
        if not self.store.has_dot(self.dot):
            return Worktree(self.dot, self.worktree, DEFAULT_BRANCH, None)
        return self.store.worktree(self.dot, self.worktree)

    def record_places(self) -> None:
        """Have the store remember the places of the subdots."""
        if not self.tree:
            self.store.set_places(self.dot, self.worktree, self.places)

    def mark_quiet(self, *, but: Collection[SubdotName] = (), kept: Sequence[SubdotName] = (), note: str = "") -> None:
        """Tell the store that the files of all subdots `but` some are as a restore left them. See Store.mark_quiet."""
        directories = self.store.tree(self.dot, self.worktree) if self.tree else self.directories
        self.store.mark_quiet(self.dot, self.worktree, {s: d for s, d in directories.items() if s not in but}, kept, note)

    def wanted(self, target: Commit) -> list[SubdotName]:
        """Return the subdots that a restore of `target` will touch.

        Warns about subdots that only the commit or only the stack has; those are left as they are.
        """
        if self.tree:
            return [*target.subdots, *(s for s in self.places if s not in target.subdots)]
        here = sorted(self.places.keys() - target.subdots.keys() - {ROOT_SUBDOT})
        there = sorted(target.subdots.keys() - self.places.keys() - {ROOT_SUBDOT})
        told = [f"left as they are, because the commit lacks them: {', '.join(here)}"] if here else []
        told += [f"not put back, because the stack has no such subdot: {', '.join(there)}"] if there else []
        told += [how_to_tell(name, subdot) for name, subdot in renamed(self.plan.subdots, target.subdots).items()]
        if told:
            self.listener(Event("warning", "; ".join(told)))
        return [s for s in self.places if s in target.subdots]

    def inner(self) -> dict[SubdotName, set[SubdotName]]:
        """Return for each subdot the subdots whose directories are within its own."""
        return {
            outer: {s for s, d in self.directories.items() if d.startswith(f"{directory.rstrip('/')}/")}
            for outer, directory in self.directories.items()
        }

    def writers(self) -> tuple[Member, ...]:
        """Return the running members that may change a subdot."""
        return tuple(m for m in self.members if m.writes)

    def users(self, subdot: SubdotName) -> tuple[Member, ...]:
        """Return the members that mount a subdot."""
        return tuple(m for m in self.members if subdot in m.mounts)

    def ignore_patterns(self) -> dict[SubdotName, tuple[str, ...]]:
        """Return for each subdot the patterns of paths whose changes mean nothing, as its datastore's module lists them."""
        return {s.name: tuple(p for d in self._datastores(s.name) for p in d.volatile_below()) for s in self.plan.subdots}

    def own_patterns(self) -> dict[SubdotName, tuple[str, ...]]:
        """Return `ignore_patterns`, and for each subdot also the patterns of files that only its running datastore writes to.

        The latter are left out for a subdot that more than one container may write to.
        """
        alone = {s.name: sum(m.mounts[s.name] for m in self.users(s.name)) == 1 for s in self.plan.subdots}
        own = {name: tuple(p for d in self._datastores(name) for p in d.own_below()) for name, one in alone.items() if one}
        return {name: (*patterns, *own.get(name, ())) for name, patterns in self.ignore_patterns().items()}

    def _datastores(self, subdot: SubdotName) -> list[Datastore]:
        return [m.datastore for m in self.users(subdot) if m.datastore is not None]

    def origins(self) -> dict[SubdotName, Origin]:
        """Return for each subdot the service, datastore and image that write its data now."""
        found = {}
        for subdot in self.plan.subdots:
            users = sorted(self.users(subdot.name), key=lambda m: m.datastore is None)
            member = users[0] if users else None
            known = member.datastore if member is not None else None
            found[subdot.name] = Origin(
                service=subdot.services[0] if subdot.services else None,
                path=subdot.path or None,
                engine=known.name if known else subdot.engine,
                version=known.version(member.service) if known and member else None,
                image=member.container.image.reference if member else None,
                image_digest=member.container.image.digest if member else None,
            )
        return found


def mounted_subdots(engine: Engine, container: Container, places: Mapping[SubdotName, str]) -> dict[SubdotName, bool]:
    """Return the subdots that a container mounts, with True for those that it may write to.

    A mount of a directory above or below a subdot's counts as well. See overlap.reaches.
    """
    directories = {subdot: engine.directory(place) for subdot, place in places.items()}
    inner = {s: [d for d in directories.values() if d != own and within(d, own)] for s, own in directories.items()}
    volumes = f"{engine.facts().root}/volumes"
    found: dict[SubdotName, bool] = {}
    for mount in container.mounts:
        mounted = engine.mounted(mount, directories.values())
        for subdot, place in places.items():
            if mount.place == place or reaches(mounted, mount.writable, directories[subdot], inner[subdot], volumes):
                found[subdot] = found.get(subdot, False) or mount.writable
    return found


def find_places(
    plan: StackPlan, containers: Iterable[Container], recorded: Mapping[SubdotName, str], engine: Engine
) -> dict[SubdotName, str]:
    """Return where each subdot's files are now. Subdots without files are left out.

    The first of these that there is counts:

    1. The mount that a container of the stack has there, because the data is in it, also if it is an anonymous volume. A running
       container is asked before a stopped one.
    2. The recorded place, for example the anonymous volume of a container that is gone.
    3. The volume or directory that the compose file names, or the volume that `dm-compose up` makes.

    If a container of the service exists and has no mount there, the data is in its writable layer: the subdot is left out.
    """
    mine = [c for c in containers if c.project == plan.project and not c.one_off]
    mine.sort(key=lambda c: not c.running)
    found: dict[SubdotName, str] = {}
    for subdot in plan.subdots:
        mounted = [m.place for c in mine if c.service in subdot.services for m in c.mounts if m.target == subdot.path]
        in_layer = not mounted and any(c.service == subdot.services[0] for c in mine)
        candidates = [*mounted[:1]] if mounted or in_layer else [recorded.get(subdot.name), subdot.volume, subdot.source]
        for place in candidates:
            if place and (place.startswith("/") or engine.volume(place) is not None):
                found[subdot.name] = place
                break
    return found


def hidden_draft(live: LiveWorktree, message: str) -> CommitDraft:
    """Return the draft of a hidden commit, for a state that is saved before another one takes its place."""
    return CommitDraft(message=message, author=user_name(), origins=live.origins(), hidden=True)
