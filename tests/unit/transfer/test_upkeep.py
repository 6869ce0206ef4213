"""Listing a remote, verifying it and freeing what nobody needs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dm_compose.core.names import CommitId, RefName
from dm_compose.errors import NotFoundError
from dm_compose.remotes import Remote, RemoteUrl, Tag, open_remote
from dm_compose.remotes.base import GRACE_S
from dm_compose.transfer import (
    collect_remote,
    describe_remote,
    list_remote,
    remote_garbage,
    remove_remote,
    verify_remote,
)
from tests.support.capabilities import capabilities
from tests.support.servers import registry
from tests.support.transfers import SHOP, Side, directory_remote, write_pages
from tests.support.trees import describe, differences

FEATURE = RefName("feature/x")


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Side]:
    side = Side(tmp_path / "ours")
    write_pages(side.data / "table", 60)
    yield side
    side.close()


def _blobs(remote: Path) -> list[Path]:
    return sorted((remote / "admin/shop/blobs/sha256").iterdir())


def _make_old(remote: Path) -> None:
    long_ago = time.time() - 2 * GRACE_S
    for blob in _blobs(remote):
        os.utime(blob, (long_ago, long_ago))


def two_branches(ours: Side, remote: Remote) -> tuple[CommitId, CommitId]:
    """Push a commit on `master` and one more on `feature/x`."""
    one = ours.commit("one")
    ours.push(remote)
    ours.store.add_branch(next(iter(ours.store.dots())), FEATURE, one)
    ours.restore(one, FEATURE)
    (ours.data / "new").write_bytes(os.urandom(20_000))
    two = ours.commit("two")
    ours.push(remote, FEATURE)
    return one, two


def test_a_list_has_dots_branches_sizes_and_dates(ours: Side, tmp_path: Path) -> None:
    remote = directory_remote(tmp_path / "remote")
    assert list_remote(remote) == []
    with pytest.raises(NotFoundError):
        describe_remote(remote, SHOP)
    one, two = two_branches(ours, remote)
    (dot,) = list_remote(remote)
    assert (dot.name, dot.commits) == (SHOP, 2)
    assert dot.size_bytes == sum(blob.stat().st_size for blob in _blobs(tmp_path / "remote"))
    assert [(b.name, b.head) for b in dot.branches] == [(FEATURE, two), (RefName("master"), one)]
    assert all(0 < b.size_bytes < dot.size_bytes for b in dot.branches)
    assert abs((dot.branches[0].created - ours.store.commit(next(iter(ours.store.dots())), two).created).total_seconds()) < 1


def test_verify_reads_every_blob_and_names_who_needs_a_bad_one(ours: Side, tmp_path: Path) -> None:
    remote = directory_remote(tmp_path / "remote")
    _, two = two_branches(ours, remote)
    good = verify_remote(remote, SHOP)
    assert (good.commits, good.damage) == (2, ())
    assert good.blobs + 2 == len(_blobs(tmp_path / "remote"))
    for blob in _blobs(tmp_path / "remote"):
        data = blob.read_bytes()
        blob.write_bytes(data[:-1])
        damage = verify_remote(remote, SHOP).damage
        assert any(blob.name in d.where or blob.name[:12] in d.what for d in damage), blob.name
        blob.write_bytes(data)
    assert any(two in d.commits for d in verify_remote_without(remote, tmp_path / "remote"))


def verify_remote_without(remote: Remote, path: Path):  # type: ignore[no-untyped-def]
    largest = max(_blobs(path), key=lambda blob: blob.stat().st_size)
    largest.unlink()
    return verify_remote(remote, SHOP).damage


def test_what_no_branch_needs_is_garbage_after_a_day(ours: Side, tmp_path: Path) -> None:
    place = tmp_path / "remote"
    remote = directory_remote(place)
    _, two = two_branches(ours, remote)
    before = {blob.name for blob in _blobs(place)}
    repository = remote.repository(SHOP)
    assert not remote_garbage(remote, SHOP).commits
    head = repository.resolve(Tag.of_branch(FEATURE))
    repository.update({Tag.of_branch(FEATURE): None}, {Tag.of_branch(FEATURE): head})
    assert not remote_garbage(remote, SHOP).commits
    _make_old(place)
    garbage = remote_garbage(remote, SHOP)
    assert list(garbage.commits) == [two]
    assert garbage.size_bytes > 20_000
    assert {blob.name for blob in _blobs(place)} == before
    assert collect_remote(remote, SHOP) == garbage
    assert len(_blobs(place)) == len(before) - garbage.blobs
    assert verify_remote(remote, SHOP).damage == ()
    theirs = Side(tmp_path / "theirs")
    theirs.pull(remote)
    ours.restore(theirs.head() or CommitId(""))
    assert differences(describe(ours.data), describe(theirs.data)) == []
    theirs.close()


def test_a_push_that_finds_old_blobs_keeps_gc_from_taking_them(ours: Side, tmp_path: Path) -> None:
    place = tmp_path / "remote"
    remote = directory_remote(place)
    two_branches(ours, remote)
    repository = remote.repository(SHOP)
    tags = {tag: repository.resolve(tag) for tag in repository.tags()}
    repository.update(dict.fromkeys(tags), tags)
    _make_old(place)
    largest = max(_blobs(place), key=lambda blob: blob.stat().st_size)
    ours.push(remote)
    collect_remote(remote, SHOP)
    assert largest.exists()
    assert verify_remote(remote, SHOP).damage == ()


def test_a_dot_can_be_removed(ours: Side, tmp_path: Path) -> None:
    remote = directory_remote(tmp_path / "remote")
    two_branches(ours, remote)
    remove_remote(remote, SHOP)
    assert list_remote(remote) == []
    ours.push(remote)
    assert len(list_remote(remote)) == 1


def test_a_registry_is_listed_verified_and_freed_too(ours: Side, tmp_path: Path) -> None:
    if (answer := capabilities()["registry"]) != "yes":
        pytest.skip(f"registry: {answer}")
    with registry(tmp_path / "registry") as port:
        remote = open_remote(RemoteUrl.parse(f"oci://127.0.0.1:{port}/team"))
        two_branches(ours, remote)
        (dot,) = list_remote(remote)
        assert (dot.commits, dot.size_bytes, len(dot.branches)) == (2, None, 2)
        assert verify_remote(remote, SHOP).damage == ()
        assert not remote_garbage(remote, SHOP).commits
        remove_remote(remote, SHOP)
        assert remote.repository(SHOP).tags() == []
        assert list_remote(remote) == []
        remote.close()
