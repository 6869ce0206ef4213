"""The pages on architecture say what is there: the layers of the contract, files that exist, every record."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
RECORDS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
SECTIONS = ["Context", "Decision", "Measurement", "Consequences"]


def contract() -> list[set[str]]:
    """Return the rows of the import contract over all packages, the upper ones first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (c["layers"] for c in settings["contracts"] if c["type"] == "layers" and "dm_compose.core" in c["layers"])
    return [{package.strip().removeprefix("dm_compose.") for package in row.split("|")} for row in layers]


def picture() -> list[set[str]]:
    """Return the packages in each row of the Mermaid picture, in the order in which its arrows lead through the rows."""
    (text,) = re.findall(r"```mermaid\n(flowchart TB\n.*?)```", PAGE.read_text(), re.DOTALL)
    rows = {
        name: set(re.findall(r"^ +(\w+)\[", inside, re.MULTILINE))
        for name, inside in re.findall(r"subgraph (\w+) .*?\n(.*?)\n  end", text, re.DOTALL)
    }
    (arrows,) = re.findall(r"^  (\w+(?: --> \w+)+)$", text, re.MULTILINE)
    assert sorted(arrows.split(" --> ")) == sorted(rows)
    return [rows[name] for name in arrows.split(" --> ")]


def test_the_picture_of_the_layers_is_the_import_contract() -> None:
    assert picture() == contract()


def test_every_package_is_in_the_picture() -> None:
    """And every module beside the packages, but for `hookspecs`, which is a list of names for plugins."""
    found = {path.stem for path in (ROOT / "dm_compose").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert (found | {"pytest_dotmesh"}) - {"__init__", "hookspecs"} == set().union(*picture())


def test_files_that_the_documents_name_exist() -> None:
    """But for the tutorial, which names files of the reader's own project."""
    folders = "|".join(("benchmarks", "dm_compose", "docs", "examples", "pytest_dotmesh", "tests", "tools"))
    for page in {*(ROOT / "docs").rglob("*.md")} - {ROOT / "docs" / "tutorial.md"}:
        for name in re.findall(rf"`((?:{folders})/[\w./-]+)`", page.read_text()):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


def documented_in_code() -> Iterator[tuple[Path, str]]:
    for folder in ("dm_compose", "pytest_dotmesh"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for name in re.findall(r"docs/[\w/-]+\.md", path.read_text()):
                yield path, name


def test_documents_that_the_code_names_exist() -> None:
    found = list(documented_in_code())
    assert found
    assert [(path.name, name) for path, name in found if not (ROOT / name).exists()] == []


def test_every_record_is_listed_and_has_its_sections() -> None:
    rows = re.findall(r"^\| \[(\d+)\]\(decisions/([\w-]+\.md)\) \| .+ \|$", PAGE.read_text(), re.MULTILINE)
    assert [name for _, name in rows] == [path.name for path in RECORDS]
    for (number, _), path in zip(rows, RECORDS, strict=True):
        text = path.read_text()
        assert text.startswith(f"# {number}. ")
        assert path.name.startswith(f"{int(number):04}-")
        sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert sections == [s for s in SECTIONS if s in sections], path.name
        assert {"Context", "Decision", "Consequences"} <= set(sections), path.name
