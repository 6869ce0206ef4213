"""The state that a failed test left behind, kept as a branch `failed/RUN/TEST` of the dot that outlives the test run."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from dm_compose.core.commit import Commit
from dm_compose.core.names import FAILED_BRANCHES, DotName, RefName
from dm_compose.core.units import size
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.commit import make_commit

_LONGEST = 110  # characters of a branch's name on a remote, where a slash takes two of the 128 characters of a tag


@dataclass(frozen=True)
class Limits:
    """The number of states that a test run may keep, and the bytes of the store that they may take together."""

    commits: int = 10
    size_bytes: int = 1 << 30


@dataclass(frozen=True)
class Failure:
    """A test that failed in a test run. `what` tells people how it failed."""

    run: str
    test: str
    what: str


@dataclass(frozen=True)
class Evidence:
    """The branch that holds the state. It is None if a limit of the run was reached; `why_not` then says which."""

    branch: RefName | None
    why_not: str = ""


def keep_evidence(live: LiveWorktree, lasting: DotName, start: Commit, failure: Failure, limits: Limits) -> Evidence:
    """Commit the live state to a new branch of the dot `lasting`. The worktree stays on its own branch.

    `lasting` is the worktree's own dot, or for a clone the original's. Containers are frozen for an instant, as for any commit.
    The sizes of files that changed since `start` tell, before anything is copied, whether the limits allow it. All processes of a
    run share the limits. The caller holds the locks of both dots.
    """
    store = live.store
    branches = store.branches(lasting)
    kept = [commit for name, commit in branches.items() if name.startswith(f"{FAILED_BRANCHES}/{failure.run}/")]
    if len(kept) >= limits.commits:
        return Evidence(None, f"this run has kept {limits.commits} states already")
    changed = live.diff(start.id, {}, 0)
    needed = sum(diff.changed_bytes for diff in changed.values())
    used = sum(store.commit(lasting, commit).new_bytes for commit in kept)
    if used + needed > limits.size_bytes:
        return Evidence(None, f"its {size(needed)} and the {size(used)} kept so far are more than {size(limits.size_bytes)}")
    branch = failed_branch(failure, branches)
    commit = make_commit(live, f"{failure.test} {failure.what}", {"failed_test": failure.test}, branch=branch).commit
    if lasting != live.dot:
        store.share_commit(live.dot, commit.id, lasting)
        store.add_branch(lasting, branch, commit.id)
    return Evidence(branch)


def failed_branch(failure: Failure, taken: Collection[str]) -> RefName:
    """Return a name for the state of a failed test. It is not in `taken`, and short enough for any remote.

    Characters that a branch must not have become `-`. A name that is too long loses its beginning. A name that is taken gets a
    number at its end.
    """
    words = re.sub(r"[^A-Za-z0-9_./-]+", "-", failure.test.replace("::", "/"))
    words = "/".join(part for piece in words.split("/") if (part := re.sub(r"\.\.+", ".", piece).strip(".-")))
    start, number = f"{FAILED_BRANCHES}/{failure.run}/", 1
    while True:
        ending = f"-{number}" if number > 1 else ""
        name = f"{start}{_shortened(words or 'test', _LONGEST - _cost(start + ending))}{ending}"
        if name not in taken:
            return RefName.parse(name)
        number += 1


def _cost(text: str) -> int:
    return len(text) + text.count("/")


def _shortened(text: str, limit: int) -> str:
    while _cost(text) > limit:
        text = text[1:]
    return text.lstrip("/.-") or "test"
