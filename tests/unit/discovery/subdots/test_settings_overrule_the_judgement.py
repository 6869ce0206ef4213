"""Settings in the compose file, profiles and built images decide about what is state."""

from __future__ import annotations

from pathlib import Path

import pytest

from dm_compose.errors import UsageError
from tests.support.capabilities import needs_compose
from tests.support.plans import HOST_DIRECTORY, IN_VAIN, declares, plan_of, shown

pytestmark = needs_compose


# Services without an image, and profiles


def test_a_service_that_is_built_is_judged_by_its_volumes_alone(tmp_path: Path) -> None:
    text = "services: {postgres: {build: ., volumes: ['vol:/var/lib/postgresql/data', .:/app]}}\nvolumes: {vol: }"
    assert shown(plan_of(tmp_path, text)) == (
        {"vol: named - of postgres at /var/lib/postgresql/data"},
        {f"postgres /app: {HOST_DIRECTORY}"},
    )


def test_a_service_that_was_built_is_judged_by_the_image_that_came_out(tmp_path: Path) -> None:
    built = declares("shop-db", "/var/lib/postgresql/data", PG_MAJOR="17", PGDATA="/var/lib/postgresql/data")
    assert shown(plan_of(tmp_path, "services: {db: {build: .}}", {"db": built}))[0] == {
        "db: image postgres of db at /var/lib/postgresql/data"
    }


PROFILES = """
x-dotmesh: {exclude: [mail, mailer, "mailer:/spool"]}
services:
  db: {image: "redis:7"}
  mailer: {image: mailer, profiles: [debug], volumes: [mail:/mail, other:/other]}
volumes: {mail: , other: }
"""


def test_a_service_of_a_profile_that_is_not_enabled_is_no_part_of_the_stack(tmp_path: Path) -> None:
    assert shown(plan_of(tmp_path, PROFILES)) == ({"db: image redis of db at /data"}, set())


def test_a_setting_may_name_a_volume_or_service_of_a_profile_that_is_not_enabled(tmp_path: Path) -> None:
    plan_of(tmp_path, PROFILES)
    with pytest.raises(UsageError, match="mial"):
        plan_of(tmp_path, PROFILES.replace("[mail,", "[mial,"))


def test_a_profile_that_is_enabled_brings_its_services_state(tmp_path: Path) -> None:
    text = PROFILES.replace(', mailer, "mailer:/spool"', "")
    assert shown(plan_of(tmp_path, text, profiles=("debug",))) == (
        {"db: image redis of db at /data", "other: named - of mailer at /other"},
        {"mailer /mail: excluded by x-dotmesh"},
    )


# Settings in the file


@pytest.mark.parametrize(
    ("top", "on_web", "on_volume", "subdots"),
    [
        ("", "", "", {"up", "web"}),
        ("exclude: [up]", "", "", {"web"}),
        ("exclude: ['web:/scratch']", "", "", {"up"}),
        ("exclude: ['web:/scratch/']", "", "", {"up"}),
        ("exclude: [web]", "", "", set()),
        ("", "exclude: true", "", set()),
        ("", "exclude: false", "", {"up", "web"}),
        ("", "exclude: [/up]", "", {"web"}),
        ("", "", "exclude: true", {"web"}),
        ("include: ['web:/src']", "", "", {"up", "web", "web-src"}),
        ("", "include: [/src, /app/node_modules]", "", {"up", "node", "web", "web-src"}),
        ("", "include: true", "", {"up", "node", "web", "web-src"}),
        ("include: [node]", "", "", {"up", "node", "web"}),
        ("include: [up], exclude: [up]", "", "", {"web"}),
    ],
)
def test_settings_of_the_file_overrule_the_judgement(
    tmp_path: Path, top: str, on_web: str, on_volume: str, subdots: set[str]
) -> None:
    text = f"""
    x-dotmesh: {{{top}}}
    services:
      web:
        image: web
        volumes: [up:/up, node:/app/node_modules, /scratch, ./src:/src]
        x-dotmesh: {{{on_web}}}
    volumes: {{up: {{x-dotmesh: {{{on_volume}}}}}, node: }}
    """
    assert {str(s.name) for s in plan_of(tmp_path, text).subdots} == subdots


def test_including_a_whole_service_includes_neither_sockets_nor_the_clock(tmp_path: Path) -> None:
    text = """
    services:
      a:
        image: a
        volumes: [/var/run/docker.sock:/var/run/docker.sock, /etc/localtime:/etc/localtime, ./data:/data]
        x-dotmesh: {include: true}
    """
    assert shown(plan_of(tmp_path, text)) == (
        {"a: bind - of a at /data"},
        {"a /var/run/docker.sock: socket", "a /etc/localtime: clock of the host"},
    )


def test_what_is_excluded_is_listed_with_that_reason(tmp_path: Path) -> None:
    text = "x-dotmesh: {exclude: [vol]}\nservices: {a: {image: a, volumes: ['vol:/v']}}\nvolumes: {vol: }"
    assert shown(plan_of(tmp_path, text)) == (set(), {"a /v: excluded by x-dotmesh"})


def test_a_path_that_is_included_and_mounted_nowhere_is_shown(tmp_path: Path) -> None:
    text = "x-dotmesh: {include: ['a:/uplaods']}\nservices: {a: {image: a, volumes: ['./u:/uploads']}}"
    assert "a /uplaods: named in x-dotmesh.include, but nothing is mounted there" in shown(plan_of(tmp_path, text))[1]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("volumes: ['vol:/x:ro']", "read-only mount"),
        ("volumes: ['./x:/x:ro']", "read-only mount"),
        ("volumes: [/x], deploy: {replicas: 2}", "2 replicas have a volume each; a named volume could be a subdot"),
        ("tmpfs: [/x]", "in memory"),
        ("volumes: [{type: tmpfs, target: /x}]", "in memory"),
    ],
)
@pytest.mark.parametrize("include", ["[web]", "['web:/x']", "['web:/x', vol]"])
def test_a_mount_that_is_included_but_cannot_be_a_subdot_says_both(tmp_path: Path, more: str, reason: str, include: str) -> None:
    text = f"""
    x-dotmesh: {{include: {include}}}
    services: {{web: {{image: web, {more}}}, other: {{image: other, volumes: ["vol:/deps/node_modules:ro"]}}}}
    volumes: {{vol: }}
    """
    found = shown(plan_of(tmp_path, text))
    assert found[0] == set()
    assert {line for line in found[1] if line.startswith("web")} == {f"web /x: {reason}; {IN_VAIN}"}


def test_a_socket_says_that_it_was_included_where_it_was_named_itself(tmp_path: Path) -> None:
    text = """
    x-dotmesh: {include: ["a:/var/run/docker.sock"]}
    services: {a: {image: a, volumes: [/var/run/docker.sock:/var/run/docker.sock]}}
    """
    assert shown(plan_of(tmp_path, text)) == (set(), {f"a /var/run/docker.sock: socket; {IN_VAIN}"})


def test_a_read_only_mount_of_what_is_a_subdot_is_included_with_it(tmp_path: Path) -> None:
    text = """
    x-dotmesh: {include: ["web:/up"]}
    services: {app: {image: app, volumes: ["up:/up"]}, web: {image: web, volumes: ["up:/up:ro"]}}
    volumes: {up: }
    """
    assert shown(plan_of(tmp_path, text))[1] == set()


def test_a_service_may_say_which_datastore_it_is_or_that_it_is_none(tmp_path: Path) -> None:
    text = """
    services:
      db: {image: "acme/ledger:3", volumes: ["pg:/var/lib/postgresql/data"], x-dotmesh: {engine: postgres}}
      no: {image: "redis:7", x-dotmesh: {engine: none}}
    volumes: {pg: }
    """
    assert shown(plan_of(tmp_path, text)) == ({"pg: named postgres of db at /var/lib/postgresql/data"}, set())


def test_the_dot_may_be_named_in_the_file(tmp_path: Path) -> None:
    assert plan_of(tmp_path, "x-dotmesh: {dot: acme}\nservices: {a: {image: a}}").dot == "acme"


# A task that another service waits for


def test_a_datastores_image_in_a_task_that_ends_has_no_state(tmp_path: Path) -> None:
    text = """
    services:
      setup: {image: "elasticsearch:8.15.0", command: [bash, /setup.sh]}
      es: {image: "elasticsearch:8.15.0", depends_on: {setup: {condition: service_completed_successfully}}}
    """
    assert shown(plan_of(tmp_path, text)) == (
        {"es: image elasticsearch of es at /usr/share/elasticsearch/data"},
        {"setup /usr/share/elasticsearch/data: a task that ends, not elasticsearch"},
    )
