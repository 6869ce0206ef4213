"""A test's restore: a commit's files are put in place, and the files of before are thrown away."""

from __future__ import annotations

import time

from dm_compose.core.commit import Commit
from dm_compose.core.variables import DEFAULT_TIMEOUT_S
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.plans import plan_restore, put_back_anyway
from dm_compose.operations.restore import RestoreReport, put_in_place, with_fallen
from dm_compose.untouched.last_restore import EVERYTHING, Touched


def throw_away_and_restore(
    live: LiveWorktree, target: Commit, *, touched: Touched = EVERYTHING, timeout_s: float = DEFAULT_TIMEOUT_S
) -> RestoreReport:
    """Put a commit's files in place and throw away the files of before. Head, branch and reflog stay.

    As atomic as restore.move_to. A subdot that is still at that commit, because nothing has `touched` it, is left alone. The
    caller holds the dot's lock.
    """
    began = time.monotonic()
    left = touched.untouched_subdots(live)
    inner = live.inner()
    causes = touched.causes(live)
    decided = {*left, *put_back_anyway(live.members, causes)}  # so their files need not be compared
    directories = {s: d for s, d in live.directories.items() if s not in decided or any(inner.values())}
    differing = live.store.differing(*live.where, directories, target.id) if directories else []
    wanted = [s for s in live.wanted(target) if s not in left]
    differing = [s for s in differing if s not in left]
    plan = with_fallen(live, plan_restore(live.members, differing, wanted, inner=inner, touched=causes), live.left)
    needed = bool(plan.steps or live.left)
    done = put_in_place(live, target.id, plan, None, previous=None, timeout_s=timeout_s) if needed else []
    reasons = {} if touched.everything else touched.reasons(live)
    return RestoreReport(target, plan, tuple(done), None, time.monotonic() - began, reasons)
