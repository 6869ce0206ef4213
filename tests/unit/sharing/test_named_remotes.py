"""`dm remote` and what belongs to it: names, upstreams, looking after what is on a remote."""

from __future__ import annotations

from pathlib import Path

import pytest

from dm_compose.core.variables import Variables
from dm_compose.dots.all_dots import Dots
from dm_compose.errors import DamagedError, EngineError, ExistsError, NotFoundError, UsageError
from dm_compose.sharing.named_remotes import ORIGIN, Remotes
from dm_compose.sharing.remote_ref import RemoteRef
from tests.support.hubs import Hub, commit, on_hub
from tests.support.machines import Machine

DAMAGED, EXISTS, NOT_FOUND, USAGE = (cls.exit_code for cls in (DamagedError, ExistsError, NotFoundError, UsageError))


def known(machine: Machine) -> dict[str, bool]:
    """Return the names of the remotes, and whether each is the current one."""
    return {found["name"]: found["current"] for found in machine("remote", "--json").json()}


# Names


def test_the_first_remote_is_current_until_another_is_chosen(machine: Machine) -> None:
    assert machine("remote", "-v").out == ""
    assert machine("remote", "add", "one", "/srv/one").out == "Remote added.\n"
    assert machine("remote", "add", "two", "oci://hub.example/team", "--json").json() == {
        "name": "two",
        "url": "oci://hub.example/team",
    }
    assert known(machine) == {"one": True, "two": False}
    assert machine("remote", "switch", "two", "--json").json() == {"name": "two"}
    assert machine("remote").lines == ["one", "two"]
    assert machine("remote", "-v").lines == ["  one\t/srv/one", "* two\toci://hub.example/team"]
    assert machine("remote", "rm", "two", "--json").json() == {"name": "two"}
    assert known(machine) == {"one": False}


def test_a_directory_is_remembered_as_a_whole_path(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(machine.root)
    machine("remote", "add", "near", "./dots")
    assert machine("remote", "--json").json()[0]["url"] == str(machine.root / "dots")


def test_a_directory_may_be_below_the_users_own(machine: Machine) -> None:
    home = str(machine.root / "me")
    assert machine("remote", "add", "mine", "~/dots", "--json", HOME=home).json()["url"] == f"{home}/dots"
    assert f"no dots at {home}/others" in machine("remote", "ls", "~/others", HOME=home).err


@pytest.mark.parametrize("name", ["", "-x", "a/b", "a b", "a.b", "x" * 101, "é", "a\nb"])
def test_a_name_that_could_be_something_else_is_refused(machine: Machine, name: str) -> None:
    machine("remote", "add", "--", name, "/srv/one", code=USAGE)
    assert known(machine) == {}


def test_a_name_is_given_once(machine: Machine) -> None:
    machine("remote", "add", "hub", "/srv/one")
    assert "`remote rm hub`" in machine("remote", "add", "hub", "/srv/two", code=EXISTS).err
    assert machine("remote", "-v").lines == ["* hub\t/srv/one"]


@pytest.mark.parametrize("verb", ["rm", "switch", "ls", "gc", "verify"])
def test_a_remote_that_is_not_known_is_named_with_those_that_are(machine: Machine, verb: str) -> None:
    machine("remote", "add", "hub", "/srv/one")
    ended = machine("remote", verb, "nope", code=NOT_FOUND)
    assert "there is no remote nope" in ended.err
    assert "Known: hub." in ended.err
    assert known(machine) == {"hub": True}


@pytest.mark.parametrize("words", ["remote add hub", "s3 remote add hub"])
@pytest.mark.parametrize(
    "secret",
    [
        "oci://me:hunter2@hub.example/team",
        "s3://key:hunter2@bucket/prefix",
        "s3://key:hunter2/and+more@bucket",
        "s3://key:12/hunter2@bucket",
        "s3://bucket?endpoint=https://key:hunter2@minio.example",
        "key:hunter2",
        "key:hunter2@minio.example:9000",
        "key:hunter2/and+more@http://minio.example",
        "hunter2@hub.example",
    ],
)
def test_credentials_are_refused_and_neither_repeated_nor_stored(machine: Machine, words: str, secret: str) -> None:
    ended = machine(*words.split(), secret, code=USAGE)
    assert "hunter2" not in ended.out + ended.err
    assert known(machine) == {}
    assert not any(b"hunter2" in path.read_bytes() for path in machine.root.rglob("*") if path.is_file())


# The ancestor's words for buckets


def test_a_bucket_is_added_with_the_ancestors_words_too(machine: Machine) -> None:
    pytest.importorskip("obstore")
    assert machine("s3", "remote", "add", "hub", "s3://bucket/prefix?region=us-east-1").out == "s3 remote added.\n"
    assert machine("remote", "-v").lines == ["* hub\ts3://bucket/prefix?region=us-east-1"]
    added = machine("s3", "remote", "add", "again", "s3://other?region=us-east-1", "--json").json()
    assert added == {"name": "again", "url": "s3://other?region=us-east-1"}


def test_a_key_on_the_command_line_is_answered_with_where_it_belongs(machine: Machine) -> None:
    ended = machine("s3", "remote", "add", "hub", "key:hunter2@minio.example", code=USAGE)
    assert "AWS_SECRET_ACCESS_KEY" in ended.err
    assert "remote add hub 's3://BUCKET/PREFIX?endpoint=URL'" in ended.err


def test_a_part_of_a_bucket_is_no_dot(machine: Machine) -> None:
    ended = machine("s3", "clone-subset", "hub", "bucket", "a,b", "--local-name=dot", code=USAGE)
    assert "is not supported" in ended.err
    assert machine("s3", "clone-subset", "--json", code=USAGE).json()["error"]["kind"] == "usage"


# Upstreams


def test_an_upstream_says_what_a_dot_is_called_on_a_remote(here: Machine) -> None:
    assert here("dot", "set-upstream", "shop", "hub", "team/store", "--json").json() == {
        "dot": "shop",
        "remote": "hub",
        "upstream": "team/store",
    }
    assert here("push", "hub").lines[0] == "Pushing admin/shop to hub:team/store"
    here("dot", "set-upstream", "hub", "other")
    assert here("push", "hub").lines[0] == "Pushing admin/shop to hub:admin/other"
    here("dot", "set-upstream", "nope", "hub", "x", code=NOT_FOUND)
    here("dot", "set-upstream", "shop", "nope", "x", code=NOT_FOUND)
    here("dot", "set-upstream", "hub", code=USAGE)


def test_each_remote_has_its_own_upstream(hub: Hub, here: Machine) -> None:
    here("remote", "add", "second", str(hub.root / "second"))
    here("push", "second", "--remote-name", "team/store")
    assert here("push", "hub").lines[0] == "Pushing admin/shop to hub:admin/shop"


def test_upstreams_go_with_their_remote_and_with_their_dot(hub: Hub, here: Machine) -> None:
    here("push", "hub", "--remote-name", "team/store")
    here("remote", "rm", "hub")
    here("remote", "add", "hub", str(hub.path))
    assert here("push", "hub").lines[0] == "Pushing admin/shop to hub:admin/shop"
    here("dot", "set-upstream", "hub", "team/store")
    here("dot", "delete", "-f", "shop")
    here("init", "shop")
    commit(here, "shop", "another dot")
    assert here("push", "hub", "--remote-name", "mine/shop").lines[0] == "Pushing admin/shop to hub:mine/shop"
    here("dot", "delete", "-f", "shop")
    here("init", "shop")
    commit(here, "shop", "a third one")
    assert here("push", "hub", code=None).lines[0] == "Pushing admin/shop to hub:admin/shop"


# What is there


def test_a_list_names_dots_and_branches(here: Machine) -> None:
    assert here("remote", "ls", "hub", "--json").json() == []
    here("push", "hub")
    here("checkout", "-b", "feature/x")
    commit(here, "shop", "two")
    here("push", "hub")
    header, *rows = here("remote", "ls", "hub").lines
    assert header.split()[:3] == ["DOT", "BRANCH", "HEAD"]
    assert [row.split()[:2] for row in rows] == [["admin/shop", "feature/x"], ["admin/shop", "master"]]
    (found,) = here("remote", "ls", "hub", "--json").json()
    assert found["commits"] == 2
    assert all(branch["size_bytes"] > 0 for branch in found["branches"])


def test_a_dot_is_deleted_there_when_the_answer_is_yes(here: Machine) -> None:
    here("push", "hub")
    assert here("remote", "rm-dot", "hub", "shop", answer="n\n").lines[-1].endswith("Aborted.")
    assert on_hub(here).keys() == {"admin/shop"}
    here("remote", "rm-dot", "hub", "shop", answer="Y\n")
    assert on_hub(here) == {}
    here("push", "hub")
    assert here("remote", "rm-dot", "hub", "admin/shop", "-f", "--json").json()["deleted"]
    assert on_hub(here) == {}


@pytest.mark.parametrize("verb", ["rm-dot -f", "verify"])
def test_a_dot_that_is_not_there_is_named(here: Machine, verb: str) -> None:
    here("push", "hub")
    word, *options = verb.split()
    assert "there is no admin/nope at" in here("remote", word, "hub", "nope", *options, code=NOT_FOUND).err


def test_gc_says_what_can_go_and_why(here: Machine) -> None:
    here("push", "hub")
    assert here("remote", "gc", "hub", "--dry-run", code=0).out
    assert isinstance(here("remote", "gc", "hub", "shop", "--json").json(), dict)
    assert on_hub(here).keys() == {"admin/shop"}


def test_verify_names_a_blob_that_is_damaged(hub: Hub, here: Machine) -> None:
    here("push", "hub")
    assert here("remote", "verify", "hub", "--json").json()["sound"]
    blob = max((hub.path / "admin/shop/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    damage(blob)
    ended = here("remote", "verify", "hub", "shop", code=DAMAGED)
    assert blob.name in ended.out
    assert not here("remote", "verify", "hub", "--json", code=DAMAGED).json()["sound"]


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


# Remotes that are given by their address


def remotes(machine: Machine) -> Remotes:
    return Remotes(Dots(Variables({"DM_HOME": str(machine.home)})))


def test_an_address_is_remembered_as_origin_and_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dm_compose.dots.all_dots.Engine", _no_engine)
    there = str(machine.root / "there")
    assert remotes(machine).remember(there) == remotes(machine).remember(f"file://{there}") == ORIGIN
    assert remotes(machine).remember(ORIGIN) == ORIGIN
    assert machine("remote", "-v").lines == [f"* origin\t{there}"]


def test_an_address_that_has_a_name_keeps_it_and_no_origin_is_replaced(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dm_compose.dots.all_dots.Engine", _no_engine)
    machine("remote", "add", "hub", "/srv/hub")
    machine("remote", "add", "origin", "/srv/origin")
    assert remotes(machine).remember("/srv/hub") == "hub"
    assert remotes(machine).remember("/srv/another") == "/srv/another"
    assert known(machine) == {"hub": True, "origin": False}
    with pytest.raises(NotFoundError, match="there is no remote hubb"):
        remotes(machine).remember("hubb")


def test_the_name_of_a_dot_there_is_known_by_the_address_of_a_remote_too(here: Machine, fast_path: Path) -> None:
    here("push", "hub", "--remote-name", "team/web")
    assert here("push", str(fast_path / "hub"), "--json").json()["name"] == {"namespace": "team", "dot": "web"}


def _no_engine() -> None:
    raise EngineError("there is no engine")


def test_that_everybody_can_read_a_remote_is_said_once(here: Machine, fast_path: Path) -> None:
    hub = fast_path / "hub"
    hub.mkdir()
    fast_path.chmod(0o711)
    hub.chmod(0o755)
    warning = f"warning: everybody on this machine can read {hub} (`chmod o= {hub}` ends that)\n"
    said = [warning in here("push", "hub").err for _ in range(3)]
    assert said == [True, False, False]
    assert warning in here("push", str(hub)).err  # by another name
    here("remote", "rm", "hub")
    here("remote", "add", "hub", str(hub))
    assert here("push", "hub", "--json").json()["warnings"] == [warning.removeprefix("warning: ").rstrip()]


# A branch that nobody has named


def test_the_only_branch_of_a_dot_is_the_one_that_is_meant(hub: Hub, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dm_compose.dots.all_dots.Engine", _no_engine)
    machine("init", "shop")
    commit(machine, "shop", "one")
    machine("checkout", "-b", "feature")
    machine("push", str(hub.path))
    asked, named = (RemoteRef.parse(f"{hub.path}:admin/shop{ref}") for ref in ("", "@master"))
    assert remotes(machine).on_its_branch(asked).ref == "feature"
    assert remotes(machine).on_its_branch(named).ref == "master"
    machine("push", str(hub.path), "shop", "master")
    assert remotes(machine).on_its_branch(asked).ref == "master"
