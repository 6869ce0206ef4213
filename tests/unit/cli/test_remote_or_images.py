"""`dm-compose push` and `pull` are for images, as in Compose, unless their first word is a remote. It is that or a service."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dm_compose.cli.targets import ComposeTarget
from dm_compose.cli.verbs.remote import remote_names
from dm_compose.compose import ComposeOptions
from dm_compose.errors import DmError
from dm_compose.store.local.store import LocalStore
from tests.support.capabilities import needs_compose
from tests.support.commands import NO_ENGINE, NOT_FOUND, run_script, script

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the store would be; no engine answers, and the project has the services `web` and `debug`."""
    monkeypatch.setenv("DM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCKER_HOST", NO_ENGINE)
    monkeypatch.delenv("COMPOSE_FILE", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("compose.yaml").write_text("services: {web: {image: x}, debug: {image: x, profiles: [debug]}}")
    return tmp_path / "home"


@pytest.fixture
def hub(home: Path) -> Path:
    """The store, with the remote `hub`."""
    store = LocalStore(home)
    store.set_setting("remote.hub", str(home.parent / "hub"))
    store.close()
    return home


@pytest.fixture
def _in_a_command(home: Path) -> Iterator[None]:
    with click.Context(click.Command("pull"), obj=ComposeTarget(ComposeOptions())):
        yield
    gc.collect()  # docker-py leaves a socket open where no engine answers: it is complained of here and not in another test


@pytest.mark.usefixtures("_in_a_command")
def test_looking_for_remotes_makes_no_store(home: Path) -> None:
    assert remote_names() == []
    assert not home.exists()


@pytest.mark.usefixtures("_in_a_command", "hub")
def test_a_remote_that_was_added_is_one() -> None:
    assert remote_names() == ["hub"]


@pytest.mark.usefixtures("_in_a_command")
def test_a_store_that_cannot_be_read_is_an_error(home: Path) -> None:
    home.mkdir()
    (home / "state.db").write_bytes(b"no database" * 1000)
    with pytest.raises(DmError):
        remote_names()


@needs_compose
@pytest.mark.parametrize("verb", ["push", "pull"])
def test_a_word_that_is_no_remote_and_no_service_is_told_with_the_remotes_that_there_are(hub: Path, verb: str) -> None:
    before = sorted(hub.rglob("*"))
    ended = script(verb, "hubb")
    assert (ended.code, ended.out) == (NOT_FOUND, "")
    assert ended.err == "error: no remote hubb (there are: hub), and no such service\nhint: Did you mean 'hub'?\n"
    assert script(verb, "wbe").err.endswith("hint: Did you mean 'web'?\n")
    assert sorted(hub.rglob("*")) == before


@needs_compose
@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("words", [("pull", "web"), ("pull", "--policy", "missing", "debug"), ("push", "-q", "web"), ("pull",)])
def test_the_verb_is_composes_for_a_service_and_without_a_word(words: tuple[str, ...]) -> None:
    ours = script(*words)
    theirs = run_script("docker", "compose", *words, environment=os.environ)
    assert (ours.code, ours.out) == (theirs.code, theirs.out)
    assert "no remote" not in ours.err


@needs_compose
@pytest.mark.usefixtures("hub")
def test_the_verb_is_ours_for_a_remote_also_after_an_option_with_a_value() -> None:
    for words in (("push", "hub"), ("push", "--remote-name", "team/shop", "hub")):
        ended = script(*words)
        assert (ended.code, ended.out) == (4, "")
        assert ended.err.startswith("error: no Docker Engine answers at unix:///nonexistent.sock: no such file or directory\n")
    ended = script("pull", "./hub")
    assert (ended.code, ended.out) == (5, "")
    assert "has no commit yet, so there is nothing to bring up to date" in ended.err


@needs_compose
def test_a_store_that_cannot_be_read_leaves_the_verb_to_compose(home: Path) -> None:
    home.mkdir()
    (home / "state.db").write_bytes(b"no database" * 1000)
    assert "no such service: hubb" in script("pull", "hubb").err
