"""Variables of `dm_env` say where services are, and are what they were when all is over."""

from __future__ import annotations

import os

import pytest

from dm_compose.errors import NotFoundError
from pytest_dotmesh.environment import Environment


def where(service: str, port: int) -> tuple[str, int]:
    if service not in ("db", "my-app.v2"):
        raise NotFoundError(f"no container runs service {service!r}", hint="The services are: db.")
    return "10.0.0.5", port + 1


def test_fields_are_filled_and_everything_else_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URL", "before")
    monkeypatch.delenv("PORT", raising=False)
    lines = ["URL = x://u:p@{db:5432}/n?a=b", "PORT={my-app.v2:80:port}", 'JSON={{"host": "{db:1:host}"}}']
    environment = Environment(lines, "dm_env")
    environment.set(where)
    assert os.environ["URL"] == "x://u:p@10.0.0.5:5433/n?a=b"
    assert os.environ["PORT"] == "81"
    assert os.environ["JSON"] == '{"host": "10.0.0.5"}'
    environment.set(lambda service, port: ("moved", port))
    assert os.environ["URL"] == "x://u:p@moved:5432/n?a=b"
    environment.restore()
    assert os.environ["URL"] == "before"
    assert "PORT" not in os.environ


@pytest.mark.parametrize("line", ["URL", "=x", "URL={db}", "URL={db:http}", "URL={db:1:name}", "URL={db:1", "URL=}"])
def test_a_line_that_is_none_is_refused(line: str) -> None:
    with pytest.raises(pytest.UsageError, match="dm_env"):
        Environment([line], "dm_env")


def test_a_service_that_there_is_not_is_told_with_the_variable() -> None:
    with pytest.raises(NotFoundError, match="dm_env: URL: no container runs service 'nobody'"):
        Environment(["URL={nobody:1}"], "dm_env").set(where)
