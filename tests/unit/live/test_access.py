"""Where a helper container finds what it is to work on."""

from __future__ import annotations

import pytest

from dm_compose.errors import StoreError
from dm_compose.live.access import inside_helper
from dm_compose.store.helper.client import mount_option


def test_each_place_has_a_mount_of_its_own() -> None:
    inside, mounted = inside_helper({"volume": "/var/lib/docker/volumes/v/_data", "/srv/a": "/srv/a", "/srv/ab": "/srv/ab"})
    assert mounted == ["volume", "/srv/a", "/srv/ab"]
    assert len(set(inside.values())) == 3


def test_a_place_within_another_is_found_within_it() -> None:
    inside, mounted = inside_helper({"/srv/a/b/c/": "/srv/a/b/c/", "/srv/a/b": "/srv/a/b", "/srv/a": "/srv/a"})
    assert mounted == ["/srv/a"]
    assert inside["/srv/a/b"] == f"{inside['/srv/a']}/b"
    assert inside["/srv/a/b/c/"] == f"{inside['/srv/a']}/b/c"


@pytest.mark.parametrize("path", ["/srv/a\nb", "/srv/\udcff", "/srv/a\tb"])
def test_a_path_that_docker_cannot_be_told_is_refused_in_one_line(path: str) -> None:
    with pytest.raises(StoreError, match="cannot be mounted") as raised:
        mount_option(path, "/dm/places/0")
    assert "\n" not in raised.value.message
