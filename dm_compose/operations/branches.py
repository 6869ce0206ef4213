"""Go from branch to branch: in place, or in a dot of trees by following another tree."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from dm_compose.core.commit import Commit, Move, Worktree
from dm_compose.core.events import Event
from dm_compose.core.names import CommitId, RefName, SubdotName
from dm_compose.core.plan import Plan
from dm_compose.errors import ExistsError, InUseError, NotFoundError, UncommittedError, UsageError
from dm_compose.live.executor import Done
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.carry import refuse_to_mix
from dm_compose.operations.checks import (
    before_checkout,
    before_removing_branch,
    before_removing_tree,
    refuse_unfinished,
    tell_doubts,
)
from dm_compose.operations.restore import move_to
from dm_compose.operations.trees import follow_tree, remove_tree
from dm_compose.operations.uncommitted import dirty_subdots, save_from_memory

BEFORE = "-"  # as a REF of `checkout`: the branch before this one
_WILDCARDS = frozenset("*?[")
CARRY = "checkout --carry"  # the reflog's word for a move to another branch that uncommitted changes went along with


@dataclass(frozen=True)
class Forgotten:
    """A branch that was forgotten: its head, and the commit with its uncommitted state, None if it had none."""

    head: Commit
    saved: CommitId | None


@dataclass(frozen=True)
class Arrival:
    """A branch that was checked out.

    `plan` and `done` have the steps that were done. Both are empty if nothing had to move. `head` is None if the worktree stays
    on a branch without commits. `saved` is the commit with the uncommitted changes of the branch that was left. It is None if
    there were none, or if they stay in a tree of that branch's own. `created` says that the branch is new. `carried` are the
    subdots whose uncommitted changes came along.
    """

    branch: RefName
    left: RefName
    head: Commit | None
    plan: Plan
    done: tuple[Done, ...]
    saved: CommitId | None
    created: bool
    total_s: float
    carried: tuple[SubdotName, ...] = ()


def arrive(
    live: LiveWorktree,
    ref: str,
    *,
    create: RefName | None = None,
    action: str = "checkout",
    any_version: bool = False,
    privileged: bool = False,
    carry: bool = False,
    timeout_s: float,
) -> Arrival:
    """Check out the branch `ref`, or the new branch `create` at the commit `ref`. All or nothing.

    The branch that is left keeps its uncommitted state, and the next checkout of it brings that back. With `carry` uncommitted
    changes come along instead: UncommittedError if that cannot be. At the same commit no file changes then, and no container
    goes down. A commit or tag is checked out as a new branch named after it, and `-` is the branch before this one. ExistsError,
    NotFoundError, VersionMismatchError; InUseError if the branch is checked out in another worktree. The caller holds the dot's
    lock.
    """
    began = time.monotonic()
    store, dot, state = live.store, live.dot, live.state()
    if create is None and ref == BEFORE:
        ref = _branch_before(live)
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
        if carry:
            raise UsageError(
                f"dot {dot} keeps a tree for each branch, so nothing can be carried", hint="`stash` and `stash pop` move changes."
            )
        tell_doubts(live, commit)
        plan, done = follow_tree(live, branch, head, action, timeout_s)
        return Arrival(branch, state.branch, commit, plan, done, None, create is not None, time.monotonic() - began)
    for other in store.worktrees(dot).values():
        if other.branch == branch:
            raise InUseError(
                f"branch {branch} of dot {dot} is checked out in worktree {other.name}",
                hint=f"Make another branch of it: checkout -b NAME {branch}",
            )
    if carry:
        return _carry(
            live, branch, commit, began, created=create is not None, checks=(any_version, privileged), timeout_s=timeout_s
        )
    target = store.commit(dot, store.uncommitted(dot).get(branch, head))
    before_checkout(live, target, any_version=any_version, privileged=privileged)
    report = move_to(live, target, action, head=head, branch=branch, timeout_s=timeout_s)
    return Arrival(
        branch, state.branch, commit, report.plan, report.done, report.saved, create is not None, time.monotonic() - began
    )


def _carry(
    live: LiveWorktree,
    branch: RefName,
    commit: Commit,
    began: float,
    *,
    created: bool,
    checks: tuple[bool, bool],
    timeout_s: float,
) -> Arrival:
    """Stand on a branch, whose head is `commit`, and take uncommitted changes along."""
    store, state = live.store, live.state()
    if branch in store.uncommitted(live.dot):
        raise UncommittedError(
            f"branch {branch} was left with uncommitted changes of its own",
            hint=f"Go there without --carry, and commit or stash them: checkout {branch}",
        )
    plan = Plan()
    done: tuple[Done, ...] = ()
    if commit.id == state.head:
        refuse_unfinished(live)
        carried = dirty_subdots(live)
        store.stand_on(*live.where, Move(CARRY, branch, commit.id))
    else:
        any_version, privileged = checks
        before_checkout(live, commit, any_version=any_version, privileged=privileged)
        save_from_memory(live)
        carried = dirty_subdots(live)
        if carried and state.head is not None:
            here = store.commit(live.dot, state.head)
            refuse_to_mix(carried, here, commit, hint="Commit or `stash` them, or leave them on this branch: without --carry.")
        report = move_to(live, commit, CARRY, head=commit.id, branch=branch, carry=carried, timeout_s=timeout_s)
        plan, done = report.plan, report.done
    return Arrival(branch, state.branch, commit, plan, done, None, created, time.monotonic() - began, tuple(carried))


def _branch_before(live: LiveWorktree) -> RefName:
    """Return the branch that the worktree was on before it came to the present one."""
    entries = live.store.reflog(live.dot, live.worktree)
    found = next((entry.left for entry in entries if entry.left != entry.branch), None)
    if found is None:
        raise NotFoundError("there is no branch before this one", hint="`branch` lists what there is.")
    return found


def _branch_for(live: LiveWorktree, ref: str) -> RefName:
    """Return a name for the new branch at a commit or tag that is to be checked out."""
    try:
        commit_id = live.store.resolve(live.dot, live.worktree, ref)
    except (NotFoundError, UsageError) as error:
        if RefName.pattern.fullmatch(ref):
            error.hint = f"{error.hint} `checkout -b {ref}` makes a branch."
        raise
    taken = live.store.branches(live.dot)
    is_tag = ref in live.store.tags(live.dot)
    named = f"at-{ref}" if is_tag else f"at-{commit_id.short}"
    found = next(name for name in (named, *(f"{named}-{n}" for n in range(2, 10_000))) if name not in taken)
    kind = "tag" if is_tag else "commit"
    live.listener(Event("note", f"{ref} is a {kind}; checking it out as the new branch {found}"))
    return RefName.parse(found)


def chosen(words: Sequence[str], known: Collection[RefName], kind: str) -> list[RefName]:
    """Return the names that words mean, each once. A word may be a pattern of fnmatch: NotFoundError if it matches none."""
    found: dict[RefName, None] = {}
    for word in words:
        is_pattern = not _WILDCARDS.isdisjoint(word)
        names = sorted(fnmatch.filter(known, word)) if is_pattern else [RefName.parse(word)]
        if not names:
            raise NotFoundError(f"there is no {kind} that matches {word!r}", hint=f"`{kind}` lists all.")
        found |= dict.fromkeys(RefName(name) for name in names)
    return list(found)


def drop_branches(
    live: LiveWorktree, observe: Callable[[LiveWorktree, Worktree], LiveWorktree], words: Sequence[str], *, force: bool
) -> dict[RefName, Forgotten]:
    """Forget branches and the trees that they have of their own. See Dot.remove_branches."""
    store, dot = live.store, live.dot
    heads, uncommitted = store.branches(dot), store.uncommitted(dot)
    names = chosen(words, heads, "branch")
    worktrees = {w.branch: w for w in store.worktrees(dot).values() if w.branch in names}
    for name in names:
        before_removing_branch(live, name, worktrees.get(name), going=names, force=force)
    trees = {name: observe(live, worktree) for name, worktree in worktrees.items()}
    for tree in trees.values():
        before_removing_tree(tree, force=force)
    found = {}
    for name in sorted(names, key=lambda name: name in heads):  # the store raises for one that is not there, before any is gone
        saved = remove_tree(trees[name], force=force) if name in trees else uncommitted.get(name)
        store.remove_branch(dot, name)
        found[name] = Forgotten(store.commit(dot, heads[name]), saved)
    return {name: found[name] for name in names}


def drop_tags(live: LiveWorktree, words: Sequence[str]) -> list[RefName]:
    """Forget tags. See Dot.remove_tags."""
    tags = live.store.tags(live.dot)
    names = chosen(words, tags, "tag")
    for name in sorted(names, key=lambda name: name in tags):  # as above
        live.store.remove_tag(live.dot, name)
    return names
