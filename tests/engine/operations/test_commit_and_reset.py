"""Commit, reset and undo of a running stack: Postgres and Redis."""

from __future__ import annotations

import pytest

from tests.support.projects import TestProject

pytestmark = pytest.mark.engine


def notes(project: TestProject) -> list[str]:
    return sorted(text for (text,) in project.sql("select text from notes"))


@pytest.fixture(autouse=True)
def _at_seed(webapp: TestProject) -> None:
    """Every test begins at the commit `seed`."""
    webapp.stack().reset(webapp.seed, hard=True)
    assert notes(webapp) == ["seed"]
    assert webapp.redis().get("note") == "seed"


def test_reset_hard_brings_back_all_datastores(webapp: TestProject) -> None:
    webapp.sql("insert into notes values ('more')")
    webapp.redis().set("note", "more")
    webapp.dm("reset", "--hard")
    assert notes(webapp) == ["seed"]
    assert webapp.redis().get("note") == "seed"


def test_an_acknowledged_redis_write_is_in_the_commit_made_at_once(webapp: TestProject) -> None:
    webapp.redis().set("note", "committed")
    webapp.dm("commit", "-m", "with note")
    webapp.redis().set("note", "overwritten")
    webapp.dm("reset", "--hard")
    assert webapp.redis().get("note") == "committed"


def test_redis_takes_writes_again_after_a_commit(webapp: TestProject) -> None:
    webapp.redis().set("note", "before")
    webapp.dm("commit", "-m", "any")
    webapp.redis().set("note", "after")
    assert webapp.redis().get("note") == "after"


def test_reset_without_hard_refuses_and_leaves_the_stack_alone(webapp: TestProject) -> None:
    webapp.sql("insert into notes values ('precious')")
    before = webapp.started_at("db"), webapp.started_at("cache")
    done = webapp.dm("reset", check=False)
    assert done.returncode == 7
    assert "db-data" in done.stderr
    assert "--hard" in done.stderr
    assert notes(webapp) == ["precious", "seed"]
    assert (webapp.started_at("db"), webapp.started_at("cache")) == before


def test_reset_without_hard_sees_what_redis_has_in_memory_only(webapp: TestProject) -> None:
    webapp.redis().set("note", "in memory only")
    done = webapp.dm("reset", check=False)
    assert done.returncode == 7
    assert webapp.redis().get("note") == "in memory only"


def test_reset_without_hard_is_not_refused_for_what_the_engines_start_wrote(webapp: TestProject) -> None:
    assert webapp.json("status")["dirty"] is False
    webapp.dm("reset")


def test_what_undo_brings_back_is_uncommitted_and_not_lost_without_hard(webapp: TestProject) -> None:
    webapp.sql("insert into notes values ('uncommitted')")
    webapp.dm("reset", "--hard")
    webapp.dm("undo")
    assert webapp.json("status")["dirty"] is True
    assert webapp.dm("reset", check=False).returncode == 7
    assert notes(webapp) == ["seed", "uncommitted"]


def test_undo_brings_uncommitted_changes_back_and_undo_of_undo_takes_them_away(webapp: TestProject) -> None:
    webapp.sql("insert into notes values ('uncommitted')")
    webapp.redis().set("note", "uncommitted")
    webapp.dm("reset", "--hard")
    webapp.dm("undo")
    assert notes(webapp) == ["seed", "uncommitted"]
    assert webapp.redis().get("note") == "uncommitted"
    webapp.dm("undo")
    assert notes(webapp) == ["seed"]
    assert webapp.redis().get("note") == "seed"


def test_reset_goes_back_by_caret_tilde_and_prefix_and_later_commits_stay(webapp: TestProject) -> None:
    for text in ("one", "two"):
        webapp.sql(f"insert into notes values ('{text}')")
        webapp.dm("commit", "-m", text)
    two = webapp.json("log")[0]["id"]
    webapp.dm("reset", "--hard", "HEAD~2")
    assert notes(webapp) == ["seed"]
    webapp.dm("reset", "--hard", two[:8])
    assert notes(webapp) == ["one", "seed", "two"]
    webapp.dm("reset", "--hard", "HEAD^")
    assert notes(webapp) == ["one", "seed"]


def test_commit_by_clean_shutdown(webapp: TestProject) -> None:
    webapp.redis().set("note", "stopped")
    report = webapp.json("commit", "-m", "clean", "--stop")
    assert report["clean"] is True
    assert report["stopped"] is True
    webapp.wait_ready()
    webapp.redis().set("note", "later")
    webapp.dm("reset", "--hard")
    assert webapp.redis().get("note") == "stopped"


def test_status_and_diff_tell_what_changed_and_stop_nothing(webapp: TestProject) -> None:
    before = webapp.started_at("db"), webapp.started_at("cache")
    webapp.sql("insert into notes select repeat('x', 1000) from generate_series(1, 500)")
    status = webapp.json("status")
    assert status["dirty"] is True
    by_name = {s["name"]: s for s in status["subdots"]}
    assert by_name["db-data"]["dirty"] is True
    assert by_name["db-data"]["changed_bytes"] > 500_000
    assert by_name["cache"]["dirty"] is False
    diff = webapp.json("diff")
    assert diff["db-data"]["changed_bytes"] > 500_000
    assert {c["how"] for c in diff["db-data"]["changes"]} <= {"added", "changed", "removed", "metadata"}
    assert (webapp.started_at("db"), webapp.started_at("cache")) == before


def test_diff_between_two_commits(webapp: TestProject) -> None:
    webapp.redis().set("note", "other")
    webapp.dm("commit", "-m", "other")
    diff = webapp.json("diff", "HEAD^", "HEAD")
    assert [c["path"] for c in diff["cache"]["changes"]] == ["dump.rdb"]
    assert webapp.json("diff", "HEAD", "HEAD")["cache"]["changes"] == []


def test_a_commit_records_what_it_was_made_from(webapp: TestProject) -> None:
    head = webapp.json("status")["head"]
    db = head["subdots"]["db-data"]
    assert (db["engine"], db["version"], db["image"], db["path"]) == (
        "postgres",
        "15",
        "dm-example/postgres:15",
        "/var/lib/postgresql/data",
    )
    assert db["image_digest"].startswith("sha256:")
    assert db["size_bytes"] > 10_000_000
    assert head["subdots"]["cache"]["version"] == "7.0"
    assert len(head["compose_hash"]) == 64
    assert head["architecture"]


def test_commit_keeps_metadata(webapp: TestProject) -> None:
    long = "x" * 2000
    webapp.dm("commit", "-m", "with fields", "--metadata", "ticket=DM-1", "--metadata", f"long={long}")
    assert webapp.json("log")[0]["metadata"] == {"ticket": "DM-1", "long": long}


def test_unknown_and_ambiguous_references_have_their_exit_codes(webapp: TestProject) -> None:
    assert webapp.dm("reset", "nonsense", check=False).returncode == 5
    assert webapp.dm("reset", "HEAD~99", check=False).returncode == 5
    assert notes(webapp) == ["seed"]


def test_the_helper_container_does_the_same_work(webapp: TestProject) -> None:
    helper = {"DM_FILES": "helper", "DM_HELPER_IMAGE": "dm-example/python"}
    webapp.redis().set("note", "by helper")
    webapp.sql("insert into notes values ('by helper')")
    webapp.dm("commit", "-m", "by helper", **helper)
    webapp.redis().set("note", "later")
    webapp.sql("insert into notes values ('later')")
    assert webapp.json("status", **helper)["dirty"] is True
    webapp.dm("reset", "--hard", **helper)
    assert notes(webapp) == ["by helper", "seed"]
    assert webapp.redis().get("note") == "by helper"
    webapp.dm("undo", **helper)
    assert notes(webapp) == ["by helper", "later", "seed"]


def test_a_commit_of_a_stack_that_has_not_changed_says_so(cache_only: TestProject) -> None:
    cache_only.dm("commit", "-m", "once more")
    assert "nothing has changed since the commit before" in cache_only.dm("commit", "-m", "and again").stdout
    cache_only.redis().set("note", "changed")
    assert "nothing has changed" not in cache_only.dm("commit", "-m", "changed").stdout
