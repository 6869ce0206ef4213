"""The tests that every kind of remote passes. The author of a kind runs them like this:

    from dm_compose.remotes.testing import RemoteContract

    class TestMyKind(RemoteContract):
        @pytest.fixture
        def remote(self):
            yield MyRemote(...)  # empty at the start of each test

The fixture `remote` gives each test a Remote without repositories. Each test checks one promise of dm_compose.remotes.base. Set
`lists_blobs` to False if the kind cannot list blobs, and `removes_tags` to False if it cannot remove tags.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from dm_compose.errors import DivergedError, NotFoundError, RemoteError
from dm_compose.remotes.base import Remote, Repository
from dm_compose.remotes.layout import COMMIT_TYPE, MANIFEST_TYPE
from dm_compose.remotes.names import Digest, RemoteName, Tag, digest_of

NAME = RemoteName.parse("admin/shop")
MAIN, OTHER = Tag("master"), Tag("feature..x")


def sample_manifest(repository: Repository, number: int = 0) -> Digest:
    """Store a small manifest that looks like that of a commit, and return its digest. Another `number` gives another digest."""
    config = f'{{"number":{number}}}'.encode()
    digest = digest_of(config)
    repository.put(digest, config)
    descriptor = f'{{"mediaType":"application/json","digest":"{digest}","size":{len(config)}}}'
    return repository.put_manifest(
        f'{{"schemaVersion":2,"mediaType":"{MANIFEST_TYPE}","artifactType":"{COMMIT_TYPE}","config":{descriptor},"layers":[]}}'.encode()
    )


class RemoteContract:
    """Tests of the fixture `remote`, which is empty when a test begins. A subclass provides it."""

    lists_blobs = True
    removes_tags = True

    @pytest.fixture
    def repository(self, remote: Remote) -> Repository:
        return remote.repository(NAME)

    def test_a_repository_that_does_not_exist_is_empty(self, remote: Remote, repository: Repository) -> None:
        assert remote.repositories() == []
        assert remote.below() == []
        assert repository.tags() == []
        assert repository.resolve(MAIN) is None
        assert not repository.has(digest_of(b"x"))
        with pytest.raises(NotFoundError):
            b"".join(repository.get(digest_of(b"x")))
        with pytest.raises(NotFoundError):
            repository.get_manifest(digest_of(b"x"))

    @pytest.mark.parametrize("size", [0, 1, 1000, 5_000_000])
    def test_a_blob_comes_back_as_it_was(self, repository: Repository, size: int) -> None:
        data = os.urandom(size)
        digest = digest_of(data)
        repository.put(digest, data)
        assert repository.has(digest)
        assert b"".join(repository.get(digest)) == data
        repository.put(digest, data)
        assert b"".join(repository.get(digest)) == data

    @pytest.mark.parametrize("start", [1, 4096, 2_999_999])
    def test_a_blob_can_be_read_from_anywhere(self, repository: Repository, start: int) -> None:
        data = os.urandom(3_000_000)
        repository.put(digest_of(data), data)
        assert b"".join(repository.get(digest_of(data), start)) == data[start:]

    def test_a_manifest_comes_back_as_it_was(self, repository: Repository) -> None:
        digest = sample_manifest(repository)
        assert digest_of(repository.get_manifest(digest)) == digest
        assert repository.has(digest)

    def test_tags_name_manifests(self, repository: Repository) -> None:
        one, two = sample_manifest(repository, 1), sample_manifest(repository, 2)
        repository.update({MAIN: one, OTHER: two}, {})
        assert repository.tags() == sorted([MAIN, OTHER])
        assert (repository.resolve(MAIN), repository.resolve(OTHER)) == (one, two)
        repository.update({MAIN: two}, {MAIN: one})
        assert repository.resolve(MAIN) == two

    def test_a_tag_that_is_not_what_was_expected_is_not_moved(self, repository: Repository) -> None:
        one, two, three = (sample_manifest(repository, number) for number in (1, 2, 3))
        repository.update({MAIN: one}, {MAIN: None})
        for expected in (None, three):
            with pytest.raises(DivergedError):
                repository.update({MAIN: two, OTHER: two}, {MAIN: expected})
            assert (repository.resolve(MAIN), repository.resolve(OTHER)) == (one, None)

    def test_every_name_of_a_branch_can_be_a_tag(self, repository: Repository) -> None:
        digest = sample_manifest(repository)
        tags = [Tag("a"), Tag("A"), Tag("0_x-y.z"), Tag("a..b...c"), Tag("x" * 128), Tag("_" + "0" * 32)]
        repository.update(dict.fromkeys(tags, digest), {})
        assert repository.tags() == sorted(tags)
        assert {repository.resolve(tag) for tag in tags} == {digest}

    def test_many_tags_are_all_listed(self, repository: Repository) -> None:
        digest = sample_manifest(repository)
        tags = [Tag(f"_{number:032x}") for number in range(120)]
        repository.update(dict.fromkeys(tags, digest), {})
        assert repository.tags() == tags

    def test_repositories_with_a_branch_are_listed(self, remote: Remote) -> None:
        names = [RemoteName.parse(text) for text in ("Admin/Shop_1", "admin/shop", "bob/shop", "bob/-x".replace("-", "0"))]
        for name in names:
            repository = remote.repository(name)
            repository.update({MAIN: sample_manifest(repository)}, {MAIN: None})
        assert remote.repositories() == sorted(names)

    def test_repositories_do_not_share_tags(self, remote: Remote, repository: Repository) -> None:
        repository.update({MAIN: sample_manifest(repository)}, {})
        assert remote.repository(RemoteName.parse("other/shop")).tags() == []

    def test_of_many_that_move_a_tag_one_after_another_none_is_lost(self, repository: Repository) -> None:
        digests = [sample_manifest(repository, number) for number in range(8)]
        tags = [Tag(f"t{number}") for number in range(8)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda pair: repository.update({pair[0]: pair[1]}, {pair[0]: None}), zip(tags, digests, strict=True)))
        assert [repository.resolve(tag) for tag in tags] == digests

    def test_many_put_the_same_blob_at_once(self, repository: Repository) -> None:
        data = os.urandom(200_000)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: repository.put(digest_of(data), data), range(8)))
        assert b"".join(repository.get(digest_of(data))) == data

    def test_a_tag_can_be_removed(self, repository: Repository) -> None:
        digest = sample_manifest(repository)
        repository.update({MAIN: digest, OTHER: digest}, {})
        if not self.removes_tags:
            with pytest.raises(RemoteError):
                repository.update({MAIN: None}, {MAIN: digest})
            return
        repository.update({MAIN: None}, {MAIN: digest})
        assert repository.tags() == [OTHER]

    def test_blobs_are_listed_and_can_be_deleted(self, repository: Repository) -> None:
        data = b"something"
        repository.put(digest_of(data), data)
        manifest = sample_manifest(repository)
        listed = repository.blobs()
        if not self.lists_blobs:
            assert listed is None
        else:
            assert listed is not None
            sizes = {blob.digest: blob.size for blob in listed}
            assert sizes[digest_of(data)] == len(data)
            assert manifest in sizes
        repository.delete(digest_of(data))
        repository.delete(digest_of(data))
        assert not repository.has(digest_of(data))
        assert repository.has(manifest)

    def test_a_repository_can_be_removed(self, remote: Remote, repository: Repository) -> None:
        repository.update({MAIN: sample_manifest(repository), OTHER: sample_manifest(repository, 1)}, {})
        other = remote.repository(RemoteName.parse("other/shop"))
        other.update({MAIN: sample_manifest(other)}, {})
        repository.remove()
        assert repository.tags() == []
        assert remote.repositories() == [RemoteName.parse("other/shop")]
        repository.remove()
        repository.update({MAIN: sample_manifest(repository)}, {MAIN: None})
        assert repository.tags() == [MAIN]

    def test_an_instance_says_what_it_guarantees(self, remote: Remote) -> None:
        assert remote.guarantee
        assert remote.connections >= 1
        assert remote.exposed() is None or remote.exposed()
