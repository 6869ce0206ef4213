"""Recovery keeps the live state first; verbs that only read recover nothing; a test run that lives holds its worktree."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dm_compose.core.commit import CommitDraft, Move
from dm_compose.core.names import DEFAULT_SUBDOT, MAIN_WORKTREE, DotName, session_lock
from dm_compose.store.local.store import LocalStore
from tests.support.crashing import KILLED, run_until
from tests.support.machines import Machine

A = DotName("a")
IN_USE = 8
READING = (["status"], ["log"], ["diff"], ["list"], ["reflog"], ["branch"], ["tag"], ["worktree", "list"])


def dies(machine: Machine, work: Callable[[LocalStore], object]) -> None:
    """Do `work` on the store in a process that then dies without a word."""

    def run() -> None:
        work(LocalStore(machine.home))
        os._exit(KILLED)

    assert run_until(1_000_000, run) == KILLED


def begin_tests(store: LocalStore, owner: str = "pytest (process 1)") -> None:
    """Borrow the dot `a` for a test run, which will give the head back."""
    store.lock(session_lock(A), owner, 0)
    head = store.worktree(A, MAIN_WORKTREE).head
    assert head is not None
    store.begin_session(A, MAIN_WORKTREE, head, owner)


def restore_all_but_the_end(store: LocalStore, action: str | None = "reset") -> None:
    """Reset the dot `a` to its head, up to the moment at which datastores are waited for. None: as a test run does."""
    worktree = store.worktree(A, MAIN_WORKTREE)
    assert worktree.head is not None
    move = Move(action, worktree.branch, worktree.head) if action is not None else None
    entry = store.begin_restore(A, MAIN_WORKTREE, worktree.head, [], move, None)
    directories = store.tree(A, MAIN_WORKTREE)
    for subdot in directories:
        store.restore_subdot(entry, subdot, directories)
    store.sync_restored(entry)


@pytest.fixture
def seeded(machine: Machine) -> Machine:
    """A machine with the dot `a` at a commit with the file `one`."""
    machine("init", "a")
    machine.chain("one")
    return machine


def kept(machine: Machine) -> list[str]:
    """Return the commits with what was live when recovery began, the newest first."""
    return [e["saved"] for e in machine("reflog", "--json").json() if e["action"] == "before recovery"]


@pytest.mark.parametrize("work", [begin_tests, restore_all_but_the_end])
def test_what_was_written_since_the_kill_is_kept_and_the_way_back_is_told(
    seeded: Machine, work: Callable[[LocalStore], None]
) -> None:
    dies(seeded, work)
    seeded.write("a", "file", "edited")
    seeded.write("a", "important", "hours of work")
    told = seeded("tag", "t").err
    assert (seeded.read("a", "file"), seeded.read("a", "important")) == ("one", None)
    (saved,) = kept(seeded)
    assert f"`reset --hard {saved[:12]}` brings it back" in told
    seeded("reset", "--hard", saved)
    assert (seeded.read("a", "file"), seeded.read("a", "important")) == ("edited", "hours of work")


def test_an_undo_after_a_killed_test_run_stops_at_the_state_before_the_tests_and_a_second_one_takes_that_back(
    seeded: Machine,
) -> None:
    seeded.write("a", "file", "before a reset")
    seeded("reset", "--hard", "HEAD")
    dies(seeded, begin_tests)
    seeded.write("a", "important", "hours of work")
    ended = seeded("undo")
    assert (seeded.read("a", "file"), seeded.read("a", "important")) == ("one", None)
    assert "one: the state from before the tests is back; nothing more was undone\n`dm undo` takes that back" in ended.out
    assert "reset --hard" in ended.err
    seeded("undo")
    assert seeded.read("a", "important") == "hours of work"
    assert seeded.messages() == ["one"]
    assert seeded.is_dirty()


def test_an_undo_after_a_killed_test_run_that_left_nothing_new_promises_no_second_one(seeded: Machine) -> None:
    seeded.write("a", "file", "before a reset")
    seeded("reset", "--hard", "HEAD")
    dies(seeded, begin_tests)
    ended = seeded("undo", "--json").json()
    assert (ended["recovered"], ended["head"]["message"]) == ("tests", "one")
    assert seeded.read("a", "file") == "one"
    dies(seeded, begin_tests)
    assert "takes that back" not in seeded("undo").out


def test_an_undo_after_a_killed_reset_or_undo_goes_to_the_state_before_the_reset(seeded: Machine) -> None:
    """Recovery finishes either. Only the reset is still to be taken back then."""
    seeded.write("a", "file", "uncommitted")
    dies(seeded, lambda store: restore_all_but_the_end(store, "reset"))
    seeded.write("a", "file", "since the kill")
    assert "as before the reset of" in seeded("undo").out
    dies(seeded, lambda store: restore_all_but_the_end(store, "undo"))
    assert "one: the undo that was interrupted is finished; nothing more was undone" in seeded("undo").out
    assert seeded.read("a", "file") == "one"


def test_a_killed_test_run_is_told_once_with_the_restore_that_it_was_in(seeded: Machine) -> None:
    """It was killed while a test's state was put back, which is a part of what its end makes up for."""

    def in_a_visit(store: LocalStore) -> None:
        begin_tests(store)
        restore_all_but_the_end(store, None)

    dies(seeded, in_a_visit)
    assert [left["operation"] for left in seeded("status", "--json").json()["unfinished"]] == ["session"]
    assert seeded("status").err.count("warning: ") == 1
    assert seeded("tag", "t").err.count("cleaning up after it") == 1
    assert seeded("status").err == ""


@pytest.mark.parametrize("work", [begin_tests, restore_all_but_the_end])
def test_nothing_is_kept_where_nothing_is_new(seeded: Machine, work: Callable[[LocalStore], None]) -> None:
    dies(seeded, work)
    told = seeded("tag", "t").err
    assert kept(seeded) == []
    assert "reset --hard" not in told


@pytest.mark.parametrize("work", [begin_tests, restore_all_but_the_end])
def test_reading_verbs_do_nothing_and_say_what_the_next_writing_one_will_do(
    seeded: Machine, work: Callable[[LocalStore], None]
) -> None:
    dies(seeded, work)
    seeded.write("a", "important", "hours of work")
    before = seeded("debug", "Unfinished").json()
    for words in READING:
        told = seeded(*words).err
        assert told.count("`dm-compose prune`, or the next command that writes, keeps what is live now and") == 1, words
        assert seeded.read("a", "important") == "hours of work"
        assert seeded("debug", "Unfinished").json() == before
    (left,) = seeded("status", "--json").json()["unfinished"]
    assert left["text"] in told
    assert [dot["unfinished"] for dot in seeded("list", "--json").json()] == [[left["text"]]]
    seeded("tag", "t")
    assert seeded("status", "--json").json()["unfinished"] == []
    assert seeded("status").err == ""


def test_a_mixture_of_two_commits_is_nothing_new(machine: Machine) -> None:
    """A reset that is killed half-way leaves files of the one and of the other."""
    machine("init", "a")
    machine.write("a", "first", "one")
    machine.chain("one")
    machine.write("a", "first", "uncommitted")
    machine.write("a", "file", "uncommitted too")

    def half(store: LocalStore) -> None:
        directories = store.tree(A, MAIN_WORKTREE)
        captured = store.prepare_commit(A, MAIN_WORKTREE, directories)
        store.capture(captured)
        saved = store.publish(captured, CommitDraft("before", "tester", hidden=True)).id
        worktree = store.worktree(A, MAIN_WORKTREE)
        assert worktree.head is not None
        store.begin_restore(A, MAIN_WORKTREE, worktree.head, [], Move("reset", worktree.branch, worktree.head, saved), captured)
        (Path(directories[DEFAULT_SUBDOT]) / "file").write_text("one")

    dies(machine, half)
    machine("tag", "t")
    assert kept(machine) == []
    assert (machine.read("a", "file"), machine.read("a", "first")) == ("one", "one")
    machine("undo")
    assert (machine.read("a", "file"), machine.read("a", "first")) == ("uncommitted too", "uncommitted")


# A test run that lives


@pytest.fixture
def borrowed(seeded: Machine) -> Iterator[Machine]:
    """The dot `a` while a test run has it: this process."""
    store = LocalStore(seeded.home)
    seeded("branch", "other")
    begin_tests(store)
    seeded.write("a", "file", "a test wrote this")
    yield seeded
    store.close()


@pytest.mark.parametrize(
    "words",
    [
        ["commit", "-m", "mine"],
        ["reset", "--hard", "HEAD"],
        ["reset", "HEAD"],
        ["checkout", "other"],
        ["checkout", "-b", "new"],
        ["undo"],
    ],
    ids=lambda words: "-".join(words[:2]),
)
def test_verbs_that_move_or_commit_refuse_while_a_test_run_has_the_worktree(borrowed: Machine, words: list[str]) -> None:
    ended = borrowed(*words, code=IN_USE)
    assert "in use by a test run since" in ended.err
    assert "pytest (process 1)" in ended.err
    assert borrowed.read("a", "file") == "a test wrote this"
    assert borrowed.messages() == ["one"]


def test_a_dot_that_a_test_run_has_is_not_deleted(borrowed: Machine) -> None:
    assert "in use by a test run since" in borrowed("dot", "delete", "-f", "a", code=IN_USE).err
    assert borrowed.messages() == ["one"]


def test_names_can_be_given_and_read_while_a_test_run_has_the_worktree(borrowed: Machine) -> None:
    borrowed("tag", "v1")
    borrowed("branch", "third")
    borrowed("worktree", "add", "beside", "other")
    for words in READING:
        assert borrowed(*words).err == ""
    assert "in use by a test run since" in borrowed("status").out
    found = borrowed("status", "--json").json()
    assert (found["in_use"]["owner"], found["unfinished"]) == ("pytest (process 1)", [])
    assert found["in_use"]["since"] is not None


def test_a_test_run_of_another_worktree_is_no_obstacle(seeded: Machine) -> None:
    """It holds the session's lock of the dot, and has described itself otherwise than the run that died here."""
    dies(seeded, lambda store: begin_tests(store, "pytest (process 2)"))
    store = LocalStore(seeded.home)
    store.lock(session_lock(A), "pytest (process 3), in another worktree", 0)
    seeded.write("a", "file", "two")
    seeded("commit", "-m", "recovered before")
    assert not any(seeded("debug", "Unfinished").json().values())
    store.close()


# Undo


def test_an_undo_does_not_leave_commits_that_were_made_since(seeded: Machine) -> None:
    seeded.write("a", "file", "uncommitted")
    seeded("reset", "--hard", "HEAD")
    seeded.chain("work after the reset", "more work")
    ended = seeded("undo", code=7)
    assert "2 commits were made since the reset of" in ended.err
    assert "undo --hard" in ended.err
    assert seeded.messages() == ["one", "work after the reset", "more work"]
    ended = seeded("undo", "--hard")
    assert "one, as before the reset of" in ended.out
    assert "`dm undo` takes this back" in ended.out
    assert seeded.messages() == ["one"]
    assert seeded.read("a", "file") == "uncommitted"
    seeded("undo")
    assert seeded.messages() == ["one", "work after the reset", "more work"]


def test_an_undo_says_where_it_has_come_to(seeded: Machine) -> None:
    seeded.chain("two")
    seeded("reset", "HEAD^")
    ended = seeded("undo", "--json").json()
    assert ended["head"]["message"] == "two"
    assert ended["undone"]["action"] == "reset"


def test_a_command_that_is_at_work_is_told_and_is_nothing_to_finish(seeded: Machine) -> None:
    dies(seeded, restore_all_but_the_end)
    store = LocalStore(seeded.home)
    token = store.lock(A, "dm-compose (process 7)", 0)
    ended = seeded("status")
    assert "a command is at work on dot a: dm-compose (process 7)" in ended.out
    assert ended.err == ""
    told = seeded("status", "--json").json()
    assert (told["unfinished"], told["in_use"]["operation"]) == ([], "restore")
    store.unlock(token)
    store.close()
    assert "was interrupted" in seeded("status").err
