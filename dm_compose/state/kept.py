"""Which commits of a store are kept, and by what. `gc` frees all others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from dm_compose.core.commit import COMMIT, SESSION, JournalEntry, ReflogEntry
from dm_compose.core.names import FAILED_BRANCHES, SEED_BRANCHES, CommitId, DotName, RefName, WorktreeName
from dm_compose.core.upkeep import Holder
from dm_compose.state.database import Database

Parents = Mapping[DotName, Mapping[CommitId, CommitId | None]]


@dataclass(frozen=True)
class Claim:
    """Commits of a dot that a holder keeps and no earlier claim does. `entry` is the number of the reflog's, for Holder.UNDO."""

    holder: Holder
    dot: DotName
    commits: tuple[CommitId, ...]
    entry: int = 0


def parents_of(database: Database) -> dict[DotName, dict[CommitId, CommitId | None]]:
    """Return the commits of each dot with their parents. DamagedError if one cannot be read."""
    found: dict[DotName, dict[CommitId, CommitId | None]] = {dot: {} for dot in database.dots()}
    for commit in database.commits():
        found.setdefault(commit.dot, {})[commit.id] = commit.parent
    return found


def named(database: Database, parents: Parents) -> list[Claim]:
    """Return who keeps which commits, but for the reflog and test runs: the claims that come first in `claims`."""
    return _named(database, {dot: _Reach(known, database.settled(dot)) for dot, known in parents.items()})


def claims(database: Database, parents: Parents, forgotten: Collection[int] = ()) -> list[Claim]:
    """Return who keeps which commits. `parents` has all of them; a claim has those that no claim before it has.

    First come the refs of all dots by kind, what the journal names, and the settled forms of all these. Then come the reflog
    entries, the newest first, but for the `forgotten` ones; those that `undo` would go back by are before all others. A commit
    brings its ancestors along. A clone and a dot that is lent to tests keep all of their commits: tests may go back to any that
    they have put aside, by its id alone. The commits of a clone stay in other dots too, where further clones find them.
    """
    dots = {dot: _Reach(known, database.settled(dot)) for dot, known in parents.items()}
    found = _named(database, dots)
    for dot, entry in _undo_first(database):
        if dot in dots and entry.number not in forgotten:
            commits = [commit for commit in (entry.saved, entry.old, entry.new) if commit is not None]
            found.append(Claim(Holder.UNDO, dot, (*dots[dot].reach(commits), *dots[dot].settle()), entry.number))
    clones = dots.keys() & database.owners()
    lent = {entry.dot for entry in database.journal() if entry.operation == SESSION} & dots.keys()
    borrowed = {commit for clone in clones for commit in parents[clone]}
    for dot, reach in dots.items():
        kept = parents[dot] if dot in lent else [commit for commit in parents[dot] if commit in borrowed]
        found.append(Claim(Holder.RUNNING, dot, reach.reach(kept)))
    return found


def _named(database: Database, dots: Mapping[DotName, _Reach]) -> list[Claim]:
    wanted: list[tuple[Holder, DotName, list[CommitId]]] = []
    clones = database.owners()
    for dot in dots:
        if dot in clones:
            wanted += [
                (Holder.RUNNING, dot, list(database.refs(dot, kind).values())) for kind in ("branch", "tag", "uncommitted")
            ]
            continue
        wanted += [(_kind(name), dot, [commit]) for name, commit in database.refs(dot, "branch").items()]
        wanted.append((Holder.TAGS, dot, list(database.refs(dot, "tag").values())))
        wanted.append((Holder.UNCOMMITTED, dot, list(database.refs(dot, "uncommitted").values())))
    wanted += [(Holder.RUNNING, entry.dot, _named_by(entry)) for entry in database.journal() if entry.dot in dots]
    wanted.sort(key=lambda claim: list(Holder).index(claim[0]))
    found = [Claim(holder, dot, dots[dot].reach(commits)) for holder, dot, commits in wanted]
    return found + [Claim(Holder.SETTLED, dot, reach.settle()) for dot, reach in dots.items()]


def not_kept(parents: Parents, found: Iterable[Claim]) -> list[tuple[DotName, CommitId]]:
    """Return the commits that are in no claim, in the order of `parents`."""
    kept = {(claim.dot, commit) for claim in found for commit in claim.commits}
    return [(dot, commit) for dot, known in parents.items() for commit in known if (dot, commit) not in kept]


def for_undo(database: Database) -> set[int]:
    """Return the numbers of the entries that no budget drops: of each worktree the newest, and the newest that is no commit.

    The latter is the one that `undo` would go back by.
    """
    kept: set[int] = set()
    with_newest: set[tuple[DotName, WorktreeName]] = set()
    with_move: set[tuple[DotName, WorktreeName]] = set()
    for dot, worktree, entry in database.moves():
        about = dot, worktree
        if worktree and (about not in with_newest or (about not in with_move and entry.action != COMMIT)):
            kept.add(entry.number)
            with_newest.add(about)
            if entry.action != COMMIT:
                with_move.add(about)
    return kept


def _undo_first(database: Database) -> Iterator[tuple[DotName, ReflogEntry]]:
    first, moves = for_undo(database), [(dot, entry) for dot, _, entry in database.moves()]
    yield from (move for move in moves if move[1].number in first)
    yield from (move for move in moves if move[1].number not in first)


def _kind(branch: RefName) -> Holder:
    return {FAILED_BRANCHES: Holder.FAILED, SEED_BRANCHES: Holder.SEEDS}.get(branch.partition("/")[0], Holder.BRANCHES)


def _named_by(entry: JournalEntry) -> list[CommitId]:
    named = [entry.makes, entry.target]
    if entry.move is not None:
        named += [entry.move.head, entry.move.saved]
    return [commit_id for commit_id in named if commit_id is not None]


class _Reach:
    """The commits of one dot that claims have reached so far."""

    def __init__(self, parents: Mapping[CommitId, CommitId | None], settled: Mapping[CommitId, CommitId]) -> None:
        self._parents = parents
        self._settled = settled
        self._known: set[CommitId] = set()
        self._reached: list[CommitId] = []
        self._looked_at = 0  # this many of the reached ones had their settled form taken along

    def reach(self, starts: Iterable[CommitId]) -> tuple[CommitId, ...]:
        """Take commits and their ancestors, and return those that are new."""
        before = len(self._reached)
        for start in starts:
            commit: CommitId | None = start
            while commit is not None and commit in self._parents and commit not in self._known:
                self._known.add(commit)
                self._reached.append(commit)
                commit = self._parents[commit]
        return tuple(self._reached[before:])

    def settle(self) -> tuple[CommitId, ...]:
        """Take the settled forms of all that was reached, and return those that are new."""
        before = len(self._reached)
        while self._looked_at < len(self._reached):
            fresh = self._reached[self._looked_at :]
            self._looked_at = len(self._reached)
            self.reach(self._settled[commit] for commit in fresh if commit in self._settled)
        return tuple(self._reached[before:])
