"""`status` and `diff` see what a datastore holds in memory and has not written to a file yet."""

from __future__ import annotations

import pytest

from dm_compose.sessions.leases import own_stack
from dm_compose.sessions.options import SessionOptions
from tests.support.projects import TestProject

pytestmark = pytest.mark.engine


def test_status_tells_of_changes_in_memory_and_writes_nothing(cache_only: TestProject) -> None:
    def state() -> tuple[str, bool]:
        (found,) = cache_only.json("status")["subdots"]
        return found["state"], found["unsaved"]

    assert state() == ("clean", False)
    cache_only.redis().set("note", "changed")
    assert state() == ("written to", True)
    assert "written to: changes in memory that no file has yet" in cache_only.dm("status").stdout
    told = cache_only.dm("diff")
    assert (told.stdout, "cache has changes in memory that no file has yet" in told.stderr) == ("no difference\n", True)
    assert cache_only.redis().info("persistence")["rdb_changes_since_last_save"] == 1
    cache_only.redis().save()
    assert state() == ("written to", False)
    assert "dump.rdb" in cache_only.dm("diff").stdout
    cache_only.dm("reset", "--hard")
    assert state() == ("clean", False)


def test_a_datastore_that_a_test_run_has_is_not_asked(cache_only: TestProject) -> None:
    with own_stack(cache_only.stack(), SessionOptions()) as session:
        session.restore(session.commit)
        assert not session.what_changed()
        assert cache_only.json("status")["in_use"] is not None
        assert cache_only.dm("diff").stderr == ""
        assert not session.what_changed(), "to ask would be a touch"


def test_a_datastore_that_cannot_be_asked_is_told_by_its_files(cache_only: TestProject) -> None:
    cache_only.redis().set("note", "changed")
    cache_only.redis().config_set("requirepass", "secret")
    (found,) = cache_only.json("status")["subdots"]
    assert (found["state"], found["unsaved"]) == ("clean", False)
