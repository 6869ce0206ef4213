"""The end of a log is shown without the lines that our own probe has left in it."""

from __future__ import annotations

import pytest

from dm_compose.datastores.registry import registry
from dm_compose.live.logs import without_probe

MARIADB = """\
2026-11-28 11:02:07 0 [Note] mariadbd: ready for connections.
2026-11-28 11:02:08 31817 [Warning] Aborted connection 31817 to db: 'unconnected' user: 'unauthenticated' host: '172.18.0.1' \
(This connection closed normally without authentication)
2026-11-28 11:02:08 31818 [Warning] Aborted connection 31818 to db: 'shop' user: 'app' host: '172.18.0.3' (Got timeout)
"""
POSTGRES = """\
LOG:  starting PostgreSQL 15.14
FATAL:  the database system is starting up
FATAL:  no pg_hba.conf entry for host "172.18.0.1", user "dm_ready", database "postgres", no encryption
LOG:  database system is ready to accept connections
"""


@pytest.mark.parametrize(
    ("name", "log", "left"), [("mariadb", MARIADB, [0, 2]), ("mysql", MARIADB, [0, 2]), ("postgres", POSTGRES, [0, 3])]
)
def test_lines_of_the_probe_are_left_out_and_all_others_stay(name: str, log: str, left: list[int]) -> None:
    datastore = registry().get(name)
    assert datastore is not None
    lines = log.splitlines()
    assert without_probe(log, datastore.probe_lines) == [lines[number] for number in left]
    assert without_probe(log, "") == lines
