"""Counts of bytes are told with a bar, a rate and the time left, and to programs as JSON."""

from __future__ import annotations

import json

import pytest

from dm_compose.cli.progress import LINE_EVERY_S, EventLines, Progress
from dm_compose.core.events import Event
from dm_compose.core.units import remaining

MIB = 1 << 20


def count(done: int, total: int = 40 * MIB, what: str = "push") -> Event:
    return Event(what, done=done, total=total, unit="bytes")


def test_a_bar_has_bytes_rate_and_time_left() -> None:
    progress = Progress(0.1)
    assert progress.tell(count(0), 100) == "sending [--------------------]   0 %  0 B of 40.0 MiB"
    assert (
        progress.tell(count(10 * MIB), 105) == "sending [#####---------------]  25 %  10.0 MiB of 40.0 MiB, 2.0 MiB/s, 15 s left"
    )
    assert progress.tell(count(40 * MIB), 120) == "sending [####################] 100 %  40.0 MiB of 40.0 MiB, 2.0 MiB/s"


def test_counts_come_no_oftener_than_asked() -> None:
    progress = Progress(0.1)
    told = [progress.tell(count(n), 100 + n / 100) for n in range(100)]
    assert sum(text is not None for text in told) in (10, 11)


def test_where_there_is_no_terminal_short_work_says_nothing() -> None:
    progress = Progress(LINE_EVERY_S)
    assert progress.tell(count(0), 100) is None
    assert progress.tell(count(MIB), 109) is None
    assert progress.tell(count(11 * MIB), 111) is not None
    assert progress.tell(count(12 * MIB), 112) is None


def test_bytes_on_their_way_do_not_disturb_the_bar() -> None:
    progress = Progress(0.1)
    progress.tell(count(0), 100)
    assert progress.tell(count(MIB, 0, "upload"), 101) is None
    assert "10.0 MiB/s" in (progress.tell(count(20 * MIB), 102) or "")


def test_a_count_without_a_total_has_no_bar() -> None:
    assert Progress(0.1).tell(count(3 * MIB, 0, "check"), 100) == "checking 3.0 MiB"


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")])
def test_time_left_is_in_whole_units(seconds: float, text: str) -> None:
    assert remaining(seconds) == text


def test_events_for_programs_are_a_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = EventLines()
    lines(Event("begin", "Pushing\n\x1b[31m"))
    for done in range(101):
        lines(count(done, 100))
    lines(Event("warning", "readable by all"))
    first, *counts, last = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert first == {"event": "begin", "text": "Pushing\n\x1b[31m"}
    assert last == {"event": "warning", "text": "readable by all"}
    assert (counts[0]["done"], counts[-1]) == (0, {"event": "push", "text": "", "done": 100, "total": 100, "unit": "bytes"})
    assert len(counts) < 10


def test_steps_for_programs_have_a_subject_and_at_their_end_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    lines = EventLines()
    lines(Event("kill", subject="db"))
    lines(Event("kill", subject="db", took_s=0.25))
    begun, ended = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert begun == {"event": "kill", "text": "db", "subject": "db", "took_s": None}
    assert ended == {**begun, "took_s": 0.25}


def test_quiet_lines_for_programs_are_warnings_only(capsys: pytest.CaptureFixture[str]) -> None:
    lines = EventLines(quiet=True)
    lines(Event("kill", subject="db"))
    lines(count(MIB))
    lines(Event("warning", "careful"))
    assert [json.loads(line)["text"] for line in capsys.readouterr().err.splitlines()] == ["careful"]
