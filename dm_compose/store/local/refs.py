"""Resolving a REF of the command line to a commit."""

from __future__ import annotations

import re

from dm_compose.core.names import CommitId, DotName, RefName, WorktreeName, did_you_mean
from dm_compose.errors import AmbiguousError, NotFoundError, UsageError
from dm_compose.state import Database

_REF = re.compile(r"(?P<base>.+?)(?P<steps>(?:\^|~\d{0,6})*)")
_STEP = re.compile(r"\^|~(\d*)")
MIN_PREFIX = 4
_LOG_HINT = "`log` lists the commits."
_LIST_HINT = "`branch` and `tag` list the names, `log` the commits."


def resolve(database: Database, dot: DotName, worktree: WorktreeName, ref: str) -> CommitId:
    """Return the commit that `ref` means; see Store.resolve."""
    match = _REF.fullmatch(ref)
    if match is None:
        raise UsageError(
            f"invalid reference {ref!r}", hint="Use HEAD, HEAD^, HEAD~2, a branch, a tag or the first digits of a commit id."
        )
    commit_id = _base(database, dot, worktree, match["base"])
    for step in _STEP.finditer(match["steps"]):
        for _ in range(int(step[1] or 1) if step[0] != "^" else 1):
            commit = database.commit(dot, commit_id)
            if commit.parent is None or commit.shallow:
                raise NotFoundError(f"{ref} goes back beyond the first commit of {dot}", hint=_LOG_HINT)
            commit_id = commit.parent
    return commit_id


def _base(database: Database, dot: DotName, worktree: WorktreeName, name: str) -> CommitId:
    if name == "HEAD":
        head = database.worktree(dot, worktree).head
        if head is None:
            raise NotFoundError(f"dot {dot} has no commit yet", hint='Make one: commit -m "seed".')
        return head
    for kind in ("branch", "tag"):
        if (found := database.ref(dot, kind, RefName(name))) is not None:
            return found
    if MIN_PREFIX <= len(name) <= 32 and re.fullmatch("[0-9a-f]+", name):
        candidates = database.commits_by_prefix(dot, name)
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            raise AmbiguousError(
                f"{name} is ambiguous: {', '.join(c.short for c in candidates)}", hint="Give more digits of the commit id."
            )
    if len(name) < MIN_PREFIX and re.fullmatch("[0-9a-f]+", name):
        raise NotFoundError(
            f"dot {dot} has no branch or tag {name!r}", hint=f"The id of a commit is given with at least {MIN_PREFIX} digits."
        )
    hint = did_you_mean(name, _names(database, dot)) or _LIST_HINT
    if named := [c for c in database.commits(dot) if not c.hidden and c.message.partition("\n")[0] == name]:
        hint = f"Commit {named[-1].id.short} has this message."
    raise NotFoundError(f"dot {dot} has no branch, tag or commit {name!r}", hint=hint)


def _names(database: Database, dot: DotName) -> list[str]:
    """Return all that a REF may begin with, but for the ids of commits."""
    return ["HEAD", *database.refs(dot, "branch"), *database.refs(dot, "tag")]
