"""`dm-compose push` and `pull` are Compose's verbs for images, unless their first word is a remote."""

from __future__ import annotations

import gc
from pathlib import Path

import click
import pytest

from dm_compose.cli.targets import ComposeTarget
from dm_compose.cli.verbs.remote import is_remote
from dm_compose.compose import ComposeOptions
from dm_compose.store.local.store import LocalStore
from tests.support.commands import NO_ENGINE

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the store would be; no engine answers."""
    monkeypatch.setenv("DM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCKER_HOST", NO_ENGINE)
    return tmp_path / "home"


def remote(word: str) -> bool:
    with click.Context(click.Command("pull"), obj=ComposeTarget(ComposeOptions())):
        found = is_remote(word)
    gc.collect()  # docker-py leaves a socket open where no engine answers: it is complained of here and not in another test
    return found


def test_a_services_name_is_no_remote_and_looking_makes_no_store(home: Path) -> None:
    assert not remote("web")
    assert not home.exists()
    assert remote("oci://hub.example/team")
    assert not home.exists()


def test_a_remote_that_was_added_is_one(home: Path) -> None:
    store = LocalStore(home)
    store.set_setting("remote.hub", "/srv/dots")
    store.close()
    assert remote("hub")
    assert not remote("web")


def test_a_store_that_cannot_be_read_leaves_the_verb_to_compose(home: Path) -> None:
    home.mkdir()
    (home / "state.db").write_bytes(b"no database" * 1000)
    assert not remote("web")
