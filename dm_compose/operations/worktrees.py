"""Further worktrees of a dot: trees of the store, or volumes for a Compose project of their own."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from dm_compose.core.commit import Move, Worktree
from dm_compose.core.labels import PROJECT_LABEL, SUBDOT_LABEL, VOLUME_LABEL, WORKTREE_LABEL
from dm_compose.core.names import SubdotName, WorktreeName
from dm_compose.core.variables import Variables
from dm_compose.discovery.stack_plan import Kind, StackPlan
from dm_compose.engine import Engine
from dm_compose.errors import DmError, ExistsError, NotFoundError, UsageError
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.checks import before_removing_volumes
from dm_compose.operations.fill import fill_volumes
from dm_compose.operations.trees import remove_tree, start_of


def add_volumes(
    live: LiveWorktree, engine: Engine, variables: Variables, plan: StackPlan, name: WorktreeName, ref: str | None
) -> Worktree:
    """Add a worktree that is a set of volumes for the Compose project `PROJECT-NAME`, filled from its commit.

    If it fails before the worktree is there, no volume stays. If it is killed, the next attempt uses the volumes that it has
    made; or, if the worktree is there already, the first command that works with it fills it. ExistsError for a volume of
    somebody else, a branch or a worktree that exists. UsageError for a subdot that would be at the same place in any project.
    The caller holds the dot's lock.
    """
    start = start_of(live, name, ref)
    project = f"{plan.project}-{name}".lower()
    mark = f"{live.dot}/{name}"
    volumes = _volumes(plan, project)
    for volume in volumes.values():
        found = engine.volume(volume)
        if found is not None and found.labels.get(WORKTREE_LABEL) != mark:
            raise ExistsError(f"there is a volume {volume} already", hint="Choose another name for the worktree.")
    try:
        for subdot, volume in volumes.items():
            key = volume.removeprefix(f"{project}_")
            labels = {PROJECT_LABEL: project, VOLUME_LABEL: key, WORKTREE_LABEL: mark}
            engine.create_volume(volume, {**labels, SUBDOT_LABEL: subdot})
        live.store.add_worktree(Worktree(live.dot, name, start.branch, None, places=volumes, project=project), start.head)
    except BaseException:  # the store does not know them, so nobody else would remove them
        for volume in volumes.values():
            with contextlib.suppress(DmError):
                if (made := engine.volume(volume)) is not None and made.labels.get(WORKTREE_LABEL) == mark:
                    engine.remove_volume(volume)
        raise
    move = Move("worktree add", start.branch, start.head)
    fill_volumes(engine, variables, live.listener, (live.dot, name), volumes, start.files, move)
    return live.store.worktree(live.dot, name)


def _volumes(plan: StackPlan, project: str) -> dict[SubdotName, str]:
    """Return the names that the subdots' volumes get from Compose, or from `dm-compose up`, in another project."""
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


def remove(live: LiveWorktree, engine: Engine | None, *, force: bool) -> None:
    """Remove the live worktree with its tree or its volumes.

    Its branch stays. With `force` so do uncommitted changes, as the branch's uncommitted state; without it they raise
    UncommittedError. InUseError while the worktree has containers. The caller holds the dot's lock.
    """
    if live.tree:
        remove_tree(live, force=force)
        return
    before_removing_volumes(live)
    mark = f"{live.dot}/{live.worktree}"
    remove_tree(live, force=force)
    for place in live.places.values():
        volume = engine.volume(place) if engine is not None and not place.startswith("/") else None
        if engine is not None and volume is not None and volume.labels.get(WORKTREE_LABEL) == mark:
            engine.remove_volume(place)


def listed(live: LiveWorktree) -> list[Worktree]:
    """Return the worktrees of the dot, by name. One of volumes that was not added for a project has the project it is seen in."""
    return [replace(w, project=_project(live, w)) for w in live.store.worktrees(live.dot).values()]


def _project(live: LiveWorktree, worktree: Worktree) -> str | None:
    if worktree.project is not None or worktree.tree:
        return worktree.project
    if worktree.name == live.worktree:
        return live.project
    engine = live.engine
    for place in worktree.places.values():
        volume = engine.volume(place) if engine is not None and not place.startswith("/") else None
        if volume is not None and PROJECT_LABEL in volume.labels:
            return volume.labels[PROJECT_LABEL]
    return None


def find(live: LiveWorktree, name: WorktreeName) -> Worktree:
    """Return a worktree of the dot. NotFoundError lists all worktrees."""
    worktrees = live.store.worktrees(live.dot)
    if name not in worktrees:
        raise NotFoundError(f"dot {live.dot} has no worktree {name}", hint=f"There are: {', '.join(worktrees)}.")
    return worktrees[name]
