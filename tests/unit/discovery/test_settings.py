"""`x-dotmesh` in a compose file: what it may say, and what is told to somebody who wrote it wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from dm_compose.compose import Compose, ComposeOptions
from dm_compose.core.containers import Image
from dm_compose.core.project import ComposeService, ComposeVolume, Project
from dm_compose.discovery.settings import Settings, read_settings
from dm_compose.errors import UsageError
from tests.support.capabilities import needs_compose

ENGINES = ["mongo", "mysql", "postgres", "redis"]


def read(
    top: Mapping[str, object] | None = None,
    service: Mapping[str, object] | None = None,
    volume: Mapping[str, object] | None = None,
    provider: Mapping[str, object] | None = None,
) -> Settings:
    """Read the settings of a project with services `web` and `db`, a service `cloud` that a provider makes, volumes `uploads`
    and `db-data`, and a `debug` profile.
    """
    project = Project(
        name="shop",
        services={
            "web": ComposeService("web", Image("web"), settings=service or {}),
            "db": ComposeService("db", Image("db")),
        },
        volumes={
            "uploads": ComposeVolume("uploads", "shop_uploads", settings=volume or {}),
            "db-data": ComposeVolume("db-data", "x"),
        },
        document={},
        digest="",
        settings=top or {},
        providers={"cloud": provider or {}},
        inactive=frozenset(("mailer", "mail-data")),
    )
    return read_settings(project, ENGINES)


def test_no_settings_say_nothing() -> None:
    assert read() == Settings()


@pytest.mark.parametrize("word", ["include", "exclude"])
@pytest.mark.parametrize(
    ("top", "service", "volume", "meant"),
    [
        (["uploads"], None, None, {"uploads"}),
        (["uploads", "db-data"], None, None, {"uploads", "db-data"}),
        (["web"], None, None, {"web:*"}),
        (["web:/app/x"], None, None, {"web:/app/x"}),
        (["web:/app/x/"], None, None, {"web:/app/x"}),
        (["web:/"], None, None, {"web:/"}),
        ([], None, None, set()),
        (["mailer"], None, None, set()),
        (["mail-data"], None, None, set()),
        (["mailer:/x"], None, None, set()),
        (None, "true", None, {"web:*"}),
        (None, "false", None, set()),
        (None, ["/app/x", "/app/y/"], None, {"web:/app/x", "web:/app/y"}),
        (None, [], None, set()),
        (None, None, "true", {"uploads"}),
        (None, None, "false", set()),
        (["db-data"], ["/x"], "true", {"db-data", "web:/x", "uploads"}),
    ],
)
def test_a_place_is_named_by_volume_by_service_or_by_service_and_path(
    word: str, top: object, service: object, volume: object, meant: set[str]
) -> None:
    found = read(*({word: value} if value is not None else None for value in (top, service, volume)))
    assert getattr(found, word) == meant
    assert getattr(found, "exclude" if word == "include" else "include") == set()


@pytest.mark.parametrize("empty", [{"include": None}, {"exclude": None}, {"dot": None}])
def test_a_key_without_a_value_says_nothing(empty: Mapping[str, object]) -> None:
    assert read(empty) == Settings()


@pytest.mark.parametrize("empty", [{"include": None}, {"exclude": None}])
def test_a_key_without_a_value_says_nothing_on_services_and_volumes_either(empty: Mapping[str, object]) -> None:
    assert read(service=empty) == Settings()
    assert read(volume=empty) == Settings()


def test_a_name_of_both_a_volume_and_a_service_means_the_volume() -> None:
    project = Project(
        "shop", {"db": ComposeService("db", Image("db"))}, {"db": ComposeVolume("db", "shop_db")}, {}, "", {"include": ["db"]}
    )
    assert read_settings(project, ENGINES).include == {"db"}


def test_the_dot_is_named() -> None:
    assert read({"dot": "acme_2"}).dot == "acme_2"


def test_engine_and_port_belong_to_their_service() -> None:
    found = read(service={"engine": "postgres", "port": "6432"})
    assert (found.engines, found.ports) == ({"web": "postgres"}, {"web": 6432})
    assert read(service={"engine": "none"}).engines == {"web": "none"}


def test_the_name_of_a_subdot_belongs_to_its_service() -> None:
    assert read(service={"subdot": "cache"}).subdots == {"web": "cache"}


# What is wrong is named, with where it stands and what was meant.


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        ({"top": {"includes": []}}, "x-dotmesh: unknown key 'includes'", "Did you mean 'include'?"),
        ({"top": {"exlude": []}}, "x-dotmesh: unknown key 'exlude'", "Did you mean 'exclude'?"),
        ({"top": {"Dot": "a"}}, "x-dotmesh: unknown key 'Dot'", "Did you mean 'dot'?"),
        ({"top": {"engine": "a"}}, "x-dotmesh: unknown key 'engine'", "Known: dot, include, exclude."),
        ({"service": {"egnine": "x"}}, "services.web.x-dotmesh: unknown key 'egnine'", "Did you mean 'engine'?"),
        ({"service": {"dot": "x"}}, "services.web.x-dotmesh: unknown key 'dot'", None),
        ({"service": {"ports": "1"}}, "services.web.x-dotmesh: unknown key 'ports'", "Did you mean 'port'?"),
        ({"volume": {"inlcude": "true"}}, "volumes.uploads.x-dotmesh: unknown key 'inlcude'", "Did you mean 'include'?"),
        ({"volume": {"zzz": "true"}}, "volumes.uploads.x-dotmesh: unknown key 'zzz'", "Known: include, exclude."),
        # Names that do not exist.
        ({"top": {"include": ["uplaods"]}}, "x-dotmesh.include: no service uses a volume 'uplaods'", "Did you mean 'uploads'?"),
        ({"top": {"exclude": ["wbe"]}}, "x-dotmesh.exclude: no service uses a volume 'wbe'", "Did you mean 'web'?"),
        ({"top": {"include": ["mailr"]}}, "x-dotmesh.include: no service uses a volume 'mailr'", "Did you mean 'mailer'?"),
        ({"top": {"include": ["wbe:/x"]}}, "x-dotmesh.include: no service uses a volume 'wbe:/x'", None),
        ({"top": {"include": ["qqq"]}}, "'qqq'", "Name a top-level volume, a service, or service:/path."),
        ({"top": {"include": [""]}}, "''", None),
        (
            {"top": {"include": ["web:x"]}},
            "x-dotmesh.include: 'x' is not a path in the container",
            "Such a path starts with '/'.",
        ),
        ({"service": {"include": ["uploads"]}}, "services.web.x-dotmesh.include: 'uploads' is not a path", "Such a path starts"),
        (
            {"service": {"engine": "postgresql"}},
            "services.web.x-dotmesh: unknown engine 'postgresql'",
            "Did you mean 'postgres'?",
        ),
        ({"service": {"engine": "zzz"}}, "unknown engine 'zzz'", "Known: mongo, mysql, postgres, redis, none."),
        # Values of another type.
        ({"top": {"include": "uploads"}}, "x-dotmesh.include must be a list", "For example: include: [uploads"),
        ({"top": {"exclude": {"uploads": "true"}}}, "x-dotmesh.exclude must be a list", None),
        ({"top": {"include": [{"a": "b"}]}}, "x-dotmesh.include must be a list", None),
        ({"service": {"include": "yes"}}, "services.web.x-dotmesh.include must be true or false", None),
        ({"service": {"include": {"a": "b"}}}, "services.web.x-dotmesh.include must be a list", None),
        ({"volume": {"include": "yes"}}, "volumes.uploads.x-dotmesh.include must be true or false", None),
        ({"volume": {"exclude": ["a"]}}, "volumes.uploads.x-dotmesh.exclude must be true or false", None),
        ({"service": {"port": "http"}}, "services.web.x-dotmesh: port 'http' is not a port number", None),
        ({"service": {"port": "0"}}, "port '0' is not a port number", None),
        ({"service": {"port": "65536"}}, "port '65536' is not a port number", None),
        ({"service": {"port": "-1"}}, "port '-1' is not a port number", None),
        ({"service": {"port": "²"}}, "port '²' is not a port number", None),
        ({"top": {"": "uploads"}}, "x-dotmesh must be a mapping; found 'uploads'", "Known keys: dot, include, exclude."),
        (
            {"service": {"": ["a"]}},
            "services.web.x-dotmesh must be a mapping",
            "Known keys: include, exclude, engine, port, subdot.",
        ),
        ({"volume": {"": "true"}}, "volumes.uploads.x-dotmesh must be a mapping", "Known keys: include, exclude."),
        ({"service": {"subdot": "my cache"}}, "services.web.x-dotmesh.subdot: invalid subdot name 'my cache'", "letters, digits"),
        # A service that has no state.
        ({"provider": {"engine": "postgres"}}, "services.cloud.x-dotmesh: a provider makes this service", None),
        # The dot's name.
        ({"top": {"dot": "my shop"}}, "x-dotmesh.dot: invalid dot name 'my shop'", "letters, digits"),
        ({"top": {"dot": "a.b"}}, "x-dotmesh.dot: invalid dot name 'a.b'", "letters, digits"),
        ({"top": {"dot": ""}}, "x-dotmesh.dot: invalid dot name ''", "letters, digits"),
        ({"top": {"dot": "x" * 101}}, "x-dotmesh.dot: invalid dot name", "up to 100"),
        ({"top": {"dot": ["a"]}}, "x-dotmesh.dot: invalid dot name", "letters, digits"),
    ],
)
def test_what_is_wrong_is_named_where_it_stands(
    settings: dict[str, Mapping[str, object]], message: str, hint: str | None
) -> None:
    with pytest.raises(UsageError) as raised:
        read(**settings)
    assert message in raised.value.message
    assert "\n" not in raised.value.message
    assert (hint or "") in (raised.value.hint or "")
    assert raised.value.exit_code == 2


# The same through Compose, which has its own idea of what YAML says.


def through_compose(directory: Path, text: str) -> Settings:
    (directory / "compose.yaml").write_text(text)
    project = Compose(ComposeOptions(files=(str(directory / "compose.yaml"),), project_name="shop")).project()
    return read_settings(project, ENGINES)


@needs_compose
def test_settings_at_all_three_places_are_read_from_the_file(tmp_path: Path) -> None:
    found = through_compose(
        tmp_path,
        """
x-dotmesh:
  dot: acme
  include: [uploads]
services:
  web:
    image: web
    volumes: [uploads:/up, scratch:/scratch, ./a:/a]
    x-dotmesh:
      include: [/a]
      engine: mongo
      port: 27018
volumes:
  uploads: {external: true}
  scratch:
    x-dotmesh: {exclude: true}
""",
    )
    assert found.dot == "acme"
    assert found.include == {"uploads", "web:/a"}
    assert found.exclude == {"scratch"}
    assert (found.engines, found.ports) == ({"web": "mongo"}, {"web": 27018})


@needs_compose
@pytest.mark.parametrize(("dot", "name"), [("12", "12"), ("true", "true"), ("yes", "yes"), ("'null'", "null"), ("'12'", "12")])
def test_a_name_that_looks_like_something_else_is_a_name(tmp_path: Path, dot: str, name: str) -> None:
    assert through_compose(tmp_path, f"x-dotmesh: {{dot: {dot}}}\nservices: {{web: {{image: web}}}}").dot == name


@needs_compose
@pytest.mark.parametrize("nothing", ["", "~", "null", "{}", "{include: , exclude: ~}"])
def test_empty_settings_say_nothing_wherever_they_stand(tmp_path: Path, nothing: str) -> None:
    text = f"""
x-dotmesh: {nothing}
services:
  web:
    image: web
    volumes: [uploads:/up]
    x-dotmesh: {nothing}
volumes:
  uploads:
    x-dotmesh: {nothing}
"""
    assert through_compose(tmp_path, text) == Settings()


@needs_compose
def test_a_misspelt_key_in_a_merged_file_is_still_found(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {web: {image: web}}")
    (tmp_path / "override.yaml").write_text("x-dotmesh: {incldue: [web]}")
    files = (str(tmp_path / "compose.yaml"), str(tmp_path / "override.yaml"))
    with pytest.raises(UsageError, match="incldue"):
        read_settings(Compose(ComposeOptions(files=files)).project(), ENGINES)


@needs_compose
@pytest.mark.parametrize("text", ["x-dotmesh: shop", "x-dotmesh: [shop]", "x-dotmesh: true"])
def test_settings_that_are_no_mapping_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="x-dotmesh must be a mapping"):
        through_compose(tmp_path, f"{text}\nservices: {{web: {{image: web}}}}")
