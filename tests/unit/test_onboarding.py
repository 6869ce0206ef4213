"""docs/onboarding.md leads through the code as it is: every room has its row, and every file that the page names exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "onboarding.md").read_text()
CODE = [ROOT / "dm_compose", ROOT / "pytest_dotmesh"]


def rooms() -> set[str]:
    """Return the folders that hold modules, as the page writes them."""
    found = {path.parent.relative_to(ROOT) for top in CODE for path in top.rglob("*.py")}
    return {f"{folder}/" for folder in found if str(folder) != "dm_compose"}


def test_every_room_has_a_row_and_every_row_has_a_room() -> None:
    rows = set(re.findall(r"^\| `((?:dm_compose|pytest_dotmesh)[^`]*/)` \|", PAGE, re.MULTILINE))
    assert rows == rooms()


def test_every_room_says_in_a_sentence_what_it_is() -> None:
    for room in rooms():
        sentence = (ROOT / room / "__init__.py").read_text().partition('"""')[2].partition('"""')[0]
        assert sentence.strip().endswith("."), f"{room}__init__.py says in no sentence what the folder is"


def test_every_file_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*\.(?:py|md))`", PAGE))
    assert len(named) > 60
    tops = [ROOT, ROOT / "dm_compose", ROOT / "pytest_dotmesh"]
    missing = sorted(n for n in named if not any((top / n).exists() for top in tops) and not list((ROOT / "dm_compose").rglob(n)))
    assert missing == []


def test_every_folder_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*/)`", PAGE))
    tops = [ROOT, ROOT / "dm_compose"]
    assert sorted(n for n in named if not any((top / n).is_dir() for top in tops)) == []


def test_no_room_has_more_than_fifteen_files_but_the_built_in_datastores() -> None:
    """More is a sign that a second concept lives there."""
    counts = {room: len(list((ROOT / room).glob("*.py"))) for room in rooms()}
    del counts["dm_compose/datastores/builtin/"]
    assert {room: count for room, count in counts.items() if count > 16} == {}  # fifteen and the sentence in __init__.py
