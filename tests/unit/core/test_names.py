"""Names as types: whatever has passed `parse` can be part of a path, a query and a message."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm_compose.core.names import DEFAULT_BRANCH, MAIN_WORKTREE, CommitId, DotName, RefName, SubdotName, WorktreeName
from dm_compose.errors import UsageError

KINDS = (DotName, SubdotName, WorktreeName, RefName, CommitId)
FILES = (DotName, SubdotName, WorktreeName)  # each is one component of a path in the store

GOOD = {
    DotName: ["a", "shop", "Shop_2-x", "0", "a_", "a" * 100],
    SubdotName: ["a", "db", "db.data", "a..b", "x-", "a" * 100, "__default__", "__root__"],
    WorktreeName: ["main", "feature.1"],
    RefName: ["master", "feature/x", "v1.0", "a", "HEADS", "HEAD/x", "a/HEAD", "x" * 200, "a-", "a.b/c.d"],
    CommitId: ["0" * 32, "0123456789abcdef" * 2],
}
ALWAYS_BAD = [
    "_",
    "_x",
    "",
    " ",
    "\n",
    ".",
    "..",
    "/",
    "-x",
    ".x",
    "a b",
    "a\n",
    "\na",
    "a\0",
    "a/../b",
    "../a",
    "/a",
    "a/",
    "ä",
    "a'b",
    "$a",
    "\udcff",
]
BAD = {
    DotName: ["a.b", "a/b", "a" * 101, "__default__"],
    SubdotName: ["a/b", "a" * 101, "__default", "__root__x"],
    WorktreeName: ["a/b", "a" * 101],
    RefName: ["HEAD", "a..b", "a//b", "a/.b", "a.", "x" * 201, "a~1", "a^", "a:b", "a@{1}"],
    CommitId: ["0" * 31, "0" * 33, "A" * 32, "g" * 32, "0" * 31 + "\n"],
}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in GOOD.items() for text in texts])
def test_a_good_name_becomes_its_type_and_stays_a_string(kind: type[DotName], text: str) -> None:
    name = kind.parse(text)
    assert name == text
    assert type(name) is kind
    assert hash(name) == hash(text)


@pytest.mark.parametrize(
    ("kind", "text"), [(kind, text) for kind, texts in BAD.items() for text in (*texts, *ALWAYS_BAD)], ids=repr
)
def test_a_bad_name_is_refused_with_its_words(kind: type[DotName], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        kind.parse(text)
    assert repr(text) in caught.value.message
    assert kind.what in caught.value.message
    assert caught.value.hint is not None
    assert kind.allowed in caught.value.hint


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [None, 5, b"bytes", ["a"]], ids=repr)
def test_what_is_no_text_is_refused(kind: type[DotName], value: object) -> None:
    with pytest.raises(UsageError):
        kind.parse(value)  # type: ignore[arg-type]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(FILES), st.text(max_size=110) | st.text("ab.-_/~", max_size=8))
def test_a_name_that_passes_is_one_harmless_component_of_a_path(kind: type[DotName], text: str) -> None:
    try:
        name = kind.parse(text)
    except UsageError:
        return
    assert os.path.normpath(f"/store/{name}") == f"/store/{name}"
    assert os.path.dirname(f"/store/{name}") == "/store"
    assert not name.startswith(("-", "."))
    assert name.isascii()
    assert len(f".{name}.index.4194304.tmp") <= 255


@settings(max_examples=400, deadline=None)
@given(st.text("HEADab./-_", max_size=8))
def test_a_branch_name_that_passes_has_harmless_components(text: str) -> None:
    try:
        name = RefName.parse(text)
    except UsageError:
        return
    assert name != "HEAD"
    for component in name.split("/"):
        assert component
        assert not component.startswith(".")
        assert ".." not in component
    assert not name.startswith("-")


def test_a_branch_name_that_passes_is_one_for_git_too() -> None:
    for name in GOOD[RefName]:
        done = subprocess.run(["git", "check-ref-format", f"refs/heads/{name}"], check=False)
        assert done.returncode == 0, name


def test_new_commit_ids_are_valid_and_never_the_same() -> None:
    made = {CommitId.new() for _ in range(1000)}
    assert len(made) == 1000
    for commit_id in made:
        assert CommitId.parse(commit_id) == commit_id
        assert commit_id.short == commit_id[:12]


def test_the_defaults_are_names() -> None:
    assert RefName.parse(DEFAULT_BRANCH) == "master"
    assert WorktreeName.parse(MAIN_WORKTREE) == "main"
