"""The dot and its subdots have names of their own, whatever things are called."""

# ruff: noqa: E501 (a row of a table is a line, and so is one of a compose file)

from __future__ import annotations

from pathlib import Path

import pytest

from dm_compose.core.commit import SubdotState
from dm_compose.core.names import DotName, SubdotName
from dm_compose.discovery.naming import missing_here, renamed
from dm_compose.errors import UsageError
from tests.support.capabilities import needs_compose
from tests.support.plans import plan_of

pytestmark = needs_compose


# Volumes of the ancestor's driver


def test_volumes_of_the_driver_dm_name_the_dot_and_its_subdots(tmp_path: Path) -> None:
    text = """
    services:
      carts-db: {image: "mongo:3.4", volumes: ["sockshop.carts:/data/db"]}
      catalogue-db: {image: weaveworksdemos/catalogue-db, volumes: ["sockshop.catalogue:/var/lib/mysql"]}
    volumes: {sockshop.carts: {driver: dm}, sockshop.catalogue: {driver: dm}}
    """
    plan = plan_of(tmp_path, text, name="demo")
    assert plan.dot == "demo_sockshop", "Compose puts the project before the name, as it did for the ancestor"
    assert [(s.name, s.volume, s.engine) for s in plan.subdots] == [
        ("carts", "demo_sockshop.carts", "mongo"),
        ("catalogue", "demo_sockshop.catalogue", "mysql"),
    ]


def test_a_volume_of_the_driver_dm_with_a_fixed_name_names_the_dot_exactly(tmp_path: Path) -> None:
    text = "services: {s: {image: s, volumes: ['vol:/v']}}\nvolumes: {vol: {driver: dm, name: sockshop.orders}}"
    plan = plan_of(tmp_path, text)
    assert (plan.dot, [s.name for s in plan.subdots]) == ("sockshop", ["orders"])


def test_a_volume_of_the_driver_dm_without_a_subdot_is_the_default_one(tmp_path: Path) -> None:
    text = "services: {s: {image: s, volumes: ['vol:/v']}}\nvolumes: {vol: {driver: dm, name: sockshop}}"
    plan = plan_of(tmp_path, text)
    assert (plan.dot, [s.name for s in plan.subdots]) == ("sockshop", ["__default__"])


def test_volumes_of_the_driver_dm_that_name_two_dots_are_refused(tmp_path: Path) -> None:
    text = """
    services: {s: {image: s, volumes: ["one:/1", "two:/2"]}}
    volumes: {one: {driver: dm, name: a.x}, two: {driver: dm, name: b.y}}
    """
    with pytest.raises(UsageError, match="several dots: a, b"):
        plan_of(tmp_path, text)


def test_an_ordinary_volume_does_not_take_the_name_that_a_volume_of_the_driver_dm_has(tmp_path: Path) -> None:
    text = """
    services: {s: {image: s, volumes: ["db:/1", "shop.db:/2"]}}
    volumes: {db: , shop.db: {driver: dm, name: shop.db}}
    """
    plan = plan_of(tmp_path, text)
    assert plan.subdot("db") is not None
    assert plan.subdot("db").volume == "shop.db"  # type: ignore[union-attr]
    assert len({s.name for s in plan.subdots}) == 2


# Names


def test_a_subdot_is_named_after_its_volume_else_after_its_service(tmp_path: Path) -> None:
    text = """
    services:
      cache: {image: "redis:7"}
      db: {image: "postgres:16", volumes: ["./pg:/var/lib/postgresql/data"]}
      queue: {image: "rabbitmq:3", volumes: ["messages:/var/lib/rabbitmq"]}
      web: {image: web, volumes: [/uploads]}
    volumes: {messages: }
    """
    plan = plan_of(tmp_path, text)
    assert {s.name: s.volume for s in plan.subdots} == {
        "cache": "shop_dm-cache",
        "db": None,
        "messages": "shop_messages",
        "web": "shop_dm-web",
    }


def test_a_datastore_keeps_its_subdots_name_when_another_volume_is_added_to_its_service(tmp_path: Path) -> None:
    """Its volume, and its past commits, are found by this name."""
    before = plan_of(tmp_path, "services: {db: {image: 'redis:7'}}")
    after = plan_of(tmp_path, "services: {db: {image: 'redis:7', volumes: [/extra]}}")
    assert [(s.name, s.volume) for s in before.subdots] == [("db", "shop_dm-db")]
    assert {s.path: (s.name, s.volume) for s in after.subdots} == {
        "/data": ("db", "shop_dm-db"),
        "/extra": ("db-extra", "shop_dm-db-extra"),
    }


def test_a_volume_keeps_its_subdots_name_when_a_directory_of_the_host_is_included(tmp_path: Path) -> None:
    text = "services: {{web: {{image: web, volumes: [/var/lib/desk, ./up:/uploads], x-dotmesh: {{include: [{}]}}}}}}"
    before, after = (plan_of(tmp_path, text.format(path)) for path in ("", "/uploads"))
    assert {s.path: s.name for s in before.subdots} == {"/var/lib/desk": "web"}
    assert {s.path: s.name for s in after.subdots} == {"/var/lib/desk": "web", "/uploads": "web-uploads"}


@pytest.mark.parametrize(
    "text",
    [
        "services: {db: {image: 'redis:7', volumes: ['db:/backup']}}\nvolumes: {db: }",
        "services: {db: {image: a, volumes: [/a/b, /a-b]}}",
        "services: {db: {image: a, volumes: [/x/y, /z]}, db-x: {image: a, volumes: [/y, /z]}}",
        "services: {db: {image: a, volumes: [/x/y, /z, 'db-x-y:/n']}}\nvolumes: {db-x-y: }",
        "services: {db: {image: a, volumes: [/x, /y]}, a: {image: a, volumes: ['dm-db-x:/n']}}\nvolumes: {dm-db-x: }",
        f"services: {{db: {{image: a, volumes: [/{'x' * 120}/a, /{'x' * 120}/b]}}}}",
        "services: {-db: {image: a, volumes: [/x, '-vol:/y', '.vol:/z']}}\nvolumes: {-vol: , .vol: }",
        f"services: {{a: {{image: a, volumes: ['{'v' * 120}a:/x', '{'v' * 120}b:/y']}}}}\nvolumes: {{{'v' * 120}a: , {'v' * 120}b: }}",
    ],
)
def test_names_and_volumes_of_subdots_are_unique_whatever_things_are_called(tmp_path: Path, text: str) -> None:
    plan = plan_of(tmp_path, text)
    assert len(plan.subdots) > 1
    assert len({s.name for s in plan.subdots}) == len(plan.subdots)
    assert len({s.volume for s in plan.subdots}) == len(plan.subdots)
    assert all(SubdotName.parse(s.name) for s in plan.subdots)


def test_the_dot_is_named_after_the_project(tmp_path: Path) -> None:
    assert plan_of(tmp_path, "services: {a: {image: a}}", name="my-shop_2").dot == DotName("my-shop_2")


# A service with another name


def test_a_subdot_that_is_told_its_name_has_it_and_the_volume_of_that_name(tmp_path: Path) -> None:
    text = "services: {redis: {image: 'redis:7', x-dotmesh: {subdot: cache}}, cache: {image: 'redis:7'}}"
    found = {s.services[0]: (s.name, s.volume) for s in plan_of(tmp_path, text).subdots}
    assert found == {"redis": ("cache", "shop_dm-cache"), "cache": ("cache-data", "shop_dm-cache-data")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services: {web: {image: nothing, x-dotmesh: {subdot: a}}}", "service web has no subdot"),
        ("services: {web: {image: nothing, volumes: [/a, /b], x-dotmesh: {subdot: a}}}", "several subdots (/a, /b)"),
        (
            "services: {a: {image: 'redis:7', x-dotmesh: {subdot: c}}, b: {image: 'redis:7', x-dotmesh: {subdot: c}}}",
            "names several subdots c",
        ),
    ],
)
def test_a_name_that_is_told_names_one_subdot(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        plan_of(tmp_path, text)
    assert message in raised.value.message


def state(service: str, engine: str = "redis", path: str = "/data") -> SubdotState:
    return SubdotState("m", 1, 1, service=service, path=path, engine=engine)


@pytest.mark.parametrize(
    ("committed", "found"),
    [
        ({"cache": state("cache")}, {"cache": "redis"}),
        ({"cache": state("cache"), "db": state("db", "postgres")}, {"cache": "redis"}),
        ({"cache": state("cache"), "queue": state("queue")}, {}),  # either may be it
        ({"redis": state("redis"), "cache": state("cache")}, {}),  # one was removed
        ({"cache": state("cache", "valkey")}, {}),
        ({"cache": state("cache", path="/other")}, {}),
        ({"redis": state("redis")}, {}),
        ({}, {}),
    ],
)
def test_a_renamed_service_is_recognised_where_it_can_only_be_that(
    tmp_path: Path, committed: dict[str, SubdotState], found: dict[str, str]
) -> None:
    subdots = plan_of(tmp_path, "services: {redis: {image: 'redis:7'}}").subdots
    told = renamed(subdots, {SubdotName(name): was for name, was in committed.items()})
    assert {name: subdot.name for name, subdot in told.items()} == found


def test_what_the_last_commit_has_and_the_stack_lacks_is_told_with_the_line_that_a_rename_needs(tmp_path: Path) -> None:
    subdots = plan_of(tmp_path, "services: {kv: {image: 'redis:7'}}").subdots
    lacks = "the last commit has a subdot {}, and this stack has none"
    how = "if kv is another name of what was cache, say so in the compose file: services.kv.x-dotmesh.subdot: cache"
    committed = {"cache": state("cache"), "db": state("db", "postgres")}
    assert missing_here(subdots, {SubdotName(name): was for name, was in committed.items()}) == [
        f"{lacks.format('cache')}; {how}",
        lacks.format("db"),
    ]
    assert missing_here(subdots, {SubdotName("kv"): state("kv")}) == []
