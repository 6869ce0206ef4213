"""Further worktrees of a dot: trees of the store, or volumes for a Compose project of their own."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from dm_compose.core.commit import Move, Worktree
from dm_compose.core.events import Listener
from dm_compose.core.names import CommitId, DotName, RefName, SubdotName, WorktreeName
from dm_compose.core.stack import Kind, StackPlan
from dm_compose.engine import Engine
from dm_compose.errors import ExistsError, InUseError, NotFoundError, UsageError
from dm_compose.live.access import open_access
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.branches import remove_tree

WORKTREE_LABEL = "dev.dotmesh.worktree"
FILLED_AT_ONCE = 4


@dataclass(frozen=True)
class _Start:
    """Where a new worktree begins: a branch, new or not, and the commit whose files it gets."""

    branch: RefName
    head: CommitId
    files: CommitId


def _start(live: LiveWorktree, name: WorktreeName, ref: str | None) -> _Start:
    store, dot = live.store, live.dot
    branches = store.branches(dot)
    if ref is not None and ref in branches:
        branch = RefName.parse(ref)
        return _Start(branch, branches[branch], store.uncommitted(dot).get(branch, branches[branch]))
    branch = RefName.parse(name)
    if branch in branches:
        raise ExistsError(f"branch {branch} of dot {dot} exists already", hint=f"To check it out: worktree add {name} {branch}")
    head = store.resolve(dot, live.worktree, "HEAD" if ref is None else ref)
    return _Start(branch, head, head)


def add_tree(live: LiveWorktree, name: WorktreeName, ref: str | None) -> Worktree:
    """Add a worktree that is a directory of the store. The caller holds the dot's lock."""
    start = _start(live, name, ref)
    live.store.add_worktree(Worktree(live.dot, name, start.branch, None, tree=True), start.head)
    return live.store.worktree(live.dot, name)


def add_volumes(live: LiveWorktree, engine: Engine, plan: StackPlan, name: WorktreeName, ref: str | None) -> Worktree:
    """Add a worktree that is a set of volumes for the Compose project `PROJECT-NAME`, filled from its commit.

    Killed in the middle it leaves volumes that the next attempt takes up, or a worktree that is filled when it is first used.
    ExistsError for volumes of somebody else. The caller holds the dot's lock.
    """
    start = _start(live, name, ref)
    project = f"{plan.project}-{name}".lower()
    mark = f"{live.dot}/{name}"
    volumes = _volumes(plan, project)
    for volume in volumes.values():
        found = engine.volume(volume)
        if found is not None and found.labels.get(WORKTREE_LABEL) != mark:
            raise ExistsError(f"there is a volume {volume} already", hint="Choose another name for the worktree.")
    for subdot, volume in volumes.items():
        key = volume.removeprefix(f"{project}_")
        labels = {"com.docker.compose.project": project, "com.docker.compose.volume": key, WORKTREE_LABEL: mark}
        engine.create_volume(volume, {**labels, "dev.dotmesh.subdot": subdot})
    live.store.add_worktree(Worktree(live.dot, name, start.branch, None, places=volumes, project=project), start.head)
    fill(engine, live.listener, (live.dot, name), volumes, start.files, Move("worktree add", start.branch, start.head))
    return live.store.worktree(live.dot, name)


def _volumes(plan: StackPlan, project: str) -> dict[SubdotName, str]:
    """Return the names that Compose, or `dm-compose up`, gives the subdots' volumes in another project."""
    found = {}
    for subdot in plan.subdots:
        own = f"{plan.project}_"
        if subdot.kind is Kind.BIND or subdot.volume is None or not subdot.volume.startswith(own):
            where = subdot.source if subdot.kind is Kind.BIND else f"volume {subdot.volume}"
            raise UsageError(
                f"subdot {subdot.name} of service {subdot.services[0]} is always at {where}, in any project",
                hint="A further worktree needs a named volume without a fixed name there, or x-dotmesh.exclude.",
            )
        found[subdot.name] = f"{project}_{subdot.volume.removeprefix(own)}"
    return found


def fill(
    engine: Engine,
    listener: Listener,
    worktree: tuple[DotName, WorktreeName],
    places: Mapping[SubdotName, str],
    files: CommitId,
    move: Move,
) -> None:
    """Put a commit's files into the volumes of a new worktree; journalled, so that whoever uses it first would finish it."""
    access = open_access(engine, places.values(), listener)
    try:
        store = access.store
        directories = {subdot: access.directory(place) for subdot, place in places.items()}
        entry = store.begin_restore(*worktree, files, [], move, None)
        with ThreadPoolExecutor(FILLED_AT_ONCE) as pool:
            list(pool.map(lambda subdot: store.restore_subdot(entry, subdot, directories), directories))
        store.sync_restored(entry)
        store.end_restore(entry)
    finally:
        access.store.close()


def remove(live: LiveWorktree, engine: Engine | None, *, force: bool) -> None:
    """Remove the worktree that is checked out here, with its tree or its volumes; its branch stays, and so does what is
    uncommitted with `force`. InUseError while it has containers, UncommittedError.
    """
    if live.tree:
        remove_tree(live, force=force)
        return
    containers = [m.container.name for m in live.members]
    if containers:
        project = live.store.worktree(live.dot, live.worktree).project
        raise InUseError(
            f"worktree {live.worktree} of dot {live.dot} has containers: {', '.join(containers)}",
            hint=f"dm-compose -p {project} down",
        )
    mark = f"{live.dot}/{live.worktree}"
    remove_tree(live, force=force)
    for place in live.places.values():
        volume = engine.volume(place) if engine is not None and not place.startswith("/") else None
        if engine is not None and volume is not None and volume.labels.get(WORKTREE_LABEL) == mark:
            engine.remove_volume(place)


def find(live: LiveWorktree, name: WorktreeName) -> Worktree:
    """Return a worktree of the dot; NotFoundError lists what there is."""
    worktrees = live.store.worktrees(live.dot)
    if name not in worktrees:
        raise NotFoundError(f"dot {live.dot} has no worktree {name}", hint=f"There are: {', '.join(worktrees)}.")
    return worktrees[name]
