"""`dm-compose plan` needs no engine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dm_compose.errors import UsageError
from tests.support.capabilities import needs_compose
from tests.support.commands import (
    script,
)


@needs_compose
def test_a_plan_needs_no_engine() -> None:
    ended = script("plan")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0] == "dot shop (project shop)"
    assert re.match(r"SUBDOT +SERVICES +PATH +KIND +ENGINE +REASON$", lines[2])
    text = " ".join(ended.out.split())
    assert re.search(r" pg db /var/lib/postgresql/data named postgres data path of postgres; in shop_pg NOT STATE ", text)
    assert re.search(r" NOT STATE PATH REASON db /docker-entrypoint-initdb.d initialisation scripts$", text)


@needs_compose
def test_a_plan_as_json_is_one_document_with_the_documented_keys() -> None:
    found = script("plan", "--json").json()
    assert list(found) == ["dot", "project", "subdots", "skipped"]
    assert [list(s) for s in found["subdots"]] == [
        ["name", "services", "path", "kind", "volume", "source", "engine", "reason"] for _ in range(2)
    ]
    assert found["skipped"] == [{"service": "db", "path": "/docker-entrypoint-initdb.d", "reason": "initialisation scripts"}]


@needs_compose
def test_a_plan_takes_composes_own_options(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("services: {db: {image: '${IMAGE}', volumes: ['./d:/data']}, x: {image: x, profiles: [p]}}")
    (tmp_path / "b.yaml").write_text("services: {x: {volumes: [/uploads]}}")
    (tmp_path / "env").write_text("IMAGE=redis:7")
    (tmp_path / "elsewhere").mkdir()
    words = ("-f", str(tmp_path / "a.yaml"), "--file", str(tmp_path / "b.yaml"), "-p", "mine", "--profile", "p")
    more = ("--env-file", str(tmp_path / "env"), "--project-directory", str(tmp_path / "elsewhere"))
    found = script(*words, *more, "plan", "--json").json()
    assert (found["dot"], found["project"]) == ("mine", "mine")
    assert [(s["name"], s["source"]) for s in found["subdots"]] == [("db", str(tmp_path / "elsewhere/d")), ("x", "")]


@needs_compose
@pytest.mark.parametrize("words", [("plan",), ("status",), ("commit", "-m", "x"), ("up",), ("down", "-v")])
def test_a_broken_compose_file_exits_with_3_and_names_file_and_line(words: tuple[str, ...]) -> None:
    Path("compose.yaml").write_text("services:\n  db: [\n")
    ended = script(*words)
    assert (ended.code, ended.out) == (3, "")
    assert re.match(r"error: compose\.yaml: yaml: line \d+: .*\n", ended.err)


@needs_compose
def test_a_plan_refuses_a_single_file_that_is_included_by_name(tmp_path: Path) -> None:
    """A subdot is a directory. An SQLite database has files beside it, too."""
    (tmp_path / "app.db").write_bytes(b"SQLite format 3\0")
    mount = "volumes: ['./app.db:/app/prod.db', './up:/up']"
    (tmp_path / "a.yaml").write_text(f"services: {{app: {{image: app, {mount}}}}}\nx-dotmesh: {{include: ['app:/app/prod.db']}}")
    ended = script("-f", str(tmp_path / "a.yaml"), "plan")
    assert ended.code == UsageError.exit_code
    assert "app:/app/prod.db, which is a single file" in ended.err
    assert "Mount a directory that holds the file" in ended.err
    (tmp_path / "a.yaml").write_text(f"services: {{app: {{image: app, {mount}}}}}\nx-dotmesh: {{include: [app]}}")
    found = script("-f", str(tmp_path / "a.yaml"), "plan", "--json").json()
    assert [s["path"] for s in found["subdots"]] == ["/up"]
    assert [(s["path"], s["reason"].partition(";")[0]) for s in found["skipped"]] == [("/app/prod.db", "single file of the host")]


@needs_compose
def test_a_single_file_in_a_data_path_is_not_taken_for_the_data(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("user default on")
    (tmp_path / "a.yaml").write_text("services: {cache: {image: 'redis:7', volumes: ['./users:/data/users']}}")
    found = script("-f", str(tmp_path / "a.yaml"), "plan", "--json").json()
    assert [(s["path"], s["kind"], s["engine"]) for s in found["subdots"]] == [("/data", "image", "redis")]
