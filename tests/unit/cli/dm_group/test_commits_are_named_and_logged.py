"""`dm commit`, `log`, `status`, `diff` and `tag`: commits are named and logged."""

from __future__ import annotations

import re

import pytest

from tests.support.commands import (
    EXISTS,
    NOT_FOUND,
    USAGE,
)
from tests.support.machines import Machine

# Commit


def test_a_commit_prints_its_id_and_nothing_else(dm: Machine) -> None:
    ended = dm("commit", "-m", "one")
    assert re.fullmatch(r"[0-9a-f]{32}\n", ended.out)
    assert ended.err == ""
    assert not dm.is_dirty()


def test_a_dot_can_be_committed_unchanged_and_empty(dm: Machine) -> None:
    ids = {dm.commit("a", "same") for _ in range(3)}
    assert len(ids) == 3
    dm("init", "empty")
    dm("--dot", "empty", "commit", "-m", "nothing in it")
    assert dm("list", "-H").fields()[1][4:] == ["0", "1", "0"]


@pytest.mark.parametrize("message", ["", " ", "\n"])
def test_a_commit_wants_a_message(dm: Machine, message: str) -> None:
    assert "message" in dm("commit", "-m", message, code=USAGE).err
    assert "--message" in dm("commit", code=USAGE).err
    assert dm("log").out == ""


def test_a_message_of_several_lines_is_indented_in_the_log(dm: Machine) -> None:
    dm("commit", "-m", "first\n\nthird: with a colon")
    assert dm("log").lines[-4:] == ["    first", "    ", "    third: with a colon", ""]


def test_fields_of_metadata_are_kept_with_a_commit(dm: Machine) -> None:
    long = "v" * 2000
    dm("commit", "-m", "c", "--metadata", f"long={long}", "-d", "equation=a=b=c", "--metadata", "empty=", "-d", "ü=ä ö")
    (found,) = dm("log", "--json").json()
    assert found["metadata"] == {"long": long, "equation": "a=b=c", "empty": "", "ü": "ä ö"}
    lines = dm("log").lines
    assert f"long: {long}" in lines
    assert "equation: a=b=c" in lines
    assert "empty: " in lines


@pytest.mark.parametrize("word", ["Ticket=1", "TICKET=1", "9=1", "_x=1", "=1", " a=1"])
def test_a_field_that_does_not_start_in_lower_case_is_refused_by_name(dm: Machine, word: str) -> None:
    ended = dm("commit", "-m", "c", "--metadata", "fine=1", "--metadata", word, code=USAGE)
    assert "must start with lowercase" in ended.err
    assert repr(word.partition("=")[0]) in ended.err
    assert dm("log").out == ""


@pytest.mark.parametrize("word", ["ticket", "", "a b", "Ticket"])
def test_a_field_without_a_value_is_refused_by_name(dm: Machine, word: str) -> None:
    ended = dm("commit", "-m", "c", "-d", "fine=1", "-d", word, code=USAGE)
    assert "name=value pair" in ended.err
    assert repr(word) in ended.err
    assert dm("log").out == ""


def test_a_commit_that_was_made_by_something_killed_is_not_there(dm: Machine) -> None:
    assert dm("debug", "Unfinished").json() == {"a": []}
    dm("commit", "-m", "c")
    assert dm("debug", "Unfinished").json() == {"a": []}


# Log


def test_a_log_is_in_the_ancestors_form_and_the_oldest_comes_first(dm: Machine) -> None:
    assert dm("log").out == ""
    one, two = dm.chain("one", "two")
    text = dm("log").out
    lines = r"commit (\w+)(.*)\nauthor: \w+\ndate: [-\d]{10} [:\d]{8} [-+]\d{4}\nsize: 3 B \(3 B new\)\n\n    (\w+)\n\n"
    assert re.findall(lines, text) == [(one, "", "one"), (two, " (HEAD -> master)", "two")]
    assert [found["id"] for found in dm("log", "--json").json()] == [two, one]


def test_the_log_of_a_branch_needs_no_checkout(dm: Machine) -> None:
    one, _ = dm.chain("one", "two")
    dm("branch", "old", one[:8])
    assert dm.messages("old") == dm.messages("--branch", "old") == ["one"]
    assert dm.messages() == dm.messages("master") == dm.messages("HEAD") == ["one", "two"]
    assert dm.messages(one[:4]) == dm.messages("HEAD^") == dm.messages("master~1") == ["one"]
    dm("tag", "v1", "old")
    assert dm.messages("v1") == ["one"]
    assert dm("branch").lines == ["* master", "  old"]


def test_the_branch_that_one_stands_on_has_an_empty_log_before_its_first_commit(dm: Machine) -> None:
    assert dm("log", "master").out == dm("--branch", "master", "log").out == ""
    assert dm("log", "--json").json() == []


@pytest.mark.parametrize("ref", ["nope", "HEAD~2", "HEAD^^", "master~9", "ffffffff", "abc", "HEAD~999999"])
def test_what_is_no_commit_has_no_log(dm: Machine, ref: str) -> None:
    dm.chain("one", "two")
    ended = dm("log", ref, code=NOT_FOUND)
    assert ended.err.startswith("error: ")
    assert ("at least 4 digits" if ref == "abc" else "`log`") in ended.err


@pytest.mark.parametrize(
    "words", [("log", ""), ("branch", "b", ""), ("tag", "t", ""), ("checkout", ""), ("checkout", "-b", "b", ""), ("reset", "")]
)
def test_an_empty_reference_is_a_mistake_and_not_the_head(dm: Machine, words: tuple[str, ...]) -> None:
    dm.chain("one")
    assert "''" in dm(*words, code=USAGE).err
    assert dm("branch").out == "* master\n"
    assert dm("tag").out == ""


# Status and diff


def test_status_and_diff_tell_what_is_not_committed(dm: Machine) -> None:
    assert dm("status").lines[:2] == ["dot a on branch master", "head no commit yet"]
    (one,) = dm.chain("one")
    assert dm("status").lines[1] == f"head {one[:12]} one"
    assert dm("diff").out == "no difference\n"
    dm.write("a", "file", "two")
    dm.write("a", "new", "12345")
    assert "written to: 8 B in 2 files" in dm("status").out
    assert [line.split()[0] for line in dm("diff").lines] == ["__default__:", "added", "changed"]
    changes = dm("diff", "--json").json()["__default__"]["changes"]
    assert {c["path"]: (c["how"], c["changed_bytes"]) for c in changes} == {"file": ("changed", 3), "new": ("added", 5)}
    dm("commit", "-m", "two")
    assert {c["path"] for c in dm("diff", "HEAD^", "HEAD", "--json").json()["__default__"]["changes"]} == {"file", "new"}


# Tags


def test_a_tag_names_a_commit_until_it_is_forgotten(dm: Machine) -> None:
    one, two = dm.chain("one", "two")
    assert dm("tag").out == ""
    assert dm("tag", "now").out == f"tag now is {two[:12]}\n"
    dm("tag", "v1/first", "HEAD^")
    assert dm("tag").lines == [f"now  {two[:12]}", f"v1/first  {one[:12]}"]
    assert dm("tag", "--json").json() == {"now": two, "v1/first": one}
    assert "exists already" in dm("tag", "now", "HEAD^", code=EXISTS).err
    dm("reset", "v1/first")
    dm("tag", "-d", "v1/first")
    assert dm("tag", "--json").json() == {"now": two}
    assert dm.read("a", "file") == "one"
    assert "no tag" in dm("tag", "-d", "v1/first", code=NOT_FOUND).err
    assert dm("tag", "-d", code=USAGE).out == ""
    assert "invalid" in dm("tag", "-d", "now", "HEAD", code=USAGE).err


def test_a_branch_is_meant_before_a_tag_of_its_name(dm: Machine) -> None:
    one, two = dm.chain("one", "two")
    dm("tag", "both", one)
    dm("branch", "both", two)
    assert dm.messages("both") == ["one", "two"]
