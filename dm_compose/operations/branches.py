"""Going from branch to branch: in place, or in a dot of trees by following another tree."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from dm_compose.core.commit import SWITCH, Commit, JournalEntry, Move, Worktree
from dm_compose.core.events import Event
from dm_compose.core.names import MAIN_WORKTREE, CommitId, EntryId, RefName, WorktreeName
from dm_compose.core.plan import Action, Plan, Step
from dm_compose.discovery.naming import worktree_name
from dm_compose.errors import ExistsError, InUseError, NotFoundError, NotReadyError, UncommittedError, UsageError
from dm_compose.live.executor import Done, Work
from dm_compose.live.freeze import Freeze
from dm_compose.live.ready import await_ready
from dm_compose.live.steps import carry_out
from dm_compose.live.worktree import LiveWorktree, Member
from dm_compose.operations.restore import check_versions, move_to, save_uncommitted, uncommitted


@dataclass(frozen=True)
class Arrival:
    """A branch that was checked out. `plan` and `done` say what it took; both are empty where nothing had to move. `head` is
    None where one stays on a branch without commits.

    `saved` holds what was uncommitted on the branch that was left, None when nothing was, or where it stays in a tree of its
    own. `created` says that the branch is new.
    """

    branch: RefName
    left: RefName
    head: Commit | None
    plan: Plan
    done: tuple[Done, ...]
    saved: CommitId | None
    created: bool
    total_s: float


def arrive(
    live: LiveWorktree,
    ref: str,
    *,
    create: RefName | None = None,
    action: str = "checkout",
    any_version: bool = False,
    timeout_s: float,
) -> Arrival:
    """Check a branch out: `ref`, or the new branch `create` at the commit `ref`. All or nothing; the caller holds the dot's lock.

    The branch that is left keeps its uncommitted state, and coming back finds it. A commit or tag is checked out as a new
    branch named after it. ExistsError, NotFoundError; InUseError where the branch is checked out in another worktree.
    """
    began = time.monotonic()
    store, dot, state = live.store, live.dot, live.state()
    branches = store.branches(dot)
    if create is None and ref == state.branch:
        here = store.commit(dot, state.head) if state.head is not None else None
        return Arrival(state.branch, state.branch, here, Plan(), (), None, False, time.monotonic() - began)
    if create is None and ref not in branches:
        create = _branch_for(live, ref)
    if create is not None and (create in branches or create == state.branch):
        raise ExistsError(f"branch {create} of dot {dot} exists already", hint=f"To go there: checkout {create}")
    branch = create or RefName.parse(ref)
    head = store.resolve(dot, live.worktree, ref) if create else branches[branch]
    commit = store.commit(dot, head)
    if live.tree:
        plan, done = _follow(live, branch, head, action, timeout_s)
        return Arrival(branch, state.branch, commit, plan, done, None, create is not None, time.monotonic() - began)
    for other in store.worktrees(dot).values():
        if other.branch == branch:
            raise InUseError(
                f"branch {branch} of dot {dot} is checked out in worktree {other.name}",
                hint=f"Make another branch of it: checkout -b NAME {branch}",
            )
    target = store.commit(dot, store.uncommitted(dot).get(branch, head))
    live.refuse_strangers(readers_too=True)
    live.require_places()
    if not any_version:
        check_versions(live, target)
    report = move_to(live, target, action, head=head, branch=branch, timeout_s=timeout_s)
    return Arrival(
        branch, state.branch, commit, report.plan, report.done, report.saved, create is not None, time.monotonic() - began
    )


def _branch_for(live: LiveWorktree, ref: str) -> RefName:
    """Return a name for a branch at a commit or tag that somebody wants to check out."""
    try:
        commit_id = live.store.resolve(live.dot, live.worktree, ref)
    except (NotFoundError, UsageError) as error:
        error.hint = f"`branch` lists what there is; `checkout -b {ref}` makes a branch."
        raise
    taken = live.store.branches(live.dot)
    named = f"at-{ref}" if ref in live.store.tags(live.dot) else f"at-{commit_id.short}"
    found = next(name for name in (named, *(f"{named}-{n}" for n in range(2, 10_000))) if name not in taken)
    live.listener(Event("note", f"{ref} is a commit; checking it out as the new branch {found}"))
    return RefName.parse(found)


def plan_switch(members: Collection[Member], worktree: WorktreeName) -> Plan:
    """Decide who goes down and up for the dot's volumes to follow another tree: whoever runs and is not pinned. Pure."""
    steps: list[Step] = []

    def add(action: Action, target: str, label: str, cause: str, after: tuple[int, ...] = ()) -> int:
        steps.append(Step(len(steps) + 1, action, target, label, cause, after))
        return len(steps)

    down = [m for m in members if m.container.running and m.mounts and not m.pinned]
    kills = tuple(add(Action.KILL, m.container.id, m.container.label, "its volumes follow the dot") for m in down)
    switched = add(Action.SWITCH, worktree, worktree, "its branch was checked out", kills)
    for member in down:
        container = member.container
        started = add(Action.START, container.id, container.label, "it was running", (switched,))
        awaited = add(Action.AWAIT, container.id, container.label, "it must answer before anyone asks it", (started,))
        if container.state == "paused":
            add(Action.PAUSE, container.id, container.label, "it was paused", (awaited,))
    return Plan(tuple(steps))


def _follow(live: LiveWorktree, branch: RefName, head: CommitId, action: str, timeout_s: float) -> tuple[Plan, tuple[Done, ...]]:
    """Have the dot's volumes follow the tree of a branch, which is made when there is none. What is uncommitted stays where it
    is, in the tree that is left.
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
    else:  # the branch, which may be new too, and the way to it are there together or not at all
        entry = EntryId.new()
        move = Move(action, branch, head)
        journalled = JournalEntry(entry, dot, name, SWITCH, stopped=tuple(plan.targets(Action.KILL)), move=move)
        store.add_worktree(Worktree(dot, name, branch, None, tree=True), head, journalled)
    followers = replace(live, members=tuple(m for m in live.members if not m.pinned))
    freeze = Freeze(followers) if live.engine is not None else None
    try:
        if freeze is not None and plan.targets(Action.KILL):
            freeze.freeze()  # so that what was acknowledged is in the tree that is left
            freeze.thaw(leave=plan.targets(Action.KILL))
        done = _carry_out(live, entry, plan, freeze, timeout_s)
    except BaseException:
        for container_id in plan.targets(Action.KILL):
            assert live.engine is not None
            live.engine.start(container_id)
        store.close_entry(entry)
        raise
    finally:
        if freeze is not None:
            freeze.thaw()
    store.close_entry(entry)
    return plan, tuple(done)


def _carry_out(live: LiveWorktree, entry: EntryId, plan: Plan, freeze: Freeze | None, timeout_s: float) -> list[Done]:
    members = {m.container.id: m for m in live.members}

    def await_answer(container_id: str) -> float:
        assert live.engine is not None
        try:
            return await_ready(live.engine, members[container_id], live.listener, timeout_s)
        except NotReadyError as error:  # the tree is what its branch holds; a container that ends on it is the user's business
            live.listener(Event("warning", error.message))
            return timeout_s

    work: dict[Action, Work] = {Action.SWITCH: lambda _: live.store.switch(entry), Action.AWAIT: await_answer}
    return carry_out(live, plan, freeze, timeout_s, work)


def finish_switch(live: LiveWorktree, entry: JournalEntry, *, timeout_s: float) -> None:
    """Carry out a switch that an earlier process began: whoever it took down, or was about to, goes down and up again."""
    members = [m for m in live.members if m.container.id in entry.stopped]
    steps = list(plan_switch(members, entry.worktree).steps)
    switched = next(step.number for step in steps if step.action is Action.SWITCH)
    for member in members:
        if not member.container.running:
            number = len(steps) + 1
            label = member.container.label
            steps.append(Step(number, Action.START, member.container.id, label, "it had been taken down", (switched,)))
    _carry_out(live, entry.id, Plan(tuple(steps)), None, timeout_s)
    live.store.close_entry(entry.id)


def drop_branch(
    live: LiveWorktree, observe: Callable[[LiveWorktree, Worktree], LiveWorktree], name: RefName, *, force: bool
) -> CommitId:
    """Forget a branch, and the tree it has of its own; return what it held. See Dot.remove_branch."""
    store, dot = live.store, live.dot
    head = store.branches(dot).get(name)
    tree = next((w for w in store.worktrees(dot).values() if w.branch == name), None)
    if tree is not None and (tree.name == store.current(dot) or not tree.tree):
        raise InUseError(
            f"branch {name} of dot {dot} is checked out in worktree {tree.name}", hint="Check out another branch there first."
        )
    if tree is not None:
        refuse_fixed(live, tree)
    saved = store.uncommitted(dot).get(name)
    if head is not None and not force:
        refuse_to_forget(live, name, head, saved)
    if tree is not None:
        saved = remove_tree(observe(live, tree), force=force)
    store.remove_branch(dot, name)
    assert head is not None
    return saved or head


def refuse_to_forget(live: LiveWorktree, name: RefName, head: CommitId, saved: CommitId | None) -> None:
    """Raise UncommittedError when no other branch and no tag leads to the commits of a branch, or its state is in no commit."""
    store, dot = live.store, live.dot
    others = [c for n, c in store.branches(dot).items() if n != name] + list(store.tags(dot).values())
    kept = {commit.id for other in others for commit in store.log(dot, other)}
    lost = [commit for commit in store.log(dot, head) if commit.id not in kept]
    if saved is not None or lost:
        what = f"{len(lost)} commits that are on no other branch" if lost else "uncommitted changes"
        raise UncommittedError(f"branch {name} of dot {dot} holds {what}", hint="To forget them all the same: branch -D.")


def refuse_fixed(live: LiveWorktree, worktree: Worktree) -> None:
    """Raise InUseError for a worktree that stays as long as its dot does, or the dot's volumes follow it."""
    if worktree.name in (MAIN_WORKTREE, live.store.current(worktree.dot)):
        kind = "main" if worktree.name == MAIN_WORKTREE else "current"
        where = f"worktree {worktree.name} of dot {worktree.dot} (branch {worktree.branch})"
        raise InUseError(f"{where} is its {kind} one and stays")


def remove_tree(live: LiveWorktree, *, force: bool) -> CommitId | None:
    """Remove a worktree that is a tree; what is uncommitted there becomes its branch's uncommitted state, whose commit is
    returned.

    InUseError while a container runs on it and for the main and the current one, UncommittedError for uncommitted changes without
    `force`.
    """
    refuse_fixed(live, live.state())
    running = [m.container.name for m in live.members if m.mounts and m.container.running]
    if running:
        raise InUseError(f"worktree {live.worktree} of dot {live.dot} is used by {', '.join(running)}", hint="Stop them first.")
    saved = None
    if any(changes.by_user for changes in uncommitted(live).values()):
        if not force:
            raise UncommittedError(
                f"worktree {live.worktree} of dot {live.dot} holds uncommitted changes",
                hint="Commit them, or insist; they are kept in the reflog then.",
            )
        saved = save_uncommitted(live, f"before removing worktree {live.worktree}")
    live.store.remove_worktree(live.dot, live.worktree, saved)
    return saved
