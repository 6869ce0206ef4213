"""The project file that `dm-compose up` writes: only what state needs is changed, and Compose takes it for the same project."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from dm_compose.compose import Compose, ComposeOptions
from dm_compose.compose.model import parse_project
from dm_compose.core.containers import Image
from dm_compose.core.names import SubdotName
from dm_compose.core.project import Project
from dm_compose.datastores.registry import registry
from dm_compose.discovery.subdots import make_plan
from dm_compose.up.project_file import Situation, generate
from dm_compose.up.run import generated_file
from tests.support.capabilities import needs_compose

HASH = "0f3a" * 16


@pytest.fixture(autouse=True)
def _no_choice_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COMPOSE_FILE", "COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME", "COMPOSE_ENV_FILES"):
        monkeypatch.delenv(name, raising=False)


def project(services: Mapping[str, Any], volumes: Mapping[str, Any] | None = None) -> Project:
    """A project named `shop` as Compose would print it."""
    return parse_project(json.dumps({"name": "shop", "services": services, "volumes": volumes or {}}), "")


def generated(
    services: Mapping[str, Any],
    volumes: Mapping[str, Any] | None = None,
    situations: Mapping[str, Situation] | None = None,
    images: Mapping[str, Image] | None = None,
) -> dict[str, Any] | None:
    found = project(services, volumes)
    before = copy.deepcopy(found.document)
    plan = make_plan(found, images or {}, registry())
    document = generate(found, plan, {SubdotName.parse(name): now for name, now in (situations or {}).items()})
    assert found.document == before, "the project itself is left alone"
    return document


def mount(target: str, source: str | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "volume", "target": target, **({"source": source} if source else {}), **more}


POSTGRES = {"image": "postgres:16"}
DATA = "/var/lib/postgresql/data"


# When there is nothing to change


@pytest.mark.parametrize(
    ("services", "volumes"),
    [
        ({}, {}),
        ({"web": {"image": "nginx"}}, {}),
        ({"db": {**POSTGRES, "volumes": [mount(DATA, "pg")]}}, {"pg": {"name": "shop_pg"}}),
        ({"db": {**POSTGRES, "volumes": [{"type": "bind", "source": "/h", "target": DATA}]}}, {}),
        ({"db": {**POSTGRES, "volumes": [mount(DATA, "pg")]}}, {"pg": {"name": "prod", "external": True}}),
        ({"db": {**POSTGRES, "tmpfs": [DATA]}}, {}),
        ({"web": {"image": "web", "volumes": [mount("/app/node_modules")]}}, {}),
        ({"db": {"image": "redis:7", "deploy": {"replicas": 2}}}, {}),
    ],
)
def test_the_users_files_serve_where_all_state_has_a_name(services: Mapping[str, Any], volumes: Mapping[str, Any]) -> None:
    assert generated(services, volumes) is None


# What is changed


def test_a_missing_volume_is_added() -> None:
    document = generated({"db": POSTGRES})
    assert document is not None
    assert document["services"]["db"]["volumes"] == [mount(DATA, "dm-db", volume={})]
    assert document["volumes"] == {"dm-db": {"name": "shop_dm-db"}}


def test_a_missing_volume_is_added_beside_others() -> None:
    bind = {"type": "bind", "source": "/h", "target": "/docker-entrypoint-initdb.d"}
    document = generated({"db": {**POSTGRES, "volumes": [bind]}})
    assert document is not None
    assert document["services"]["db"]["volumes"] == [bind, mount(DATA, "dm-db", volume={})]


@pytest.mark.parametrize("target", ["/uploads", "/uploads/", "/x/../uploads"])
def test_an_anonymous_volume_gets_a_name_and_keeps_its_options(target: str) -> None:
    line = mount(target, volume={"nocopy": True})
    document = generated({"web": {"image": "web", "volumes": [line, mount("/cache", volume={})]}})
    assert document is not None
    assert document["services"]["web"]["volumes"] == [{**line, "source": "dm-web"}, mount("/cache", volume={})]
    assert document["volumes"] == {"dm-web": {"name": "shop_dm-web"}}


def test_an_empty_section_of_volumes_may_be_there() -> None:
    found = parse_project(json.dumps({"name": "shop", "services": {"db": POSTGRES}, "volumes": None}), "")
    document = generate(found, make_plan(found, {}, registry()), {})
    assert document is not None
    assert document["volumes"] == {"dm-db": {"name": "shop_dm-db"}}


def test_volumes_of_the_driver_dm_become_ordinary_ones() -> None:
    service = {"image": "mysql:8", "volumes": [mount("/var/lib/mysql", "shop.catalogue"), mount("/other", "other")]}
    other = {"name": "shop_other", "labels": {"a": "b"}}
    driven = {"name": "x_shop.catalogue", "driver": "dm", "driver_opts": {"size": "1"}}
    document = generated({"db": service}, {"shop.catalogue": driven, "other": other})
    assert document is not None
    assert document["volumes"] == {"shop.catalogue": {"name": "x_shop.catalogue"}, "other": other}
    assert document["services"]["db"] == service


def test_a_service_of_a_profile_that_the_document_leaves_out_is_skipped() -> None:
    everything = project({"db": POSTGRES, "web": {"image": "web", "volumes": [mount("/up")]}})
    plan = make_plan(everything, {}, registry())
    document = generate(project({"db": POSTGRES}), plan, {})
    assert document is not None
    assert set(document["volumes"]) == {"dm-db"}


def test_a_volume_that_the_user_has_under_the_same_name_is_left_alone() -> None:
    own = {"name": "shop_dm-db"}
    services = {"db": POSTGRES, "web": {"image": "web", "volumes": [mount("/up", "dm-db")]}}
    document = generated(services, {"dm-db": own})
    assert document is not None
    assert document["volumes"]["dm-db"] == own
    (added,) = document["services"]["db"]["volumes"]
    assert added["source"] != "dm-db"
    assert document["volumes"][added["source"]]["name"] != "shop_dm-db"


# Where the state is already


ANONYMOUS = {"db": {**POSTGRES, "volumes": [mount(DATA)]}}


@pytest.mark.parametrize(
    ("now", "volume"),
    [
        # No container: the volume that `up` gives, or the one that was seen last.
        (Situation(), {"name": "shop_dm-db"}),
        (Situation(recorded="shop_dm-db"), {"name": "shop_dm-db"}),
        (Situation(recorded=HASH), {"name": HASH, "external": True}),
        # A container with the volume that `up` gave.
        (Situation(mounted="shop_dm-db"), {"name": "shop_dm-db"}),
        (Situation(mounted="shop_dm-db", recorded="shop_dm-db"), {"name": "shop_dm-db"}),
        (Situation(mounted="shop_dm-db", recorded=HASH), {"name": "shop_dm-db"}),
        # A container with an anonymous volume: Compose hands it on.
        (Situation(mounted=HASH), None),
        (Situation(mounted=HASH, recorded=HASH), None),
        (Situation(mounted=HASH, recorded="shop_dm-db"), None),
        # A container without a volume there: its data is copied into the volume that `up` gives (if there is none yet).
        (Situation(in_layer=True), {"name": "shop_dm-db"}),
        (Situation(in_layer=True, recorded=HASH), {"name": "shop_dm-db"}),
        # A container with the volume that `up` gave when the subdot had another name.
        (Situation(mounted="shop_dm-old"), {"name": "shop_dm-old"}),
        (Situation(mounted="shop_dm-old", recorded=HASH), {"name": "shop_dm-old"}),
        (Situation(recorded="shop_dm-old"), {"name": "shop_dm-old"}),
    ],
)
@pytest.mark.parametrize("services", [{"db": POSTGRES}, ANONYMOUS], ids=["no volume line", "anonymous volume"])
def test_state_stays_where_it_is(services: Mapping[str, Any], now: Situation, volume: Mapping[str, Any] | None) -> None:
    document = generated(services, situations={"db": now})
    if volume is None:
        assert document is None
        return
    assert document is not None
    assert document["volumes"] == {"dm-db": volume}
    (line,) = document["services"]["db"]["volumes"]
    assert (line["source"], line["target"]) == ("dm-db", DATA)


def test_one_service_in_need_does_not_change_another_that_has_its_volume() -> None:
    document = generated({"db": POSTGRES, "cache": {"image": "redis:7"}}, situations={"db": Situation(mounted=HASH)})
    assert document is not None
    assert "volumes" not in document["services"]["db"]
    assert set(document["volumes"]) == {"dm-cache"}


# The document is Compose's own again

USERS_FILE = """
name: shop
x-dotmesh: {exclude: [scratch]}
x-common: &common
  restart: unless-stopped
  logging: {driver: json-file, options: {max-size: 1m}}
services:
  db:
    <<: *common
    image: postgres:16
    command: postgres -c "log_line_prefix=%t $$d"
    environment: {POSTGRES_PASSWORD: "pa$$word", ODD: "=", TIME: "12:30:45", FLAG: "yes", EMPTY: ""}
    healthcheck: {test: ["CMD-SHELL", "pg_isready -U $$POSTGRES_USER"], interval: 1m30s}
    x-dotmesh: {engine: postgres}
  cache: {image: "redis:7", volumes: [/data, ./redis.conf:/etc/redis.conf:ro]}
  orders: {image: "mongo:7", volumes: ["shop.orders:/data/db"]}
  web:
    <<: *common
    build: {context: ./web, args: {A: "$$x"}, target: dev}
    image: shop/web
    hostname: web
    depends_on: {db: {condition: service_healthy}, cache: {condition: service_started}}
    ports: ["8080:80", "127.0.0.1:9000-9002:9000-9002/tcp"]
    deploy: {replicas: 2, resources: {limits: {cpus: "0.5", memory: 1g}}}
    volumes: [.:/app, uploads:/uploads, scratch:/scratch]
    tmpfs: [/tmp]
    secrets: [{source: token, target: tok, mode: 0440}]
    configs: [{source: settings, target: /etc/settings}]
    networks: {back: {aliases: [w], ipv4_address: 10.5.0.3}}
    labels: {traefik.http.routers.web.rule: "Host(`$$x`)"}
    extra_hosts: ["host.docker.internal:host-gateway"]
    ulimits: {nofile: {soft: 1000, hard: 2000}}
    stop_grace_period: 1m
    sysctls: {net.core.somaxconn: 1024}
    x-own: {a: [1, 2]}
  tool: {image: tool, profiles: [debug], volumes: [/state, uploads:/uploads]}
networks:
  back: {ipam: {config: [{subnet: 10.5.0.0/24}]}}
volumes:
  uploads: {labels: {a: b}}
  scratch:
  shop.orders: {driver: dm}
secrets: {token: {environment: HOME}}
configs: {settings: {content: "a $$x ${HOME}"}}
"""


def resolved(file: Path, *, profiles: tuple[str, ...] = ("*",), directory: Path | None = None) -> dict[str, Any]:
    words = ["docker", "compose", "-f", str(file)]
    words += [word for profile in profiles for word in ("--profile", profile)]
    words += ["--project-directory", str(directory)] if directory else []
    done = subprocess.run([*words, "config", "--format", "json"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "Compose has nothing to warn of"
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def hashes(file: Path) -> dict[str, str]:
    words = ["docker", "compose", "-f", str(file), "--profile", "*", "config", "--hash", "*"]
    lines = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    return dict(line.split() for line in lines)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The user's file and the generated one, elsewhere."""
    theirs = tmp_path_factory.mktemp("theirs") / "compose.yaml"
    theirs.write_text(USERS_FILE)
    compose = Compose(ComposeOptions(files=(str(theirs),)))
    everything = compose.project(all_profiles=True)
    document = generate(everything, make_plan(everything, {}, registry()), {})
    assert document is not None
    ours = tmp_path_factory.mktemp("ours") / "compose.yaml"
    ours.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    return theirs, ours


@needs_compose
def test_compose_reads_the_generated_file_as_the_same_project_but_for_the_volumes(written: tuple[Path, Path]) -> None:
    theirs, ours = (resolved(file) for file in written)
    theirs["volumes"] |= {
        "dm-db": {"name": "shop_dm-db"},
        "dm-cache": {"name": "shop_dm-cache"},
        "dm-tool": {"name": "shop_dm-tool"},
    }
    theirs["volumes"]["shop.orders"] = {"name": "shop_shop.orders"}
    theirs["services"]["db"]["volumes"] = [mount(DATA, "dm-db", volume={})]
    theirs["services"]["cache"]["volumes"][0]["source"] = "dm-cache"
    theirs["services"]["tool"]["volumes"][0]["source"] = "dm-tool"
    assert ours == theirs


@needs_compose
def test_dollars_survive_the_generated_file(written: tuple[Path, Path]) -> None:
    found = Compose(ComposeOptions(files=(str(written[1]),))).project().services["db"]
    assert found.environment["POSTGRES_PASSWORD"] == "pa$word"
    assert found.command == ("postgres", "-c", "log_line_prefix=%t $d")


@needs_compose
def test_profiles_survive_the_generated_file(written: tuple[Path, Path]) -> None:
    assert set(resolved(written[1], profiles=())["services"]) == {"db", "cache", "orders", "web"}
    assert set(resolved(written[1], profiles=("debug",))["services"]) == {"db", "cache", "orders", "web", "tool"}


@needs_compose
def test_compose_would_not_recreate_a_service_that_is_not_affected(written: tuple[Path, Path]) -> None:
    """Its hash of a service's definition decides that."""
    theirs, ours = (hashes(file) for file in written)
    assert {name for name in theirs if theirs[name] != ours[name]} == {"db", "cache", "tool"}


@needs_compose
def test_the_project_directory_does_not_matter_to_the_generated_file(written: tuple[Path, Path], tmp_path: Path) -> None:
    assert resolved(written[1], directory=tmp_path) == resolved(written[1])


@needs_compose
def test_a_generated_file_needs_no_generated_file(written: tuple[Path, Path]) -> None:
    found = Compose(ComposeOptions(files=(str(written[1]),))).project(all_profiles=True)
    assert generate(found, make_plan(found, {}, registry()), {}) is None


# Where it is kept


def test_every_project_and_directory_has_a_generated_file_of_its_own(tmp_path: Path) -> None:
    places = [generated_file(tmp_path, name, Path(directory)) for name in ("a", "b") for directory in ("/x", "/y")]
    assert len(set(places)) == 4
    assert all(place.is_relative_to(tmp_path) for place in places)
    assert generated_file(tmp_path, "a", Path("/x")) == places[0]
