"""Each test looks at datastores, sees the seed and nothing else, and leaves traces that name it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random

import pytest
from stores import ROWS, SEE, WAYS, differences

SETTINGS = json.loads((Path(__file__).parent / "settings.json").read_text())
SEED = SETTINGS["seen"]
SOME = SETTINGS["some"]  # each test touches some datastores, or none, rather than all


def note(**what: object) -> None:
    """Leave a line about this test, even if the run is killed."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    with open(Path(__file__).parent / f"done-{worker}.jsonl", "a") as file:
        file.write(json.dumps(what) + "\n")


@pytest.mark.parametrize("number", range(SETTINGS["tests"]))
def test_sees_the_seed_and_nothing_else(dm_stack, number):
    chance = Random(f"{SETTINGS['seed']}/{number}")
    who = f"test {number}"
    looked = [service for service in SEED if not SOME or chance.random() < 0.5]

    def look() -> None:
        leaks = [f"{service}: {line}" for service in looked for line in differences(SEED[service], SEE[service](dm_stack))]
        if leaks:
            note(test=number, leaks=leaks)
        assert not leaks, f"LEAK in {who}: {leaks}"

    look()
    ways = []
    for service in looked:
        if SOME and chance.random() < 0.3:
            continue  # it has only read
        ROWS[service](dm_stack, chance, who)
        ways.append(f"{service} rows")
        if chance.random() < 0.7:
            way = chance.choice(sorted(WAYS[service]))
            WAYS[service][way](dm_stack, chance, who)
            ways.append(f"{service} {way}")
    if chance.random() < 0.1:
        dm_stack.reset()
        look()
        ways.append("reset")
    note(test=number, looked=looked, ways=ways)
