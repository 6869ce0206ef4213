"""Each test sees the seed and nothing else, and leaves traces; its run may be killed at any moment."""

from __future__ import annotations

import json
import time
from pathlib import Path
from random import Random

import pytest
from stores import ROWS, SEE, WAYS, differences

SETTINGS = json.loads((Path(__file__).parent / "settings.json").read_text())
SEED = SETTINGS["seen"]


@pytest.mark.parametrize("number", range(SETTINGS["tests"]))
def test_starts_at_the_seed(dm_stack, number):
    chance = Random()
    for service in SEED:
        leaks = differences(SEED[service], SEE[service](dm_stack))
        assert not leaks, f"LEAK: {service}: {leaks}"
        ROWS[service](dm_stack, chance, f"test {number}")
        WAYS[service][chance.choice(sorted(WAYS[service]))](dm_stack, chance, f"test {number}")
    time.sleep(chance.random() / 5)  # some moments of a test are none of a restore
