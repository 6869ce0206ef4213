"""A volume of several services is one subdot of all of them, external or not, and says why it is one."""

# ruff: noqa: E501 (a row of a table is a line, and so is one of a compose file)

from __future__ import annotations

from pathlib import Path

import pytest

from dm_compose.core.containers import Image
from tests.support.capabilities import needs_compose
from tests.support.plans import IN_VAIN, declares, plan_of, shown

pytestmark = needs_compose


# Reasons


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        ("{image: 'postgres:16', volumes: ['vol:/var/lib/postgresql/data']}", "data path of postgres"),
        ("{image: 'postgres:16', volumes: ['./v:/var/lib/postgresql/data']}", "data path of postgres"),
        ("{image: 'postgres:16', volumes: ['/var/lib/postgresql/data']}", "data path of postgres"),
        ("{image: 'postgres:16'}", "data path of postgres, without a volume line"),
        ("{image: app, volumes: ['vol:/x']}", "named volume"),
        ("{image: app, volumes: [/x]}", "anonymous volume"),
        ("{image: app, volumes: ['./v:/x'], x-dotmesh: {include: true}}", "included by x-dotmesh"),
    ],
)
def test_a_subdot_says_why_it_is_one(tmp_path: Path, service: str, reason: str) -> None:
    (found,) = plan_of(tmp_path, f"services: {{s: {service}}}\nvolumes: {{vol: }}").subdots
    assert found.reason == reason


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (declares("postgres:16", "/var/lib/postgresql/data"), "data path of postgres, volume declared by the image"),
        (declares("postgres:16"), "data path of postgres, without a volume line"),
    ],
)
def test_a_subdot_says_whether_the_image_declares_it(tmp_path: Path, image: Image, reason: str) -> None:
    (found,) = plan_of(tmp_path, "services: {s: {image: 'postgres:16'}}", {"s": image}).subdots
    assert found.reason == reason


def test_an_image_volume_of_an_unknown_program_is_known_only_from_the_image(tmp_path: Path) -> None:
    text = "services: {s: {image: prom/prometheus}}"
    assert plan_of(tmp_path, text).subdots == ()
    (found,) = plan_of(tmp_path, text, {"s": declares("prom/prometheus", "/prometheus")}).subdots
    assert (found.path, found.reason) == ("/prometheus", "volume declared by the image")


# One volume, several services


def test_a_volume_of_several_services_is_one_subdot_of_all_of_them(tmp_path: Path) -> None:
    text = """
    services:
      backup: {image: backup, volumes: [pg:/backup/pg]}
      db: {image: "postgres:16", volumes: [pg:/var/lib/postgresql/data]}
      exporter: {image: exporter, volumes: [pg:/pg:ro]}
    volumes: {pg: }
    """
    (found,) = plan_of(tmp_path, text).subdots
    assert found.services == ("db", "backup", "exporter"), "who owns the data comes first, readers last"
    assert (found.path, found.engine, found.volume) == ("/var/lib/postgresql/data", "postgres", "shop_pg")


def test_a_read_only_user_of_a_state_volume_is_no_skipped_mount(tmp_path: Path) -> None:
    text = "services: {a: {image: a, volumes: ['vol:/v']}, web: {image: nginx, volumes: ['vol:/srv:ro']}}\nvolumes: {vol: }"
    assert shown(plan_of(tmp_path, text)) == ({"vol: named - of a,web at /v"}, set())


@pytest.mark.parametrize("path", ["/srv/cache", "/certs", "/run/x", "/tmp/x"])
def test_every_user_of_a_state_volume_is_told_wherever_it_mounts_it(tmp_path: Path, path: str) -> None:
    text = f"""
    services:
      db: {{image: "postgres:16", volumes: [pg:/var/lib/postgresql/data]}}
      other: {{image: other, volumes: ["pg:{path}"]}}
    volumes: {{pg: }}
    """
    assert shown(plan_of(tmp_path, text)) == ({"pg: named postgres of db,other at /var/lib/postgresql/data"}, set())


def test_every_user_of_a_state_directory_of_the_host_is_told(tmp_path: Path) -> None:
    text = """
    services:
      backup: {image: backup, volumes: ["./pg:/backup/pg"]}
      db: {image: "postgres:16", volumes: ["./pg:/var/lib/postgresql/data"]}
      reader: {image: reader, volumes: ["./pg:/pg:ro"]}
    """
    assert shown(plan_of(tmp_path, text)) == ({"db: bind postgres of db,backup,reader at /var/lib/postgresql/data"}, set())


def test_a_volume_that_only_caches_for_several_services_is_no_subdot(tmp_path: Path) -> None:
    text = "services: {a: {image: a, volumes: ['nm:/a/node_modules']}, b: {image: b, volumes: ['nm:/b/node_modules']}}\nvolumes: {nm: }"
    subdots, skipped = shown(plan_of(tmp_path, text))
    assert subdots == set()
    assert skipped == {"a /a/node_modules: dependency or build cache", "b /b/node_modules: dependency or build cache"}


def test_two_keys_of_one_volume_are_one_subdot(tmp_path: Path) -> None:
    text = """
    services: {a: {image: a, volumes: ["one:/a"]}, b: {image: b, volumes: ["two:/b"]}}
    volumes: {one: {name: same}, two: {name: same}}
    """
    assert shown(plan_of(tmp_path, text)) == ({"one: named - of a,b at /a"}, set())


def test_a_service_that_takes_the_volumes_of_another_uses_its_subdots(tmp_path: Path) -> None:
    text = """
    services:
      db: {image: "postgres:16", volumes: ["pg:/var/lib/postgresql/data", /scratch]}
      backup: {image: backup, volumes_from: ["db:ro"]}
    volumes: {pg: }
    """
    subdots, _ = shown(plan_of(tmp_path, text))
    assert subdots == {"pg: named postgres of db,backup at /var/lib/postgresql/data", "db: anonymous - of db at /scratch"}


# External volumes, and volumes that cannot be reached


def test_an_external_volume_is_listed_but_not_included_without_being_named(tmp_path: Path) -> None:
    text = "services: {db: {image: 'postgres:16', volumes: ['pg:/var/lib/postgresql/data']}}\nvolumes: {pg: {external: true, name: prod}}"
    assert shown(plan_of(tmp_path, text)) == (
        set(),
        {"db /var/lib/postgresql/data: external volume; to include it, name it in x-dotmesh.include"},
    )


@pytest.mark.parametrize(
    ("top", "on_service", "on_volume"),
    [
        ("x-dotmesh: {include: [pg]}", "", ""),
        ("x-dotmesh: {include: ['db:/var/lib/postgresql/data']}", "", ""),
        ("x-dotmesh: {include: [db]}", "", ""),
        ("", ", x-dotmesh: {include: true}", ""),
        ("", ", x-dotmesh: {include: [/var/lib/postgresql/data/]}", ""),
        ("", "", ", x-dotmesh: {include: true}"),
    ],
)
def test_an_external_volume_that_is_named_is_included_under_its_own_name(
    tmp_path: Path, top: str, on_service: str, on_volume: str
) -> None:
    text = f"""{top}
services: {{db: {{image: "postgres:16", volumes: ["pg:/var/lib/postgresql/data"]{on_service}}}}}
volumes: {{pg: {{external: true, name: prod{on_volume}}}}}
"""
    (found,) = plan_of(tmp_path, text).subdots
    assert (found.name, found.volume, found.engine) == ("pg", "prod", "postgres")


@pytest.mark.parametrize(
    ("volume", "reason"),
    [
        ("{driver: rexray}", "volume driver rexray is not supported"),
        ("{driver_opts: {type: nfs, o: 'addr=1.2.3.4,rw', device: ':/x'}}", "network volume (nfs) is not supported"),
        ("{driver_opts: {type: nfs4, o: 'addr=1.2.3.4,rw', device: ':/x'}}", "network volume (nfs4) is not supported"),
        ("{driver_opts: {type: cifs, o: 'addr=1.2.3.4', device: '//h/x'}}", "network volume (cifs) is not supported"),
        ("{driver_opts: {type: tmpfs, device: tmpfs}}", "in memory"),
        ("{driver_opts: {type: ext4, device: /dev/sdb1}}", "volume of type ext4 is not supported"),
    ],
)
def test_a_volume_that_cannot_be_reached_is_not_included_even_if_named(tmp_path: Path, volume: str, reason: str) -> None:
    text = f"x-dotmesh: {{include: [vol]}}\nservices: {{s: {{image: 'redis:7', volumes: ['vol:/data']}}}}\nvolumes: {{vol: {volume}}}"
    assert shown(plan_of(tmp_path, text)) == (set(), {f"s /data: {reason}; {IN_VAIN}"})


def test_a_volume_that_is_a_directory_of_the_host_is_an_ordinary_one(tmp_path: Path) -> None:
    text = """
    services: {s: {image: "redis:7", volumes: ["vol:/data"]}}
    volumes: {vol: {driver: local, driver_opts: {type: none, o: bind, device: /srv/redis}}}
    """
    assert shown(plan_of(tmp_path, text))[0] == {"vol: named redis of s at /data"}
