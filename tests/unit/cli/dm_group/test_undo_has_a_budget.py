"""Undo keeps to a budget, and the store tells what holds its space."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from unittest import mock

import pytest

from dm_compose.core.upkeep import Holder
from tests.support.commands import NOT_FOUND, USAGE, Ended
from tests.support.machines import Machine

BIG = 300_000
KIB = 1 << 10


def reset(used: Machine, size: int = BIG) -> Ended:
    """Reset a change of so many bytes away."""
    (used.tree("a") / "__default__" / "big").write_bytes(random.randbytes(size))
    return used("reset", "--hard", "HEAD")


def kept(used: Machine) -> list[str]:
    return [entry["saved"] for entry in used("reflog", "--json").json() if entry["saved"]]


def test_the_settings_of_a_store_are_shown_changed_and_forgotten(used: Machine) -> None:
    assert used("config").lines == ["undo-days 30", "undo-size 10%"]
    assert used("config", "undo-size", "20GiB").lines == ["undo-size 20GiB"]
    assert used("config", "undo-days", "7", "--json").json() == {"undo-days": "7"}
    assert used("config", "--json").json() == {"undo-days": "7", "undo-size": "20GiB"}
    assert used("config", "--unset", "undo-size").lines == ["undo-size 10%"]
    assert used("config", "undo-days").lines == ["undo-days 7"]


def test_wrong_settings_are_refused_with_a_hint_and_change_nothing(used: Machine) -> None:
    assert "is not a size" in used("config", "undo-size", "much", code=USAGE).err
    assert "is not a number of days" in used("config", "undo-days", "soon", code=USAGE).err
    for words in (("undo",), ("undo", "3"), ("--unset", "current-dot")):
        assert "undo-days, undo-size" in used("config", *words, code=NOT_FOUND).err
    for words in (("--unset",), ("--unset", "undo-size", "3")):
        assert "--unset goes with" in used("config", *words, code=USAGE).err
    assert used("config").lines == ["undo-days 30", "undo-size 10%"]


def test_the_reflog_says_what_each_entry_holds(used: Machine) -> None:
    reset(used)
    newest, *others = used("reflog", "--json").json()
    assert BIG <= newest["held_bytes"] <= BIG + 64 * KIB
    assert all(entry["held_bytes"] == 0 for entry in others)
    shown = used("reflog").lines
    assert "HOLDS" in shown[0]
    assert re.search(r" (29\d|3\d\d)\.\d kiB  reset on master", shown[1])


def test_the_reflog_is_shown_without_sizes_where_damage_hides_them(used: Machine) -> None:
    reset(used)
    manifest = next(path for path in used.objects() if path.suffix == ".manifest")
    manifest.write_bytes(b"torn")
    ended = used("reflog")
    assert "dm fsck" in ended.err
    assert re.search(r" \? +reset on master", ended.lines[1])
    assert used("reflog", "--json").json()[0]["held_bytes"] is None
    assert "dm fsck" in used("gc").err


def test_the_oldest_states_go_at_once_when_the_budget_is_used_up_and_that_is_said(used: Machine) -> None:
    reset(used)
    used("config", "undo-size", f"{3 * BIG // KIB} KiB")
    told = [reset(used) for _ in range(5)]
    said = [line for ended in told for line in ended.err.splitlines() if line.startswith("undo: ")]
    assert said
    assert all(re.fullmatch(r"undo: \d+ reflog entr(y was|ies were) forgotten and [\d.]+ .?i?B freed, .*", line) for line in said)
    assert len(kept(used)) <= 3
    holds = {held["holder"]: held["size_bytes"] for held in used("gc", "--dry-run", "--json").json()["holds"]}
    assert BIG <= holds["undo"] <= 3 * BIG + 64 * KIB
    assert used("fsck").code == 0


def test_what_goes_is_said_beside_json_too(used: Machine) -> None:
    used("config", "undo-size", "1k")
    reset(used)
    (used.tree("a") / "__default__" / "big").write_bytes(random.randbytes(BIG))
    ended = used("reset", "--hard", "HEAD", "--json")
    assert ended.json()["saved"]
    assert re.search(r"undo: 3 reflog entries were forgotten and 3\d\d.\d kiB freed", ended.err)


def test_undo_brings_the_newest_state_back_however_small_the_budget(used: Machine) -> None:
    for name, value in (("undo-size", "0"), ("undo-days", "0")):
        used("config", name, value)
    reset(used)
    used.write("a", "file", "the newest")
    used("reset", "--hard", "HEAD")
    used.write("a", "other", "committed since")
    used.commit("a", "since")
    used("gc", "--yes")
    used("undo", "--hard")
    assert used.read("a", "file") == "the newest"


def test_nothing_is_dropped_while_somebody_else_works_in_the_store_and_the_next_command_does_it(used: Machine) -> None:
    from dm_compose.store.local.store import LocalStore

    used("init", "b")
    used("switch", "a")
    reset(used)
    used("config", "undo-size", "1k")
    other = LocalStore(used.home)
    token = other.lock("b", "somebody", 0)
    assert "undo:" not in reset(used).err
    assert len(kept(used)) == 2
    other.unlock(token)
    other.close()
    assert "undo:" in reset(used).err
    assert len(kept(used)) == 1


def test_a_setting_that_cannot_be_read_is_a_warning(used: Machine) -> None:
    from dm_compose.store.local.store import LocalStore

    store = LocalStore(used.home)
    store.set_setting("undo-size", "torn")
    store.close()
    ended = reset(used)
    assert "undo-size: 'torn' is not a size" in ended.err
    used("config", "--unset", "undo-size")
    assert "warning" not in reset(used).err


def test_gc_explains_what_holds_the_space_and_what_would_be_freed(used: Machine) -> None:
    reset(used)
    used("checkout", "-b", "seed/0123")
    found = used("gc", "--dry-run", "--json").json()
    holds = {held["holder"]: held for held in found["holds"]}
    assert list(holds) == [str(holder) for holder in Holder]
    assert holds["branches"]["commits"] == 2
    assert holds["undo"]["size_bytes"] >= BIG
    assert sum(held["size_bytes"] for held in found["holds"]) == used("status", "--json").json()["store"]["size_bytes"]
    shown = used("gc", "--dry-run").lines
    assert shown[0].split() == ["HELD", "BY", "COMMITS", "ON", "DISK"]
    assert any(re.fullmatch(r"undo +1 +\d+\.\d kiB", line) for line in shown), shown
    assert any(re.fullmatch(r"all +3 +\d+\.\d kiB", line) for line in shown), shown
    gone = {held["holder"]: held for held in used("gc", "--dry-run", "--keep-days", "0", "--json").json()["holds"]}
    assert gone["undo"]["size_bytes"] == 0
    assert gone["nothing: it would be freed"]["size_bytes"] >= BIG


@pytest.fixture
def short() -> Iterator[None]:
    """A disk that is nearly full, as `statvfs` tells of it."""
    real = os.statvfs

    def statvfs(path: str) -> os.statvfs_result:
        found = list(real(path))
        found[4] = found[2] // 20  # f_bavail of f_blocks
        return os.statvfs_result(found)

    with mock.patch("os.statvfs", statvfs):
        yield


def test_status_says_what_the_store_takes(used: Machine) -> None:
    before = used("status", "--json").json()["store"]["size_bytes"]
    reset(used)
    store = used("status", "--json").json()["store"]
    assert BIG <= store["size_bytes"] - before <= BIG + 128 * KIB
    assert store["disk_bytes"] > store["free_bytes"] > 0
    last = used("status").lines[-1]
    assert re.fullmatch(
        r"the store takes [\d.]+ kiB \(shared blocks once, zeros not at all\), and [\d.]+ .iB of its disk are free", last
    )


@pytest.mark.usefixtures("short")
def test_status_warns_when_less_than_a_tenth_of_the_disk_is_free(used: Machine) -> None:
    ended = used("status")
    assert re.search(r"warning: only 5\.0 % of the store's disk is free; see `dm gc`", ended.err)
    assert used("status", "--json").json()["store"]["short"] is True
