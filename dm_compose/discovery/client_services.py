"""Services that run a datastore's image but not the datastore: a client of it, or a job that ends. Pure.

Their data directories are empty. Strict: a program that is not certainly a client or a shell's helper counts as the server.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Sequence
from typing import Any

from dm_compose.core.project import Project
from dm_compose.datastores import Datastore, Service

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


def task_of(facts: Service, datastore: Datastore | None, *, ends: bool) -> str:
    """Return why a service's own data directories are no state, '' when they are."""
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
    """Return what a command runs when that is certainly no server: nothing but clients and helpers of shell scripts."""
    programs = _programs(command)
    if not programs or not all(_CLIENT.fullmatch(program) or _HELPERS.fullmatch(program) for program in programs):
        return None
    return next((program for program in programs if _CLIENT.fullmatch(program)), programs[0])


def _programs(command: Sequence[str]) -> list[str]:
    """Return the names of the programs that a command starts, itself or by `sh -c`; empty where that cannot be told."""
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
