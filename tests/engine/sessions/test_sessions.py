"""A test session's restores: what was not touched stays as it is, whatever was touched comes back, from a settled commit too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dm_compose.clones.settle import SettleOptions, settled
from dm_compose.core.plan import Action
from dm_compose.engine import Engine
from dm_compose.errors import NotReadyError
from dm_compose.operations.restore import RestoreReport
from dm_compose.sessions.leases import own_stack
from dm_compose.sessions.options import SessionOptions
from dm_compose.sessions.session import Session
from tests.support.projects import TestProject, eventually

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def session(webapp: TestProject) -> Iterator[Session]:
    """A session on the settled seed, which has brought the stack up itself."""
    webapp.dm("down")
    stack = webapp.stack()
    form = settled(stack, SettleOptions(), "test")
    assert form != webapp.seed
    assert settled(stack, SettleOptions(), "again") == form
    assert [e.what for e in webapp.events].count("settle") == 1
    with own_stack(stack, SessionOptions(commit=form)) as begun:
        yield begun


def restore(session: Session) -> RestoreReport:
    return session.restore(session.commit)


def down(report: RestoreReport) -> list[str]:
    return sorted(step.label for step in report.plan.steps if step.action is Action.KILL)


def is_seed(project: TestProject) -> bool:
    return [text for (text,) in project.sql("select text from notes")] == ["seed"] and project.redis().keys() == ["note"]


def started(project: TestProject) -> tuple[object, ...]:
    """Return when each program was started."""
    return project.sql("select pg_postmaster_start_time()")[0][0], project.redis().info("server")["run_id"]


@pytest.fixture
def pristine(session: Session, webapp: TestProject) -> Session:
    assert is_seed(webapp)
    restore(session)
    return session


def test_nothing_is_done_when_nothing_was_touched(pristine: Session, webapp: TestProject) -> None:
    for _ in range(3):
        assert restore(pristine).plan.steps == ()
    before = started(webapp)
    restore(pristine)  # these were questions, which nobody can tell from orders
    assert started(webapp) != before


def test_who_touches_one_datastore_has_that_one_restored(pristine: Session, webapp: TestProject) -> None:
    webapp.redis().set("scribble", "1")
    assert down(restore(pristine)) == ["cache"]
    webapp.sql("insert into notes values ('scribble')")
    assert down(restore(pristine)) == ["db"]
    assert is_seed(webapp)


def test_a_command_in_a_container_is_a_touch(pristine: Session, webapp: TestProject) -> None:
    pristine.run("cache", ["redis-cli", "set", "scribble", "1"])
    assert down(restore(pristine)) == ["cache"]
    assert is_seed(webapp)


def test_a_file_that_somebody_edits_from_outside_is_put_back(pristine: Session, webapp: TestProject) -> None:
    directory = Engine().volume(f"{webapp.name}_db-data")
    assert directory is not None
    config = Path(directory.directory) / "postgresql.auto.conf"
    before = config.read_bytes()
    with open(config, "ab") as file:
        file.write(b"work_mem = '5MB'\n")
    assert down(restore(pristine)) == ["db"]
    assert config.read_bytes() == before
    (config.parent / "new.conf").write_bytes(b"")
    assert down(restore(pristine)) == ["db"]
    assert not (config.parent / "new.conf").exists()


@pytest.mark.parametrize("how", ["stop", "kill", "pause", "rm -f"])
def test_a_datastore_that_a_test_took_away_is_back(pristine: Session, webapp: TestProject, how: str) -> None:
    assert os.system(f"docker {how} {webapp.container('cache')['Id']} >/dev/null") == 0
    restore(pristine)
    eventually(lambda: is_seed(webapp), "both datastores to hold the seed")


def test_a_restore_that_failed_proves_nothing(pristine: Session, webapp: TestProject, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_late(*_: object) -> float:
        raise NotReadyError("waited in vain")

    seed = pristine.resolve(webapp.seed)
    with monkeypatch.context() as patched:
        patched.setattr("dm_compose.live.executor.await_ready", too_late)
        with pytest.raises(NotReadyError):
            pristine.restore(seed)
    assert down(restore(pristine)) == ["cache", "db"]
    webapp.redis().set("scribble", "1")
    assert down(restore(pristine)) == ["cache"], "the restore that failed is not superseded twice"
    assert is_seed(webapp)


def test_the_settled_form_holds_what_its_commit_holds(pristine: Session, webapp: TestProject) -> None:
    seed = pristine.resolve(webapp.seed)
    assert seed != pristine.commit
    assert is_seed(webapp)
    pristine.restore(seed)
    assert is_seed(webapp)
