"""On a terminal the progress of long work is one block that is drawn again, and everything else is printed clear of it."""

from __future__ import annotations

import io
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dm_compose.cli import progress
from dm_compose.cli.asking import ask
from dm_compose.cli.output import print_error
from dm_compose.cli.progress import Narrator, be_quiet
from dm_compose.core.events import Event, told
from dm_compose.errors import NotReadyError
from dm_compose.process import pass_through
from tests.support.projects import eventually
from tests.support.terminals import Terminal, on_terminal, standing_at

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The block is drawn when a step begins or ends, and not by the clock."""
    monkeypatch.setattr(progress, "TICK_S", 3600.0)


def begin(what: str, subject: str, why: str = "") -> Event:
    return Event(what, why, subject=subject)


def end(what: str, subject: str) -> Event:
    return Event(what, subject=subject, took_s=0.1)


def shown(terminal: Terminal) -> list[str]:
    """Return the lines with every mark of the spinner as `*` and without times."""
    lines = (re.sub(f"[{progress.SPIN}]", "*", line) for line in terminal.lines)
    return [re.sub(rf"  [ .\d]{{{progress.TIME_COLUMNS - 2}}}[m ]s", "", line) for line in lines]


@pytest.mark.usefixtures("still")
@on_terminal
def test_a_step_has_a_line_that_says_what_happens_and_then_a_tick_and_its_time(terminal: Terminal) -> None:
    tell = Narrator(quiet=False)
    tell(begin("kill", "db"))
    tell(begin("kill", "cache"))
    assert shown(terminal) == ["  * db     taking down", "  * cache  taking down"]
    tell(end("kill", "db"))
    tell(begin("await", "db", "it does not answer"))
    tell(end("kill", "cache"))
    assert shown(terminal) == ["  * db     waiting for an answer  it does not answer", "  ✔ cache  down"]
    tell(end("await", "db"))
    tell.close()
    assert shown(terminal) == ["  ✔ db     ready", "  ✔ cache  down"]
    assert all(re.search(r" \d+ ms  ", line) for line in terminal.lines)


@on_terminal
def test_a_step_that_lasts_is_drawn_with_its_present_seconds(terminal: Terminal) -> None:
    tell = Narrator(quiet=False)
    tell(begin("await", "db"))
    first = terminal.lines
    eventually(lambda: terminal.lines != first, "another time")
    assert len(terminal.lines) == 1
    tell.close()


@pytest.mark.usefixtures("still")
@on_terminal
def test_a_line_has_a_tick_only_when_all_steps_on_its_subject_have_ended(terminal: Terminal) -> None:
    tell = Narrator(quiet=False)
    tell(begin("pause", "db"))
    tell(begin("start", "db"))
    tell(end("start", "db"))
    assert shown(terminal) == ["  * db  pausing"]
    tell.close()


@pytest.mark.usefixtures("still")
@on_terminal
def test_a_service_and_the_subdot_of_its_name_have_a_line_each(terminal: Terminal) -> None:
    tell = Narrator(quiet=False)
    tell(end("restore", "cache"))
    tell(begin("start", "cache"))
    assert shown(terminal) == ["  ✔ cache (files)  put back", "  * cache          starting"]
    tell.close()


@on_terminal
def test_a_count_of_bytes_is_a_line_of_the_block_and_gone_before_the_result(terminal: Terminal) -> None:
    tell = Narrator(quiet=False)
    tell(begin("restore", "pg"))
    tell(Event("copy", done=3 * MIB, unit="bytes"))
    eventually(lambda: shown(terminal) == ["  * pg (files)  putting back", "  * copying 3.0 MiB"], "the count")
    tell(end("restore", "pg"))
    click.echo("9bf4e6925842 seed")
    assert shown(terminal) == ["  ✔ pg (files)  put back", "9bf4e6925842 seed"]


@on_terminal
def test_a_count_alone_leaves_nothing(terminal: Terminal) -> None:
    tell = Narrator(quiet=False)
    tell(Event("push", done=3 * MIB, total=4 * MIB, unit="bytes"))
    eventually(lambda: "3.0 MiB of 4.0 MiB" in "".join(terminal.lines), "the bar")
    print("Done!")
    assert terminal.lines == ["Done!"]


@pytest.mark.usefixtures("still")
@on_terminal
def test_a_warning_stands_above_the_block(terminal: Terminal) -> None:
    tell = Narrator(quiet=False)
    click.echo("$ dm-compose reset")
    tell(begin("kill", "db"))
    tell(Event("warning", "careful"))
    tell(Event("note", "v1 is a tag"))
    assert shown(terminal) == ["$ dm-compose reset", "warning: careful", "  note: v1 is a tag", "  * db  taking down"]
    tell(end("kill", "db"))
    tell.close()
    assert shown(terminal)[-1] == "  ✔ db  down"
    assert len(terminal.lines) == 4


@pytest.mark.usefixtures("still")
@on_terminal
def test_an_error_comes_after_the_block_in_which_a_cross_marks_the_step_that_failed(terminal: Terminal) -> None:
    tell = Narrator(quiet=False)
    tell(begin("kill", "cache"))
    tell(end("kill", "cache"))
    tell(begin("await", "db"))
    print_error(NotReadyError("db did not answer in time"), as_json=False)
    assert shown(terminal) == ["  ✔ cache  down", "  ✘ db     waiting for an answer", "error: db did not answer in time"]


@pytest.mark.usefixtures("still")
@on_terminal
def test_a_question_comes_after_the_block(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("Y\n"))
    tell = Narrator(quiet=False)
    tell(begin("kill", "db"))
    tell(end("kill", "db"))
    assert ask("Free them?") == "Y"
    assert shown(terminal) == ["  ✔ db  down", "Free them?"]


@pytest.mark.usefixtures("still")
@on_terminal
def test_the_next_work_has_a_block_of_its_own(terminal: Terminal) -> None:
    tell = Narrator(quiet=False)
    for result in ("one", "two"):
        with told(tell, "start", "db"):
            pass
        print(result)
    assert shown(terminal) == ["  ✔ db  started", "one", "  ✔ db  started", "two"]


@on_terminal
def test_the_block_has_ended_before_another_program_has_the_terminal(terminal: Terminal) -> None:
    before = set(threading.enumerate())
    tell = Narrator(quiet=False)
    with told(tell, "kill", "db"):
        pass
    assert pass_through(["true"]) == 0
    assert shown(terminal) == ["  ✔ db  down"]
    eventually(lambda: not {t for t in threading.enumerate() if t.name == "progress"} - before, "the end of the drawing")


@pytest.mark.usefixtures("still")
@on_terminal
def test_a_block_has_no_more_lines_than_the_terminal_and_at_its_end_all(terminal: Terminal) -> None:
    terminal.resize(80, 6)
    print("before")
    tell = Narrator(quiet=False)
    for n in range(8):
        tell(begin("start", f"s{n}"))
    for n in range(5):
        tell(end("start", f"s{n}"))
    starting = [f"  * s{n}  starting" for n in (5, 6, 7)]
    assert shown(terminal) == [*starting, "  ✔ s0  started", "    and 4 others"]
    assert terminal.scrolled == ["before"]
    for n in range(5, 8):
        tell(end("start", f"s{n}"))
    tell.close()
    everything = [*terminal.scrolled, *shown(terminal)]
    assert len(everything) == 9
    assert everything[0] == "before"


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("columns", [60, 40, 20, 10, 2])
@on_terminal
def test_no_line_wraps(terminal: Terminal, columns: int) -> None:
    terminal.resize(columns, 24)
    tell = Narrator(quiet=False)
    names = ["a-service-with-quite-a-long-name-that-has-no-end", "データベース" * 8, "cafe\u0301-" * 20, "👩\u200d💻❤️" * 9]
    for name in names:
        tell(begin("await", name, "its first start has not ended: docker-entrypoint.sh runs"))
    for _ in range(3):
        for name in names:
            tell(end("await", name))
    assert len(terminal.lines) == len(names)
    tell.close()
    assert len(terminal.lines) == len(names)


@pytest.mark.usefixtures("still")
@on_terminal
def test_a_terminal_that_becomes_smaller_or_larger_has_the_block_at_its_new_size(terminal: Terminal) -> None:
    print("before")
    tell = Narrator(quiet=False)
    for n in range(5):
        tell(begin("await", f"service-{n}", "its health check fails"))
    for columns, lines in ((40, 24), (120, 24), (30, 24), (80, 24)):
        terminal.resize(columns, lines)
        tell(begin("await", "service-0", "its health check fails"))
        assert len(terminal.lines) == 6, terminal.lines
        assert all(len(line) < columns for line in terminal.lines)
    tell.close()
    assert terminal.lines[0] == "before"
    assert len(terminal.lines) == 6


@pytest.mark.usefixtures("still")
@on_terminal
def test_events_of_several_threads_make_one_block(terminal: Terminal) -> None:
    tell = Narrator(quiet=False)

    def work(name: str) -> None:
        for _ in range(20):
            for what in ("kill", "start", "await"):
                with told(tell, what, name):
                    pass

    threads = [threading.Thread(target=work, args=(f"s{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tell.close()
    assert sorted(shown(terminal)) == [f"  ✔ s{n}  ready" for n in range(8)]


@pytest.mark.usefixtures("still")
@on_terminal
def test_all_narrators_of_a_command_share_the_block_which_ends_with_the_command(terminal: Terminal) -> None:
    with click.Context(click.Command("reset")):
        one, other = Narrator(quiet=False), Narrator(quiet=False)
        one(begin("kill", "db"))
        other(begin("start", "pg"))
        one(end("kill", "db"))
        assert shown(terminal) == ["  ✔ db  down", "  * pg  starting"]
    assert shown(terminal) == ["  ✔ db  down", "  ✘ pg  starting"]


@pytest.mark.usefixtures("still")
@on_terminal
def test_a_quiet_command_tells_warnings_only(terminal: Terminal) -> None:
    with click.Context(click.Command("reset")) as ctx:
        be_quiet(ctx)
        tell = Narrator(quiet=False)
        tell(begin("kill", "db"))
        tell(Event("copy", done=MIB, unit="bytes"))
        tell(Event("note", "v1 is a tag"))
        tell(Event("warning", "careful"))
    assert terminal.lines == ["warning: careful"]


@pytest.mark.usefixtures("still")
@on_terminal
def test_colours_are_left_out_with_no_color_and_the_block_is_drawn_all_the_same(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wanted in (True, False):
        if not wanted:
            monkeypatch.setenv("NO_COLOR", "1")
        terminal.written = ""
        tell = Narrator(quiet=False)
        with told(tell, "kill", "db"):
            pass
        tell(Event("warning", "careful"))
        tell.close()
        assert shown(terminal)[-2:] == ["warning: careful", "  ✔ db  down"]
        assert ("m" in re.findall(r"\x1b\[[\d;]*(\w)", terminal.written)) is wanted


@pytest.mark.usefixtures("still")
@on_terminal
def test_names_and_reasons_of_others_do_nothing_to_the_terminal(terminal: Terminal) -> None:
    tell = Narrator(quiet=False)
    tell(begin("await", "db\x1b[31m\n", "\x1b]0;x\x07\r\u202e"))
    assert shown(terminal) == [r"  * db\x1b[31m\n  waiting for an answer  \x1b]0;x\x07\r\u202e"]
    tell.close()


def test_where_nothing_can_be_drawn_steps_are_lines_with_times(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "TICK_S", 0.01)
    monkeypatch.setattr(progress, "LINE_AFTER_S", 0.02)
    tell = Narrator(quiet=False)
    tell(Event("kill", subject="db"))
    tell(Event("kill", subject="db", took_s=0.038))
    assert capsys.readouterr().err == "  db: down, 38 ms\n"
    tell(begin("await", "db", "it does not answer"))
    said: list[str] = []
    eventually(lambda: said.append(capsys.readouterr().err) or said[-1], "a line of the step that lasts")
    assert re.fullmatch(r"  db: waiting for an answer, \d+ ms \(it does not answer\)\n", said[-1])
    tell.close()


@pytest.mark.parametrize(("encoding", "term"), [("ascii", "xterm"), ("utf-8", "dumb")])
def test_a_terminal_that_cannot_show_a_block_has_lines(encoding: str, term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", term)
    with standing_at(Terminal(encoding=encoding)) as terminal:
        tell = Narrator(quiet=False)
        tell(begin("kill", "db"))
        tell(end("kill", "db"))
        tell.close()
        assert terminal.lines == ["  db: down, 100 ms"]
        assert "\x1b" not in terminal.written
    terminal.close()


def test_only_the_progress_prints_in_other_ways_than_by_the_streams() -> None:
    """A block on the terminal ends when something is printed by `sys.stdout` or `sys.stderr`, and only then."""
    package = Path(progress.__file__).parents[1]
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(r"sys\.__std|std(out|err)\.buffer|os\.write\([12],", path.read_text())
    }
    assert found <= {"driver/__main__.py", "store/helper/server.py"}  # these talk to no person
