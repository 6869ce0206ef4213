"""Plugins are installed as users install them. Their failures are told as theirs, with their name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dm_compose.core.containers import Image
from dm_compose.datastores import Datastore, ServiceFacts
from dm_compose.datastores.registry import Registry
from dm_compose.errors import NotFoundError, PluginError, RemoteError
from dm_compose.plugins import plugins
from dm_compose.remotes import Remote, RemoteName, RemoteUrl, digest_of
from dm_compose.remotes.base import Context
from dm_compose.remotes.registry import kinds
from dm_compose.remotes.testing import RemoteContract
from tests.support.capabilities import capabilities
from tests.support.commands import script
from tests.support.machines import Machine
from tests.support.plugins import install

Installed = Callable[[str], None]
NAME = RemoteName.parse("admin/shop")
SERVICE = ServiceFacts(Image("acme/db:1.2"))
DATASTORE = """
from dm_compose import hookimpl
from dm_compose.datastores import Datastore

def fails(*_):
    raise ValueError("no idea")

def gone(*_):
    raise ConnectionRefusedError()

@hookimpl
def dm_register_datastores(register):
    register(Datastore(**{{"name": "acmedb", "images": ("acme/db",), "data": ("/data",), {fields}}}))
"""
REMOTE = """
from dm_compose import hookimpl
from dm_compose.errors import RemoteError
from dm_compose.remotes import RemoteKind, RemoteUrl
from dm_compose.remotes.directory import DirectoryRemote

def fails(*_):
    raise ValueError("no idea")

def passes(*_):
    raise RemoteError("the line is bad", passing=False)

def half(*_):
    yield b"some"
    fails()

def open_acme(url, context):
    remote = DirectoryRemote(RemoteUrl("file", "", "/" + url.path))
    {change}
    return remote

@hookimpl
def dm_register_remotes(register):
    register(RemoteKind("acme", ("acme",), open_acme))
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    """Install a plugin `acme`, or another one in its place, for one test."""

    def make(source: str) -> None:
        forget()
        monkeypatch.syspath_prepend(str(install(tmp_path / "plugins", source)))
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'plugins'}:{Path(__file__).parents[2]}")

    def forget() -> None:
        sys.modules.pop("acme_dm", None)
        for cached in (plugins, kinds):
            cached.cache_clear()

    yield make
    forget()


def datastore(installed: Installed, fields: str) -> Datastore:
    """Install a plugin's datastore and return it as dm-compose has it."""
    installed(DATASTORE.format(fields=fields))
    found = Registry(plugins()).find(SERVICE)
    assert found is not None
    return found


def remote(installed: Installed, change: str, directory: Path) -> Remote:
    """Install a plugin's kind of remote and open one."""
    installed(REMOTE.format(change=change))
    return kinds().open(RemoteUrl.parse(f"acme://host{directory}"), Context())


# Loading and registering


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nowhere", "loading it raised ModuleNotFoundError: No module named 'nowhere'"),
        ("def broken(:", "loading it raised SyntaxError"),
        (DATASTORE.replace("dm_register_datastores", "dm_register_datastore"), "unknown hook 'dm_register_datastore'"),
        (DATASTORE.replace("(register):", "(registers):"), "loading it raised PluginValidationError"),
        (
            DATASTORE.replace("register(Datastore", "fails(Datastore"),
            "its hook dm_register_datastores raised ValueError: no idea",
        ),
        (DATASTORE.replace("Datastore(**", "str({**").replace("}}))", "}}}))"), "its hook dm_register_datastores raised"),
        (DATASTORE.replace("{fields}", '"port_number": 1'), "unexpected keyword argument 'port_number'"),
        (DATASTORE.replace("{fields}", '"tag_version": "("'), "its hook dm_register_datastores raised"),
        (DATASTORE.replace("{fields}", '"tag_version": "v.*"'), "tag_version of datastore acmedb has no group: 'v.*'"),
    ],
)
def test_a_plugin_that_does_not_fit_is_named(installed: Installed, source: str, said: str) -> None:
    installed(source.replace("{fields}", "").replace("{{", "{").replace("}}", "}"))
    with pytest.raises(PluginError, match=r"^plugin acme: ") as raised:
        Registry(plugins())
    assert said in raised.value.message
    assert raised.value.hint


def test_a_plugin_replaces_what_is_built_in(installed: Installed) -> None:
    installed(DATASTORE.format(fields='"port": 1').replace('"acmedb"', '"postgres"').replace('"acme/db"', '"postgres"'))
    found = Registry(plugins()).get("postgres")
    assert found is not None
    assert (found.port, found.data) == (1, ("/data",))


# Datastores


@pytest.mark.parametrize(
    ("part", "call"),
    [
        ("data", lambda found: found.data_paths(SERVICE)),
        ("port", lambda found: found.port_of(SERVICE)),
        ("ready", lambda found: found.ready("127.0.0.1", 1, 1.0)),
        ("quiesce", lambda found: found.quiesce(None)),
    ],
)
def test_a_function_of_a_datastore_that_fails_is_told_as_its_plugins(
    installed: Installed, part: str, call: Callable[[Datastore], Any]
) -> None:
    found = datastore(installed, f'"{part}": fails')
    with pytest.raises(PluginError) as raised:
        call(found)
    assert raised.value.message == f"plugin acme: {part} of datastore acmedb raised ValueError: no idea"
    assert isinstance(raised.value.__cause__, ValueError)


def test_what_quiesce_returns_is_told_likewise(installed: Installed) -> None:
    found = datastore(installed, '"quiesce": lambda _: fails')
    assert found.quiesce is not None
    resume = found.quiesce(None)  # type: ignore[arg-type]
    assert resume is not None
    with pytest.raises(PluginError, match=r"^plugin acme: the end of quiesce of datastore acmedb raised ValueError: no idea\n"):
        resume()


def test_a_server_that_cannot_be_reached_is_not_ready_and_no_failure(installed: Installed) -> None:
    found = datastore(installed, '"ready": gone')
    assert found.ready is not None
    with pytest.raises(ConnectionRefusedError):
        found.ready("127.0.0.1", 1, 1.0)


def test_functions_that_work_are_left_as_they_are(installed: Installed) -> None:
    found = datastore(installed, '"port": lambda s: int(s.image.tag[0]), "ready": lambda *_: True, "quiesce": lambda _: None')
    assert found.ready is not None
    assert found.quiesce is not None
    assert (found.port_of(SERVICE), found.ready("", 1, 1.0), found.quiesce(None)) == (1, True, None)  # type: ignore[arg-type]
    assert found.version(SERVICE) == "1.2"


# Remotes


@pytest.mark.parametrize(
    ("change", "call"),
    [
        ("fails()", lambda _: None),
        ("remote.repositories = fails", lambda remote: remote.repositories()),
        ("remote.repository = fails", lambda remote: remote.repository(NAME)),
        ("remote.exposed = fails", lambda remote: remote.exposed()),
        ("del remote.url", lambda _: None),
        *(
            (f"remote.repository = lambda _: type('R', (), {{'{method}': fails}})()", call)
            for method, call in (
                ("tags", lambda remote: remote.repository(NAME).tags()),
                ("update", lambda remote: remote.repository(NAME).update({}, {})),
                ("blobs", lambda remote: remote.repository(NAME).blobs()),
            )
        ),
        *(
            (f"remote.repository = lambda _: type('R', (), {{'{method}': half}})()", call)
            for method, call in (
                ("get", lambda remote: list(remote.repository(NAME).get(digest_of(b"x")))),
                ("blobs", lambda remote: list(remote.repository(NAME).blobs())),
            )
        ),
    ],
)
def test_a_remote_that_fails_is_told_as_its_plugins(
    installed: Installed, tmp_path: Path, change: str, call: Callable[[Any], Any]
) -> None:
    with pytest.raises(PluginError, match=r"^plugin acme: its remote acme:// raised "):
        call(remote(installed, change, tmp_path))


def test_an_error_that_a_remote_means_stays_as_it_is(installed: Installed, tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match=r"^the line is bad$"):
        remote(installed, "remote.repositories = passes", tmp_path).repositories()
    with pytest.raises(NotFoundError):
        remote(installed, "", tmp_path).repository(NAME).get_manifest(digest_of(b"x"))


class TestRemoteOfAPlugin(RemoteContract):
    @pytest.fixture
    def remote(self, installed: Installed, tmp_path: Path) -> Remote:
        return remote(installed, "", tmp_path / "dots")


# On the command line


def test_the_command_line_names_the_plugin_and_keeps_its_traceback(
    installed: Installed, tmp_path: Path, machine: Machine
) -> None:
    installed(REMOTE.format(change="remote.repositories = fails"))
    ended = machine("remote", "ls", f"acme://host{tmp_path}", code=PluginError.exit_code)
    assert "error: plugin acme: its remote acme:// raised ValueError: no idea" in ended.err
    (log,) = (machine.root / "state" / "dm-compose").glob("crash-*.log")
    assert f"the plugin's traceback is in {log}" in ended.err
    assert "acme_dm.py" in log.read_text()
    ended = machine("remote", "ls", f"acme://host{tmp_path}", "--json", code=PluginError.exit_code)
    assert ended.json()["error"]["kind"] == "plugin"


@pytest.mark.skipif(capabilities()["compose"] != "yes", reason=f"compose: {capabilities()['compose']}")
def test_plan_names_a_plugin_that_fails(installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent.sock")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    installed(DATASTORE.format(fields='"data": fails').replace('("/data",), ', "fails, "))
    file = tmp_path / "compose.yaml"
    file.write_text("name: shop\nservices: {db: {image: 'acme/db:1.2'}}\n")
    ended = script("-f", str(file), "plan")
    assert ended.code == PluginError.exit_code
    assert "plugin acme: data of datastore acmedb raised ValueError: no idea" in ended.err
