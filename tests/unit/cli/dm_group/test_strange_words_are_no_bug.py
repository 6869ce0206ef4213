"""`dm` with words that nobody would think of: every one has a documented exit code, and none reaches outside the store."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm_compose.core.names import DotName, WorktreeName
from tests.support.commands import Ended
from tests.support.machines import Machine

WORDS = settings(max_examples=150, deadline=None)
FEWER = settings(max_examples=100, deadline=None)
STORE = {"objects", "incoming", "trees", "index", "locks", "state.db", "state.db-wal", "state.db-shm"}

# What a process can be called with: no NUL, and bytes that are not UTF-8 as surrogates.
character = st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from("\udc80\udcff")
PUNCTUATION = [
    "..",
    "/",
    ".",
    "@",
    "~",
    "^",
    "-",
    "_",
    "=",
    " ",
    "\n",
    "\x1b[31m",
    "%s",
    "{}",
    "*",
    "$(id)",
    "`id`",
    "'",
    '"',
    ";",
    "\\",
]
NAMES = [
    "a",
    "master",
    "main",
    "HEAD",
    "__default__",
    "__root__",
    ".current",
    "trees",
    "v1",
    "é",
    "ß",
    "٣",
    "0000",
    "x" * 101,
    "é" * 120,
]
fragment = st.sampled_from([*PUNCTUATION, *NAMES])
word = st.lists(fragment | st.text(character, max_size=4), max_size=5).map("".join) | st.text(character, max_size=300)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A machine with a dot, two branches and a tag, and something outside its store; one stands beside it."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    root = Path(tempfile.mkdtemp(prefix="dm-compose-test-", dir=base))
    here = os.getcwd()
    made = Machine(root)
    made("init", "a")
    made.write("a", "file", "one")
    made.commit("a", "one")
    made("switch", "a")
    made("tag", "v1")
    made("branch", "other")
    made.write("a", "file", "two")
    made.commit("a", "two")
    made.write("a", "file", "uncommitted")
    made("remote", "add", "hub", str(root / "hub"))
    made("push", "hub")
    (root / "work").mkdir()
    (root / "work" / "file").write_text("not the store's")
    os.chdir(root / "work")
    yield made
    os.chdir(here)
    shutil.rmtree(root)


def outside(machine: Machine) -> dict[str, bytes | None]:
    """Return what there is around the store, and check that the store itself has nothing that does not belong there."""
    assert {path.name for path in machine.home.iterdir()} <= STORE
    for dot in (machine.home / "trees").iterdir():
        DotName.parse(dot.name)
        for tree in dot.iterdir():
            assert tree.name == ".current" or WorktreeName.parse(tree.name)
    found: dict[str, bytes | None] = {}
    for path in machine.root.rglob("*"):
        if machine.home not in (path, *path.parents):
            found[str(path.relative_to(machine.root))] = path.read_bytes() if path.is_file() else None
    return found


def check(machine: Machine, *words: str) -> Ended:
    """Run a call that may not do anything to the surroundings, nor to what is uncommitted."""
    before = outside(machine)
    ended = machine(*words, code=None, answer="n\n")
    assert outside(machine) == before
    assert machine.read("a", "file") == "uncommitted"
    return ended


DOT_VERBS = ["switch NAME", "dot delete NAME", "dot show NAME", "mount NAME file", "mount --create NAME file"]
DOT_VERBS += ["--dot=NAME log", "status --dot=NAME", "dot show --dot=NAME", "--dot=NAME init b"]


def filled(verb: str, name: str) -> list[str]:
    """Return a verb's words with the name in them, which is no option whatever it begins with."""
    words = verb.split()
    at = words.index("NAME") if "NAME" in words else len(words)
    return [item.replace("NAME", name) for item in (*words[:at], *(["--"] if at < len(words) else []), *words[at:])]


@WORDS
@given(word)
def test_any_word_as_the_name_of_a_new_dot(machine: Machine, name: str) -> None:
    made = check(machine, "init", "--", name).code == 0
    assert made == (name != "a" and bool(DotName.pattern.fullmatch(name)))
    if made:
        assert check(machine, "dot", "delete", "-f", "--", name).code == 0


@WORDS
@given(st.sampled_from(DOT_VERBS), word)
def test_any_word_as_the_name_of_a_dot(machine: Machine, verb: str, name: str) -> None:
    ended = check(machine, *filled(verb, name))
    if not DotName.pattern.fullmatch(name):
        assert ended.code != 0
    for made in {row[0] for row in machine("list", "-H").fields()} - {"a"}:
        machine("dot", "delete", "-f", made)


@WORDS
@given(st.sampled_from(["branch", "tag", "worktree", "checkout"]), word)
def test_any_word_as_the_name_of_something_new(machine: Machine, what: str, name: str) -> None:
    before = outside(machine)
    new = {"branch": ["branch"], "tag": ["tag"], "worktree": ["worktree", "add"], "checkout": ["checkout", "-b"]}[what]
    if machine(*new, "--", name, code=None).code == 0:
        assert machine.read("a", "file") == ("two" if what == "checkout" else "uncommitted")
        machine("checkout", "master")
        machine(*(["tag", "-d"] if what == "tag" else ["branch", "-d"]), "--", name)
    assert outside(machine) == before
    assert machine("branch").lines == ["* master", "  other"]
    assert list(machine("tag", "--json").json()) == ["v1"]


GONE_VERBS = ["branch -d NAME", "tag -d NAME", "worktree remove NAME", "worktree remove --force NAME", "branch -D NAME"]


@WORDS
@given(st.sampled_from([*GONE_VERBS, "--branch=NAME log", "status --branch=NAME", "commit -m c --branch=NAME"]), word)
def test_any_word_as_the_name_of_something_that_is_not_there(machine: Machine, verb: str, name: str) -> None:
    if name not in ("other", "v1", "master", "main"):
        assert check(machine, *filled(verb, name)).code != 0


@WORDS
@given(word | st.builds("a@{}.{}".format, word, word) | st.builds("a.{}".format, word) | st.builds("a@{}".format, word))
def test_any_word_as_the_name_of_a_volume(machine: Machine, name: str) -> None:
    before = outside(machine)
    place = machine.root / "work" / "place"
    for words in (("mount", "--", name, "place"), ("mount", "--commit", "HEAD", "--", name, "place")):
        ended = machine(*words, code=None)
        assert os.path.lexists(place) == (ended.code == 0)
        if place.is_symlink():
            assert (machine.home / "trees" / "a") in (place.resolve(), *place.resolve().parents)
            place.unlink()
        elif place.exists():
            shutil.rmtree(place)
    assert outside(machine) == before


REF_VERBS = ["log NAME", "diff NAME", "diff HEAD NAME", "reset NAME", "branch other NAME", "tag v1 NAME"]
LOST_VERBS = ["reset --hard NAME", "checkout NAME", "checkout -b new NAME", "mount --commit=NAME a file", "worktree add new NAME"]
steps = st.builds("{}{}".format, st.sampled_from(["HEAD", "master", "v1", "other"]), st.text("^~0123456789", max_size=12))


@WORDS
@given(st.sampled_from(REF_VERBS), word | steps)
def test_any_word_as_a_reference(machine: Machine, verb: str, ref: str) -> None:
    check(machine, *filled(verb, ref))


@WORDS
@given(st.sampled_from(LOST_VERBS), word | steps)
def test_any_word_as_a_reference_to_nothing(machine: Machine, verb: str, ref: str) -> None:
    if machine("log", "--", ref, code=None).code != 0:
        assert check(machine, *filled(verb, ref)).code != 0


HUB_VERBS = [
    "remote ls NAME",
    "remote rm NAME",
    "remote switch NAME",
    "remote gc NAME",
    "remote verify NAME",
    "push NAME",
    "pull NAME",
]
HUB_VERBS += ["push hub NAME", "push hub a NAME", "pull hub NAME", "pull hub a NAME", "clone hub NAME --local-name b"]
HUB_VERBS += ["clone hub a NAME --local-name b", "clone --local-name=NAME hub a", "push --remote-name=NAME hub a nope"]
HUB_VERBS += ["remote rm-dot hub NAME", "remote gc hub NAME", "remote verify hub NAME", "dot set-upstream hub NAME"]
HUB_VERBS += ["dot set-upstream NAME hub x", "dot set-upstream a NAME x", "remote add NAME ../hub", "remote add again NAME"]


@WORDS
@given(st.sampled_from(HUB_VERBS), word.filter(lambda name: "/" not in name and name not in (".", "..", "hub")))
def test_any_word_as_the_name_of_what_a_remote_has(machine: Machine, verb: str, name: str) -> None:
    check(machine, *filled(verb, name))
    for made in {row[0] for row in machine("list", "-H").fields()} - {"a"}:
        machine("dot", "delete", "-f", made)
    machine("dot", "set-upstream", "hub", "a")
    for remote in machine("remote", "--json").json():
        if remote["name"] != "hub":
            machine("remote", "rm", remote["name"])


@FEWER
@given(word, word, word, st.text(character, max_size=3000))
def test_any_words_as_message_and_metadata(machine: Machine, message: str, field: str, key: str, value: str) -> None:
    metadata = f"--metadata={key}={value}"
    assert check(machine, "commit", f"--message={message}", f"--metadata={field}", metadata, "--dot", "b").code != 0
    machine("init", "b")
    ended = check(machine, "commit", f"--message={message}", metadata, "--dot", "b")
    name, _, rest = f"{key}={value}".partition("=")
    if ended.code == 0:
        (found,) = machine("log", "--dot", "b", "--json").json()
        assert (found["message"], found["metadata"]) == (message, {name: rest})
        machine("log", "--dot", "b")
    else:
        assert not message.strip() or not name[:1].islower()
    machine("dot", "delete", "-f", "b")


VERBS = ["list", "status", "log", "diff", "branch", "tag", "reflog", "version", "debug", "fsck", "gc", "nope"]


@FEWER
@given(
    st.sampled_from(VERBS),
    st.lists(word, max_size=4),
    st.dictionaries(st.sampled_from(["DM_DOT", "DM_TIMEOUT", "DM_FILES", "NO_COLOR"]), word),
)
def test_any_words_at_all(machine: Machine, verb: str, words: list[str], variables: dict[str, str]) -> None:
    before = outside(machine)
    for call in ([verb, *words], words):
        machine(*call, code=None, answer="n\n", **variables)
    assert outside(machine) == before
