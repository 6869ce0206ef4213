"""`dm push` from a store in a folder to a directory: what travels, what is refused, and that nothing is overwritten."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dm_compose.errors import DivergedError, NotFoundError, RemoteError, UsageError
from tests.support.hubs import Hub, branches, commit, log, messages, on_hub
from tests.support.machines import Machine

DIVERGED, NOT_FOUND, USAGE = (cls.exit_code for cls in (DivergedError, NotFoundError, UsageError))
STASHED = re.compile(r"master-DIVERGED-\d{8}T\d{6}Z")


# What travels


def test_a_push_says_where_it_goes_and_what_it_did(here: Machine) -> None:
    ended = here("push", "hub")
    assert ended.lines[:2] == ["Pushing admin/shop to hub:admin/shop", "Calculating..."]
    assert re.fullmatch(r"Done! admin/shop branch master is at [0-9a-f]{12}: 1 commit, \S+ kiB sent", ended.lines[2])
    assert "already" in here("push", "hub").lines[-1]


def test_history_is_the_same_on_both_sides(here: Machine, there: Machine) -> None:
    for content in ("two", "three"):
        commit(here, "shop", content)
    here("push", "hub")
    there("pull", "hub")
    assert log(there) == log(here)
    assert messages(there) == ["one", "two", "three"]


def test_an_incremental_push_sends_what_is_new_only(here: Machine, there: Machine) -> None:
    here.write("shop", "large", "".join(map(str, range(100_000))))
    commit(here, "shop", "two")
    whole = here("push", "hub", "--json").json()
    three = commit(here, "shop", "three")
    done = here("push", "hub", "--json").json()
    assert done["commits"] == [three]
    assert done["sent_bytes"] < whole["sent_bytes"] / 10
    again = here("push", "hub", "--json").json()
    assert (again["commits"], again["sent_blobs"], again["sent_bytes"]) == ([], 0, 0)


def test_what_is_not_committed_is_not_sent_and_stays(here: Machine, there: Machine) -> None:
    commit(here, "shop", "two")
    here.write("shop", "file", "not committed")
    here("push", "hub")
    there("pull", "hub")
    assert there.read("shop", "file") == "two"
    assert here.read("shop", "file") == "not committed"


def test_a_remote_that_had_dots_is_not_begun_anew_where_its_disk_is_away(here: Machine, hub: Hub) -> None:
    here("push", "hub")
    directory = Path(here("remote", "--json").json()[0]["url"].removeprefix("file://"))
    directory.rename(directory.with_name("away"))
    commit(here, "shop", "two")
    ended = here("push", "hub", code=RemoteError.exit_code)
    assert f"the directory of remote hub is gone: {directory}" in ended.err
    assert f"mkdir {directory}" in ended.err
    assert not directory.exists()
    directory.with_name("away").rename(directory)
    assert here("push", "hub", "--json").json()["commits"] == [log(here)[0]["id"]]


def test_tags_stay_at_home(here: Machine, there: Machine) -> None:
    here("tag", "v1")
    commit(here, "shop", "two")
    here("push", "hub")
    there("pull", "hub")
    assert there("tag", "--json").json() == {}
    assert on_hub(here)["admin/shop"].keys() == {"master"}


@pytest.mark.parametrize("base_first", [True, False])
def test_a_branch_is_pushed_with_all_that_it_stands_on(hub: Hub, here: Machine, base_first: bool) -> None:
    if base_first:
        here("push", "hub")
    here("checkout", "-b", "feature")
    head = commit(here, "shop", "two")
    here("push", "hub")
    assert on_hub(here)["admin/shop"]["feature"] == head
    assert ("master" in on_hub(here)["admin/shop"]) == base_first
    other = hub.machine("other")
    other("clone", "hub", "shop", "feature")
    assert (messages(other), other.read("shop", "file")) == (["one", "two"], "two")


def test_a_branch_that_is_not_checked_out_is_pushed_by_its_name(here: Machine) -> None:
    here("branch", "idle")
    commit(here, "shop", "two")
    here("push", "hub", "shop", "idle")
    assert on_hub(here)["admin/shop"] == {"idle": branches(here)["idle"]}
    here("--branch", "master", "push", "hub", "shop")
    assert on_hub(here)["admin/shop"] == branches(here)


# What is refused


def test_a_push_over_commits_that_are_not_here_is_refused_until_they_are_pulled(here: Machine, there: Machine) -> None:
    theirs = commit(there, "shop", "theirs")
    there("push", "hub")
    commit(here, "shop", "ours")
    refused = here("push", "hub", code=DIVERGED)
    assert theirs[:12] in refused.err
    assert "--stash-on-divergence" in refused.err
    assert on_hub(here)["admin/shop"] == {"master": theirs}
    assert here("push", "hub", "--json", code=DIVERGED).json()["error"]["kind"] == "diverged"


def test_a_push_after_a_reset_is_refused_and_the_remote_keeps_what_it_has(here: Machine, there: Machine) -> None:
    two = commit(here, "shop", "two")
    here("push", "hub")
    here("reset", "HEAD^")
    assert "a commit that is here but not in this branch" in here("push", "hub", code=DIVERGED).err
    commit(here, "shop", "instead")
    here("push", "hub", code=DIVERGED)
    assert on_hub(here)["admin/shop"] == {"master": two}


def test_a_stashed_push_has_both_sides_on_the_remote(here: Machine, there: Machine) -> None:
    theirs = commit(there, "shop", "theirs")
    there("push", "hub")
    ours = commit(here, "shop", "ours")
    done = here("push", "hub", "--stash-on-divergence", "--json").json()
    assert STASHED.fullmatch(done["branch"])
    assert done["stashed"]
    assert on_hub(here)["admin/shop"] == {"master": theirs, done["branch"]: ours}
    assert messages(here) == ["one", "ours"]
    there("pull", "hub", "shop", done["branch"])
    assert messages(there, ref=done["branch"]) == ["one", "ours"]
    assert messages(there) == ["one", "theirs"]


def test_a_stash_is_not_made_where_nothing_diverged(here: Machine, there: Machine) -> None:
    two = commit(here, "shop", "two")
    assert not here("push", "hub", "--stash-on-divergence", "--json").json()["stashed"]
    assert on_hub(here)["admin/shop"] == {"master": two}


def test_an_unrelated_dot_of_the_name_is_not_overwritten(hub: Hub, here: Machine, there: Machine) -> None:
    other = hub.machine("other")
    other("init", "shop")
    stranger = commit(other, "shop", "nothing to do with it")
    before = on_hub(here)
    refused = other("push", "hub", code=DIVERGED)
    assert "nothing in common" in refused.err
    assert "--remote-name" in refused.err
    assert on_hub(here) == before
    other("push", "hub", "--remote-name", "team/shop")
    assert on_hub(here) == {**before, "team/shop": {"master": stranger}}


def test_what_cannot_be_pushed_is_named(here: Machine) -> None:
    here("init", "empty")
    assert "has no commit to push" in here("push", "hub", "empty", code=NOT_FOUND).err
    assert "branch nope" in here("push", "hub", "shop", "nope", code=NOT_FOUND).err
    assert "there is no dot nope" in here("push", "hub", "nope", code=NOT_FOUND).err
    assert "Known: hub" in here("push", "nowhere", "shop", code=NOT_FOUND).err
    here("push", "hub", "shop", "--remote-name", "a/b/c", code=USAGE)
    assert on_hub(here) == {}


# Where it goes


def test_a_name_on_the_remote_is_remembered(hub: Hub, here: Machine) -> None:
    here("push", "hub", "--remote-name", "team/store")
    two = commit(here, "shop", "two")
    assert here("push", "hub").lines[0] == "Pushing admin/shop to hub:team/store"
    assert on_hub(here) == {"team/store": {"master": two}}
    other = hub.machine("other")
    other("clone", "hub", "team/store", "--local-name", "mine")
    three = commit(other, "mine", "three")
    assert other("push", "hub").lines[0] == "Pushing admin/mine to hub:team/store"
    assert on_hub(here) == {"team/store": {"master": three}}


def test_a_push_that_was_refused_changes_no_upstream(here: Machine, there: Machine) -> None:
    there("init", "other")
    commit(there, "other", "nothing to do with it")
    there("push", "hub", "other", "--remote-name", "admin/shop", code=DIVERGED)
    assert there("push", "hub", "other").lines[0] == "Pushing admin/other to hub:admin/other"


def test_an_address_may_stand_in_place_of_a_name(hub: Hub, here: Machine) -> None:
    here("push", f"file://{hub.path}/elsewhere")
    here("push", str(hub.path / "elsewhere"), "--remote-name", "admin/again")
    assert sorted(p.name for p in (hub.path / "elsewhere/admin").iterdir()) == ["again", "shop"]


# For programs


def test_events_are_json_on_standard_error_and_the_outcome_on_standard_output(here: Machine) -> None:
    here.write("shop", "large", "".join(map(str, range(100_000))))
    commit(here, "shop", "two")
    ended = here("push", "hub", "--json")
    events = [json.loads(line) for line in ended.err.splitlines()]
    assert events[0] == {"event": "begin", "text": "Pushing admin/shop to hub:admin/shop"}
    counts = [event for event in events if event["event"] == "push"]
    assert counts[-1]["done"] == counts[-1]["total"] > 100_000
    assert counts[-1]["unit"] == "bytes"
    assert ended.json()["head"] == branches(here)["master"]
