"""A registry with dots under several prefixes: each is a remote of its own, and one leads to the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dm_compose.remotes import Context, Remote, RemoteName, RemoteUrl, Tag, open_remote
from dm_compose.remotes.testing import sample_manifest
from tests.support.capabilities import capabilities
from tests.support.hubs import Hub
from tests.support.machines import Machine
from tests.support.servers import registry
from tests.unit.remotes.test_registry_access import HTPASSWD


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """The port of a registry that is empty."""
    if (answer := capabilities()["registry"]) != "yes":
        pytest.skip(f"registry: {answer}")
    with registry(tmp_path / "registry") as found:
        yield found


def pushed_to(remote: Remote, name: str = "admin/shop") -> None:
    """Give a remote a dot."""
    repository = remote.repository(RemoteName.parse(name))
    repository.update({Tag("master"): sample_manifest(repository)}, {Tag("master"): None})


def test_a_registry_tells_under_which_prefixes_dots_lie(port: int) -> None:
    for path in ("", "/team", "/team/a", "/teamwork/b"):
        remote = open_remote(RemoteUrl.parse(f"oci://127.0.0.1:{port}{path}?insecure=1"))
        pushed_to(remote)
        remote.close()

    def below(path: str) -> list[str]:
        remote = open_remote(RemoteUrl.parse(f"oci://127.0.0.1:{port}{path}?insecure=1"))
        found = [str(url) for url in remote.below()]
        assert [open_remote(url).repositories() for url in remote.below()] == [[RemoteName.parse("admin/shop")]] * len(found)
        remote.close()
        return [text.removeprefix(f"oci://127.0.0.1:{port}/").removesuffix("?insecure=1") for text in found]

    assert below("") == ["team", "team/a", "teamwork/b"]
    assert below("/team") == ["team/a"]
    assert below("/team/a") == below("/nobody") == []


def test_a_registry_with_more_repositories_than_a_page_has_is_read_to_its_end(port: int, tmp_path: Path) -> None:
    for number in range(1100):
        (tmp_path / f"registry/data/docker/registry/v2/repositories/images/i{number:04d}/_layers").mkdir(parents=True)
    pushed_to(open_remote(RemoteUrl.parse(f"oci://127.0.0.1:{port}/zoo")))
    assert [url.path for url in open_remote(RemoteUrl.parse(f"oci://127.0.0.1:{port}")).below()] == ["zoo"]


def test_a_registry_that_does_not_let_us_look_tells_of_nothing(tmp_path: Path) -> None:
    if (answer := capabilities()["registry"]) != "yes":
        pytest.skip(f"registry: {answer}")
    with registry(tmp_path, htpasswd=HTPASSWD) as port:
        url = RemoteUrl.parse(f"oci://127.0.0.1:{port}/team")
        pushed_to(open_remote(url, Context(lambda _: ("user", "secret", ""))))
        root = RemoteUrl.parse(f"oci://127.0.0.1:{port}")
        assert open_remote(root).below() == []
        assert open_remote(root, Context(lambda _: ("user", "secret", ""))).below() == [url]


def test_listing_an_address_without_dots_says_where_dots_lie(port: int, hub: Hub, here: Machine) -> None:
    here("remote", "add", "team", f"oci://127.0.0.1:{port}/team")
    here("remote", "add", "all", f"oci://127.0.0.1:{port}")
    here("push", "team")
    for verb in ("ls", "gc", "verify"):
        said = here("remote", verb, "all").err
        assert f"no dots at oci://127.0.0.1:{port}" in said
        assert f"oci://127.0.0.1:{port}/team" in said
        assert "no dots" not in here("remote", verb, "team").err
    assert here("remote", "ls", "all", "--json").json() == []
    assert here("remote", "ls", f"oci://127.0.0.1:{port}/team").lines == here("remote", "ls", "team").lines


def test_listing_an_empty_remote_says_so(hub: Hub, here: Machine) -> None:
    assert here("remote", "ls", "hub").err == f"no dots at {hub.path}\n"
