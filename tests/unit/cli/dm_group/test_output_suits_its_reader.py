"""Output of the installed `dm` suits its reader: other processes, terminals, pipes and odd encodings."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pyte
import pytest

from tests.support.commands import (
    DM,
    NOT_FOUND,
    PATIENCE_S,
)
from tests.support.machines import Machine

# Processes of their own


def test_the_installed_script_does_a_days_work(machine: Machine, tmp_path: Path) -> None:
    place = tmp_path / "here"
    assert machine.script("mount", "--create", "a", str(place)).code == 0
    (place / "file").write_text("one")
    assert re.fullmatch(r"\w{32}\n", machine.script("commit", "-m", "one").out)
    assert machine.script("checkout", "-b", "other").code == 0
    (place / "file").write_text("two")
    assert machine.script("checkout", "master", "--json").json()["left"] == "other"
    assert (place / "file").read_text() == "one"
    assert machine.script("switch", "nope").code == NOT_FOUND
    ended = machine.script("dot", "delete", "a")
    assert (ended.code, ended.out) == (0, "Aborted.\n")
    assert "There is no way back." in ended.err
    ended = machine.script("dot", "delete", "a", answer="Y\n")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.endswith("dot a is deleted\n")
    assert machine.script("list", "-H").out == ""


def test_an_input_that_is_closed_agrees_to_nothing(machine: Machine) -> None:
    machine("init", "a")
    line = f"'{DM}' dot delete a <&-"
    done = subprocess.run(
        ["sh", "-c", line], env=machine.environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stdout) == (0, "Aborted.\n"), done.stderr


def test_an_answer_that_is_no_text_agrees_to_nothing(machine: Machine) -> None:
    machine("init", "a")
    done = subprocess.run(
        [DM, "dot", "delete", "a"],
        env={**machine.environment(), "PYTHONIOENCODING": "utf-8"},
        input=b"\xff\xfe\n",
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"Aborted.\n"), done.stderr


def test_without_an_engine_the_store_must_be_a_folder(machine: Machine) -> None:
    for home in ("", "some-volume"):
        ended = machine.script("list", DM_HOME=home)
        assert ended.code == 4
        assert "no Docker Engine answers" in ended.err
    assert machine.script("version", DM_HOME="").code == 0


def test_colours_are_for_terminals_that_want_them(used: Machine) -> None:
    for words in (("list",), ("switch", "nope")):
        assert "\x1b[" in used.on_terminal(*words)
        assert "\x1b[" not in used.on_terminal(*words, NO_COLOR="1")
    ended = used.script("list")
    assert "\x1b" not in ended.out + ended.err
    assert "\x1b" not in used("list").out + used("switch", "nope", code=NOT_FOUND).err


# What is printed must be readable by what is printed to


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_message_that_the_terminal_cannot_show_is_no_bug(used: Machine, encoding: str) -> None:
    assert used.script("commit", "-m", "dätä €", "-d", "é=ü", PYTHONIOENCODING=encoding).code == 0
    assert used.script("log", PYTHONIOENCODING=encoding).code == 0


def test_words_that_are_not_utf_8_are_no_bug(used: Machine) -> None:
    done = subprocess.run(
        [DM, "commit", "-m", b"caf\xe9", "-d", b"a=\xff"],
        env=used.environment(),
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert used.script("log").code == 0
    assert json.loads(used.script("log", "--json").out)[0]["metadata"].keys() == {"a"}
    assert used("fsck").code == 0


def test_a_closed_pipe_is_no_traceback(used: Machine) -> None:
    for words in (("list",), ("log", "--json"), ("--help",)):
        assert used.into_a_closed_pipe(*words) == ""


def test_files_of_every_kind_of_name_are_shown(used: Machine) -> None:
    directory = os.fsencode(used.tree("a", "__default__"))
    for name in (b"new\nline", b"\xff\xfe", "é".encode(), b"a b", b"\x1b[31mred"):
        with open(os.path.join(directory, name), "wb") as file:
            file.write(b"x")
    assert used("diff").code == 0
    assert len(used("diff", "--json").json()["__default__"]["changes"]) == 6
    used("commit", "-m", "all of them")
    used("checkout", "-b", "copy")
    assert sorted(os.listdir(used.tree("a", "__default__"))) == sorted(
        os.listdir(used.home / "trees" / "a" / "main" / "__default__")
    )
    shutil.rmtree(directory)


def test_on_a_terminal_the_result_stands_alone_below_the_progress(used: Machine) -> None:
    used("reset", "--hard", "v1")
    screen = pyte.Screen(200, 24)
    pyte.Stream(screen).feed(used.on_terminal("undo", COLUMNS="200"))
    *steps, result, how_back = (line.rstrip() for line in screen.display if line.strip())
    assert re.match(r"at \w{12} two, .* put back, done after ", result)
    assert how_back == "`dm undo` takes this back"
    assert [re.fullmatch(r"  ✔ __default__ \(files\) +\d+ ms  put back", line) is not None for line in steps].count(True) == 1
    assert all(line.startswith("  ✔ ") for line in steps)


def test_quiet_leaves_the_result(used: Machine) -> None:
    used("reset", "--hard", "v1")
    told = used("undo")
    assert "  __default__ (files): put back, " in told.err
    quiet = used("undo", "-q")
    assert (quiet.err, quiet.lines[0][:3]) == ("", "at ")
