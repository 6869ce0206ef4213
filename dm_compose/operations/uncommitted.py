"""The uncommitted state of a live worktree: find it, and keep it before something else is put in its place."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from dm_compose.core.commit import WRITTEN, Commit, CommitDraft
from dm_compose.core.names import CommitId, EntryId, SubdotName
from dm_compose.core.tree import TreeDiff
from dm_compose.live.freeze import Freeze, promptly
from dm_compose.live.quiesce import save
from dm_compose.live.worktree import LiveWorktree, hidden_draft
from dm_compose.store.api import COMPARE_BUDGET_BYTES
from dm_compose.untouched.lasting import take_note, untouched_since

DOWN = "down -v"  # the reflog's word for the state that `down -v` has kept


@dataclass(frozen=True)
class Uncommitted:
    """The difference of a subdot from the head.

    `by_user` is false if the start of a restored engine wrote all of it, so that nothing was written since.
    """

    diff: TreeDiff
    by_user: bool


def uncommitted(live: LiveWorktree) -> dict[SubdotName, Uncommitted]:
    """Return the differences from the head, by subdot. Contents are compared up to a budget. No container is stopped."""
    patterns = live.ignore_patterns()
    diffs = live.diff(live.state().head, patterns, COMPARE_BUDGET_BYTES)
    changed = _changed_by_user(live, live.directories) if any(diffs.values()) else []
    return {
        name: Uncommitted(diff, bool(diff) and (name in changed or (live.tree and name not in live.places)))
        for name, diff in diffs.items()
    }


def _changed_by_user(live: LiveWorktree, directories: Mapping[SubdotName, str]) -> list[SubdotName]:
    """Return the subdots that somebody may have written to since the files were marked quiet.

    A change of files that only a running server writes to is its own if nothing has reached the server since.
    """
    changed = live.store.changed_since_quiet(*live.where, directories, live.ignore_patterns())
    if not changed or not (note := live.store.quiet_note(*live.where)):
        return changed
    asked = {subdot: directories[subdot] for subdot in changed}
    foreign = live.store.changed_since_quiet(*live.where, asked, live.own_patterns())
    own = untouched_since(live, note, [subdot for subdot in changed if subdot not in foreign])
    return [subdot for subdot in changed if subdot not in own]


def dirty_subdots(live: LiveWorktree) -> list[SubdotName]:
    """Return the subdots that somebody has changed since the head. An engine's own writes at its start do not count."""
    return [name for name, changes in uncommitted(live).items() if changes.by_user]


def save_from_memory(live: LiveWorktree) -> None:
    """Have running datastores write what they hold in memory to their files, so that the files show every change."""
    save(live, live.writers())


def mark_quiet(live: LiveWorktree, target: Commit) -> None:
    """Note that engines wrote the present differences from `target` by their own start, so that these count as no user's change.

    Call this right after `target` was put in place and the engines are up. Subdots in which head and `target` differ get no such
    note, because they count as uncommitted; unless `target` says that nobody had written there. The caller holds the dot's lock.
    """
    head_id = live.state().head
    head = live.store.commit(live.dot, head_id).subdots if head_id is not None else {}
    differing = {s for s, state in target.subdots.items() if s not in head or head[s].manifest != state.manifest}
    if target.hidden and (written := target.metadata.get(WRITTEN)) is not None:
        differing &= {*written.split(",")}
    mark(live, but=differing)


def mark(live: LiveWorktree, *, but: Collection[SubdotName], kept: Sequence[SubdotName] = ()) -> None:
    """Mark the files of all subdots `but` some as quiet, with a note that proves later that nothing has reached their engines."""
    live.mark_quiet(but=but, kept=kept, note=take_note(live, {*but, *kept}))


def save_uncommitted(live: LiveWorktree, why: str) -> CommitId | None:
    """Keep the live state as a hidden commit if it differs from the head, and note it in the reflog.

    Containers are frozen meanwhile. Return the commit, None if there is nothing to keep.
    """
    with Freeze(live) as freeze:
        captured, saved = capture(live, why, freeze)
    if saved is not None:
        live.store.note(*live.where, why, saved)
    live.store.abandon(captured)
    return saved


def _hidden_draft(live: LiveWorktree, why: str, changed: Sequence[SubdotName]) -> CommitDraft:
    """Return the draft of a hidden commit that says in which of its `changed` subdots somebody has written."""
    directories = {s: live.directories[s] for s in changed if s in live.places}
    written = _changed_by_user(live, directories) if directories else []
    return replace(
        hidden_draft(live, why), metadata={WRITTEN: ",".join(s for s in changed if s in written or s not in directories)}
    )


def keep_aside(live: LiveWorktree, message: str) -> Commit:
    """Commit the live state without moving a branch or the reflog, so that only its id leads to the commit."""
    with Freeze(live) as freeze:
        captured, saved = capture(live, message, freeze, always=True)
    live.store.abandon(captured)
    assert saved is not None
    return live.store.commit(live.dot, saved)


def capture(
    live: LiveWorktree,
    why: str,
    freeze: Freeze,
    *,
    always: bool = False,
    known: Sequence[CommitId] | None = None,
    takes_down: Sequence[str] = (),
) -> tuple[EntryId, CommitId | None]:
    """Capture the live state and leave the stack frozen. Return the journal entry, which stays open, and the hidden commit.

    The commit is made if something was uncommitted, or `always`; otherwise it is None. If the caller gives commits that it knows
    (`known`), it is made if something is in none of them. The caller is about to take `takes_down` down; recovery starts these
    containers again as long as the entry is open. On an error the stack is thawed and the entry closed.
    """
    store = live.store
    live.record_places()
    freeze.warm_up()
    entry = store.prepare_commit(*live.where, live.directories)
    try:
        store.will_disturb(entry, freeze.containers, [*takes_down, *freeze.stopped])
        freeze.freeze()
        promptly(lambda: store.capture(entry))
        patterns = live.ignore_patterns()
        found = store.captured_changes(entry, patterns) if known is None else store.captured_news(entry, known, patterns)
        saved = store.publish(entry, _hidden_draft(live, why, found)).id if found or always else None
    except BaseException:
        freeze.thaw()
        store.abandon(entry)
        raise
    return entry, saved
