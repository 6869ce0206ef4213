"""Before Compose makes containers: which images are got, and whose data is taken along."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dm_compose.compose.model import parse_project
from dm_compose.compose.words import read_words
from dm_compose.up.layers import replaceable
from dm_compose.up.run import _scaled, compose_with_state

SERVICES = {
    "db": {"image": "x"},
    "cache": {"image": "x"},
    "api": {"image": "x", "depends_on": {"db": {"condition": "service_started"}}},
    "web": {"image": "x", "depends_on": {"api": {"condition": "service_started"}}},
}
PROJECT = parse_project(json.dumps({"name": "shop", "services": SERVICES}), "")


@pytest.mark.parametrize(
    ("line", "services"),
    [
        ("up", "db cache api web"),
        ("up -d", "db cache api web"),
        ("up -d db", "db"),
        ("up api --wait cache", "api db cache"),
        ("up web", "web api db"),
        ("up --no-deps web", "web"),
        ("up --no-recreate", ""),
        ("up nobody", "db cache api web"),
        ("up --some-new-option x", "db cache api web"),
        ("create web", "web api db"),
        ("run db psql web", ""),
        ("run web cache", "api db"),
        ("run --no-deps web", ""),
        ("scale web=2", "web api db"),
        ("scale --no-deps web=2", "web"),
        ("watch cache", "cache"),
    ],
)
def test_what_a_verb_names_or_needs_may_be_replaced(line: str, services: str) -> None:
    assert replaceable(read_words(line.split()), PROJECT) == set(services.split())


@pytest.mark.parametrize(
    ("line", "services"),
    [
        ("up", ""),
        ("up --scale db=2 --scale=web=0 --scale api=1", "db"),
        ("scale db=3 web=1", "db"),
        ("run web app --scale db=2", ""),
        ("up db=2", ""),
    ],
)
def test_services_with_several_containers_are_seen(line: str, services: str) -> None:
    assert _scaled(read_words(line.split())) == set(services.split())


@pytest.mark.parametrize("code", [130, 143])
def test_an_interrupted_pull_is_the_end_of_it(code: int) -> None:
    called = []

    def pass_through(words: list[str]) -> int:
        called.append(words[0])
        return code

    facts = SimpleNamespace(project=PROJECT, images={})
    stack = SimpleNamespace(compose=SimpleNamespace(pass_through=pass_through), facts=facts)
    assert compose_with_state(cast(Any, stack), ["up", "-d"], creates=True) == code
    assert called == ["pull"]
