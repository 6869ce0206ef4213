"""Services that run a datastore's image but not the datastore: a client of it, or a job that ends. Pure.

The data directories of such a service are empty. The rule is strict: a program counts as the server unless it is certainly a
client or a helper of shell scripts.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Sequence
from typing import Any

from dm_compose.core.project import Project
from dm_compose.datastores import Datastore, ServiceFacts

_CLIENT = re.compile(
    r"psql|pg_(dump|dumpall|restore|isready)|createdb|mysql(dump|admin|import|sh)?|mariadb-(dump|admin|import)|cqlsh|nodetool|etcdctl"
    r"|mongo(sh|dump|restore|import|export)?|(redis|valkey|keydb)-cli|kafka-(topics|configs|acls|console-\w+|consumer-groups)(\.sh)?"
    r"|clickhouse-client|rabbitmqadmin|influx|cypher-shell|curl|wget"
)
_HELPERS = re.compile(
    r"elasticsearch-[a-z-]+|echo|printf|sleep|true|false|:|test|\[\[?|cat|ls|mkdir|chown|chmod|cp|mv|rm|find|grep|sed|awk|cut|tr|head"
    r"|date|unzip|tar|gzip|export|set|cd|exit|wait|cub|nc|fi|done|\}"
)
_KEYWORDS = frozenset(("if", "then", "elif", "else", "while", "until", "do", "!", "{", "exec"))
_SHELLS = frozenset(("sh", "bash", "ash", "dash", "zsh"))
_SEPARATORS = frozenset(";&|()\n")


def task_of(facts: ServiceFacts, datastore: Datastore | None, *, ends: bool) -> str:
    """Return why a service's own data directories are no state; '' means that they are.

    `ends` says that another service waits for the end of this one.
    """
    instead = f", not {datastore.name}" if datastore else ""
    if datastore is not None and (program := other_program(facts.command)):
        return f"runs {program}{instead}"
    return f"a task that ends{instead}" if ends else ""


def awaited_to_end(project: Project) -> set[str]:
    """Return the services whose end another one waits for."""
    services: Any = project.document.get("services") or {}
    waits = [wait for service in services.values() for wait in (service.get("depends_on") or {}).items()]
    return {name for name, wait in waits if wait.get("condition") == "service_completed_successfully"}


def other_program(command: Sequence[str]) -> str | None:
    """Return the program that a command runs if it is certainly no server, None otherwise.

    A command is certainly no server if it runs known clients and helpers of shell scripts, and nothing else. The first client is
    returned, or the first helper where there is no client.
    """
    programs = _programs(command)
    if not programs or not all(_CLIENT.fullmatch(program) or _HELPERS.fullmatch(program) for program in programs):
        return None
    return next((program for program in programs if _CLIENT.fullmatch(program)), programs[0])


def _programs(command: Sequence[str]) -> list[str]:
    """Return the names of the programs that a command starts, itself or by `sh -c`. None are returned where that is unclear."""
    if not command or command[0].rpartition("/")[2] not in _SHELLS:
        return [word.rpartition("/")[2] for word in command[:1]]
    scripts = [text for option, text in itertools.pairwise(command) if re.fullmatch(r"-[a-z]*c", option)]
    lexer = shlex.shlex((scripts or [""])[0].replace("\\\n", " "), posix=True, punctuation_chars="".join(_SEPARATORS))
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    programs: list[str] = []
    at_start = True
    try:
        for word in lexer:
            if set(word) <= _SEPARATORS:
                at_start = True
            elif at_start and word not in _KEYWORDS and not re.match(r"\w+=", word):
                programs += [] if word == "for" else [word.rpartition("/")[2]]
                at_start = False
    except ValueError:
        return []
    return programs
