"""Every kind of remote passes the contract that plugins get, over real servers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from dm_compose.remotes import Remote, RemoteUrl, open_remote
from dm_compose.remotes.testing import RemoteContract
from tests.support.capabilities import capabilities
from tests.support.servers import registry, s3_server

_numbers = itertools.count()


@pytest.fixture(scope="session")
def registry_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    if (answer := capabilities()["registry"]) != "yes":
        pytest.skip(f"registry: {answer}")
    with registry(tmp_path_factory.mktemp("registry")) as port:
        yield port


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    if (answer := capabilities()["s3"]) != "yes":
        pytest.skip(f"s3: {answer}")
    with s3_server() as port:
        yield port


class TestDirectory(RemoteContract):
    @pytest.fixture
    def remote(self, tmp_path: Path) -> Iterator[Remote]:
        return open_remote(RemoteUrl.parse(f"file://{tmp_path}/some/remote"))


class TestRegistry(RemoteContract):
    lists_blobs = False
    removes_tags = False  # Distribution 2.8 removes manifests only

    @pytest.fixture
    def remote(self, registry_port: int) -> Iterator[Remote]:
        remote = open_remote(RemoteUrl.parse(f"oci://127.0.0.1:{registry_port}/team{next(_numbers)}"))
        yield remote
        remote.close()


class TestS3(RemoteContract):
    @pytest.fixture
    def remote(self, s3_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
        return s3_remote(s3_port, monkeypatch)


def s3_remote(port: int, monkeypatch: pytest.MonkeyPatch) -> Remote:
    """Return a remote in a new bucket."""
    import requests

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    bucket = f"bucket{next(_numbers)}"
    requests.put(f"http://127.0.0.1:{port}/{bucket}", timeout=10).raise_for_status()
    return open_remote(RemoteUrl.parse(f"s3://{bucket}/pre/fix?endpoint=http://127.0.0.1:{port}&region=us-east-1"))
