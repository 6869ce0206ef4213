"""The command line: what it prints where, and the exit code. There is no engine; Compose is the real one."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import click
import pytest

import dm_compose
from dm_compose.cli import main as entry
from dm_compose.cli.compose_group import cli
from dm_compose.cli.main import run
from dm_compose.cli.output import Narrator, age, print_error, table
from dm_compose.cli.verbs import branch as branch_verbs
from dm_compose.cli.verbs.state import VERBS, parse_metadata
from dm_compose.compose import Compose
from dm_compose.core.events import Event
from dm_compose.core.names import SubdotName
from dm_compose.core.tree import Change, TreeDiff
from dm_compose.dots.stack import Stack
from dm_compose.errors import DmError, NotFoundError, UncommittedError, UsageError, error_classes
from dm_compose.operations.commit import make_commit
from tests.support.capabilities import capabilities

needs_compose = pytest.mark.skipif(capabilities()["compose"] != "yes", reason=f"compose: {capabilities()['compose']}")
SCRIPT = str(Path(sys.executable).with_name("dm-compose"))
NO_ENGINE = "unix:///nonexistent.sock"
PATIENCE_S = 60
OURS = sorted(verb.name or "" for verb in (*VERBS, *branch_verbs.VERBS))
BUG, INTERRUPTED, TERMINATED = 70, 130, 143


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test stands in a directory with a project, sees no engine, and has its own state directory."""
    for name in list(os.environ):
        if name.startswith(("COMPOSE_", "DM_")) or name in ("NO_COLOR", "FORCE_COLOR", "DOCKER_CONTEXT", "PYTHONIOENCODING"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DOCKER_HOST", NO_ENGINE)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "shop").mkdir()
    monkeypatch.chdir(tmp_path / "shop")
    Path("compose.yaml").write_text(
        "services:\n  db: {image: 'postgres:16', volumes: ['pg:/var/lib/postgresql/data', './i:/docker-entrypoint-initdb.d']}\n"
        "  cache: {image: 'redis:7'}\nvolumes: {pg: }\n"
    )
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def script(*words: str, environment: Mapping[str, str] | None = None, stdin: int = subprocess.DEVNULL) -> Ended:
    """Run the installed script in a process of its own."""
    done = subprocess.run(
        [SCRIPT, *words],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=PATIENCE_S,
        env={**os.environ, **(environment or {})},
        stdin=stdin,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run the command line in this process."""

    def call(*words: str) -> Ended:
        capfd.readouterr()
        with pytest.raises(SystemExit) as raised:
            entry.main(list(words))
        out, err = capfd.readouterr()
        return Ended(int(raised.value.code or 0), out, err)

    return call


Here = Callable[..., Ended]


# Help


@pytest.mark.parametrize("verb", OURS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_verb_has_help(here: Here, verb: str, option: str) -> None:
    ended = here(verb, option)
    assert (ended.code, ended.err) == (0, "")
    assert f"Usage: dm-compose {verb}" in ended.out


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_verb_and_every_option_of_it_is_described(verb: click.Command) -> None:
    assert verb.help
    assert len(verb.get_short_help_str()) > 10
    for parameter in verb.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{verb.name} {parameter.opts}"


def test_every_global_option_is_described() -> None:
    for parameter in cli.params:
        assert isinstance(parameter, click.Option)
        assert parameter.help, parameter.opts


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_the_help_lists_every_verb_and_every_exit_code(here: Here, option: str) -> None:
    ended = here(option)
    assert ended.code == 0
    assert all(re.search(rf"^  {verb}\b", ended.out, re.MULTILINE) for verb in OURS)
    codes = ended.out.partition("Exit codes:")[2]
    for code in {*(cls.exit_code for cls in error_classes().values()), BUG, INTERRUPTED}:
        assert re.search(rf"\b{code} [a-zA-Z]", codes), code


def test_exit_codes_are_not_shared() -> None:
    codes = [cls.exit_code for cls in error_classes().values()]
    assert len(set(codes)) == len(codes)
    assert not {0, BUG, INTERRUPTED, TERMINATED} & set(codes)


def test_no_words_print_the_usage(here: Here) -> None:
    ended = here()
    assert "Usage: dm-compose" in ended.out + ended.err


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_told(here: Here, option: str) -> None:
    ended = here(option)
    assert (ended.code, dm_compose.__version__ in ended.out) == (0, True)


DOCUMENTATION = Path(__file__).parents[3] / "docs" / "cli.md"


@pytest.mark.skipif(not DOCUMENTATION.exists(), reason="docs/cli.md is not written yet")
def test_every_verb_and_every_exit_code_is_in_the_documentation() -> None:
    text = DOCUMENTATION.read_text()
    missing = [verb for verb in OURS if not re.search(rf"\b{verb}\b", text)]
    codes = {*(cls.exit_code for cls in error_classes().values()), BUG, INTERRUPTED}
    missing += [f"exit code {code}" for code in sorted(codes) if not re.search(rf"^\|?\s*`?{code}`?\b", text, re.MULTILINE)]
    assert missing == []


# Wrong words


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("plan", "--nope"), "--nope"),
        (("--nope", "plan"), "--nope"),
        (("plan", "surplus"), "surplus"),
        (("commit",), "--message"),
        (("commit", "-m"), "-m"),
        (("commit", "-m", "x", "--metadata", "ticket"), "'ticket'"),
        (("commit", "-m", "x", "--metadata", "a=b", "--metadata", "c"), "'c'"),
        (("diff", "a", "b", "c"), "c"),
        (("reset", "--timeout", "soon"), "soon"),
        (("-f",), "-f"),
    ],
)
def test_wrong_words_are_named_and_exit_with_2(here: Here, words: tuple[str, ...], named: str) -> None:
    ended = here(*words)
    assert (ended.code, ended.out) == (2, "")
    assert named in ended.err
    if words[0] in OURS and words[-1] != "-m":
        as_json = here(*words, "--json")
        error = as_json.json()["error"]
        assert (as_json.code, as_json.err, error["kind"], error["code"]) == (2, "", "usage", 2)
        assert named in error["message"]


def test_a_variable_with_a_wrong_value_is_named(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DM_TIMEOUT", "soon")
    ended = here("reset")
    assert ended.code == 2
    assert "soon" in ended.err


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ((), {}),
        (("ticket=DM-12",), {"ticket": "DM-12"}),
        (("a=", "b=x=y"), {"a": "", "b": "x=y"}),
        (("a=1", "a=2"), {"a": "2"}),
        (("é=ü",), {"é": "ü"}),
    ],
)
def test_metadata_is_read_as_fields(fields: tuple[str, ...], meant: dict[str, str]) -> None:
    assert parse_metadata(fields) == meant


@pytest.mark.parametrize("name", ["Ticket", "9", "_x", "", "-"])
def test_a_field_of_metadata_that_does_not_start_in_lower_case_is_refused_before_anything_is_done(name: str) -> None:
    with pytest.raises(UsageError, match=re.escape(repr(name))) as raised:
        make_commit(cast(Any, None), "message", {name: "x"})
    assert "lowercase" in raised.value.message


# Errors


def _raise(error: BaseException) -> Callable[[], object]:
    def work() -> object:
        raise error

    return work


def test_an_error_is_one_line_and_its_hint_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(_raise(NotFoundError("no such thing", hint="Make one.")), ["plan"]) == 5
    assert capsys.readouterr() == ("", "error: no such thing\nhint: Make one.\n")
    assert run(_raise(NotFoundError("no such thing")), ["plan"]) == 5
    assert capsys.readouterr() == ("", "error: no such thing\n")


def test_an_error_is_a_json_object_where_json_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(_raise(NotFoundError("no such thing", hint="Make one.")), ["plan", "--json"]) == 5
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out) == {"error": {"kind": "not_found", "message": "no such thing", "hint": "Make one.", "code": 5}}
    run(_raise(NotFoundError("no such thing")), ["plan", "--json"])
    assert json.loads(capsys.readouterr().out)["error"]["hint"] is None


def test_the_json_of_another_program_is_not_ours(capsys: pytest.CaptureFixture[str]) -> None:
    run(_raise(NotFoundError("no such thing")), ["exec", "web", "--", "tool", "--json"])
    assert capsys.readouterr() == ("", "error: no such thing\n")


@pytest.mark.parametrize("kind", sorted(error_classes()))
def test_every_class_of_errors_has_its_exit_code(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    cls = error_classes()[kind]
    assert run(_raise(cls("what was tried")), ["--json"]) == cls.exit_code
    assert json.loads(capsys.readouterr().out)["error"] | {"message": ""} == {
        "kind": kind,
        "message": "",
        "hint": None,
        "code": cls.exit_code,
    }


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_gives_130_without_a_traceback(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(_raise(error), ["plan"]) == INTERRUPTED
    assert capsys.readouterr() == ("", "interrupted\n")


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (17, 17), ("text", 0)])
def test_a_number_that_a_verb_returns_is_the_exit_code(result: object, code: int) -> None:
    assert run(lambda: result, []) == code


def test_a_bug_gives_70_and_keeps_its_traceback_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(_raise(ZeroDivisionError("by nothing")), ["dm-compose", "plan", "--json"]) == BUG
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert err.count("\n") == 1
    (log,) = (tmp_path / "state" / "dm-compose").glob("*.log")
    assert str(log) in err
    assert "dm-compose plan --json" in log.read_text()
    assert "ZeroDivisionError: by nothing" in log.read_text()


def test_a_bug_is_kept_below_the_home_directory_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(_raise(ZeroDivisionError()), []) == BUG
    assert str(tmp_path / ".local" / "state" / "dm-compose") in capsys.readouterr().err


def test_a_bug_without_a_place_for_its_file_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    assert run(_raise(ZeroDivisionError("by nothing")), []) == BUG
    err = capsys.readouterr().err
    assert "ZeroDivisionError: by nothing" in err
    assert "the details are above" in err


def test_a_bug_in_a_verb_gives_70(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stack, "log", lambda *_: 1 // 0)
    ended = here("log")
    assert (ended.code, "this is a bug" in ended.err, "Traceback" in ended.err) == (BUG, True, False)


# No engine. What asks for it runs in a process of its own: docker-py leaves its socket open when nobody answers.


@pytest.mark.parametrize("words", [("commit", "-m", "x"), ("log",), ("status",), ("diff",), ("reset",), ("undo",), ("reflog",)])
@needs_compose
def test_without_an_engine_a_verb_says_so_and_exits_with_4(words: tuple[str, ...]) -> None:
    ended = script(*words)
    assert (ended.code, ended.out) == (4, "")
    assert re.match(r"error: connecting: the Docker Engine does not answer .*\nhint: Start Docker, or check DOCKER_", ended.err)


@needs_compose
def test_without_an_engine_the_json_says_so() -> None:
    error = script("commit", "-m", "x", "--json").json()["error"]
    assert (error["kind"], error["code"]) == ("engine", 4)


@pytest.mark.parametrize("words", [("up", "-d"), ("create",), ("down", "-v"), ("down", "--volumes"), ("run", "db", "true")])
@needs_compose
def test_without_an_engine_composes_verbs_that_touch_state_exit_with_4(words: tuple[str, ...]) -> None:
    ended = script(*words)
    assert ended.code == 4, ended.err
    assert "the Docker Engine does not answer" in ended.err


@needs_compose
def test_a_down_that_removes_state_says_how_to_go_on_when_it_cannot_look() -> None:
    ended = script("down", "-v")
    assert "Nothing was removed" in ended.err
    assert "docker compose down -v" in ended.err


@pytest.mark.parametrize(
    ("words", "looks"),
    [
        (("-v",), True),
        (("--volumes",), True),
        (("--volumes=true",), True),
        (("--remove-orphans", "-v"), True),
        (("-vt", "5"), True),
        (("-t", "5", "-v"), True),
        ((), False),
        (("--remove-orphans",), False),
        (("--volumes=false",), False),
        (("-t", "5"), False),
        (("-v", "--volumes=false"), False),
        (("-t", "-v"), False),
        (("--rmi", "--volumes"), False),
        (("--", "-v"), False),
    ],
)
def test_every_way_to_ask_for_the_removal_of_volumes_is_seen(
    here: Here, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], *, looks: bool
) -> None:
    monkeypatch.setattr(Stack, "status", _raise_in_method(DmError("looked")))
    monkeypatch.setattr("dm_compose.up.run.compose_with_state", lambda *_, **__: 0)
    ended = here("down", *words)
    assert ("looked" in ended.err) is looks
    assert ended.code == (1 if looks else 0)


def _raise_in_method(error: BaseException) -> Callable[[object], object]:
    def method(_: object) -> object:
        raise error

    return method


@needs_compose
def test_a_plan_needs_no_engine() -> None:
    ended = script("plan")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0] == "dot shop (project shop)"
    assert re.match(r"SUBDOT +SERVICES +PATH +KIND +WHERE +ENGINE +REASON$", lines[2])
    assert [line.split()[0] for line in lines[3:5]] == ["cache", "pg"]
    assert re.match(r"pg +db +/var/lib/postgresql/data +named +shop_pg +postgres +data path of postgres$", lines[4])
    assert re.match(r"NOT STATE +PATH +REASON$", lines[6])
    assert re.match(r"db +/docker-entrypoint-initdb.d +initialisation scripts$", lines[7])


@needs_compose
def test_a_plan_as_json_is_one_document_with_the_documented_keys() -> None:
    found = script("plan", "--json").json()
    assert list(found) == ["dot", "project", "subdots", "skipped"]
    assert [list(s) for s in found["subdots"]] == [
        ["name", "services", "path", "kind", "volume", "source", "engine", "reason"] for _ in range(2)
    ]
    assert found["skipped"] == [{"service": "db", "path": "/docker-entrypoint-initdb.d", "reason": "initialisation scripts"}]


@needs_compose
def test_a_plan_takes_composes_own_options(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("services: {db: {image: '${IMAGE}', volumes: ['./d:/data']}, x: {image: x, profiles: [p]}}")
    (tmp_path / "b.yaml").write_text("services: {x: {volumes: [/uploads]}}")
    (tmp_path / "env").write_text("IMAGE=redis:7")
    (tmp_path / "elsewhere").mkdir()
    words = ("-f", str(tmp_path / "a.yaml"), "--file", str(tmp_path / "b.yaml"), "-p", "mine", "--profile", "p")
    more = ("--env-file", str(tmp_path / "env"), "--project-directory", str(tmp_path / "elsewhere"))
    found = script(*words, *more, "plan", "--json").json()
    assert (found["dot"], found["project"]) == ("mine", "mine")
    assert [(s["name"], s["source"]) for s in found["subdots"]] == [("db", str(tmp_path / "elsewhere/d")), ("x", "")]


@needs_compose
@pytest.mark.parametrize("words", [("plan",), ("status",), ("commit", "-m", "x"), ("up",), ("down", "-v")])
def test_a_broken_compose_file_exits_with_3_and_names_file_and_line(words: tuple[str, ...]) -> None:
    Path("compose.yaml").write_text("services:\n  db: [\n")
    ended = script(*words)
    assert (ended.code, ended.out) == (3, "")
    assert re.match(r"error: compose\.yaml: yaml: line \d+: .*\n", ended.err)


@needs_compose
def test_a_missing_compose_file_exits_with_3_and_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    ended = script("plan")
    assert (ended.code, ended.err.count("\n")) == (3, 2)
    assert ended.err.startswith("error: no configuration file provided")
    assert "hint: Run this in a directory with a compose.yaml" in ended.err
    assert script("plan", "--json").json()["error"]["kind"] == "compose"


def test_a_missing_docker_command_exits_with_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for words in (("plan",), ("ps",), ("up",)):
        ended = script(*words)
        assert (ended.code, ended.out) == (3, "")
        assert ended.err == "error: there is no `docker` command\nhint: Install Docker with its compose plugin.\n"


@needs_compose
def test_a_wrong_setting_exits_with_2() -> None:
    Path("compose.yaml").write_text("x-dotmesh: {exlude: []}\nservices: {db: {image: x}}")
    ended = script("plan")
    assert (ended.code, ended.err) == (2, "error: x-dotmesh: unknown key 'exlude'\nhint: Did you mean 'exclude'?\n")


# Composes own verbs


@needs_compose
@pytest.mark.parametrize(
    "words",
    [
        ("version",),
        ("version", "--short"),
        ("config", "--volumes"),
        ("config", "--format", "json"),
        ("config", "--nope"),
        ("config", "nobody"),
        ("ps", "--help"),
        ("ps", "-h"),
        ("up", "--help"),
        ("down", "-v", "--help"),
        ("no-such-verb",),
        ("ps",),
        ("exec", "db", "ls", "-la", "--", "x"),
    ],
)
def test_other_verbs_are_composes_with_its_output_and_exit_code(words: tuple[str, ...]) -> None:
    ours = script(*words)
    theirs = subprocess.run(
        ["docker", "compose", *words], capture_output=True, text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL, check=False
    )
    assert (ours.code, ours.out, ours.err) == (theirs.returncode, theirs.stdout, theirs.stderr)


@pytest.mark.parametrize(
    ("words", "asks"),
    [
        (("run", "web", "psql", "-h", "db"), False),
        (("run", "--rm", "-u", "me", "web", "app", "--help"), False),
        (("run", "-u", "-h", "web"), False),
        (("up", "-d"), False),
        (("up", "--", "-h"), False),
        (("run", "--rm", "--help", "web"), True),
        (("run", "-h"), True),
        (("up", "-dh"), True),
        (("up", "web", "--help"), True),
        (("down", "-v", "-h"), True),
    ],
)
def test_only_a_request_for_a_verbs_own_help_leaves_state_aside(
    here: Here, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], *, asks: bool
) -> None:
    monkeypatch.setattr("dm_compose.up.run.compose_with_state", lambda *_, **__: 17)
    monkeypatch.setattr(Compose, "pass_through", lambda *_, **__: 18)
    assert here(*words).code == (18 if asks else 17)


@needs_compose
def test_options_before_a_verb_of_compose_choose_the_project(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("services: {one: {image: x}, two: {image: x, profiles: [p]}}")
    ended = script("-f", str(tmp_path / "other.yaml"), "--profile", "p", "config", "--services")
    assert (ended.code, sorted(ended.out.split())) == (0, ["one", "two"])


# Terminals and pipes


ESCAPE = "\x1b["


def on_terminal(*words: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run the script on a terminal of its own; return exit code and everything it prints."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", **(environment or {})}
    child = subprocess.Popen([SCRIPT, *words], stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    text = b""
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while data := os.read(master, 4096):
            text += data
    os.close(master)
    return child.wait(PATIENCE_S), text.decode()


@needs_compose
@pytest.mark.parametrize("words", [("plan",), ("status",)])
def test_colours_are_for_terminals_only(words: tuple[str, ...]) -> None:
    _, text = on_terminal(*words)
    assert ESCAPE in text
    ended = script(*words)
    assert ESCAPE not in ended.out + ended.err


@needs_compose
@pytest.mark.parametrize("words", [("plan",), ("status",)])
def test_no_color_is_obeyed(words: tuple[str, ...]) -> None:
    _, text = on_terminal(*words, environment={"NO_COLOR": "1"})
    assert text
    assert ESCAPE not in text


@needs_compose
def test_an_empty_no_color_means_nothing() -> None:
    _, text = on_terminal("plan", environment={"NO_COLOR": ""})
    assert ESCAPE in text


@needs_compose
@pytest.mark.parametrize("words", [("plan",), ("plan", "--json"), ("--help",), ("version",)])
def test_a_closed_pipe_is_no_traceback(words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([SCRIPT, *words], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False)
    os.close(writing)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert "bug" not in done.stderr


@needs_compose
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_name_that_the_terminal_cannot_show_is_no_bug(encoding: str) -> None:
    Path("compose.yaml").write_text("services: {db: {image: x, volumes: ['/dätä/€']}}", encoding="utf-8")
    ended = script("plan", environment={"PYTHONIOENCODING": encoding if encoding != "utf-8" else "utf-8"})
    assert ended.code == 0, ended.err


def test_a_file_whose_name_is_not_utf_8_is_shown(monkeypatch: pytest.MonkeyPatch, here: Here) -> None:
    change = Change(b"caf\xe9".decode(errors="surrogateescape"), "changed", 10, 5)
    monkeypatch.setattr(Stack, "diff", lambda *_: {SubdotName("files"): TreeDiff((change,))})
    ended = here("diff")
    assert (ended.code, "caf" in ended.out) == (0, True)
    assert here("diff", "--json").json()["files"]["changes"][0]["path"].startswith("caf")


# Signals


@pytest.fixture
def slow_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker command that says that it runs, into a fifo, and then goes on until it gets a signal; ^C makes it exit with 5."""
    fifo = tmp_path / "runs"
    os.mkfifo(fifo)
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport os, signal, sys\nsignal.signal(signal.SIGINT, lambda *_: os._exit(5))\n"
        f"if 'version' in sys.argv: sys.exit(0)\nopen({str(fifo)!r}, 'w').close()\nsignal.pause()\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return fifo


def _signalled(words: tuple[str, ...], fifo: Path, number: int, kill: Callable[[int, int], None] = os.killpg) -> Ended:
    child = subprocess.Popen([SCRIPT, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        fifo.read_text()  # returns when a child has opened and closed its end
        kill(child.pid, number)
        out, err = child.communicate(timeout=PATIENCE_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    return Ended(child.returncode, out, err)


def test_control_c_gives_130(slow_docker: Path) -> None:
    ended = _signalled(("plan",), slow_docker, signal.SIGINT)
    assert (ended.code, ended.out) == (INTERRUPTED, "")
    assert ended.err.strip().splitlines()[-1] == "interrupted"
    assert "Traceback" not in ended.err


def test_a_request_to_end_gives_143(slow_docker: Path) -> None:
    ended = _signalled(("plan",), slow_docker, signal.SIGTERM)
    assert (ended.code, ended.out, "Traceback" in ended.err) == (TERMINATED, "", False)


def test_control_c_within_a_verb_of_compose_is_composes_matter(slow_docker: Path) -> None:
    ended = _signalled(("logs", "-f"), slow_docker, signal.SIGINT)
    assert (ended.code, ended.err) == (5, "")


@pytest.fixture
def counting_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker command that, as the real one on a terminal, leaves signals to its plugin; this counts them for a second after
    the first one, which it says in a fifo, and exits with 20 and their number.
    """
    fifo = tmp_path / "runs"
    os.mkfifo(fifo)
    (tmp_path / "bin").mkdir()
    plugin = tmp_path / "bin" / "plugin"
    plugin.write_text(
        f"#!{sys.executable}\nimport os, signal, sys, time\nseen = []\n"
        "for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, lambda *_: seen.append(1))\n"
        f"open({str(fifo)!r}, 'w').close()\nwhile not seen: time.sleep(0.01)\n"
        "end = time.monotonic() + 1\nwhile time.monotonic() < end: time.sleep(0.01)\nsys.exit(20 + len(seen))\n"
    )
    docker = tmp_path / "bin" / "docker"
    docker.write_text(
        f"#!{sys.executable}\nimport signal, subprocess, sys\nif 'version' in sys.argv: sys.exit(0)\n"
        "for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, lambda *_: None)\n"
        f"sys.exit(subprocess.call([{str(plugin)!r}]))\n"
    )
    for program in (plugin, docker):
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}:{os.environ['PATH']}")
    return fifo


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("kill", [os.kill, os.killpg], ids=["sent to us alone", "sent to the process group"])
def test_a_signal_within_a_verb_of_compose_reaches_it_once_and_it_decides(
    counting_docker: Path, kill: Callable[[int, int], None], number: int
) -> None:
    """A second one would make Compose kill its containers."""
    ended = _signalled(("logs", "-f"), counting_docker, number, kill)
    assert (ended.code, ended.out, ended.err) == (21, "", "")


def test_every_further_signal_reaches_compose_too(counting_docker: Path) -> None:
    def twice(pid: int, number: int) -> None:
        for _ in range(2):
            os.kill(pid, number)
            time.sleep(0.5)

    assert _signalled(("logs", "-f"), counting_docker, signal.SIGTERM, twice).code == 22


# Printing


def test_columns_are_as_wide_as_they_need_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    table(("A", "LONGER"), [("wide enough", "x"), ("y", "z")])
    assert capsys.readouterr().out == "A            LONGER\nwide enough  x\ny            z\n"


def test_a_table_without_rows_is_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    table(("A", "B"), [])
    assert capsys.readouterr().out == "A  B\n"


def test_an_instant_is_shown_in_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert age(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).astimezone()) == age(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


EVENTS = (Event("copy", "quietly"), Event("kill", "db"), Event("copied", done=2048, unit="bytes"), Event("warning", "careful"))


@pytest.mark.parametrize(("quiet", "printed"), [(False, "  taking down db\nwarning: careful\n"), (True, "warning: careful\n")])
def test_what_happens_is_told_on_standard_error(quiet: bool, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    narrator = Narrator(quiet=quiet)
    for event in EVENTS:
        narrator(event)
    assert capsys.readouterr() == ("", printed)


def test_an_error_with_a_hint_of_several_words_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(UncommittedError("uncommitted changes in db would be lost", hint="Commit them."), as_json=False)
    assert capsys.readouterr().err == "error: uncommitted changes in db would be lost\nhint: Commit them.\n"


# `down -v`


def test_a_failed_look_before_a_removal_keeps_the_errors_kind(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stack, "status", _raise_in_method(NotFoundError("there is no volume x", hint="Make it.")))
    ended = here("down", "-v")
    assert (ended.code, ended.out) == (NotFoundError.exit_code, "")
    assert ended.err.startswith("error: there is no volume x\n")
    assert "Nothing was removed" in ended.err
