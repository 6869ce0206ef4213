"""Asking Compose for the project: which files it takes, how its answer is read, and what is told when it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from dm_compose.compose import Compose, ComposeOptions
from dm_compose.compose.model import parse_project
from dm_compose.core.project import Project, ServiceMount
from dm_compose.core.variables import Variables
from dm_compose.errors import ComposeError, UsageError
from tests.support.capabilities import capabilities, needs_compose


def _compose_is_there_for_every_user() -> bool:
    """Whether the docker CLI finds a compose plugin that no configuration of the user names."""
    try:
        command = ["docker", "--config", "/nonexistent", "compose", "version"]
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


needs_compose_that_can_be_hidden = pytest.mark.skipif(
    capabilities()["compose"] != "yes" or _compose_is_there_for_every_user(),
    reason="a system-wide compose plugin is installed, which cannot be hidden (or there is none at all)",
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test stands in a directory of its own, and nothing is chosen from outside."""
    for name in ("COMPOSE_FILE", "COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME", "COMPOSE_ENV_FILES", "COMPOSE_PATH_SEPARATOR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "shop").mkdir()
    monkeypatch.chdir(tmp_path / "shop")


def write(**files: str) -> None:
    """Write files below the working directory; `__` in a name is a slash, `_` the dot before `yaml` or `env`."""
    for name, text in files.items():
        path = Path(name.replace("__", "/").replace("_yaml", ".yaml").replace("_yml", ".yml").replace("_env", ".env"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def service(image: str, more: str = "") -> str:
    return f'services: {{web: {{image: "{image}"{more}}}}}'


def images(project: Project) -> dict[str, str]:
    return {name: found.image.reference for name, found in project.services.items()}


# The options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (ComposeOptions(), []),
        (ComposeOptions(files=("a.yaml",)), ["-f", "a.yaml"]),
        (ComposeOptions(files=("a", "b")), ["-f", "a", "-f", "b"]),
        (ComposeOptions(project_name="p"), ["-p", "p"]),
        (ComposeOptions(project_name=""), ["-p", ""]),
        (ComposeOptions(profiles=("x", "y")), ["--profile", "x", "--profile", "y"]),
        (ComposeOptions(env_files=(".env", "b.env")), ["--env-file", ".env", "--env-file", "b.env"]),
        (ComposeOptions(project_directory="/d"), ["--project-directory", "/d"]),
        (
            ComposeOptions(("a",), "p", ("x",), ("e",), "d"),
            ["-f", "a", "--profile", "x", "--env-file", "e", "-p", "p", "--project-directory", "d"],
        ),
    ],
)
def test_options_become_the_words_that_compose_takes(options: ComposeOptions, words: list[str]) -> None:
    assert options.arguments() == words


@needs_compose
@pytest.mark.parametrize("name", ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"])
def test_the_file_is_found_as_compose_finds_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(name).write_text(service("found"))
    Path("deep/er").mkdir(parents=True)
    assert images(Compose(ComposeOptions()).project()) == {"web": "found"}
    monkeypatch.chdir("deep/er")
    assert images(Compose(ComposeOptions()).project()) == {"web": "found"}


@needs_compose
def test_the_override_file_beside_it_is_merged() -> None:
    write(compose_yaml=service("one"))
    Path("compose.override.yaml").write_text(service("two"))
    assert images(Compose(ComposeOptions()).project()) == {"web": "two"}


@needs_compose
def test_several_files_are_merged_in_their_order() -> None:
    write(a_yaml=service("a", ", user: h"), b_yaml=service("b"))
    found = Compose(ComposeOptions(files=("a.yaml", "b.yaml"))).project()
    assert (images(found), found.services["web"].user) == ({"web": "b"}, "h")
    assert images(Compose(ComposeOptions(files=("b.yaml", "a.yaml"))).project()) == {"web": "a"}


@needs_compose
@pytest.mark.parametrize(
    ("text", "options", "environment", "name"),
    [
        ("", {}, {}, "shop"),
        ("name: top\n", {}, {}, "top"),
        ("name: top\n", {}, {"COMPOSE_PROJECT_NAME": "env"}, "env"),
        ("name: top\n", {"project_name": "opt"}, {"COMPOSE_PROJECT_NAME": "env"}, "opt"),
    ],
)
def test_the_project_is_named_as_compose_names_it(
    text: str, options: Mapping[str, str], environment: Mapping[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    write(compose_yaml=text + service("x"))
    assert Compose(ComposeOptions(**options)).project().name == name  # type: ignore[arg-type]


@needs_compose
def test_the_environment_may_name_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    write(compose_yaml=service("default"), one_yaml=service("one"), two_yaml=service("two", ", user: h"))
    monkeypatch.setenv("COMPOSE_FILE", "two.yaml:one.yaml")
    found = Compose(ComposeOptions()).project()
    assert (images(found), found.services["web"].user) == ({"web": "one"}, "h")
    assert images(Compose(ComposeOptions(files=("compose.yaml",))).project()) == {"web": "default"}


PROFILES = """
services:
  web: {image: web}
  debug: {image: debug, profiles: [debug], volumes: [mail:/mail]}
  extra: {image: extra, profiles: [extra]}
volumes: {mail: , unused: }
"""


@needs_compose
@pytest.mark.parametrize(
    ("profiles", "environment", "services"),
    [
        ((), None, {"web"}),
        (("debug",), None, {"web", "debug"}),
        (("debug", "extra"), None, {"web", "debug", "extra"}),
        ((), "debug", {"web", "debug"}),
        (("*",), None, {"web", "debug", "extra"}),
    ],
)
def test_profiles_choose_services(
    profiles: tuple[str, ...], environment: str | None, services: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if environment is not None:
        monkeypatch.setenv("COMPOSE_PROFILES", environment)
    write(compose_yaml=PROFILES)
    compose = Compose(ComposeOptions(profiles=profiles))
    assert set(compose.project().services) == services
    assert set(compose.project(all_profiles=True).services) == {"web", "debug", "extra"}


@needs_compose
def test_names_of_profiles_that_are_not_enabled_are_known() -> None:
    write(compose_yaml=PROFILES)
    assert Compose(ComposeOptions()).project().inactive == {"debug", "extra", "mail"}
    assert Compose(ComposeOptions(profiles=("debug",))).project().inactive == {"extra"}


@needs_compose
def test_a_service_of_a_profile_that_is_not_enabled_may_lack_its_files() -> None:
    write(compose_yaml=PROFILES.replace("profiles: [debug]", "profiles: [debug], env_file: nowhere.env"))
    assert set(Compose(ComposeOptions()).project().services) == {"web"}
    with pytest.raises(ComposeError, match=r"nowhere\.env"):
        Compose(ComposeOptions(profiles=("debug",))).project()


@needs_compose
def test_environment_files_are_for_interpolation() -> None:
    write(compose_yaml=service("${A}-${B}"), x_env="A=x\nB=x\n", y_env="B=y\n")
    assert images(Compose(ComposeOptions(env_files=("x.env", "y.env"))).project()) == {"web": "x-y"}


@needs_compose
def test_relative_paths_start_from_the_project_directory() -> None:
    write(deploy__compose_yaml=service("web", ", volumes: ['./data:/data']"))
    here = Path.cwd()
    beside = Compose(ComposeOptions(files=("deploy/compose.yaml",))).project()
    assert beside.services["web"].mounts == (ServiceMount("bind", str(here / "deploy/data"), "/data"),)
    (here / "other").mkdir()
    moved = Compose(ComposeOptions(files=("deploy/compose.yaml",), project_directory="other")).project()
    assert moved.services["web"].mounts == (ServiceMount("bind", str(here / "other/data"), "/data"),)
    assert moved.name == "other"


@needs_compose
def test_includes_extends_and_anchors_are_resolved() -> None:
    write(
        compose_yaml="include: [more.yaml]\nservices: {web: {extends: {file: base.yaml, service: base}, hostname: h}}",
        more_yaml="services: {db: {image: db, volumes: [pg-data:/x]}}\nvolumes: {pg-data: }",
        base_yaml="services: {base: {image: base}}",
    )
    found = Compose(ComposeOptions()).project()
    assert images(found) == {"web": "base", "db": "db"}
    assert found.volumes["pg-data"].name == "shop_pg-data"


# What Compose refuses


REQUIRED = service("${SHOP_TAG:?say which}")


@needs_compose
@pytest.mark.parametrize(
    ("files", "options", "message", "hint"),
    [
        ({}, ComposeOptions(), r"no configuration file provided", "directory with a compose.yaml, or name the file: -f FILE"),
        ({}, ComposeOptions(files=("nope.yaml",)), r"nope\.yaml: no such file", None),
        ({"a_yaml": "services: [x\n  y: z"}, ComposeOptions(files=("a.yaml",)), r"a\.yaml: .*line \d", None),
        ({"compose_yaml": "services:\n\tweb: x"}, ComposeOptions(), r"compose\.yaml: .*line 2", None),
        ({"docker-compose_yml": "a: [\nb: ]["}, ComposeOptions(), r"docker-compose\.yml: .*line \d", None),
        (
            {"a_yaml": service("a"), "b_yaml": "services: [x\n  y: z", "c_yaml": service("c")},
            ComposeOptions(files=("a.yaml", "b.yaml", "c.yaml")),
            r"^b\.yaml: .*line \d",
            None,
        ),
        ({"d__compose_yaml": "a: [\nb: ]["}, ComposeOptions(project_directory="d"), r"d/compose\.yaml: .*line \d", None),
        (
            {"compose_yaml": "include: [more.yaml]", "more_yaml": "services:\n  a: ["},
            ComposeOptions(),
            r"more\.yaml.*line \d",
            None,
        ),
        ({"compose_yaml": "services: {a: {image: x}, a: {image: y}}"}, ComposeOptions(), r"compose\.yaml: line 1", None),
        (
            {"compose_yaml": "services: {web: {image: web, imag: x}}"},
            ComposeOptions(),
            r"compose\.yaml: services\.web.*'imag'",
            None,
        ),
        ({"compose_yaml": "services: {web: [x]}"}, ComposeOptions(), r"services\.web must be a mapping", None),
        ({"compose_yaml": "servces: {}"}, ComposeOptions(), r"'servces'", None),
        ({"compose_yaml": ""}, ComposeOptions(), r"empty compose file", None),
        (
            {"compose_yaml": REQUIRED},
            ComposeOptions(),
            r"SHOP_TAG .*: say which",
            "Set the variable in the environment, in .env, or",
        ),
        ({"compose_yaml": service("${")}, ComposeOptions(), r"services\.web\.image", None),
        ({"compose_yaml": service("web", ", env_file: nope.env")}, ComposeOptions(), r"nope\.env", None),
        ({"compose_yaml": service("web")}, ComposeOptions(env_files=("nope.env",)), r"nope\.env", None),
        ({"compose_yaml": service("web", ", volumes: ['nope:/x']")}, ComposeOptions(), r"undefined volume nope", None),
        ({"compose_yaml": service("web", ", depends_on: [nope]")}, ComposeOptions(), r'undefined service "nope"', None),
        ({"compose_yaml": service("web")}, ComposeOptions(project_name="Not A Name"), r"invalid project name", None),
        ({}, ComposeOptions(files=("-",)), r"cannot be read from standard input", "Write it to a file"),
    ],
)
def test_a_refusal_is_one_line_in_composes_words(
    files: Mapping[str, str], options: ComposeOptions, message: str, hint: str | None
) -> None:
    write(**files)
    with pytest.raises(ComposeError, match=message) as raised:
        Compose(options).project()
    assert raised.value.exit_code == 3
    assert "\n" not in raised.value.message
    assert "time=" not in raised.value.message
    assert (hint or "") in (raised.value.hint or "")


@needs_compose
def test_a_broken_file_is_named_from_a_directory_below(monkeypatch: pytest.MonkeyPatch) -> None:
    write(compose_yaml="a: [\nb: ][", deep__er__x_yaml="")
    monkeypatch.chdir("deep/er")
    with pytest.raises(ComposeError, match=r"shop/compose\.yaml: .*line \d"):
        Compose(ComposeOptions()).project()


@needs_compose
def test_a_broken_file_that_the_environment_names_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    write(compose_yaml=service("good"), other_yaml="a: [\nb: ][")
    monkeypatch.setenv("COMPOSE_FILE", "compose.yaml,other.yaml")
    monkeypatch.setenv("COMPOSE_PATH_SEPARATOR", ",")
    named = Variables.of(os.environ).compose_files
    with pytest.raises(ComposeError, match=r"^other\.yaml: .*line \d"):
        Compose(ComposeOptions(), named).project()


@needs_compose
def test_a_file_that_is_not_broken_is_not_blamed() -> None:
    """The broken one is named in .env, where dm-compose does not look."""
    write(compose_yaml=service("good"), other_yaml="a: [\nb: ][", _env="COMPOSE_FILE=other.yaml\n")
    with pytest.raises(ComposeError, match=r"line \d") as raised:
        Compose(ComposeOptions()).project()
    assert "compose.yaml" not in raised.value.message


@needs_compose
def test_warnings_of_compose_are_no_part_of_its_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    write(compose_yaml="version: '3'\n" + service("${NOT_SET_AT_ALL}", ", volumes: ['nope:/x']"))
    with pytest.raises(ComposeError) as raised:
        Compose(ComposeOptions()).project()
    assert "NOT_SET_AT_ALL" not in raised.value.message
    assert "obsolete" not in raised.value.message


# Programs that are not there


def _fake_docker(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    directory.mkdir()
    program = directory / "docker"
    program.write_text(f"#!{sys.executable}\nimport json, os, sys\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory))


def test_a_missing_docker_command_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    for call in (Compose(ComposeOptions()).project, lambda: Compose(ComposeOptions()).pass_through(["ps"])):
        with pytest.raises(ComposeError, match="there is no `docker` command") as raised:
            call()
        assert raised.value.hint == "Install Docker with its compose plugin."


def test_a_docker_command_that_cannot_be_run_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        _fake_docker(tmp_path / "bin", "", monkeypatch)
        (tmp_path / "bin" / "docker").write_bytes(b"\x7fELF no program")
    else:
        _fake_docker(tmp_path / "bin", "", monkeypatch)
        (tmp_path / "bin" / "docker").chmod(0o644)
    for call in (Compose(ComposeOptions()).project, lambda: Compose(ComposeOptions()).pass_through(["ps"])):
        with pytest.raises(ComposeError, match="`docker` cannot be run"):
            call()


@needs_compose_that_can_be_hidden
def test_a_missing_compose_plugin_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write(compose_yaml=service("web"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "empty"))
    for options in (ComposeOptions(), ComposeOptions(files=("compose.yaml",))):
        for call in (Compose(options).project, lambda options=options: Compose(options).pass_through(["ps"])):
            with pytest.raises(ComposeError, match="`docker compose` does not work here") as raised:
                call()
            assert raised.value.hint == "Install the docker compose plugin, version 2 or later."


def test_a_complaint_without_words_is_still_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_docker(tmp_path / "bin", "sys.exit(0 if 'version' in sys.argv else 1)", monkeypatch)
    with pytest.raises(ComposeError, match="failed without a message"):
        Compose(ComposeOptions()).project()


def test_a_logged_complaint_is_read_without_its_quotes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = r'time="2026-01-01T00:00:00Z" level=fatal msg="no \"such\" thing\\path"'
    _fake_docker(tmp_path / "bin", f"print({line!r}, file=sys.stderr); sys.exit(0 if 'version' in sys.argv else 1)", monkeypatch)
    with pytest.raises(ComposeError) as raised:
        Compose(ComposeOptions()).project()
    assert raised.value.message == r'no "such" thing\path'


# Handing verbs through

RECORD = "json.dump([sys.argv[1:], os.environ.get('EXTRA')], open(os.environ['RECORD'], 'w')); sys.exit(int(os.environ['CODE']))"


def _handed_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int = 0) -> Path:
    record = tmp_path / "record"
    monkeypatch.setenv("RECORD", str(record))
    monkeypatch.setenv("CODE", str(code))
    _fake_docker(tmp_path / "bin", f"if 'version' not in sys.argv: {RECORD}", monkeypatch)
    return record


@pytest.mark.parametrize("code", [0, 1, 17, 130])
def test_composes_exit_code_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    _handed_through(tmp_path, monkeypatch, code)
    assert Compose(ComposeOptions()).pass_through(["ps"]) == code


def test_a_verb_gets_the_users_options_and_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = _handed_through(tmp_path, monkeypatch)
    options = ComposeOptions(("a.yaml",), "p", ("x",), ("e.env",), "d")
    Compose(options).pass_through(["exec", "web", "sh", "-c", "exit 3"], extra={"EXTRA": "1"})
    words, extra = json.loads(record.read_text())
    assert words == ["compose", *options.arguments(), "exec", "web", "sh", "-c", "exit 3"]
    assert extra == "1"


def test_a_generated_file_replaces_the_users_files_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment files too are kept: they may hold COMPOSE_PROFILES and other settings of Compose."""
    record = _handed_through(tmp_path, monkeypatch)
    options = ComposeOptions(("a.yaml", "b.yaml"), "p", ("x",), ("e.env",), None)
    Compose(options).pass_through(["up", "-d"], file=Path("/state/compose.yaml"), directory=Path("/home/me/shop"))
    words, _ = json.loads(record.read_text())
    expected = ComposeOptions(("/state/compose.yaml",), "p", ("x",), ("e.env",), "/home/me/shop")
    assert words == ["compose", *expected.arguments(), "up", "-d"]


# Reading Compose's answer


@needs_compose
@pytest.mark.parametrize(
    "value",
    ["=", "12:30:45", "yes", "no", "1e3", "0o17", "017", "null", "~", "", "2026-01-01", "<<", "a: b", "$$x", "$${x}", "#"],
)
def test_values_arrive_as_the_container_gets_them(value: str) -> None:
    """Compose prints some of them in YAML as something else."""
    write(compose_yaml=service("web", f", environment: {{A: {json.dumps(value)}}}, x-dotmesh: {{include: [/x]}}"))
    found = Compose(ComposeOptions()).project().services["web"]
    assert found.environment == {"A": value.replace("$$", "$")}
    assert found.settings == {"include": ["/x"]}


@needs_compose
def test_dollars_are_plain_in_the_project_and_doubled_in_its_document() -> None:
    write(compose_yaml=service("web", ', command: ["echo", "$$HOME"], volumes: ["./a$$b:/c$$d"]'))
    found = Compose(ComposeOptions()).project()
    web = found.services["web"]
    assert web.command == ("echo", "$HOME")
    assert web.mounts[0].source.endswith("/a$b")
    assert web.mounts[0].target == "/c$d"
    assert found.document["services"]["web"]["command"] == ["echo", "$$HOME"]  # type: ignore[index]


def parsed(value: Mapping[str, object], *, extended: str = "", volumes: Mapping[str, object] | None = None) -> Project:
    document = {"name": "shop", "services": {"web": value}, "volumes": volumes}
    return parse_project(json.dumps(document), extended)


@needs_compose
def test_a_service_that_a_provider_makes_has_no_container_and_no_image() -> None:
    write(
        compose_yaml="services:\n"
        "  cloud: {provider: {type: acme, options: {size: 3}}, x-dotmesh: {engine: postgres}}\n"
        "  pictured: {provider: {type: acme}, image: 'nginx:1'}\n"
        "  web: {image: 'nginx:1', depends_on: [cloud, pictured]}\n"
    )
    found = Compose(ComposeOptions()).project()
    assert images(found) == {"web": "nginx:1"}
    assert found.providers == {"cloud": {"engine": "postgres"}, "pictured": {}}
    assert found.inactive == frozenset()


def test_a_project_without_anything_is_one() -> None:
    found = parse_project('{"name": "shop"}', "")
    assert (found.name, dict(found.services), dict(found.volumes), dict(found.settings)) == ("shop", {}, {}, {})


@pytest.mark.parametrize(
    ("value", "attribute", "expected"),
    [
        ({}, "image.reference", "shop-web"),
        ({"image": None}, "image.reference", "shop-web"),
        ({"image": "nginx:1"}, "image.reference", "nginx:1"),
        ({}, "command", ()),
        ({"command": None, "entrypoint": None}, "command", ()),
        ({"command": ["-c", "x"]}, "command", ("-c", "x")),
        ({"entrypoint": ["sh", "-c"], "command": ["x"]}, "command", ("sh", "-c", "x")),
        ({}, "environment", {}),
        ({"environment": None}, "environment", {}),
        ({"environment": {"A": None, "B": "x", "C": "1"}}, "environment", {"A": "", "B": "x", "C": "1"}),
        ({}, "replicas", 1),
        ({"scale": 3}, "replicas", 3),
        ({"deploy": {"replicas": 2}, "scale": 2}, "replicas", 2),
        ({"deploy": {"replicas": 0}}, "replicas", 0),
        ({"deploy": {"resources": {}}}, "replicas", 1),
        ({"deploy": None}, "replicas", 1),
        ({}, "user", ""),
        ({"user": "h"}, "user", "h"),
        ({"volumes": None}, "mounts", ()),
        ({"volumes": [{"type": "volume", "target": "/x/"}]}, "mounts", (ServiceMount("volume", "", "/x"),)),
        ({"volumes": [{"type": "volume", "source": "v", "target": "/"}]}, "mounts", (ServiceMount("volume", "v", "/"),)),
        (
            {"volumes": [{"type": "bind", "source": "/h", "target": "/x//y/./z/", "read_only": True}]},
            "mounts",
            (ServiceMount("bind", "/h", "/x/y/z", read_only=True),),
        ),
        (
            {"tmpfs": ["/run", "/tmp:size=1m,mode=1777"]},
            "mounts",
            (ServiceMount("tmpfs", "", "/run"), ServiceMount("tmpfs", "", "/tmp")),
        ),
        ({"volumes": [{"type": "tmpfs", "target": "/t"}]}, "mounts", (ServiceMount("tmpfs", "", "/t"),)),
        (
            {"volumes": [{"type": "image", "source": "busybox", "target": "/t"}]},
            "mounts",
            (ServiceMount("image", "busybox", "/t"),),
        ),
        (
            {"secrets": [{"source": "s"}, {"source": "s", "target": "other"}, {"source": "s", "target": "/abs"}]},
            "mounts",
            tuple(ServiceMount("secret", "s", t, read_only=True) for t in ("/run/secrets/s", "/run/secrets/other", "/abs")),
        ),
        (
            {"configs": [{"source": "c"}, {"source": "c", "target": "/etc/c"}]},
            "mounts",
            tuple(ServiceMount("config", "c", t, read_only=True) for t in ("/c", "/etc/c")),
        ),
    ],
)
def test_a_service_is_read_with_composes_defaults(value: Mapping[str, object], attribute: str, expected: object) -> None:
    found: object = parsed(value).services["web"]
    for name in attribute.split("."):
        found = getattr(found, name)
    assert found == expected


@pytest.mark.parametrize(
    ("value", "attributes"),
    [
        (None, {"name": "data", "external": False, "driver": "local", "options": {}}),
        ({}, {"name": "data", "external": False, "driver": "local"}),
        ({"name": "shop_data"}, {"name": "shop_data"}),
        ({"name": "prod", "external": True}, {"name": "prod", "external": True}),
        ({"name": "x", "driver": "dm"}, {"driver": "dm"}),
        ({"name": "x", "driver_opts": {"type": "none", "size": 1}}, {"options": {"type": "none", "size": "1"}}),
        ({"name": "x", "driver_opts": None}, {"options": {}}),
    ],
)
def test_a_volume_is_read_with_composes_defaults(value: Mapping[str, object] | None, attributes: Mapping[str, object]) -> None:
    found = parsed({}, volumes={"data": value}).volumes["data"]
    assert {name: getattr(found, name) for name in attributes} == attributes


def test_a_setting_that_is_written_as_a_key_of_its_own_is_refused() -> None:
    with pytest.raises(UsageError, match=r"x-dotmesh\.include is no setting") as refused:
        parsed({}, extended="x-dotmesh.include: [uploads]")
    assert refused.value.hint == "The settings are a mapping: `x-dotmesh: {include: ...}`."


@pytest.mark.parametrize(
    ("extended", "settings"),
    [
        ("", {}),
        ("x-dotmesh: null", {}),
        ("x-dotmesh: {}", {}),
        ("x-dotmesh: {dot: '12'}", {"dot": "12"}),
        ("x-dotmesh: {dot: 12, include: [on, =, 1:30]}", {"dot": "12", "include": ["on", "=", "1:30"]}),
        ("x-dotmesh: {dot: null, include: 'null'}", {"dot": None, "include": "null"}),
        ("x-dotmesh: shop", {"": "shop"}),
        ("x-dotmesh: [a]", {"": ["a"]}),
        ("x-dotmesh: {include: ['web:/a$$b']}", {"include": ["web:/a$b"]}),
    ],
)
def test_settings_are_text_whatever_yaml_makes_of_it(extended: str, settings: Mapping[str, object]) -> None:
    inside = extended.replace("\n", " ")
    on_service = f"services: {{web: {{image: x, {inside}}}}}" if inside else ""
    on_volume = f"volumes: {{data: {{name: x, {inside}}}}}" if inside else ""
    assert parsed({}, extended=extended).settings == settings
    assert parsed({}, extended=on_service).services["web"].settings == settings
    assert parsed({}, extended=on_volume, volumes={"data": {}}).volumes["data"].settings == settings


def test_the_digest_tells_two_projects_apart() -> None:
    assert parsed({"image": "a"}).digest == parsed({"image": "a"}).digest
    assert parsed({"image": "a"}).digest != parsed({"image": "b"}).digest


@pytest.mark.parametrize(
    ("borrowed", "mounts"),
    [
        (["db"], {("volume", "pg", "/data", False), ("bind", "/h", "/h", True)}),
        (["db:ro"], {("volume", "pg", "/data", True), ("bind", "/h", "/h", True)}),
        (["container:other"], set()),
        (["nobody"], set()),
        (None, set()),
    ],
)
def test_volumes_from_another_service_are_mounts_but_its_anonymous_ones(borrowed: list[str] | None, mounts: set[object]) -> None:
    lender = {
        "volumes": [
            {"type": "volume", "source": "pg", "target": "/data"},
            {"type": "bind", "source": "/h", "target": "/h", "read_only": True},
            {"type": "volume", "target": "/anonymous"},
            {"type": "tmpfs", "target": "/tmp"},
        ]
    }
    document = {"name": "shop", "services": {"backup": {"volumes_from": borrowed}, "db": lender}}
    found = parse_project(json.dumps(document), "").services["backup"].mounts
    assert {(m.kind, m.source, m.target, m.read_only) for m in found} == mounts
