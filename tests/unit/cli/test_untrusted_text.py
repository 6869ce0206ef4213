"""Text that anybody may have written is printed so that it can do nothing to a terminal, and reaches programs as it is."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_compose.cli.output import print_error, printable, subject
from dm_compose.cli.progress import Narrator
from dm_compose.core.events import Event
from dm_compose.errors import UntrustedError
from tests.support.commands import Ended
from tests.support.hubs import Hub, branches
from tests.support.machines import Machine

EVIL = "red\x1b[31m, back\r, title\x1b]0;x\x07, C1 \x9b2J, bidi \u202egpj.exe\u2069, hidden \u200b\U000e0041"
SHOWN = "red\\x1b[31m, back\\r, title\\x1b]0;x\\x07, C1 \\x9b2J, bidi \\u202egpj.exe\\u2069, hidden \\u200b\\U000e0041"
MESSAGE = f"{EVIL}\ncommit {'0' * 40}"
REORDERING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
FORGED = f"commit {'0' * 40}"


def harmless(ended: Ended) -> Ended:
    """Nothing but line ends and tabs controls the terminal, and nothing that was forged begins a line."""
    for character in ended.out + ended.err:
        assert character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp"), ended
        assert unicodedata.bidirectional(character) not in REORDERING, ended
    assert not any(line.startswith(FORGED) for line in (ended.out + ended.err).splitlines())
    return ended


@pytest.fixture
def victim(hub: Hub) -> Machine:
    """A machine that has cloned a dot whose text is all evil: messages, authors, metadata and names of files."""
    enemy = hub.machine("enemy")
    enemy("init", "shop")
    top = enemy.tree("shop", "__default__")
    top.mkdir()
    (top / f"{EVIL}\n{FORGED}").write_text("one")
    enemy("--dot", "shop", "commit", "-m", MESSAGE, "-d", f"evil{EVIL}={EVIL}\n{FORGED}", LOGNAME=f"{EVIL}\n{FORGED}")
    enemy("push", "hub")
    machine = hub.machine("victim")
    harmless(machine("clone", "hub", "shop"))
    return machine


def test_what_came_from_a_remote_is_printed_escaped(victim: Machine) -> None:
    log = harmless(victim("log"))
    assert f"author: {SHOWN}\\n{FORGED}" in log.lines
    assert f"evil{SHOWN}: {SHOWN}\\n{FORGED}" in log.lines
    assert f"    {SHOWN}" in log.lines
    for path in victim.tree("shop", "__default__").iterdir():
        path.write_text("changed")
    assert f"{SHOWN}\\n{FORGED}" in harmless(victim("diff")).out
    assert harmless(victim("status")).lines[1] == f"head {branches(victim)['master'][:12]} {SHOWN}"  # type: ignore[index]
    for words in (["remote", "ls", "hub"], ["remote", "verify", "hub"], ["list"], ["dot", "show"], ["reflog"], ["fsck"]):
        harmless(victim(*words))
    assert SHOWN in harmless(victim("reset", "--hard", "HEAD")).out
    assert SHOWN in harmless(victim("checkout", "-b", "other")).out


def test_programs_get_the_text_as_it_is(victim: Machine) -> None:
    (found,) = victim("log", "--json").json()
    assert (found["message"], found["author"]) == (MESSAGE, f"{EVIL}\n{FORGED}")
    assert found["metadata"] == {f"evil{EVIL}": f"{EVIL}\n{FORGED}"}
    (path,) = victim.tree("shop", "__default__").iterdir()
    assert path.name == f"{EVIL}\n{FORGED}"
    path.unlink()
    (changed,) = [c["path"] for c in victim("diff", "--json").json()["__default__"]["changes"] if c["how"] == "removed"]
    assert changed == path.name


def test_errors_and_events_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(UntrustedError(f"{EVIL}\n{FORGED}", hint=EVIL), as_json=False)
    Narrator(quiet=False)(Event("warning", f"{EVIL}\n{FORGED}"))
    Narrator(quiet=False)(Event("note", f"{EVIL}\n{FORGED}"))
    Narrator(quiet=False)(Event("restore", subject=f"{EVIL}\n{FORGED}", took_s=1.0))
    err = capsys.readouterr().err
    harmless(Ended(0, "", err))
    assert f"hint: {SHOWN}" in err.splitlines()


@given(st.text())
def test_any_text_can_be_printed_on_one_line_or_several(text: str) -> None:
    harmless(Ended(0, printable(text, lines=True).replace("\n", "\n "), ""))
    assert "\n" not in printable(text) + subject(text)


@pytest.mark.parametrize("text", ["", "plain", "Größe 数 שלום 👩\u200d💻", "C:\\path", "100 %"])
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert printable(text) == text


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert printable(os.fsdecode(b"caf\xe9")) == "caf\\udce9"
