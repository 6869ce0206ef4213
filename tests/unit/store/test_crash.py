"""A process killed at any change of the disk during commit or restore leaves the old state or the new one, and nothing
half-made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dm_compose.core.commit import COMMIT, CommitDraft, Move
from dm_compose.core.names import DEFAULT_BRANCH, MAIN_WORKTREE, CommitId, DotName, SubdotName
from dm_compose.objects import batch
from dm_compose.store.local.store import LocalStore
from tests.support.crashing import copy, stops

DOT = DotName("dot")
A, B = SubdotName("a"), SubdotName("b")


class Case:
    """Two subdots, one commit, uncommitted changes of every kind."""

    def __init__(self, root: Path) -> None:
        self.home, self.trees = root / "home", root / "trees"
        self.directories = {A: str(self.trees / "a"), B: str(self.trees / "b")}

    def store(self) -> LocalStore:
        return LocalStore(self.home)

    def write(self, subdot: SubdotName, name: str, content: str) -> None:
        path = Path(self.directories[subdot]) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def commit(self, message: str) -> CommitId:
        store = self.store()
        entry = store.prepare_commit(DOT, MAIN_WORKTREE, self.directories)
        store.capture(entry)
        commit_id = store.publish(entry, CommitDraft(message, "me")).id
        store.close()
        return commit_id

    def restore(self, target: CommitId) -> None:
        store = self.store()
        entry = store.begin_restore(DOT, MAIN_WORKTREE, target, [], Move("reset", DEFAULT_BRANCH, target), None)
        for subdot in self.directories:
            store.restore_subdot(entry, subdot, self.directories)
        store.sync_restored(entry)
        store.end_restore(entry)
        store.close()

    def recover(self) -> None:
        """Recover as operations.recovery does, without containers."""
        store = self.store()
        for entry in store.unfinished(DOT):
            if entry.operation == COMMIT:
                store.abandon(entry.id)
            else:
                for subdot in self.directories:
                    store.restore_subdot(entry.id, subdot, self.directories)
                store.sync_restored(entry.id)
                store.end_restore(entry.id)
        assert store.unfinished(DOT) == []
        store.close()

    def snapshot(self) -> dict[str, object]:
        found: dict[str, object] = {}
        for path in sorted(self.trees.rglob("*")):
            info = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
            found[str(path.relative_to(self.trees))] = (info.st_mode, info.st_uid, info.st_nlink if content else 0, content)
        return found


@pytest.fixture(params=["whole files", "blocks"])
def template(
    fast_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, CommitId, CommitId, dict[str, object], dict[str, object]]:
    """A store with commits `one` and `two`, its trees dirty; returns also what the trees hold in both commits."""
    if request.param == "blocks":
        monkeypatch.setattr(batch, "SMALL_BYTES", 0)
    root = fast_path / "template"
    case = Case(root)
    case.store().create_dot(DOT)
    for number in range(4):
        case.write(A, f"table{number}", f"{number}" * 5000)
    case.write(B, "deep/down/log", "line\n" * 100)
    os.link(case.directories[A] + "/table0", case.directories[A] + "/same")
    one = case.commit("one")
    first = case.snapshot()
    case.write(A, "table1", "changed")
    case.write(A, "table3", "3" * 4500 + "4" * 500)
    case.write(A, "new", "new")
    (Path(case.directories[A]) / "table2").unlink()
    os.mkfifo(case.directories[B] + "/fifo")
    os.chmod(case.directories[B] + "/deep/down/log", 0o600)
    two = case.commit("two")
    second = case.snapshot()
    return root, one, two, first, second


def killed(template: Path, fast_path: Path, work: Callable[[Case], object]) -> Iterator[Case]:
    """Yield a case for every change of the disk at which `work` was killed, and one for `work` done."""
    for root in stops(template, fast_path / "case", lambda root: work(Case(root))):
        yield Case(root)


def check_store(case: Case) -> list[str]:
    """Nothing is half-listed, nothing is left lying about; return the log's messages."""
    store = case.store()
    head = store.worktree(DOT, MAIN_WORKTREE).head
    assert head is not None
    log = store.log(DOT, head)
    known = {c.id for c in store._database.commits(DOT)}
    assert list((case.home / "incoming").iterdir()) == []
    assert {p.name for p in (case.home / "objects").iterdir()} <= known
    store.close()
    return [c.message for c in log]


def test_a_commit_killed_anywhere_is_whole_or_not_there(
    template: tuple[Path, CommitId, CommitId, dict, dict], fast_path: Path
) -> None:
    root, one, two, first, second = template

    def work(case: Case) -> None:
        case.write(A, "table3", "3" * 4200 + "again" + "4" * 500)
        case.commit("three")

    seen = set()
    for case in killed(root, fast_path, work):
        case.recover()
        messages = check_store(case)
        assert messages in (["two", "one"], ["three", "two", "one"])
        seen.add(len(messages))
        case.restore(two)
        assert case.snapshot() == second
        case.restore(one)
        assert case.snapshot() == first
    assert seen == {2, 3}


def test_a_restore_killed_anywhere_is_finished_by_recovery(
    template: tuple[Path, CommitId, CommitId, dict, dict], fast_path: Path
) -> None:
    root, one, two, first, second = template
    seen = set()
    for case in killed(root, fast_path, lambda case: case.restore(one)):
        case.recover()
        messages = check_store(case)
        assert case.snapshot() == (first if messages == ["one"] else second)
        seen.add(tuple(messages))
        case.restore(two)
        assert case.snapshot() == second
    assert seen == {("one",), ("two", "one")}


def test_a_recovery_killed_anywhere_is_finished_by_the_next(
    template: tuple[Path, CommitId, CommitId, dict, dict], fast_path: Path
) -> None:
    root, one, _, first, second = template
    half = fast_path / "half"
    copy(root, half)
    begun = Case(half)
    store = begun.store()
    entry = store.begin_restore(DOT, MAIN_WORKTREE, one, [], Move("reset", DEFAULT_BRANCH, one), None)
    store.restore_subdot(entry, A, begun.directories)
    store.close()
    for case in killed(half, fast_path, lambda case: case.recover()):
        case.recover()
        assert check_store(case) == ["one"]
        assert case.snapshot() == first
    assert first != second
