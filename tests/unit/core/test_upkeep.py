"""The budget of `undo` is read from the settings of a store."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dm_compose.core.upkeep import UNDO_DAYS, UNDO_SIZE, UndoBudget
from dm_compose.errors import UsageError

DISK = 1000 << 30


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("10%", DISK // 10),
        ("2.5 %", DISK // 40),
        ("0%", 0),
        ("100%", DISK),
        ("0", 0),
        ("4096", 4096),
        ("7 b", 7),
        ("3k", 3 << 10),
        ("1.5 MB", 3 << 19),
        ("20GiB", 20 << 30),
        (" 2 tib ", 2 << 40),
    ],
)
def test_sizes_are_bytes_or_a_part_of_the_disk(text: str, wanted: int) -> None:
    assert UndoBudget.of({UNDO_SIZE: text}).bytes_of(DISK) == wanted


@pytest.mark.parametrize("text", ["", "%", "101%", "-1", "much", "1 XB", "1e3", "10 % of it", "٣%", "9" * 5 + "%", "1GiB 2GiB"])
def test_other_words_are_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="undo-size"):
        UndoBudget.of({UNDO_SIZE: text})


@pytest.mark.parametrize("text", ["", "-1", "1.5", "soon", "٣"])
def test_other_words_are_no_number_of_days(text: str) -> None:
    with pytest.raises(UsageError, match="undo-days"):
        UndoBudget.of({UNDO_DAYS: text})


def test_a_store_without_settings_keeps_30_days_and_a_tenth_of_the_disk() -> None:
    found = UndoBudget.of({"current-dot": "a"})
    assert found.bytes_of(DISK) == DISK // 10
    now = datetime(2026, 3, 31, tzinfo=UTC)
    assert found.since(now) == datetime(2026, 3, 1, tzinfo=UTC)
    assert UndoBudget.of({UNDO_DAYS: "9" * 30}).since(now) == datetime.min.replace(tzinfo=UTC)
    assert UndoBudget.of({UNDO_DAYS: "0"}).since(now) == now
