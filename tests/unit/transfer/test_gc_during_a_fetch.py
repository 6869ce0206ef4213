"""A fetch lists whole commits only, whenever `gc` runs beside it."""

from __future__ import annotations

import importlib
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dm_compose.core.names import DEFAULT_BRANCH, CommitId, DotName
from dm_compose.errors import InUseError
from dm_compose.objects import staged
from dm_compose.remotes import Remote
from dm_compose.store.exchange import NewDot
from dm_compose.transfer import Fetched
from dm_compose.transfer.fetch import Download, download
from tests.support.stores import Stores
from tests.support.transfers import DOT, SHOP, Side, change_page, directory_remote, write_pages

JOB1, JOB2 = DotName("job1"), DotName("job2")


@pytest.fixture
def remote(fast_path: Path) -> Remote:
    return directory_remote(fast_path / "remote")


@pytest.fixture
def ours(fast_path: Path, remote: Remote) -> Side:
    side = Side(fast_path / "ours")
    write_pages(side.data / "table", 40)
    (side.data / "small").write_text("small")
    side.commit("one")
    (side.data / "small").write_text("smaller")
    side.commit("two")
    side.push(remote)
    return side


@pytest.fixture(params=["local", "remote"])
def theirs(fast_path: Path, request: pytest.FixtureRequest) -> Side:
    return Side(fast_path / "theirs", kind=request.param)


def _clone(side: Side, dot: DotName, got: Download) -> Fetched:
    token = side.store.lock(dot, "test", 0)
    got.publish(new=NewDot(DEFAULT_BRANCH, got.report.head))
    side.store.unlock(token)
    return got.report


def _job(side: Side, remote: Remote, dot: DotName) -> Fetched:
    with download(remote, SHOP, DEFAULT_BRANCH, side.store, dot) as got:
        return _clone(side, dot, got)


def _end_job(side: Side, dot: DotName) -> None:
    side.store.delete_dot(dot)
    side.store.collect(datetime.now(UTC))


def _whole(side: Side, dot: DotName, head: CommitId, where: Path, wanted: Side) -> bool:
    side.store.export(dot, head, str(where))
    same = all((where / "data" / f.name).read_bytes() == f.read_bytes() for f in wanted.data.iterdir())
    return same and side.store.check({}, repair=False).sound


def test_objects_that_gc_collects_before_the_listing_are_fetched_again(
    ours: Side, theirs: Side, remote: Remote, fast_path: Path
) -> None:
    """Two jobs use one seed. The first ends, and deletes its dot, between the second's download and its listing."""
    _job(theirs, remote, JOB1)
    with download(remote, SHOP, DEFAULT_BRANCH, theirs.store, JOB2) as got:
        _end_job(theirs, JOB1)
        _clone(theirs, JOB2, got)
    assert _whole(theirs, JOB2, got.report.head, fast_path / "export", ours)


def test_ancestors_that_gc_collects_before_the_listing_are_fetched_again(
    ours: Side, theirs: Side, remote: Remote, fast_path: Path
) -> None:
    theirs.fetch(remote)  # no ref names the commits
    (ours.data / "small").write_text("three")
    ours.commit("three")
    ours.push(remote)
    with download(remote, SHOP, DEFAULT_BRANCH, theirs.store, DOT) as got:
        assert len(got.commits) == 1
        theirs.store.collect(datetime.now(UTC))
        got.publish()
    assert len(theirs.store.log(DOT, got.report.head)) == 3
    assert _whole(theirs, DOT, got.report.head, fast_path / "export", ours)


def test_blocks_that_a_received_object_is_built_on_outlive_gc(ours: Side, theirs: Side, remote: Remote, fast_path: Path) -> None:
    """Nothing names the commits that have them when `gc` runs: only the map of the object that has arrived does."""
    theirs.fetch(remote)
    change_page(ours.data / "table", 7, b"third")
    ours.commit("three")
    ours.push(remote)
    with download(remote, SHOP, DEFAULT_BRANCH, theirs.store, DOT) as got:
        assert theirs.store.collect(datetime.now(UTC)).commits
        got.publish()
    assert _whole(theirs, DOT, got.report.head, fast_path / "export", ours)


def test_a_fetch_gives_up_when_gc_never_ends(ours: Side, theirs: Side, remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    bring = Download._bring

    def and_lose(self: Download) -> Any:
        found = bring(self)
        if JOB1 in theirs.store.dots():
            _end_job(theirs, JOB1)
        return found

    _job(theirs, remote, JOB1)
    monkeypatch.setattr(Download, "_bring", and_lose)
    monkeypatch.setattr(importlib.import_module("dm_compose.transfer.fetch"), "PUBLISH_TRIES", 1)
    with download(remote, SHOP, DEFAULT_BRANCH, theirs.store, JOB2) as got, pytest.raises(InUseError, match="again and again"):
        _clone(theirs, JOB2, got)
    assert JOB2 not in theirs.store.dots()


def test_gc_waits_while_received_objects_are_in_place_and_not_listed_yet(
    ours: Side, fast_path: Path, remote: Remote, local: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = Side(fast_path / "theirs")
    collector = local.open(theirs.root / "store")
    ended: list[bool] = []
    threads: list[threading.Thread] = []
    sync = staged.sync_directory

    def slowly(path: Any) -> None:
        sync(path)
        if str(path).endswith("/objects"):
            threads.append(threading.Thread(target=lambda: collector.collect(datetime.now(UTC))))
            threads[-1].start()
            threads[-1].join(0.5)
            ended.append(not threads[-1].is_alive())

    monkeypatch.setattr(staged, "sync_directory", slowly)
    report = _job(theirs, remote, JOB2)
    for thread in threads:
        thread.join(30)
    assert ended == [False]
    assert _whole(theirs, JOB2, report.head, fast_path / "export", ours)
