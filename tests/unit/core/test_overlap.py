"""A mount beside a subdot uses its files if the one directory is within the other, but for three exceptions."""

from __future__ import annotations

import pytest

from dm_compose.core.overlap import overlap, reaches

VOLUMES = "/var/lib/docker/volumes"
DATA = f"{VOLUMES}/data/_data"


@pytest.mark.parametrize(
    ("mounted", "writable", "subdot", "expected"),
    [
        ("/srv/shop/uploads", True, "/srv/shop/uploads", True),
        ("/srv/shop/uploads", False, "/srv/shop/uploads", True),
        ("/srv/shop", True, "/srv/shop/uploads", True),
        ("/srv/shop", False, "/srv/shop/uploads", False),
        ("/srv/shop/uploads/deep", True, "/srv/shop/uploads", True),
        ("/srv/shop/uploads/deep", False, "/srv/shop/uploads", True),
        ("/srv/shop/up", True, "/srv/shop/uploads", False),
        ("/srv/shop/uploads/inner", True, "/srv/shop/uploads", False),
        ("/srv/shop/uploads/inner/deep", True, "/srv/shop/uploads", False),
        ("/srv/shop", True, "/srv/shop/uploads/inner", True),
        (f"{DATA}/deep", True, DATA, True),
        (VOLUMES, True, DATA, False),
        ("/", True, DATA, False),
        ("/", True, "/srv/shop/uploads", False),
        ("", True, "/srv/shop/uploads", False),
    ],
)
def test_a_mount_reaches_a_subdot(mounted: str, writable: bool, subdot: str, expected: bool) -> None:
    inner = ["/srv/shop/uploads/inner"] if subdot == "/srv/shop/uploads" else []
    assert reaches(mounted, writable, subdot, inner, VOLUMES) is expected


def test_a_name_that_begins_alike_is_no_directory_within() -> None:
    assert overlap("/a/b", "/a/b/c")
    assert overlap("/a/b/c", "/a/b")
    assert not overlap("/a/b", "/a/bc")
