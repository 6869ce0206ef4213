"""`dm clone` and `dm pull` killed at any change of the disk: the next command finds what was before or what was to come."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from dm_compose.core.names import DotName
from dm_compose.store.local.store import LocalStore
from tests.support.crashing import KILLED, run_until
from tests.support.hubs import Hub, branches, commit
from tests.support.machines import Machine

pytestmark = pytest.mark.timeout(900)  # each of some hundred points takes a command, and another one to look

MAX_STOPS = 500
EACH_NTH_AGAIN = 3  # to do it again takes longer than all else
SHOP = DotName("shop")


def stops(template: Machine, *words: str) -> Iterator[tuple[Machine, bool, bool]]:
    """Yield a copy of a machine for every change of the disk at which the command was killed, and one where it was done; and
    whether it was done, and whether to do it again.
    """
    for number in range(1, MAX_STOPS):
        root = template.root.parent / "case"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(template.root, root, symlinks=True)
        machine = Machine(root)
        done = run_until(number, lambda: machine(*words)) != KILLED  # noqa: B023 (used before the next round)
        yield machine, done, number % EACH_NTH_AGAIN == 0
        if done:
            assert number > 20, "the hook saw next to nothing"
            return
    raise AssertionError(f"still not done after {MAX_STOPS} changes")


def found(machine: Machine) -> dict[str, Any]:
    """Return all that the next command that writes finds of `shop` in the store. Nothing may be unfinished or damaged."""
    if "shop" in dots(machine):
        machine("--dot", "shop", "tag", "recovered", code=None)  # a verb that writes; the second time the name is taken
        status = machine("--dot", "shop", "status", "--json").json()
        files = machine.read("shop", "file"), machine.read("shop", "table", "db")
    store = LocalStore(machine.home)
    try:
        settings = {name: value for name, value in store.settings().items() if name.startswith("upstream")}
        assert store.check({}, repair=False).damage == ()
        if SHOP not in store.dots():
            return {"settings": settings}
        assert store.unfinished(SHOP) == []
        log = [commit.message for commit in store.log(SHOP, status["head"]["id"])]
        heads = store.branches(SHOP)
        return {"settings": settings, "files": files, "log": log, "heads": heads, "dirty": status["dirty"]}
    finally:
        store.close()


def dots(machine: Machine) -> list[DotName]:
    store = LocalStore(machine.home)
    try:
        return store.dots()
    finally:
        store.close()


@pytest.fixture
def pushed(here: Machine) -> Machine:
    """A machine that has pushed two commits, with files in two subdots."""
    here.write("shop", "table", "t" * 20_000, "db")
    commit(here, "shop", "two")
    here("push", "hub", "--remote-name", "team/shop")
    return here


def test_a_clone_killed_anywhere_is_there_or_not(hub: Hub, pushed: Machine) -> None:
    template, heads = hub.machine("template"), branches(pushed)
    seen = set()
    for machine, done, again in stops(template, "clone", "hub", "team/shop"):
        there = "shop" in dots(machine)
        assert there or not done
        seen.add(there)
        if not there:
            assert found(machine) == {"settings": {}}
            if not again:
                continue
            machine("clone", "hub", "team/shop")
        assert found(machine) == {
            "settings": {"upstream.hub.shop": "team/shop"},
            "files": ("two", "t" * 20_000),
            "log": ["two", "one"],
            "heads": heads,
            "dirty": False,
        }
    assert seen == {True, False}


def test_a_stashing_pull_killed_anywhere_leaves_old_or_new_and_the_next_one_finishes(hub: Hub, pushed: Machine) -> None:
    template = hub.machine("template")
    template("clone", "hub", "team/shop")
    pushed.write("shop", "table", "t" * 10_000 + "changed", "db")
    theirs = commit(pushed, "shop", "theirs")
    pushed("push", "hub")
    ours = commit(template, "shop", "ours")
    old = {"files": ("ours", "t" * 20_000), "log": ["ours", "two", "one"], "dirty": False}
    new = {"files": ("theirs", "t" * 10_000 + "changed"), "log": ["theirs", "two", "one"], "dirty": False}
    seen = set()
    for machine, done, again in stops(template, "pull", "hub", "--stash-on-divergence"):
        now = found(machine)
        moved = now["heads"]["master"] == theirs
        assert moved or not done
        assert {name: now[name] for name in old} == (new if moved else old)
        assert ours in now["heads"].values()
        seen.add(moved)
        if again:
            machine("pull", "hub", "--stash-on-divergence")
            now = found(machine)
            assert {name: now[name] for name in new} == new
            assert sorted(now["heads"].values()) == sorted([ours, theirs])  # one stash, however often it was tried
            assert list((machine.home / "incoming").iterdir()) == []
    assert seen == {True, False}
