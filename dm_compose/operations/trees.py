"""Worktrees that are directories of the store: make, follow and remove them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dm_compose.core.commit import SWITCH, JournalEntry, Move, Worktree
from dm_compose.core.events import Event
from dm_compose.core.names import CommitId, EntryId, RefName, WorktreeName, worktree_name
from dm_compose.core.plan import Action, Plan
from dm_compose.errors import ExistsError, InUseError, NotReadyError
from dm_compose.live.executor import Done, Work, carry_out
from dm_compose.live.freeze import Freeze
from dm_compose.live.ready import await_ready
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.checks import before_removing_tree
from dm_compose.operations.plans import also_bring_up, plan_switch
from dm_compose.operations.uncommitted import save_uncommitted


def follow_tree(
    live: LiveWorktree, branch: RefName, head: CommitId, action: str, timeout_s: float
) -> tuple[Plan, tuple[Done, ...]]:
    """Have the dot's volumes follow the tree of a branch, which is made if there is none.

    Uncommitted changes stay in the tree that is left. InUseError if another kind of worktree stands on the branch. All or
    nothing; the caller holds the dot's lock.
    """
    store, dot = live.store, live.dot
    worktrees = store.worktrees(dot)
    found = next((w for w in worktrees.values() if w.branch == branch), None)
    if found is not None and not found.tree:
        raise InUseError(f"branch {branch} of dot {dot} is checked out in worktree {found.name}, which is no tree of the store")
    name = found.name if found is not None else worktree_name(branch, worktrees)
    plan = plan_switch(live.members, name)
    if found is not None:
        entry = store.begin_switch(dot, name, plan.targets(Action.KILL), action)
    else:  # the tree, its branch and the journal entry come into being together or not at all
        entry = EntryId.new()
        move = Move(action, branch, head)
        journalled = JournalEntry(entry, dot, name, SWITCH, stopped=tuple(plan.targets(Action.KILL)), move=move)
        store.add_worktree(Worktree(dot, name, branch, None, tree=True), head, journalled)
    followers = replace(live, members=tuple(m for m in live.members if not m.pinned))
    with Freeze(followers) as freeze:
        try:
            if plan.targets(Action.KILL):
                freeze.freeze()  # so that the tree that is left has every acknowledged write
                freeze.thaw(leave=plan.targets(Action.KILL))
            done = _carry_out(live, entry, plan, freeze, timeout_s)
        except BaseException:
            for container_id in plan.targets(Action.KILL):
                assert live.engine is not None
                live.engine.start(container_id)
            store.close_entry(entry)
            raise
    store.close_entry(entry)
    return plan, tuple(done)


def _carry_out(live: LiveWorktree, entry: EntryId, plan: Plan, freeze: Freeze, timeout_s: float) -> list[Done]:
    members = {m.container.id: m for m in live.members}

    def await_answer(container_id: str) -> float:
        assert live.engine is not None
        try:
            return await_ready(live.engine, members[container_id], live.listener, timeout_s)
        except (
            NotReadyError
        ) as error:  # the tree has the files of its branch; a container that ends on them is the user's to mend
            live.listener(Event("warning", error.message))
            return timeout_s

    work: dict[Action, Work] = {Action.SWITCH: lambda _: live.store.switch(entry), Action.AWAIT: await_answer}
    return carry_out(live, plan, freeze, timeout_s, work)


def finish_switch(live: LiveWorktree, entry: JournalEntry, *, timeout_s: float) -> None:
    """Carry out a switch that an earlier process began. All containers that it was about to take down go down and up again."""
    members = [m for m in live.members if m.container.id in entry.stopped]
    plan = plan_switch(members, entry.worktree)
    down = [m for m in members if not m.container.running]
    _carry_out(live, entry.id, also_bring_up(plan, down, Action.SWITCH), Freeze(live), timeout_s)
    live.store.close_entry(entry.id)


def remove_tree(live: LiveWorktree, *, force: bool) -> CommitId | None:
    """Remove a further worktree. Its uncommitted changes become its branch's uncommitted state, whose commit is returned.

    Without `force` uncommitted changes raise UncommittedError. InUseError while a container runs on it, and for the main and the
    current worktree.
    """
    dirty = before_removing_tree(live, force=force)
    saved = save_uncommitted(live, f"before removing worktree {live.worktree}") if dirty else None
    live.store.remove_worktree(*live.where, saved)
    return saved


@dataclass(frozen=True)
class Start:
    """The start of a new worktree: its branch, which may be new, with the branch's head, and the commit whose files it gets."""

    branch: RefName
    head: CommitId
    files: CommitId


def start_of(live: LiveWorktree, name: WorktreeName, ref: str | None) -> Start:
    """Return the start of a worktree at the branch `ref`, or at a new branch of the worktree's name at the commit `ref`.

    The commit is by default the head. ExistsError for a worktree or branch of that name, NotFoundError; InUseError for a branch
    that is checked out.
    """
    store, dot = live.store, live.dot
    branches, worktrees = store.branches(dot), store.worktrees(dot)
    if name in worktrees:
        raise ExistsError(f"dot {dot} has a worktree {name} already", hint="Choose another name.")
    where = {worktree.branch: worktree.name for worktree in worktrees.values()}
    if ref is not None and ref in branches:
        branch = RefName.parse(ref)
        if branch in where:
            raise InUseError(
                f"branch {branch} of dot {dot} is checked out in worktree {where[branch]}",
                hint=f"For a new branch at the same commit: worktree add NAME {branches[branch].short}",
            )
        return Start(branch, branches[branch], store.uncommitted(dot).get(branch, branches[branch]))
    branch = RefName.parse(name)
    if branch in branches:
        to_do = "Choose another name." if branch in where else f"To check it out: worktree add {name} {branch}"
        raise ExistsError(f"branch {branch} of dot {dot} exists already", hint=to_do)
    head = store.resolve(dot, live.worktree, "HEAD" if ref is None else ref)
    return Start(branch, head, head)


def add_tree(live: LiveWorktree, name: WorktreeName, ref: str | None) -> Worktree:
    """Add a worktree that is a directory of the store. The caller holds the dot's lock."""
    start = start_of(live, name, ref)
    live.store.add_worktree(Worktree(live.dot, name, start.branch, None, tree=True), start.head)
    return live.store.worktree(live.dot, name)
