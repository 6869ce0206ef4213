"""With `--json` every verb prints one document, about errors too."""

from __future__ import annotations

from pathlib import Path

import pytest

from dm_compose.cli.dm_group import cli
from dm_compose.errors import error_classes
from tests.support.commands import (
    DAMAGED,
    USAGE,
    verbs,
)
from tests.support.machines import Machine, overwrite

PRINTING = [
    ("init", "new"),
    ("list",),
    ("switch", "a"),
    ("commit", "-m", "c"),
    ("log",),
    ("status",),
    ("diff",),
    ("diff", "HEAD^", "HEAD"),
    ("branch",),
    ("branch", "new"),
    ("branch", "-d", "other"),
    ("checkout", "other"),
    ("checkout", "-b", "new"),
    ("checkout", "v1"),
    ("reset", "--hard", "HEAD^"),
    ("show",),
    ("reflog",),
    ("tag",),
    ("tag", "new"),
    ("tag", "-d", "v1"),
    ("stash", "list"),
    ("worktree", "list"),
    ("worktree", "add", "new"),
    ("dot", "show"),
    ("dot", "delete", "-f", "a"),
    ("mount", "a", "PLACE"),
    ("mount", "--create", "new", "PLACE"),
    ("mount", "--commit", "HEAD", "a", "PLACE"),
    ("gc",),
    ("config",),
    ("config", "undo-days", "7"),
    ("fsck",),
    ("version",),
    ("debug",),
]


@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_json_is_one_document_and_nothing_else_is_printed(used: Machine, words: tuple[str, ...], tmp_path: Path) -> None:
    words = tuple(str(tmp_path / "here") if word == "PLACE" else word for word in words)
    ended = used(*words, "--json")
    assert ended.err == ""
    assert ended.json() is not None


def test_json_of_stashes_is_one_document_each(used: Machine) -> None:
    assert used("stash", "--json").json()["stash"] == "stash/1"
    assert [found["stash"] for found in used("stash", "list", "--json").json()] == ["stash/1"]
    assert used("stash", "pop", "--json").err == ""
    assert used("stash", "--json").json()["stash"].startswith("stash/")
    number = used("stash", "list", "--json").json()[0]["stash"].removeprefix("stash/")
    assert used("stash", "drop", number, "--json").json() is not None
    assert used("stash", "list", "--json").json() == []


def test_json_of_what_follows_a_move_is_one_document_too(used: Machine) -> None:
    used("reset", "--hard", "HEAD^")
    assert used("undo", "--json").json()["restored"]
    used("checkout", "other")
    assert used("undo", "--json").json()["branch"] == "master"
    used("worktree", "add", "side")
    assert used("worktree", "remove", "side", "--json").json() == {"worktree": "side"}


def test_json_about_a_remote_is_one_document_whatever_is_found_there(used: Machine, tmp_path: Path) -> None:
    used("remote", "add", "hub", str(tmp_path / "hub"))
    used("push", "hub")
    for answer in ("n\n", ""):
        assert used("remote", "rm-dot", "hub", "a", "--json", answer=answer).json() == {"dot": "admin/a", "deleted": False}
    assert used("remote", "rm-dot", "hub", "a", answer="n\n").out == "Aborted.\n"
    assert used("remote", "verify", "hub", "--json").json()["sound"] is True
    largest = max((path for path in (tmp_path / "hub").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    overwrite(largest)
    assert used("remote", "verify", "hub", "--json", code=DAMAGED).json()["sound"] is False
    assert "damaged" in used("remote", "verify", "hub", code=DAMAGED).err
    assert used("remote", "rm-dot", "-f", "hub", "a", "--json").json() == {"dot": "admin/a", "deleted": True}
    assert used("remote", "ls", "hub", "--json").json() == []


@pytest.mark.parametrize(
    "words",
    [
        ("push", "hub", ""),
        ("push", "hub", "a", ""),
        ("push", "hub", "--remote-name", ""),
        ("pull", "hub", ""),
        ("pull", "hub", "a", ""),
        ("clone", "hub", "a", "", "--local-name", "b"),
        ("clone", "hub", "a", "--local-name", ""),
        ("remote", "gc", "hub", ""),
        ("remote", "verify", "hub", ""),
        ("dot", "set-upstream", "", "hub", "a"),
    ],
    ids=" ".join,
)
def test_an_empty_word_is_a_mistake_and_not_everything_or_the_current(
    used: Machine, tmp_path: Path, words: tuple[str, ...]
) -> None:
    used("remote", "add", "hub", str(tmp_path / "hub"))
    used("push", "hub")
    assert "invalid" in used(*words, code=USAGE).err


def test_every_verb_that_prints_is_asked_for_json_here() -> None:
    """Verbs of the driver and of remotes have tests of their own."""
    known = {" ".join(words[:2]) if words[0] in ("worktree", "dot", "stash") else words[0] for words in PRINTING}
    known |= {
        "undo",
        "worktree remove",
        "stash pop",
        "stash drop",
        "cluster init",
        "cluster reset",
        "cluster status",
        "push",
        "pull",
        "clone",
        "dot set-upstream",
    }
    known |= {f"remote {verb}" for verb in ("add", "rm", "switch", "ls", "rm-dot", "gc", "verify")}
    known |= {"s3 remote add", "s3 clone-subset"}
    assert known | {"completion", "help"} == {" ".join(path) for path, _ in verbs(cli)}


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("switch", "nope"), "not_found"),
        (("init", "a"), "exists"),
        (("init", "../x"), "usage"),
        (("init",), "usage"),
        (("list", "--nope"), "usage"),
        (("nope",), "usage"),
        (("--dot", "", "list"), "usage"),
        (("reset", "HEAD"), "uncommitted"),
        (("reset", "--hard", "nope"), "not_found"),
        (("branch", "-d", "master"), "in_use"),
        (("commit", "-m", "c", "-d", "A=1"), "usage"),
        (("dot", "delete", "-f", "nope"), "not_found"),
        (("checkout", "nope"), "not_found"),
        (("debug", "Nope"), "usage"),
        (("worktree", "nope"), "usage"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_an_error_is_one_json_document(used: Machine, words: tuple[str, ...], kind: str) -> None:
    code = error_classes()[kind].exit_code
    ended = used(*words, "--json", code=code)
    error = ended.json()["error"]
    assert (error["kind"], error["code"], ended.err) == (kind, code, "")
    assert error["message"]
