"""How the verbs that put a state in place tell of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dm_compose.cli.output import age, as_commit, print_json, say, subject
from dm_compose.core.units import seconds, size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dm_compose.live.executor import Done
    from dm_compose.operations.branches import Arrival
    from dm_compose.operations.restore import RestoreReport
    from dm_compose.operations.undo import PutBack, TakenBack

NOTHING_RUNS = "no container of the stack runs: `dm-compose up -d` brings it up"


def steps(done: Iterable[Done]) -> list[dict[str, Any]]:
    """Return steps that were taken, as plain data."""
    return [
        {"action": d.step.action, "on": d.step.label, "cause": d.step.cause, "began_s": d.began_s, "ended_s": d.ended_s}
        for d in done
    ]


def print_arrival(arrival: Arrival, *, as_json: bool) -> None:
    """Print that a branch was checked out."""
    if as_json:
        print_json(
            {
                "branch": arrival.branch,
                "left": arrival.left,
                "created": arrival.created,
                "head": as_commit(arrival.head) if arrival.head else None,
                "saved": arrival.saved,
                "carried": arrival.carried,
                "total_s": arrival.total_s,
                "steps": steps(arrival.done),
            }
        )
        return
    if arrival.branch == arrival.left or arrival.head is None:
        say(f"already on branch {arrival.branch}")
        return
    new = "new " if arrival.created else ""
    say(f"on {new}branch {arrival.branch} at {arrival.head.id.short} {subject(arrival.head.message)}, {seconds(arrival.total_s)}")
    if arrival.saved:
        say(f"uncommitted changes of {arrival.left} are kept: checking it out brings them back")
    if arrival.carried:
        say(f"uncommitted changes came along: {', '.join(arrival.carried)}")


def print_taken_back(done: TakenBack, *, as_json: bool) -> None:
    """Print that a commit was taken back, or is there again."""
    if as_json:
        print_json({"head": as_commit(done.head), "commit": as_commit(done.commit), "again": done.again})
        return
    program = click.get_current_context().find_root().info_name
    say(f"at {done.head.id.short} {subject(done.head.message)}")
    taken = f"commit {done.commit.id.short} {subject(done.commit.message)}"
    say(
        "the commit is back; no file has changed"
        if done.again
        else f"{taken} is taken back; its state stays, as uncommitted changes"
    )
    say(f"`{program} undo` takes this back")


def print_put_back(done: PutBack, *, as_json: bool) -> None:
    """Print that recovery has put the wanted state back, so that nothing more was undone."""
    if as_json:
        print_json({"head": as_commit(done.head) if done.head else None, "recovered": "tests" if done.tests else "undo"})
        return
    program = click.get_current_context().find_root().info_name
    at = f"at {done.head.id.short} {subject(done.head.message)}: " if done.head else ""
    what = "the state from before the tests is back" if done.tests else "the undo that was interrupted is finished"
    say(f"{at}{what}; nothing more was undone")
    if done.again:
        say(f"`{program} undo` takes that back")


def print_restore(report: RestoreReport, *, as_json: bool, stash: str | None = None, what: str | None = None) -> None:
    """Print that a state was put in place, and how to have the one before back.

    `stash` names the one that it is about. `what` says where that has led to, by default at which commit the stack is.
    """
    restored = report.restored()
    if as_json:
        print_json(
            {
                "target": as_commit(report.target),
                "saved": report.saved,
                "total_s": report.total_s,
                "restored": restored,
                "running": report.running,
                "steps": steps(report.done),
                **_as_undo(report),
                **({} if stash is None else {"stash": stash}),
            }
        )
        return
    changed = sum(r.changed_bytes for r in restored.values())
    program = click.get_current_context().find_root().info_name
    took = f"ready after {seconds(report.total_s)}" if report.running else f"done after {seconds(report.total_s)}"
    is_empty = not any(state.files for state in report.target.subdots.values())
    amount = "all subdots are empty, as they were" if is_empty else f"{size(changed)} put back"
    say(f"{what or _where(report)}: {amount}, {took}")
    if not report.running and program == "dm-compose":
        say(NOTHING_RUNS)
    if report.left_behind:
        listed = ", ".join(f"{c.id.short} {subject(c.message)}" for c in report.left_behind)
        say(f"left behind: {listed}")
    if report.undone is not None:
        say(f"`{program} undo` takes this back")
    elif report.saved:
        say_kept()


def say_kept() -> None:
    """Say that uncommitted changes were kept, and how to have them back."""
    program = click.get_current_context().find_root().info_name
    say(f"uncommitted changes are kept: `{program} undo` brings them back")


def _where(report: RestoreReport) -> str:
    """Return at which commit a restore has put the stack, and for an undo, what it has taken back."""
    at = report.head or report.target
    if report.undone is not None:
        where = f"at {at.id.short} {subject(at.message)}"
        where += f", as before the {report.undone.action.removeprefix('before ')} of {age(report.undone.at)}"
        return where + (", with what was uncommitted" if report.target.hidden else "")
    return f"at the state that was kept as {at.id.short}" if report.target.hidden else f"at {at.id.short} {subject(at.message)}"


def _as_undo(report: RestoreReport) -> dict[str, Any]:
    if report.head is None:
        return {}
    left = [as_commit(commit) for commit in report.left_behind]
    return {"head": as_commit(report.head), "undone": report.undone, "left_behind": left}
