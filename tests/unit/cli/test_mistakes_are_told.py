"""Mistakes of newcomers on both command lines: each has one line, a hint, its exit code, and leaves the store as it was."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field

import pytest

from dm_compose.errors import ComposeError, EngineError
from tests.support.capabilities import needs_compose
from tests.support.commands import (
    DM,
    DM_COMPOSE,
    IN_USE,
    NOT_FOUND,
    STORE,
    UNCOMMITTED,
    USAGE,
    Ended,
    run_script,
)
from tests.support.machines import Machine

COMPOSE, ENGINE = ComposeError.exit_code, EngineError.exit_code
AT_NO_ENGINE = "no Docker Engine answers at unix:///nonexistent.sock: no such file or directory"
START = "Start Docker, or check DOCKER_HOST"


@dataclass(frozen=True)
class Mistake:
    """A command line, the beginning of its message, a part of its hint, and its exit code."""

    line: str
    message: str
    hint: str
    code: int = USAGE
    variables: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return " ".join((*(f"{name}={value}" for name, value in self.variables.items()), self.line))


def unknown(verb: str, hint: str, program: str = "dm-compose") -> Mistake:
    owners = "dm-compose or Compose" if program == "dm-compose" else program
    return Mistake(f"{program} {verb}", f"{verb.split()[-1]!r} is no verb of {owners}", hint)


MISTAKES = [
    # Verbs
    unknown("stauts", "Did you mean 'status'?"),
    unknown("comit", "Did you mean 'commit'?"),
    unknown("chekout", "Did you mean 'checkout'?"),
    unknown("rset", "Did you mean 'reset'?"),
    unknown("unod", "Did you mean 'undo'?"),
    unknown("brnach", "Did you mean 'branch'?"),
    unknown("seeed", "Did you mean 'seed'?"),
    unknown("lgos", "Did you mean 'logs'?"),
    unknown("dwon", "Did you mean 'down'?"),
    unknown("xyzzy", "`dm-compose --help` lists the verbs."),
    unknown("clone", "`dm-compose up --from REMOTE:NS/DOT`"),
    unknown("init", "The first `commit` makes the dot."),
    unknown("restore", "`reset` puts the state of a commit back."),
    unknown("fetch", "`pull` brings"),
    unknown("switch", "`checkout` goes to a branch"),
    unknown("list", "It is a verb of `dm`: dm list."),
    unknown("mount", "It is a verb of `dm`: dm mount."),
    unknown("help stauts", "Did you mean 'status'?"),
    Mistake("dm-compose worktree ad x", "'ad' is no verb of dm-compose worktree", "Did you mean 'add'?"),
    Mistake("dm-compose remote lst", "'lst' is no verb of dm-compose remote", "Did you mean 'ls'?"),
    unknown("stauts", "Did you mean 'status'?", "dm"),
    unknown("plan", "It is a verb of `dm-compose`: dm-compose plan.", "dm"),
    unknown("xyzzy", "`dm --help` lists the verbs.", "dm"),
    Mistake("dm dot delte a", "'delte' is no verb of dm dot", "Did you mean 'delete'?"),
    # Options and arguments
    Mistake("dm-compose reset HEAD --soft", "dm-compose reset has no option --soft", "`dm-compose reset --help` shows"),
    Mistake("dm-compose reset --hrad", "dm-compose reset has no option --hrad", "Did you mean '--hard'?"),
    Mistake("dm-compose commit", "dm-compose commit: missing option '-m' / '--message'", "`dm-compose commit --help` shows"),
    Mistake("dm commit -m ", "please provide a commit message", 'For example: commit -m "seed"'),
    Mistake("dm-compose reset a b", "dm-compose reset: got unexpected extra argument (b)", "`dm-compose reset --help` shows"),
    Mistake(
        "dm-compose reset --timeout soon", "dm-compose reset: invalid value for '--timeout'", "`dm-compose reset --help` shows"
    ),
    Mistake("dm-compose status -p shop", "status has no option -p", "go before the verb: dm-compose -p NAME status"),
    Mistake("dm-compose completion tcsh", "dm-compose completion: invalid value for", "`dm-compose completion --help` shows"),
    Mistake(
        "dm-compose completion",
        "there is no completion for tcsh",
        "Name one of bash, zsh, fish.",
        variables={"SHELL": "/bin/tcsh"},
    ),
    Mistake("dm commit -m x --metadat a=b", "dm commit has no option --metadat", "Did you mean '--metadata'?"),
    # References
    Mistake("dm reset --hard mastre", "dot a has no branch, tag or commit 'mastre'", "Did you mean 'master'?", NOT_FOUND),
    Mistake("dm reset --hard head", "dot a has no branch, tag or commit 'head'", "Did you mean 'HEAD'?", NOT_FOUND),
    Mistake("dm reset --hard one", "dot a has no branch, tag or commit 'one'", "has this message", NOT_FOUND),
    Mistake("dm reset --hard xyz", "dot a has no branch, tag or commit 'xyz'", "`branch` and `tag` list the names", NOT_FOUND),
    Mistake("dm log d84", "dot a has no branch or tag 'd84'", "at least 4 digits", NOT_FOUND),
    Mistake("dm log HEAD~9", "HEAD~9 goes back beyond the first commit of a", "`log` lists", NOT_FOUND),
    Mistake(
        "dm checkout othr", "dot a has no branch, tag or commit 'othr'", "Did you mean 'other'? `checkout -b othr`", NOT_FOUND
    ),
    Mistake("dm branch -d othr", "dot a has no branch othr", "Did you mean 'other'?", NOT_FOUND),
    Mistake("dm branch -d master", "branch master of dot a is checked out in worktree main", "heck", IN_USE),
    Mistake("dm worktree add ../wt", "invalid worktree name '../wt'", "no path. For example: wt."),
    Mistake("dm tag a..b", "invalid name of a tag 'a..b'", "letters, digits"),
    Mistake("dm tag -d v11", "dot a has no tag v11", "Did you mean 'v1'?", NOT_FOUND),
    Mistake("dm diff HEAD nope", "dot a has no branch, tag or commit 'nope'", "`branch` and `tag`", NOT_FOUND),
    Mistake("dm reset HEAD", "there are uncommitted changes in __default__", "--hard", UNCOMMITTED),
    # Dots and remotes
    Mistake("dm switch b", "dot b doesn't exist", "`dm list` shows", NOT_FOUND),
    Mistake("dm push hubb", "there is no remote hubb", "Did you mean 'hub'? Known: hub.", NOT_FOUND),
    Mistake("dm-compose push hubb", "no remote hubb (there are: hub), and no such service", "Did you mean 'hub'?", NOT_FOUND),
    Mistake("dm-compose pull chace", "no remote chace (there are: hub), and no such service", "Did you mean 'cache'?", NOT_FOUND),
    Mistake("dm-compose remote ls hubb", "there is no remote hubb", "Did you mean 'hub'? Known: hub.", NOT_FOUND),
    # The engine, Compose and the store
    Mistake("dm-compose status", AT_NO_ENGINE, START, ENGINE),
    Mistake("dm-compose up -d", AT_NO_ENGINE, START, ENGINE),
    Mistake(
        "dm-compose status",
        "no Docker Engine answers at tcp://127.0.0.1:1: connection refused",
        START,
        ENGINE,
        {"DOCKER_HOST": "tcp://127.0.0.1:1"},
    ),
    Mistake(
        "dm-compose status",
        "no Docker Engine answers at nonsense: ",
        START,
        ENGINE,
        {"DOCKER_HOST": "nonsense"},
    ),
    Mistake("dm list", AT_NO_ENGINE, START, ENGINE, {"DM_HOME": "newstore"}),
    Mistake("dm list", "opening the store at ", "", STORE, {"DM_HOME": "./compose.yaml"}),
    Mistake(
        "dm-compose plan",
        "",
        "COMPOSE_FILE names other.yaml, which is not here: unset COMPOSE_FILE",
        COMPOSE,
        {"COMPOSE_FILE": "other.yaml"},
    ),
    Mistake("dm-compose -f other.yaml plan", "", "", COMPOSE),
    Mistake("dm-compose reset", "DM_TIMEOUT: 'soon' is not a number of seconds", "", USAGE, {"DM_TIMEOUT": "soon"}),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A directory with a project, and a store with a dot: a commit, two branches, a tag, a remote, an uncommitted change."""
    machine = Machine(tmp_path_factory.mktemp("shop"))
    machine("init", "a")
    machine.write("a", "file", "one")
    machine.commit("a", "one")
    machine("tag", "v1")
    machine("branch", "other")
    machine("switch", "a")
    machine("remote", "add", "hub", str(machine.root / "hub"))
    machine.write("a", "file", "uncommitted")
    (machine.root / "compose.yaml").write_text("services: {db: {image: 'postgres:16'}, cache: {image: 'redis:7'}}")
    return machine


def contents(machine: Machine) -> dict[str, str]:
    """Return all files of the store and around it, but for what looking may leave."""
    found = {}
    for path in machine.listing():
        file = machine.root / path
        if file.is_file():
            found[path] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def run(machine: Machine, mistake: Mistake, *more: str) -> Ended:
    program, *words = mistake.line.split(" ")
    kept = {name: value for name, value in os.environ.items() if name in ("DOCKER_CONFIG", "PATH", "HOME")}
    environment = {**kept, **machine.environment(), "DOCKER_CONFIG": kept.get("DOCKER_CONFIG", ""), **mistake.variables}
    here = os.getcwd()
    os.chdir(machine.root)
    try:
        return run_script(DM if program == "dm" else DM_COMPOSE, *words, *more, environment=environment)
    finally:
        os.chdir(here)


@needs_compose
@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_a_mistake_is_told_in_a_line_with_a_hint_and_changes_nothing(shop: Machine, mistake: Mistake) -> None:
    before = contents(shop), shop("debug").out, shop("remote", "--json").out
    ended = run(shop, mistake)
    assert (ended.code, ended.out) == (mistake.code, ""), ended
    message, _, hint = ended.err.partition("\nhint: ")
    assert message.startswith(f"error: {mistake.message}")
    assert "\n" not in message.rstrip()
    assert mistake.hint in hint
    assert "object at 0x" not in ended.err
    assert "HTTPConnection" not in ended.err
    assert (contents(shop), shop("debug").out, shop("remote", "--json").out) == before


@needs_compose
@pytest.mark.parametrize("mistake", MISTAKES[::6], ids=str)
def test_a_mistake_is_told_as_json_too(shop: Machine, mistake: Mistake) -> None:
    ended = run(shop, mistake, "--json")
    error = ended.json()["error"]
    assert (ended.code, error["code"], ended.err) == (mistake.code, mistake.code, "")
    assert error["message"].startswith(mistake.message)


def test_there_are_enough_of_them() -> None:
    assert len(MISTAKES) >= 40
