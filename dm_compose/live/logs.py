"""The end of a container's log, for error messages, without the lines that our own probe has left in it."""

from __future__ import annotations

import re

from dm_compose.datastores import Datastore
from dm_compose.engine import Engine

LINES = 12
_ENOUGH = 2000  # lines to find so many in that are not our own


def told_log(engine: Engine, container_id: str, datastore: Datastore | None) -> str:
    """Return the end of a container's log as the end of an error's message. '' if there is nothing to show."""
    text = engine.logs(container_id, LINES if datastore is None or not datastore.probe_lines else _ENOUGH)
    lines = without_probe(text, datastore.probe_lines if datastore is not None else "")[-LINES:]
    return "\nlast lines of its log:\n" + "\n".join(lines) if lines else ""


def without_probe(log: str, pattern: str) -> list[str]:
    """Return the lines of a log in which a datastore's `probe_lines` are not found. Pure."""
    return [line for line in log.rstrip().splitlines() if not (pattern and re.search(pattern, line))]
