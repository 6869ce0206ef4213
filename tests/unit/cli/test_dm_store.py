"""`dm` on a store in a folder, without an engine: looking after the store, completion, and what is printed where."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

import dm_compose
from dm_compose.cli.dm_group import cli
from dm_compose.dots.dot import Dot
from dm_compose.errors import DamagedError, DiskFullError, NotFoundError, StoreError, UsageError, error_classes
from tests.support.filesystems import Mount
from tests.support.machines import Ended, Machine

USAGE, NOT_FOUND, STORE, DISK_FULL, DAMAGED = (
    cls.exit_code for cls in (UsageError, NotFoundError, StoreError, DiskFullError, DamagedError)
)
SCRIPT = str(Path(sys.executable).with_name("dm"))
PATIENCE_S = 60


@pytest.fixture
def dm(machine: Machine) -> Machine:
    """A machine with the dot `a`: two commits on master, a branch, a tag, and something uncommitted."""
    machine("init", "a")
    machine.write("a", "file", "one")
    machine.commit("a", "one")
    machine("tag", "v1")
    machine("branch", "other")
    machine.write("a", "file", "two" * 1000)
    machine.write("a", "more", "to lose")
    machine.commit("a", "two")
    machine.write("a", "file", "uncommitted")
    return machine


def script(machine: Machine, *words: str, answer: str | None = None, **variables: str) -> Ended:
    """Run the installed script in a process of its own."""
    done = subprocess.run(
        [SCRIPT, *words],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=PATIENCE_S,
        env={**machine.environment(), **variables},
        input=answer,
        stdin=subprocess.DEVNULL if answer is None else None,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


# gc


def _objects(machine: Machine) -> list[Path]:
    return sorted(path for path in (machine.home / "objects").rglob("*") if path.is_file())


def _lose(dm: Machine) -> None:
    """Have what the second commit and the uncommitted state hold named by nothing but the reflog."""
    dm("reset", "--hard", "HEAD^")


def test_gc_frees_nothing_that_can_be_reached(dm: Machine) -> None:
    before = _objects(dm)
    assert dm("gc", "--yes").out == "0 commits, 0 objects and 0 leftovers can go: 0 B\n"
    assert dm("gc", "--yes", "--keep-days", "0", "--json").json()["freed"] is None
    assert _objects(dm) == before
    assert dm("fsck").code == 0
    dm("reset", "--hard", "HEAD^")
    dm("undo")
    assert dm.read("a", "file") == "uncommitted"


def test_gc_keeps_what_the_reflog_names_for_the_days_that_were_asked_for(dm: Machine) -> None:
    _lose(dm)
    for days in ("30", "1", "99999", "9999999999999999999"):
        assert dm("gc", "--yes", "--keep-days", days, "--json").json()["found"]["commits"] == []
    dm("undo")
    assert dm.read("a", "file") == "uncommitted"
    assert "Use 0 or more" in dm("gc", "--keep-days", "-1", code=USAGE).err
    assert "soon" in dm("gc", "--keep-days", "soon", code=USAGE).err


def test_gc_says_first_what_it_would_free_and_then_frees_it(dm: Machine) -> None:
    _lose(dm)
    before = _objects(dm)
    dry = dm("gc", "--keep-days", "0", "--dry-run")
    assert re.fullmatch(r"2 commits, \d+ objects and 0 leftovers can go: [\d.]+ kiB\n", dry.out)
    for answer in ("n\n", "", "\n"):
        ended = dm("gc", "--keep-days", "0", answer=answer)
        assert ended.out == dry.out + "nothing was freed\n"
        assert "Free them?" in ended.err
        assert dm("gc", "--keep-days", "0", "--json", answer=answer).json()["freed"] is None
    assert dm("gc", "--keep-days", "0", "--dry-run", "--yes", "--json").json()["freed"] is None
    assert _objects(dm) == before
    ended = dm("gc", "--keep-days", "0", answer="y\n")
    assert re.fullmatch(re.escape(dry.out) + r"freed [\d.]+ kiB\n", ended.out)
    assert 0 < len(_objects(dm)) < len(before)
    assert dm("fsck").code == 0
    assert dm.read("a", "file") == "one"
    assert "nothing to undo" in dm("undo", code=NOT_FOUND).err
    assert dm("log", "v1", "--json").json()[0]["message"] == "one"


def test_gc_keeps_what_is_uncommitted_on_every_branch(dm: Machine) -> None:
    dm("checkout", "other")
    dm.write("a", "file", "uncommitted on other")
    dm("checkout", "-b", "third", "v1")
    dm.write("a", "file", "uncommitted on third")
    dm("checkout", "master")
    dm("worktree", "remove", "--force", "third")
    dm("gc", "--yes", "--keep-days", "0")
    for branch in ("other", "third"):
        dm("checkout", branch)
        assert dm.read("a", "file") == f"uncommitted on {branch}"
    assert dm("fsck").code == 0


def test_gc_removes_what_killed_commands_left(dm: Machine) -> None:
    incoming, trees = dm.home / "incoming", dm.home / "trees"
    (incoming / "tree.a.nope").mkdir()
    (incoming / "repair.x").write_text("a killed fsck")
    (trees / "a" / "unregistered").mkdir()
    (trees / "a" / ".half-made-link").symlink_to("nowhere")
    (trees / "deleted" / "main").mkdir(parents=True)
    (trees / "stray").write_text("")
    assert dm("gc", "--dry-run", "--json").json()["found"]["leftovers"] == 6
    dm("gc", "--yes")
    assert list(incoming.iterdir()) == []
    assert sorted(path.name for path in trees.iterdir()) == ["a"]
    assert sorted(path.name for path in (trees / "a").iterdir()) == [".current", "main"]
    assert dm.read("a", "file") == "uncommitted"


# fsck


def _of_size(machine: Machine, size: int) -> Path:
    (found,) = [path for path in _objects(machine) if path.stat().st_size == size]
    return found


def _garble(path: Path) -> None:
    mode = path.stat().st_mode
    path.chmod(0o600)
    path.write_bytes(b"x" * path.stat().st_size)
    path.chmod(mode)


def test_fsck_finds_a_sound_store_sound(dm: Machine) -> None:
    assert re.fullmatch(r"2 commits, \d+ objects, [\d.]+ kiB; [1-9]\d* seen first\n", dm("fsck").out)
    assert dm("fsck").out.endswith("; 0 seen first\n")
    found = dm("fsck", "--json").json()
    assert (found["sound"], found["checkup"]["damage"]) == (True, [])


def test_fsck_says_what_is_damaged_and_whose_it_is(dm: Machine) -> None:
    dm("fsck")
    _garble(_of_size(dm, 3000))
    head = dm("log", "--json").json()[0]["id"]
    for words in (("fsck",), ("fsck", "--no-repair")):
        ended = dm(*words, code=DAMAGED)
        assert re.search(rf"damaged: \w+/\w+: does not hold what was written \(commits {head[:12]}\)", ended.out)
        assert ended.err.startswith("error: 1 things in the store are damaged\n")
    found = dm("fsck", "--json", code=DAMAGED).json()
    assert found["sound"] is False
    assert [d["commits"] for d in found["checkup"]["damage"]] == [[head]]
    dm("reset", "--hard", "v1")
    assert dm.read("a", "file") == "one"


def test_a_shortened_or_missing_object_is_seen_at_the_first_look(dm: Machine) -> None:
    path = _of_size(dm, 3000)
    path.chmod(0o600)
    path.write_bytes(b"two")
    assert "damaged" in dm("fsck", code=DAMAGED).out
    path.unlink()
    assert "missing" in dm("fsck", code=DAMAGED).out


def test_fsck_repairs_an_object_from_a_live_file(dm: Machine) -> None:
    dm("reset", "--hard", "HEAD")
    dm("fsck")
    path = _of_size(dm, 3000)
    _garble(path)
    assert "damaged" in dm("fsck", "--no-repair", code=DAMAGED).out
    assert path.read_bytes() == b"x" * 3000
    assert "repaired: " in dm("fsck").out
    assert path.read_bytes() == b"two" * 1000
    assert dm("fsck", "--no-repair").code == 0


def test_fsck_repairs_an_object_from_another_branchs_files(dm: Machine) -> None:
    dm("reset", "--hard", "HEAD")
    dm("fsck")
    dm("checkout", "other")
    _garble(_of_size(dm, 3000))
    assert dm("fsck", "--json").json()["sound"] is True
    dm("checkout", "master")
    assert dm.read("a", "file") == "two" * 1000


def test_a_damaged_commit_does_not_keep_the_others_from_being_used(dm: Machine) -> None:
    dm("fsck")
    _garble(_of_size(dm, 3000))
    dm("checkout", "other")
    assert dm.read("a", "file") == "one"
    dm("commit", "-m", "goes on")
    dm("gc", "--yes", "--keep-days", "0")
    assert dm("fsck", code=DAMAGED).code == DAMAGED


def test_a_commit_whose_manifest_is_damaged_is_named_and_everything_else_goes_on(dm: Machine) -> None:
    dm("init", "b")
    head = dm("log", "--json").json()[0]["id"]
    _garble(dm.home / "objects" / head / "__default__.manifest")
    ended = dm("list", "-H")
    assert [row[0] for row in ended.fields()] == ["a", "b"]
    assert ended.fields()[0][6] == ended.fields()[0][4]
    assert "warning: dot a" in ended.err
    assert dm("dot", "show", "a").lines[0] == "Dot admin/a:"
    for verb in ("status", "diff", "reset --hard HEAD"):
        assert head in dm("--dot", "a", *verb.split(), code=DAMAGED).err
    assert f"damaged: {head}/__default__.manifest" in dm("fsck", code=DAMAGED).out
    assert dm("debug", "Unfinished").json() == {"a": [], "b": []}
    assert dm.read("a", "file") == "uncommitted"
    dm("--dot", "a", "commit", "-m", "three")
    dm("--dot", "a", "reset", "v1")
    dm("--dot", "a", "undo")
    assert dm.read("a", "file") == "uncommitted"
    assert dm("list").err == ""


# version, debug


def test_the_version_is_that_of_client_store_and_docker(machine: Machine) -> None:
    lines = machine("version").lines
    assert lines[:2] == ["Client:", f"\tVersion: {dm_compose.__version__}"]
    assert "Server:" in lines
    assert f"\tStore: {machine.home}" in lines
    assert "\tDocker: no engine answers" in lines
    assert set(machine("version", "--json").json()) == {"client", "python", "store", "docker"}
    for option in ("--version", "-V"):
        assert dm_compose.__version__ in machine(option).out


def test_debug_prints_what_the_store_knows(dm: Machine) -> None:
    everything = dm("debug").json()
    assert set(everything["AllDotsAndBranches"]["a"]["branches"]) == {"master", "other"}
    assert everything["Unfinished"] == {"a": []}
    for name, value in everything.items():
        assert dm("debug", name).json() == dm("debug", "--json", name).json() == value
    assert "Worktrees" in dm("debug", "Nope", code=USAGE).err


# Completion


def _complete(dm: Machine, line: str, shell: str = "bash") -> list[str]:
    """Return what is offered for the last word of a line, which may be empty."""
    words = line.split(" ")
    position = words[-1] if shell == "fish" else str(len(words) - 1)
    ended = dm(_DM_COMPLETE=f"{shell}_complete", COMP_WORDS=line, COMP_CWORD=position)
    assert ended.err == ""
    if shell == "zsh":
        return ended.lines[1::3]
    return [entry.split(",", 1)[1].split("\t")[0] for entry in ended.lines if entry]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_completion_for_every_shell(dm: Machine, shell: str) -> None:
    assert "_DM_COMPLETE" in dm("completion", shell).out
    assert "checkout" in _complete(dm, "dm che", shell)
    assert _complete(dm, "dm checkout oth", shell) == ["other"]


def test_a_shell_without_a_completion_is_refused(dm: Machine) -> None:
    assert "tcsh" in dm("completion", "tcsh", code=USAGE).err


def test_the_names_that_there_are_are_offered(dm: Machine) -> None:
    dm("init", "another")
    dm("switch", "a")
    dm("worktree", "add", "side", "other")
    commits = [commit["id"][:12] for commit in dm("log", "--json").json()]
    for words in ("switch", "--dot", "status --dot", "dot show", "dot delete -f", "mount", "dot show --dot"):
        assert _complete(dm, f"dm {words} ") == ["a", "another"], words
    for words in ("branch", "branch -d", "--branch", "log --branch", "status --branch"):
        assert _complete(dm, f"dm {words} ") == ["master", "other"], words
    for words in ("checkout", "checkout -b new", "log", "reset", "diff", "diff HEAD", "tag new", "worktree add new"):
        assert _complete(dm, f"dm {words} ") == ["master", "other", "v1", *commits], words
    assert _complete(dm, "dm tag -d ") == ["v1"]
    assert _complete(dm, "dm worktree remove ") == ["main", "side"]
    assert _complete(dm, f"dm reset {commits[1][:5]}") == [commits[1]]
    assert _complete(dm, "dm mount --commit v") == ["v1"]


def test_the_names_are_those_of_the_dot_that_is_named(dm: Machine) -> None:
    dm("init", "another")
    assert _complete(dm, "dm --dot another checkout ") == ["master"]
    assert "v1" in _complete(dm, "dm checkout --dot a ")
    assert _complete(dm, "dm --dot nope checkout ") == []
    assert "v1" in _complete(Machine(dm.root, {"DM_DOT": "a"}), "dm checkout ")


def test_a_message_is_one_line_beside_what_is_offered(dm: Machine) -> None:
    dm("commit", "-m", "several\nlines:\tand a tab\n")
    lines = dm(_DM_COMPLETE="zsh_complete", COMP_WORDS="dm log ", COMP_CWORD="2").lines
    assert len(lines) % 3 == 0
    assert "several lines: and a tab" in lines[2::3]


def test_a_key_press_recovers_nothing_and_says_nothing(dm: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dm_compose.dots.stored_dot.recover_if_left", lambda *_: 1 // 0)
    assert "other" in _complete(dm, "dm checkout ")
    for broken in (Machine(Path("/proc/nowhere")), Machine(dm.root, {"DM_HOME": "no-folder"})):
        assert _complete(broken, "dm checkout ") == []
        assert _complete(broken, "dm switch ") == []


# JSON

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
    ("reflog",),
    ("tag",),
    ("tag", "new"),
    ("tag", "-d", "v1"),
    ("worktree", "list"),
    ("worktree", "add", "new"),
    ("dot", "show"),
    ("dot", "delete", "-f", "a"),
    ("mount", "a", "PLACE"),
    ("mount", "--create", "new", "PLACE"),
    ("mount", "--commit", "HEAD", "a", "PLACE"),
    ("gc",),
    ("fsck",),
    ("version",),
    ("debug",),
]


@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_json_is_one_document_and_nothing_else_is_printed(dm: Machine, words: tuple[str, ...], tmp_path: Path) -> None:
    words = tuple(str(tmp_path / "here") if word == "PLACE" else word for word in words)
    ended = dm(*words, "--json")
    assert ended.err == ""
    assert ended.json() is not None


def test_json_of_what_follows_a_move_is_one_document_too(dm: Machine) -> None:
    dm("reset", "--hard", "HEAD^")
    assert dm("undo", "--json").json()["restored"]
    dm("checkout", "other")
    assert dm("undo", "--json").json()["branch"] == "master"
    dm("worktree", "add", "side")
    assert dm("worktree", "remove", "side", "--json").json() == {"worktree": "side"}


def test_json_about_a_remote_is_one_document_whatever_is_found_there(dm: Machine, tmp_path: Path) -> None:
    dm("remote", "add", "hub", str(tmp_path / "hub"))
    dm("push", "hub")
    for answer in ("n\n", ""):
        assert dm("remote", "rm-dot", "hub", "a", "--json", answer=answer).json() == {"dot": "admin/a", "deleted": False}
    assert dm("remote", "rm-dot", "hub", "a", answer="n\n").out == "Aborted.\n"
    assert dm("remote", "verify", "hub", "--json").json()["sound"] is True
    largest = max((path for path in (tmp_path / "hub").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    _garble(largest)
    assert dm("remote", "verify", "hub", "--json", code=DAMAGED).json()["sound"] is False
    assert "damaged" in dm("remote", "verify", "hub", code=DAMAGED).err
    assert dm("remote", "rm-dot", "-f", "hub", "a", "--json").json() == {"dot": "admin/a", "deleted": True}
    assert dm("remote", "ls", "hub", "--json").json() == []


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
    dm: Machine, tmp_path: Path, words: tuple[str, ...]
) -> None:
    dm("remote", "add", "hub", str(tmp_path / "hub"))
    dm("push", "hub")
    assert "invalid" in dm(*words, code=USAGE).err


def test_every_verb_that_prints_is_asked_for_json_here() -> None:
    """Verbs of the driver and of remotes have tests of their own."""
    known = {" ".join(words[:2]) if words[0] in ("worktree", "dot") else words[0] for words in PRINTING}
    known |= {
        "undo",
        "worktree remove",
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
    assert known | {"completion"} == {" ".join(path) for path, _ in verbs(cli)}


def verbs(group: click.Group, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs(command, (*before, name))
        else:
            yield (*before, name), command


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
def test_an_error_is_one_json_document(dm: Machine, words: tuple[str, ...], kind: str) -> None:
    code = error_classes()[kind].exit_code
    ended = dm(*words, "--json", code=code)
    error = ended.json()["error"]
    assert (error["kind"], error["code"], ended.err) == (kind, code, "")
    assert error["message"]


# Help


@pytest.mark.parametrize(
    ("words", "command"), list(verbs(cli)), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_verb_and_every_option_of_it_has_help(machine: Machine, words: tuple[str, ...], command: click.Command) -> None:
    for option in ("-h", "--help"):
        ended = machine(*words, option)
        assert ended.out.startswith(f"Usage: dm {' '.join(words)} ")
        assert ended.err == ""
    assert len(command.get_short_help_str()) > 10
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.opts
    assert list(machine.root.iterdir()) == []


def test_the_help_lists_every_verb_and_every_exit_code(machine: Machine) -> None:
    text = machine("--help").out
    assert all(re.search(rf"^  {name}\b", text, re.MULTILINE) for name in cli.commands)
    codes = text.partition("Exit codes:")[2]
    assert all(re.search(rf"\b{error.exit_code} [a-zA-Z]", codes) for error in error_classes().values())
    assert "Usage: dm [OPTIONS]" in machine(code=USAGE).err


def test_a_bug_gives_70_and_no_traceback(dm: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dot, "branches", lambda *_: 1 // 0)
    with pytest.raises(AssertionError, match="this is a bug") as raised:
        dm("branch")
    assert "Traceback" not in str(raised.value)
    (log,) = (dm.root / "state" / "dm-compose").iterdir()
    assert "dm branch" in log.read_text()
    assert "ZeroDivisionError" in log.read_text()


FLAGS = [
    (words, option)
    for words, command in verbs(cli)
    for parameter in command.params
    if isinstance(parameter, click.Option) and parameter.is_flag and words != ("s3", "clone-subset")  # which only refuses
    if words[0] != "cluster"  # which is the engine's
    for option in parameter.opts
]
ARGUMENTS = {
    "commit": "-m c",
    "mount": "a PLACE",
    "init": "new",
    "switch": "a",
    "worktree add": "new",
    "worktree remove": "side",
    "reset": "other",
    "checkout": "other",
    "log": "other",
    "diff": "other",
    "dot delete": "a",
    "dot set-upstream": "hub a",
    "push": "hub",
    "pull": "hub",
    "clone": "hub a --local-name copy",
    "remote add": "second REMOTE",
    "remote rm-dot": "hub a",
    "s3 remote add": "second REMOTE",
    **{f"remote {verb}": "hub" for verb in ("rm", "switch", "ls", "gc", "verify")},
}


@pytest.mark.parametrize(("words", "option"), FLAGS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else value)
def test_every_flag_of_every_verb_works_without_an_engine(
    dm: Machine, words: tuple[str, ...], option: str, tmp_path: Path
) -> None:
    dm("commit", "-m", "so that nothing is refused")
    if words[0] == "worktree":
        dm("worktree", "add", "side")
    if words[0] == "undo":
        dm("checkout", "other")
    if "hub" in ARGUMENTS.get(" ".join(words), ""):
        dm("remote", "add", "hub", str(tmp_path / "hub"))
        dm("push", "hub")
    given = ARGUMENTS.get(" ".join(words), "").replace("PLACE", str(tmp_path / "here")).replace("REMOTE", str(tmp_path / "2"))
    arguments = given.split()
    if option in ("-b", "--branch"):
        arguments = ["new", "other"]
    elif option in ("-d", "-D", "--delete", "--force-delete"):
        arguments = ["v1" if words == ("tag",) else "other"]
    ended = dm(*words, option, *arguments, answer="Y\n")
    assert not ended.err or option != "--json" or "(enter Y to continue)" in ended.err or ended.err.startswith('{"event": ')


# Processes of their own


def test_the_installed_script_does_a_days_work(machine: Machine, tmp_path: Path) -> None:
    place = tmp_path / "here"
    assert script(machine, "mount", "--create", "a", str(place)).code == 0
    (place / "file").write_text("one")
    assert re.fullmatch(r"\w{32}\n", script(machine, "commit", "-m", "one").out)
    assert script(machine, "checkout", "-b", "other").code == 0
    (place / "file").write_text("two")
    assert script(machine, "checkout", "master", "--json").json()["left"] == "other"
    assert (place / "file").read_text() == "one"
    assert script(machine, "switch", "nope").code == NOT_FOUND
    ended = script(machine, "dot", "delete", "a")
    assert (ended.code, ended.out) == (0, "Aborted.\n")
    ended = script(machine, "dot", "delete", "a", answer="Y\n")
    assert (ended.code, ended.out) == (0, "")
    assert script(machine, "list", "-H").out == ""


def test_an_input_that_is_closed_agrees_to_nothing(machine: Machine) -> None:
    machine("init", "a")
    line = f"'{SCRIPT}' dot delete a <&-"
    done = subprocess.run(
        ["sh", "-c", line], env=machine.environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stdout) == (0, "Aborted.\n"), done.stderr


def test_an_answer_that_is_no_text_agrees_to_nothing(machine: Machine) -> None:
    machine("init", "a")
    done = subprocess.run(
        [SCRIPT, "dot", "delete", "a"],
        env={**machine.environment(), "PYTHONIOENCODING": "utf-8"},
        input=b"\xff\xfe\n",
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"Aborted.\n"), done.stderr


def test_without_an_engine_the_store_must_be_a_folder(machine: Machine) -> None:
    for home in ("", "some-volume"):
        ended = script(machine, "list", DM_HOME=home)
        assert ended.code == 4
        assert "the Docker Engine does not answer" in ended.err
    assert script(machine, "version", DM_HOME="").code == 0


@pytest.fixture(scope="module")
def terminal() -> Callable[..., str]:
    """Run the installed script on a terminal of its own and return everything it prints there."""

    def run(machine: Machine, *words: str, **variables: str) -> str:
        master, slave = pty.openpty()
        environment = {**machine.environment(), "TERM": "xterm-256color", **variables}
        child = subprocess.Popen([SCRIPT, *words], stdin=slave, stdout=slave, stderr=slave, env=environment)
        os.close(slave)
        text = b""
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while data := os.read(master, 4096):
                text += data
        os.close(master)
        child.wait(PATIENCE_S)
        return text.decode()

    return run


def test_colours_are_for_terminals_that_want_them(dm: Machine, terminal: Callable[..., str]) -> None:
    for words in (("list",), ("switch", "nope")):
        assert "\x1b[" in terminal(dm, *words)
        assert "\x1b[" not in terminal(dm, *words, NO_COLOR="1")
    ended = script(dm, "list")
    assert "\x1b" not in ended.out + ended.err
    assert "\x1b" not in dm("list").out + dm("switch", "nope", code=NOT_FOUND).err


# Stores


def test_two_stores_are_two_machines(tmp_path: Path) -> None:
    one, two = Machine(tmp_path / "one"), Machine(tmp_path / "two")
    for machine, content in ((one, "of one"), (two, "of two")):
        machine("init", "a")
        machine.write("a", "file", content)
        machine.commit("a", content)
    assert (one.read("a", "file"), two.read("a", "file")) == ("of one", "of two")
    one("dot", "delete", "-f", "a")
    assert one("list", "-H").out == ""
    assert two("log", "--json").json()[0]["message"] == "of two"


def test_a_store_in_a_relative_folder_is_found_from_where_one_stands(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    machine("mount", "--create", "a", "here", DM_HOME="./mine")
    monkeypatch.chdir("/")
    (tmp_path / "here" / "file").write_text("x")
    assert (tmp_path / "mine" / "trees" / "a" / "main" / "__default__" / "file").read_text() == "x"


def test_a_store_that_is_no_folder_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file", tmp_path / "file" / "store"):
        ended = Machine(tmp_path, {"DM_HOME": str(home)})("list", code=STORE)
        assert ended.err.startswith("error: opening the store at ")


def test_a_lost_database_is_told_and_nothing_is_begun_anew(dm: Machine) -> None:
    for file in dm.home.glob("state.db*"):
        file.unlink()
    assert "lost its database" in dm("list", code=DAMAGED).err
    assert not list(dm.home.glob("state.db*"))


def as_nobody(work: Callable[[], int]) -> int:
    """Return what `work` returns in a process without root's permissions."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os._exit(work())
        os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("mode", [0o000, 0o555, 0o755])
def test_a_store_that_is_somebody_elses_is_an_error_of_the_store(dm: Machine, mode: int) -> None:
    """Imports have happened by now: the interpreter itself may be root's alone."""
    dm.root.chmod(0o755)
    dm.home.chmod(mode)
    for words in (
        ["list"],
        ["init", "b"],
        ["commit", "-m", "c"],
        ["gc", "--yes"],
        ["checkout", "other"],
        ["dot", "delete", "-f", "a"],
    ):
        assert as_nobody(lambda: dm(*words, code=None).code) == STORE, words  # noqa: B023 (used before the next round)
    dm.home.chmod(0o700)
    assert dm("fsck").code == 0
    assert dm.read("a", "file") == "uncommitted"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_everything_works_for_somebody_who_is_not_root(fast_path: Path) -> None:
    fast_path.chmod(0o777)
    machine = Machine(fast_path)

    def work() -> int:
        machine("mount", "--create", "a", str(fast_path / "here"))
        (fast_path / "here" / "file").write_text("one")
        machine("commit", "-m", "one")
        machine("checkout", "-b", "other")
        (fast_path / "here" / "file").write_text("two")
        machine("checkout", "master")
        machine("mount", "--commit", "HEAD", "a", str(fast_path / "commit"))
        try:
            (fast_path / "commit" / "file").write_text("changed")
        except PermissionError:
            return machine("fsck").code
        return 1

    assert as_nobody(work) == 0


def test_a_full_disk_is_told_and_what_was_there_stays(small: Mount) -> None:
    machine = Machine(Path(small.path))
    machine("init", "a")
    machine.write("a", "file", "one")
    machine.commit("a", "one")
    free = os.statvfs(small.path)
    machine.write("a", "large", "x" * (free.f_bavail * free.f_frsize * 2 // 3))
    for words in (("commit", "-m", "two"), ("reset", "--hard", "HEAD"), ("checkout", "-b", "other", "--json")):
        assert machine(*words, code=None).code in (0, DISK_FULL)
    assert "no space left" in machine("--branch", "master", "commit", "-m", "two", code=DISK_FULL).err
    assert machine("fsck").code == 0
    machine("checkout", "master")
    assert machine.read("a", "file") == "one"
    machine.tree("a", "__default__", "large").unlink()
    machine.commit("a", "two")


# What is printed must be readable by what is printed to


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_message_that_the_terminal_cannot_show_is_no_bug(dm: Machine, encoding: str) -> None:
    assert script(dm, "commit", "-m", "dätä €", "-d", "é=ü", PYTHONIOENCODING=encoding).code == 0
    assert script(dm, "log", PYTHONIOENCODING=encoding).code == 0


def test_words_that_are_not_utf_8_are_no_bug(dm: Machine) -> None:
    done = subprocess.run(
        [SCRIPT, "commit", "-m", b"caf\xe9", "-d", b"a=\xff"],
        env=dm.environment(),
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert script(dm, "log").code == 0
    assert json.loads(script(dm, "log", "--json").out)[0]["metadata"].keys() == {"a"}
    assert dm("fsck").code == 0


def test_a_closed_pipe_is_no_traceback(dm: Machine) -> None:
    for words in (("list",), ("log", "--json"), ("--help",)):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            [SCRIPT, *words], stdout=writing, stderr=subprocess.PIPE, env=dm.environment(), timeout=PATIENCE_S, check=False
        )
        os.close(writing)
        assert done.stderr == b""


def test_files_of_every_kind_of_name_are_shown(dm: Machine) -> None:
    directory = os.fsencode(dm.tree("a", "__default__"))
    for name in (b"new\nline", b"\xff\xfe", "é".encode(), b"a b", b"\x1b[31mred"):
        with open(os.path.join(directory, name), "wb") as file:
            file.write(b"x")
    assert dm("diff").code == 0
    assert len(dm("diff", "--json").json()["__default__"]["changes"]) == 6
    dm("commit", "-m", "all of them")
    dm("checkout", "-b", "copy")
    assert sorted(os.listdir(dm.tree("a", "__default__"))) == sorted(os.listdir(dm.home / "trees" / "a" / "main" / "__default__"))
    shutil.rmtree(directory)
