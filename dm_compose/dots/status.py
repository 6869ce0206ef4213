"""A dot and its branches as they are now, as data for whoever shows them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from dm_compose.core.commit import Commit
from dm_compose.core.names import CommitId, DotName, RefName, SubdotName
from dm_compose.core.tree import TreeDiff
from dm_compose.core.upkeep import Space
from dm_compose.discovery.naming import missing_here
from dm_compose.live.quiesce import unsaved
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.left import Left, seen_left
from dm_compose.operations.uncommitted import Uncommitted, uncommitted

CLEAN, HOUSEKEEPING, WRITTEN_TO, NOT_IN_HEAD = "clean", "housekeeping only", "written to", "not in the head"


@dataclass(frozen=True)
class SubdotStatus:
    """One subdot now. `place` is its volume or host path, None if it does not exist. `diff` is against the head.

    `dirty` is false if there is no difference, and if the engine's own start after a restore wrote all of it. `unsaved` says that
    its datastore has writes in memory that no file has yet; then it is dirty too. `in_head` is false if the head lacks the
    subdot. `word` says it in a word.
    """

    name: SubdotName
    engine: str | None
    place: str | None
    diff: TreeDiff
    dirty: bool
    unsaved: bool = False
    in_head: bool = True

    @property
    def word(self) -> str:
        if self.dirty:
            return WRITTEN_TO
        if not self.diff:
            return CLEAN
        return HOUSEKEEPING if self.in_head else NOT_IN_HEAD


@dataclass(frozen=True)
class Status:
    """A dot now. `head` is None before the first commit. `left` has what is unfinished, also a test run that has the dot now.

    `running` says that a container of the stack runs; it is true of a dot that containers of any project may use. `lacks` has a
    sentence for each subdot that the head has and the stack does not. `space` is that of the whole store. It makes no difference
    between two of these, because all that writes changes it.
    """

    dot: DotName
    project: str
    branch: RefName
    head: Commit | None
    subdots: tuple[SubdotStatus, ...]
    space: Space = field(compare=False)
    left: tuple[Left, ...] = ()
    running: bool = True
    lacks: tuple[str, ...] = ()

    @property
    def dirty(self) -> bool:
        return any(s.dirty for s in self.subdots)


@dataclass(frozen=True)
class Branch:
    """A branch of a dot. `head` is None before its first commit. `worktree` names the worktree of volumes that stands on it.

    `uncommitted` is the hidden commit with the state in which the branch was left, if that was not committed.
    """

    name: RefName
    head: CommitId | None
    current: bool
    worktree: str | None
    uncommitted: CommitId | None


def status(live: LiveWorktree) -> Status:
    """Return a dot's differences from its head. Takes no lock. Sizes of large changes are upper bounds (`exact`)."""
    state = live.state()
    head = live.store.commit(live.dot, state.head) if state.head else None
    found = uncommitted(live)
    nothing = Uncommitted(TreeDiff(), by_user=False)
    left, space = seen_left(live.store, *live.where), live.store.space()
    in_memory = changed_in_memory(live, left)
    subdots = tuple(
        SubdotStatus(
            s.name,
            s.engine,
            live.places.get(s.name),
            c.diff,
            dirty=c.by_user or s.name in in_memory,
            unsaved=s.name in in_memory,
            in_head=head is None or s.name in head.subdots,
        )
        for s in live.plan.subdots
        if (c := found.get(s.name, nothing))
    )
    running = live.project is None or any(m.container.running for m in live.members)
    lacks = missing_here(live.plan.subdots, head.subdots) if head is not None and not live.tree else []
    return Status(live.dot, live.plan.project, state.branch, head, subdots, space, left, running, tuple(lacks))


def changed_in_memory(live: LiveWorktree, left: Collection[Left]) -> set[SubdotName]:
    """Return the subdots with changes in memory that no file has yet. See quiesce.unsaved.

    While a test run has the dot there are none, because it would take the question for a touch.
    """
    return set() if any(one.in_use for one in left) else unsaved(live)


def branches(live: LiveWorktree) -> list[Branch]:
    """Return all branches by name. The current one is among them, also before its first commit."""
    store, dot, state = live.store, live.dot, live.state()
    heads: dict[RefName, CommitId | None] = {state.branch: None}
    worktrees = {state.branch: state.name}
    if store.has_dot(dot):
        heads.update(store.branches(dot))
        worktrees = {w.branch: w.name for w in store.worktrees(dot).values() if not w.tree}
    left = store.uncommitted(dot)
    return [Branch(name, heads[name], name == state.branch, worktrees.get(name), left.get(name)) for name in sorted(heads)]
