"""The settings. The command line wins over the environment, and that over the ini file. An empty value or a 0 is a value."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import pytest

from dm_compose.compose import ComposeOptions
from dm_compose.core.variables import Variables
from dm_compose.errors import UsageError
from dm_compose.sessions.evidence import Limits
from dm_compose.sessions.options import STRATEGIES, SessionOptions
from dm_compose.sharing.remote_ref import RemoteRef
from dm_compose.up.durability import DURABILITIES, FULL
from pytest_dotmesh.environment import Environment

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}
_PATHS = {"file", "env_file", "project_directory", "report_json"}  # relative paths in an ini file start from its directory


@dataclass(frozen=True)
class _Setting:
    """One setting with its three names: option `--dm-NAME`, variable `DM_NAME`, ini value `dm_NAME`."""

    name: str
    kind: str
    default: Any
    help: str
    choices: tuple[str, ...] = ()

    @property
    def option(self) -> str:
        return f"--dm-{self.name.replace('_', '-')}"

    @property
    def dest(self) -> str:
        return f"dm_{self.name}"

    @property
    def variable(self) -> str:
        return f"DM_{self.name.upper()}"


SETTINGS = (
    _Setting("file", "list", (), "Compose file; may be given several times (by default as Compose finds it)."),
    _Setting("project_name", "text", None, "Compose project name."),
    _Setting("profile", "list", (), "Compose profile; may be given several times."),
    _Setting("env_file", "list", (), "Environment file for interpolation; may be given several times."),
    _Setting("project_directory", "text", None, "Directory that relative paths of the compose file start from."),
    _Setting("commit", "text", "HEAD", "Commit that tests start from: HEAD, a branch, a tag, an id."),
    _Setting(
        "from", "source", None, "Commit on a remote that tests start from, in place of one of the store: REMOTE:NS/DOT[@REF]."
    ),
    _Setting("autouse", "flag", False, "Restore for every test, not only for those that ask for dm_stack."),
    _Setting("any_version", "flag", False, "Accept a commit made by another version of an engine."),
    _Setting("timeout", "number", 120.0, "Seconds to wait for a datastore to answer."),
    _Setting("lock_timeout", "number", 600.0, "Seconds to wait for another test run on the same stack; 0: do not wait."),
    _Setting("strategy", "choice", "auto", "How a datastore goes down and up: auto, respawn or restart.", STRATEGIES),
    _Setting(
        "durability",
        "choice",
        FULL,
        "Whether engines wait for the disk, in containers that the run makes: full (as the compose file has it) or off.",
        DURABILITIES,
    ),
    _Setting(
        "settle", "flag", True, "Shut down once the engines of the commit that tests start from, so that no restore replays logs."
    ),
    _Setting("isolate", "flag", False, "Run on a clone of the stack, so that the stack itself is not touched."),
    _Setting("spares", "count", 0, "How many clones of the stack stand by, restored and paused, for the tests to come."),
    _Setting("workers_share", "flag", False, "Have all workers of pytest-xdist use one stack in turn, instead of a clone each."),
    _Setting("env", "lines", (), "Environment variable NAME=TEXT; {db:5432} in TEXT becomes HOST:PORT; several, one per line."),
    _Setting("report", "flag", False, "Print for each test what it touched and dirtied, and how long its restore took."),
    _Setting("report_json", "text", None, "File to write that report to, as JSON."),
    _Setting("keep_failed", "flag", False, "Keep the state after a failed test as a branch failed/RUN/TEST."),
    _Setting(
        "keep_failed_to", "text", None, "Remote to push those branches to: REMOTE or REMOTE:NS/DOT. Implies --dm-keep-failed."
    ),
    _Setting("keep_failed_max", "count", 10, "How many such states a run keeps."),
    _Setting("keep_failed_mib", "number", 1024.0, "How much space they may take together, in MiB."),
)


@dataclass(frozen=True)
class KeepFailed:
    """Whether states of failed tests are kept, how many, and the remote that they are pushed to (None: they are not)."""

    wanted: bool
    to: str | None
    limits: Limits


@dataclass(frozen=True)
class DmConfig:
    """The plugin's settings of one pytest run. `source` wins over the session's commit.

    `chosen` says whether the user has set any of them.
    """

    compose: ComposeOptions
    session: SessionOptions
    source: RemoteRef | None
    autouse: bool
    report: bool
    report_json: str | None
    keep_failed: KeepFailed
    settle: bool
    isolate: bool
    spares: int
    workers_share: bool
    environment: Environment
    variables: Variables
    chosen: bool


def add_options(parser: pytest.Parser) -> None:
    """Declare every setting as a command-line option and as an ini value."""
    group = parser.getgroup("dm", "state of a Docker Compose stack (pytest_dotmesh)")
    for setting in SETTINGS:
        text = f"{setting.help} Also {setting.variable}, and {setting.dest} in the ini file."
        if setting.kind == "flag":
            group.addoption(setting.option, dest=setting.dest, action="store_const", const="true", default=None, help=text)
            group.addoption(setting.option.replace("--dm-", "--no-dm-"), dest=setting.dest, action="store_const", const="false")
        elif setting.kind in ("list", "lines"):
            group.addoption(setting.option, dest=setting.dest, action="append", default=None, metavar="VALUE", help=text)
        else:
            group.addoption(setting.option, dest=setting.dest, default=None, metavar="VALUE", help=text)
        parser.addini(setting.dest, text, type=_ini_type(setting.kind), default=None)


def _ini_type(kind: str) -> Any:
    """Return the type that pytest reads a setting's ini value by.

    Native TOML (from pytest 9.0) has booleans and numbers. Every other file has text, which only `_decode` knows to read: it
    accepts more words than pytest does. From 9.2 a setting can have both types, and text comes first.
    """
    if kind in ("list", "lines"):
        return "args" if kind == "list" else "linelist"
    if pytest.version_tuple >= (9, 2):
        return {"flag": str | bool, "number": str | float, "count": str | int}.get(kind, str)
    if pytest.version_tuple >= (9, 0):
        return {"flag": "bool", "number": "float", "count": "int"}.get(kind, "string")
    return "string"


def read_config(config: pytest.Config) -> DmConfig:
    """Read all settings. pytest.UsageError names a value that makes no sense, and the place where it was given."""
    values: dict[str, Any] = {}
    chosen = False
    for setting in SETTINGS:
        found, where = _find(config, setting)
        chosen = chosen or found is not None
        values[setting.name] = setting.default if found is None else _decode(setting, found, where)
    if values["spares"] and values["workers_share"]:
        raise pytest.UsageError("--dm-spares cannot go with --dm-workers-share: workers that share one stack have no spares")
    return DmConfig(
        compose=ComposeOptions(
            files=tuple(values["file"]),
            project_name=values["project_name"],
            profiles=tuple(values["profile"]),
            env_files=tuple(values["env_file"]),
            project_directory=values["project_directory"],
        ),
        session=SessionOptions(
            commit=values["commit"],
            any_version=values["any_version"],
            ready_timeout_s=values["timeout"],
            lock_timeout_s=values["lock_timeout"],
            strategy=values["strategy"],
            durability=values["durability"],
        ),
        source=values["from"],
        autouse=values["autouse"],
        report=values["report"],
        report_json=values["report_json"],
        keep_failed=KeepFailed(
            wanted=values["keep_failed"] or bool(values["keep_failed_to"]),
            to=values["keep_failed_to"],
            limits=Limits(values["keep_failed_max"], int(values["keep_failed_mib"] * 1024**2)),
        ),
        settle=values["settle"],
        isolate=values["isolate"],
        spares=values["spares"],
        workers_share=values["workers_share"],
        environment=Environment(values["env"], "dm_env"),
        variables=Variables.of({"HOME": os.path.expanduser("~"), **os.environ}),
        chosen=chosen,
    )


def _find(config: pytest.Config, setting: _Setting) -> tuple[Any, str]:
    given = config.getoption(setting.dest)
    if given is not None:
        return given, setting.option
    if setting.variable in os.environ:
        text = os.environ[setting.variable]
        if setting.kind == "lines":
            return text.splitlines(), setting.variable
        return (text.split(os.pathsep) if text else []) if setting.kind == "list" else text, setting.variable
    try:
        found = config.getini(setting.dest)
    except (TypeError, ValueError) as error:  # before pytest 9.2, which raises a UsageError itself
        raise pytest.UsageError(f"{setting.dest}: {error}") from None
    if found and setting.name in _PATHS and config.inipath is not None:
        base = config.inipath.parent
        found = [str(base / path) for path in found] if setting.kind == "list" else str(base / found)
    return found, setting.dest


def _decode(setting: _Setting, value: Any, where: str) -> Any:
    if setting.kind == "flag":
        word = str(value).strip().lower()
        if word not in _TRUE | _FALSE:
            raise pytest.UsageError(f"{where}: {value!r} is neither true nor false")
        return word in _TRUE
    if setting.kind == "number":
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 <= number < math.inf:
            raise pytest.UsageError(f"{where}: {value!r} is not a number, 0 or more")
        return number
    if setting.kind == "count":
        if not str(value).strip().isdecimal():
            raise pytest.UsageError(f"{where}: {value!r} is not a number")
        return int(value)
    if setting.kind in ("list", "lines"):
        return [item for item in value if item.strip()]
    if setting.kind == "choice" and value not in setting.choices:
        raise pytest.UsageError(f"{where}: {value!r} is no {setting.name}; there are {', '.join(setting.choices)}")
    if setting.kind == "source":
        try:
            return RemoteRef.parse(value) if value else None
        except UsageError as error:
            raise pytest.UsageError(f"{where}: {error.message}\n{error.hint}") from None
    return value
