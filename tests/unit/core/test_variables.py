"""Values that dm-compose takes out of the environment: the defaults, and the values that it refuses when they are needed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dm_compose.core.names import DotName
from dm_compose.core.variables import Variables
from dm_compose.errors import UsageError


def test_nothing_else_of_the_environment_is_kept() -> None:
    assert Variables.of({"DM_HOME": "/srv", "AWS_SECRET_ACCESS_KEY": "secret", "PATH": "/bin"}).given == {"DM_HOME": "/srv"}


def test_what_is_kept_does_not_follow_the_environment() -> None:
    environment = {"DM_HOME": "/before"}
    variables = Variables.of(environment)
    environment["DM_HOME"] = "/after"
    assert variables.home == "/before"


@pytest.mark.parametrize(
    ("given", "home", "is_directory"),
    [
        (None, "dotmesh", False),
        ("", "dotmesh", False),
        ("other", "other", False),
        ("/srv/dm", "/srv/dm", True),
        ("./x", "./x", True),
    ],
)
def test_the_store_is_a_directory_or_a_volume(given: str | None, home: str, is_directory: bool) -> None:
    variables = Variables({} if given is None else {"DM_HOME": given})
    assert (variables.home, variables.home_is_directory) == (home, is_directory)


@pytest.mark.parametrize("choice", ["auto", "helper", "in-process"])
def test_how_files_are_reached(choice: str) -> None:
    assert Variables({"DM_FILES": choice}).files == choice
    assert Variables({}).files == "auto"


@pytest.mark.parametrize("choice", ["", "Helper", "magic"])
def test_an_unknown_way_of_reaching_files_is_named(choice: str) -> None:
    with pytest.raises(UsageError, match=f"DM_FILES={choice} is not known") as raised:
        _ = Variables({"DM_FILES": choice}).files
    assert raised.value.hint == "Use auto, helper or in-process."


def test_the_image_of_helpers() -> None:
    assert Variables({"DM_HELPER_IMAGE": "mine:1"}).helper_image == "mine:1"
    assert Variables({"DM_HELPER_IMAGE": ""}).helper_image == Variables({}).helper_image == "python:3.14-slim"


@pytest.mark.parametrize(("text", "seconds"), [(None, 120.0), ("", 120.0), ("5", 5.0), ("0.5", 0.5), ("0", 0.0)])
def test_how_long_to_wait_for_a_datastore(text: str | None, seconds: float) -> None:
    assert Variables({} if text is None else {"DM_TIMEOUT": text}).timeout_s == seconds


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf", " "])
def test_what_is_no_number_of_seconds_is_named(text: str) -> None:
    with pytest.raises(UsageError, match=f"DM_TIMEOUT.*{text!r}"):
        _ = Variables({"DM_TIMEOUT": text}).timeout_s


def test_the_dot() -> None:
    assert (Variables({}).dot, Variables({"DM_DOT": ""}).dot) == (None, None)
    assert Variables({"DM_DOT": "shop"}).dot == DotName("shop")
    with pytest.raises(UsageError, match="invalid dot name"):
        _ = Variables({"DM_DOT": "../shop"}).dot


@pytest.mark.parametrize(
    ("text", "separator", "names"),
    [
        ("", None, ()),
        ("one.yaml", None, ("one.yaml",)),
        (f"one.yaml{os.pathsep}two.yaml", None, ("one.yaml", "two.yaml")),
        (f"one.yaml{os.pathsep}two.yaml", "", ("one.yaml", "two.yaml")),  # as for Compose
        ("one.yaml,two.yaml", ",", ("one.yaml", "two.yaml")),
    ],
)
def test_the_compose_files(text: str, separator: str | None, names: tuple[str, ...]) -> None:
    given = {"COMPOSE_FILE": text, **({} if separator is None else {"COMPOSE_PATH_SEPARATOR": separator})}
    assert Variables(given).compose_files == names


@pytest.mark.parametrize(
    ("given", "directory"),
    [
        ({"XDG_STATE_HOME": "/state", "HOME": "/home/me"}, "/state/dm-compose"),
        ({"XDG_STATE_HOME": "", "HOME": "/home/me"}, "/home/me/.local/state/dm-compose"),
        ({"HOME": "/home/me"}, "/home/me/.local/state/dm-compose"),
        ({"HOME": ""}, "/.local/state/dm-compose"),
        ({"HOME": "~"}, "/.local/state/dm-compose"),  # of a user who is in no list
        ({}, "/.local/state/dm-compose"),
    ],
)
def test_the_directory_of_generated_files_is_below_the_home_directory_by_default(given: dict[str, str], directory: str) -> None:
    assert Variables(given).state_directory == Path(directory)
