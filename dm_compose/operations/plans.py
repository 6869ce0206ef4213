"""Plans of restores and switches: which containers go down, which subdots are put back, and which step waits for which. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from dm_compose.core.containers import Container
from dm_compose.core.names import SubdotName, WorktreeName
from dm_compose.core.plan import Action, Plan, PlanDraft
from dm_compose.live.worktree import Member


def plan_restore(
    members: Collection[Member],
    differing: Collection[SubdotName],
    wanted: Collection[SubdotName],
    *,
    inner: Mapping[SubdotName, Collection[SubdotName]] | None = None,
    files_are_proof: bool = False,
    touched: Mapping[str, str] | None = None,
) -> Plan:
    """Decide which containers go down and which subdots are put back. Pure.

    A running container is taken down if one of these holds:

    1. A subdot that it may write to differs.
    2. It may hold changes in memory. This is assumed unless the caller (`files_are_proof`) or its datastore says that files are
       proof, or `touched` (container ids, and why) does not name it. Without `touched` each container counts as touched.
    3. Its data is in memory only (and it is no `compose run`), unless nothing has touched it or, with `files_are_proof`, nothing
       differs at all.
    4. It may write to a subdot that is put back because of 1 to 3.

    Containers that only read stay up. A subdot is put back when it differs or a container that writes to it goes down, and only
    once no container writes to it, nor to those `inner` ones whose directories are within its own.
    """
    causes: dict[str, str] = {}
    for member in members:
        mine = [s for s, writable in member.mounts.items() if writable and s in wanted]
        if not member.container.running or not (mine or _lives_in_memory(member)):
            continue
        changed = [s for s in mine if s in differing]
        if changed:
            causes[member.container.id] = f"{', '.join(changed)} differs"
        elif touched is not None and member.container.id not in touched:
            continue
        elif member.datastore is not None and member.in_memory:
            if differing or not files_are_proof:
                causes[member.container.id] = f"{member.datastore.name} has its data in memory only"
        elif not files_are_proof and not _files_are_proof(member):
            what = member.datastore.name if member.datastore else "an unknown program"
            why = f": {touched[member.container.id]}" if touched and touched[member.container.id] else ""
            causes[member.container.id] = f"{what} may hold changes in memory{why}"
    down = [m for m in members if m.container.id in causes]
    restored = [s for s in wanted if s in differing or any(m.mounts.get(s) for m in down)]
    while more := [m for m in members if m not in down and m.container.running and any(m.mounts.get(s) for s in restored)]:
        for member in more:
            causes[member.container.id] = "writes to a subdot that is put back"
        down += more
        restored = [s for s in wanted if s in restored or any(m.mounts.get(s) for m in down)]
    return _number(down, causes, restored, differing, inner or {})


def put_back_anyway(members: Collection[Member], touched: Collection[str]) -> set[SubdotName]:
    """Return the subdots that `plan_restore` puts back whether or not their files differ. Pure.

    These are the subdots of containers that may have been touched (ids) and whose files prove nothing.
    """
    writers = (m for m in members if m.container.id in touched and m.container.running and not _files_are_proof(m))
    return {subdot for member in writers for subdot, writable in member.mounts.items() if writable}


def _files_are_proof(member: Member) -> bool:
    return member.datastore is not None and member.datastore.files_are_proof


def _lives_in_memory(member: Member) -> bool:
    return member.in_memory and not member.container.one_off


def _number(
    down: list[Member],
    causes: Mapping[str, str],
    restored: list[SubdotName],
    differing: Collection[SubdotName],
    inner: Mapping[SubdotName, Collection[SubdotName]],
) -> Plan:
    draft = PlanDraft()
    kills = {m.container.id: draft.add(Action.KILL, m.container.id, m.container.label, causes[m.container.id]) for m in down}
    restores: dict[SubdotName, int] = {}
    for subdot in sorted(restored, key=lambda s: len(inner.get(s, ()))):  # inner ones first: they touch the outer directory
        mine = {subdot, *inner.get(subdot, ())}
        writers = tuple(kills[m.container.id] for m in down if any(m.mounts.get(s) for s in mine))
        cause = "its files differ" if subdot in differing else "its container was taken down"
        after = *writers, *(restores[s] for s in sorted(mine) if s in restores)
        restores[subdot] = draft.add(Action.RESTORE, subdot, subdot, cause, after)
    if restores:
        draft.add(Action.SYNC, "", "files", "so that a power cut does not lose them", tuple(restores.values()))
    for member in down:
        waits = tuple(step for s, step in restores.items() if not member.mounts.keys().isdisjoint({s, *inner.get(s, ())}))
        if _lives_in_memory(member):  # while the state of before is anywhere, an application may write it back
            waits = (*kills.values(), *restores.values())
        _bring_up(draft, member.container, "it was running", waits or (kills[member.container.id],))
    return draft.plan()


def plan_switch(members: Collection[Member], worktree: WorktreeName) -> Plan:
    """Decide which containers go down and up so that the dot's volumes follow another tree. Pure.

    These are the running ones that use the dot and are not pinned.
    """
    draft = PlanDraft()
    down = [m for m in members if m.container.running and m.mounts and not m.pinned]
    kills = tuple(draft.add(Action.KILL, m.container.id, m.container.label, "its volumes follow the dot") for m in down)
    switched = draft.add(Action.SWITCH, worktree, worktree, "its branch was checked out", kills)
    for member in down:
        _bring_up(draft, member.container, "it was running", (switched,))
    return draft.plan()


def also_bring_up(plan: Plan, members: Collection[Member], after: Action) -> Plan:
    """Return a plan that also starts these members, which an earlier process had taken down. Pure.

    They start when the plan's steps of the kind `after` are done.
    """
    draft = PlanDraft(plan.steps)
    waits = tuple(step.number for step in plan.steps if step.action is after)
    for member in members:
        _bring_up(draft, member.container, "it had been taken down", waits)
    return draft.plan()


def without_waiting(plan: Plan) -> Plan:
    """Return a plan without the steps that wait for an answer. Pure."""
    waited = {step.number: step.after for step in plan.steps if step.action is Action.AWAIT}
    return Plan(
        tuple(
            replace(step, after=tuple(number for after in step.after for number in waited.get(after, (after,))))
            for step in plan.steps
            if step.number not in waited
        )
    )


def _bring_up(draft: PlanDraft, container: Container, cause: str, after: tuple[int, ...]) -> None:
    started = draft.add(Action.START, container.id, container.label, cause, after)
    awaited = draft.add(Action.AWAIT, container.id, container.label, "it must answer before anyone asks it", (started,))
    if container.state == "paused":
        draft.add(Action.PAUSE, container.id, container.label, "it was paused", (awaited,))
