"""The project of a clone has nothing in common with the original's, and what cannot be there twice is refused by its name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from dm_compose.clones.project_file import Original, clone_document, clone_plan
from dm_compose.compose.model import parse_project
from dm_compose.core.containers import Image
from dm_compose.core.names import DotName
from dm_compose.datastores.registry import registry
from dm_compose.discovery.subdots import make_plan
from dm_compose.errors import UsageError

NAME = DotName("shop-t1-gw0")
LABELS = {"dev.dotmesh.run": "1"}
DATA = "/var/lib/postgresql/data"
POSTGRES = {"image": "postgres:16"}
Document = dict[str, Any]


def clone(services: Mapping[str, Any], images: Mapping[str, Image] | None = None, **sections: Any) -> tuple[Document, list[str]]:
    """Return the document of a clone of the project `shop`, and the warnings."""
    text = json.dumps({"name": "shop", "services": services, **sections})
    project = parse_project(text, "")
    plan = make_plan(project, images or {}, registry())
    document: Document = json.loads(text)
    warnings = clone_document(document, Original(project, plan), clone_plan(plan, NAME), LABELS)
    return document, warnings


def service(**settings: Any) -> Document:
    """Return what a service `db` with these settings is in a clone, where nothing is to be warned of."""
    document, warnings = clone({"db": {**POSTGRES, **settings}}, networks={"default": {"name": "shop_default"}})
    assert warnings == []
    found: Document = document["services"]["db"]
    return found


def refusal(services: Mapping[str, Any], **sections: Any) -> str:
    with pytest.raises(UsageError) as caught:
        clone(services, **sections)
    assert "--dm-workers-share" in (caught.value.hint or "")
    return caught.value.message


def bind(source: str, target: str, **more: Any) -> Document:
    return {"type": "bind", "source": source, "target": target, **more}


def volume(source: str, target: str, **more: Any) -> Document:
    return {"type": "volume", "source": source, "target": target, **more}


@pytest.mark.parametrize(
    ("mounts", "volumes", "key"),
    [
        ([volume("data", DATA)], {"data": {"name": "shop_data"}}, "data"),
        ([volume("data", DATA)], {"data": {"name": "fixed"}}, "data"),
        ([volume("data", DATA)], {"data": {"name": "theirs", "external": True}}, "data"),
        ([volume("data", DATA)], {"data": {"name": "shop_data", "driver_opts": {"type": "none", "device": "/srv"}}}, "data"),
        ([bind("/srv/data", DATA)], {}, "dm-db"),
        ([{"type": "volume", "target": DATA}], {}, "dm-db"),
        ([], {}, "dm-db"),
    ],
)
def test_every_subdot_is_on_a_volume_of_the_clones_own(mounts: list[Document], volumes: Document, key: str) -> None:
    include = {"x-dotmesh": {"include": ["data"]}} if volumes else {}
    text = json.dumps({"name": "shop", "services": {"db": {**POSTGRES, "volumes": mounts}}, "volumes": volumes})
    project = parse_project(text, json.dumps(include))
    plan = make_plan(project, {}, registry())
    document = json.loads(text)
    own = clone_plan(plan, NAME)
    clone_document(document, Original(project, plan), own, LABELS)
    (mount,) = document["services"]["db"]["volumes"]
    assert (mount["type"], mount["source"], mount["target"]) == ("volume", key, DATA)
    assert document["volumes"] == {key: {"name": f"{NAME}_{key}", "labels": LABELS}}
    assert [(s.volume, s.name) for s in own.subdots] == [(f"{NAME}_{key}", s.name) for s in plan.subdots]
    assert (own.dot, own.project) == (NAME, NAME)


def test_all_who_mount_a_subdots_directory_get_the_clones_volume() -> None:
    backup = {"image": "busybox", "volumes": [bind("/srv/$$data/", "/backup", read_only=True)]}
    document, warnings = clone({"db": {**POSTGRES, "volumes": [bind("/srv/$$data", DATA)]}, "backup": backup})
    assert document["services"]["backup"]["volumes"] == [volume("dm-db", "/backup", read_only=True, volume={})]
    assert warnings == []


def test_other_volumes_are_the_clones_own_but_external_ones() -> None:
    mounts = [volume("cache", "/root/.cache"), volume("theirs", "/theirs")]
    volumes = {"cache": {"name": "fixed", "driver_opts": {"type": "tmpfs"}}, "theirs": {"name": "theirs", "external": True}}
    document, warnings = clone({"app": {"image": "busybox", "volumes": mounts}}, volumes=volumes)
    assert document["volumes"]["cache"] == {"name": f"{NAME}_cache", "driver_opts": {"type": "tmpfs"}, "labels": LABELS}
    assert document["volumes"]["theirs"] == volumes["theirs"]
    assert warnings == ["all clones share these, because they are no state: volume theirs"]


def test_ports_are_free_ones_of_this_machine_alone() -> None:
    ports = [{"mode": "ingress", "target": 5432, "published": "5432", "host_ip": "0.0.0.0", "protocol": "tcp"}]
    (port,) = service(ports=ports)["ports"]
    assert (port["target"], port["published"], port["host_ip"]) == (5432, "0", "127.0.0.1")


def test_a_fixed_container_name_becomes_a_name_on_the_networks() -> None:
    found = service(container_name="the-db", hostname="db-host", networks={"default": None, "back": {"aliases": ["pg"]}})
    assert "container_name" not in found
    assert found["hostname"] == "db-host"
    assert found["networks"] == {"default": {"aliases": ["the-db"]}, "back": {"aliases": ["pg", "the-db"]}}


def test_who_uses_a_container_of_the_stack_by_its_fixed_name_finds_the_service() -> None:
    app = {
        "image": "busybox",
        "network_mode": "container:the-db",
        "volumes_from": ["container:the-db:ro", "db"],
        "external_links": ["the-db:pg"],
    }
    document, _ = clone({"db": {**POSTGRES, "container_name": "the-db"}, "app": app})
    found = document["services"]["app"]
    assert (found["network_mode"], found["volumes_from"], found["links"]) == ("service:db", ["db:ro", "db"], ["db:pg"])


def test_networks_are_the_clones_own_without_fixed_names_and_addresses() -> None:
    networks = {
        "back": {"name": "fixed", "internal": True, "ipam": {"config": [{"subnet": "172.28.0.0/16"}]}},
        "theirs": {"name": "theirs", "external": True},
    }
    attached = {"back": {"ipv4_address": "172.28.0.5", "aliases": ["pg"]}, "theirs": None}
    document, warnings = clone({"db": {**POSTGRES, "networks": attached}}, networks=networks)
    assert document["networks"] == {
        "back": {"internal": True, "name": f"{NAME}_back", "labels": LABELS},
        "theirs": {"name": f"{NAME}_theirs", "labels": LABELS},
    }
    assert document["services"]["db"]["networks"]["back"] == {"aliases": ["pg"]}
    assert len(warnings) == 1
    assert "network theirs is external" in warnings[0]


def test_what_compose_builds_is_the_originals_image() -> None:
    document, _ = clone({"app": {"build": {"context": "."}}, "db": {**POSTGRES, "pull_policy": "never"}})
    app = document["services"]["app"]
    assert (app["image"], app["pull_policy"], "build" in app) == ("shop-app", "missing", False)
    assert document["services"]["db"]["pull_policy"] == "never"


def test_what_a_provider_makes_gets_no_image() -> None:
    cloud = {"provider": {"type": "acme", "options": {"size": ["3"]}}}
    app = {"image": "busybox", "depends_on": {"cloud": {"condition": "service_started"}}}
    document, warnings = clone({"cloud": cloud, "app": app})
    assert document["services"]["cloud"] == {**cloud, "labels": LABELS}
    assert document["services"]["app"]["depends_on"] == app["depends_on"]
    assert warnings == []


def test_all_is_labelled_beside_its_own_labels_and_the_rest_stays() -> None:
    health = {"test": ["CMD", "true"]}
    app = {"image": "busybox", "depends_on": {"db": {"condition": "service_healthy"}}, "labels": {"mine": "x"}}
    document, _ = clone({"db": {**POSTGRES, "healthcheck": health}, "app": app})
    assert document["name"] == NAME
    assert document["services"]["app"]["labels"] == {"mine": "x", **LABELS}
    assert document["services"]["app"]["depends_on"] == app["depends_on"]
    assert document["services"]["db"]["healthcheck"] == health


def test_services_that_no_profile_enables_are_left_out() -> None:
    app = {"image": "busybox", "depends_on": {"debug": {"condition": "service_started", "required": False}}}
    project = parse_project(json.dumps({"name": "shop", "services": {"app": app}}), "")
    plan = make_plan(project, {}, registry())
    document: Document = {"name": "shop", "services": {"app": dict(app), "debug": {"image": "x", "network_mode": "host"}}}
    clone_document(document, Original(project, plan), clone_plan(plan, NAME), LABELS)
    assert list(document["services"]) == ["app"]
    assert document["services"]["app"]["depends_on"] == {}


def test_what_cannot_be_there_twice_is_refused_with_the_service() -> None:
    app = {"image": "busybox"}
    assert "service app" in refusal({"app": {**app, "network_mode": "host"}})
    assert "network_mode container:other" in refusal({"app": {**app, "network_mode": "container:other"}})
    assert "volumes_from container:other" in refusal({"app": {**app, "volumes_from": ["container:other"]}})
    assert "external link other" in refusal({"app": {**app, "external_links": ["other:db"]}})
    theirs = {"theirs": {"external": True, "name": "theirs"}}
    fixed = {"app": {**app, "networks": {"theirs": {"ipv4_address": "10.0.0.5"}}}}
    assert "10.0.0.5 on the external network theirs" in refusal(fixed, networks=theirs)


def test_a_fixed_address_that_somebody_is_told_is_refused() -> None:
    db = {**POSTGRES, "networks": {"back": {"ipv4_address": "10.0.0.5"}}}
    app = {"image": "busybox", "environment": {"DB": "postgres://10.0.0.5:5432"}}
    assert "service app" in refusal({"db": db, "app": app}, networks={"back": {"name": "shop_back"}})
    app["environment"] = {"DB": "postgres://10.0.0.50"}
    clone({"db": db, "app": app}, networks={"back": {"name": "shop_back"}})


@pytest.mark.parametrize("source", ["/srv/data/conf", "/srv"])
def test_a_mount_that_reaches_the_originals_data_is_refused(source: str) -> None:
    app = {"image": "busybox", "volumes": [bind(source, "/x", read_only=True)]}
    assert f"service app cannot be cloned: it mounts {source}" in refusal(
        {"db": {**POSTGRES, "volumes": [bind("/srv/data", DATA)]}, "app": app}
    )


def test_subdots_within_each_other_are_refused() -> None:
    services = {
        "db": {**POSTGRES, "volumes": [bind("/srv", DATA)]},
        "other": {**POSTGRES, "volumes": [bind("/srv/other", DATA)]},
    }
    assert "subdot other is within subdot db" in refusal(services)


def test_what_all_clones_share_or_may_reach_of_the_original_is_warned_of() -> None:
    app = {
        "image": "busybox",
        "volumes": [bind("/src", "/app"), bind("/etc/x", "/etc/x", read_only=True)],
        "environment": {"ADVERTISED": "localhost:9092", "UP": "http://host.docker.internal:1", "OTHER": "localhost:1"},
        "ports": [{"target": 9092, "published": "9092"}],
    }
    _, warnings = clone({"app": app})
    told = "service app is told localhost:9092, host.docker.internal"
    assert [w.partition(": it does")[0] for w in warnings] == [
        told,
        "all clones share these, because they are no state: app:/app",
    ]
