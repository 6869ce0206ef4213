"""Our own containers are told by what neither an image nor a compose file can give to another one."""

from __future__ import annotations

import pytest

from dm_compose.core.labels import PROJECT_LABEL, ROLE_LABEL, helper_name, is_helper

NAME = "dm-compose-helper-4e55c85ee62f"


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        (NAME, {ROLE_LABEL: "helper"}, True),
        (f"/{NAME}", {ROLE_LABEL: "helper", PROJECT_LABEL: ""}, True),
        (NAME, {ROLE_LABEL: "copier"}, False),
        (NAME, {}, False),
        (NAME, {ROLE_LABEL: "helper", PROJECT_LABEL: "shop"}, False),
        ("bold_banzai", {ROLE_LABEL: "helper"}, False),
        ("shop-db-1", {ROLE_LABEL: "helper"}, False),
        (f"{NAME}0", {ROLE_LABEL: "helper"}, False),
    ],
)
def test_a_container_is_ours(name: str, labels: dict[str, str], expected: bool) -> None:
    assert is_helper(name, labels) is expected


def test_each_name_is_a_new_one_and_tells_its_role() -> None:
    assert is_helper(helper_name("copier"), {ROLE_LABEL: "copier"})
    assert helper_name("copier") != helper_name("copier")
