"""The graph of a history. A commit has one parent, so it is a tree, and each branch has its own column."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from dm_compose.core.commit import Commit
from dm_compose.core.names import CommitId


def graph(commits: Sequence[Commit], first: CommitId | None) -> Iterator[tuple[str, Commit | None]]:
    """Yield the lines of a graph: what is drawn before a commit, and the commit, None for a line that only joins columns.

    `commits` come newest first. The commits that lead to `first` stand in the leftmost column. A commit comes after all that
    follow from it, and those of one branch stand together.
    """
    known = {commit.id: commit for commit in commits}
    following: dict[CommitId, list[Commit]] = defaultdict(list)
    roots = []
    for commit in commits:
        if commit.parent in known and not commit.shallow:
            following[commit.parent].append(commit)
        else:
            roots.append(commit)
    line: set[CommitId] = set()
    while first in known and first not in line:
        line.add(first)
        first = known[first].parent
    for root in sorted(roots, key=lambda commit: commit.id not in line):
        yield from _column(root, following, line, "")


def _column(
    root: Commit, following: dict[CommitId, list[Commit]], line: set[CommitId], left: str
) -> Iterator[tuple[str, Commit | None]]:
    """Yield a commit and all that follows from it, within the columns of `left`."""
    way, beside = [root], []
    while after := following[way[-1].id]:
        main = next((commit for commit in after if commit.id in line), after[0])
        beside.append([commit for commit in after if commit is not main])
        way.append(main)
    for commit, others in zip(reversed(way), [[], *reversed(beside)], strict=True):
        for other in others:
            yield from _column(other, following, line, f"{left}| ")
            yield f"{left}|/", None
        yield f"{left}* ", commit
