"""The options that several verbs have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from dm_compose.cli.environment import read_variables
from dm_compose.cli.progress import be_quiet
from dm_compose.errors import UsageError


def _default_timeout_s() -> float:
    return read_variables().timeout_s


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that are about output: `--json`, and `--quiet`, which every narrator of progress obeys."""
    quiet = click.option(
        "-q", "--quiet", is_flag=True, expose_value=False, callback=_quiet, help="Tell no progress, only warnings and the result."
    )
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(quiet(function))


def _quiet(ctx: click.Context, _: click.Parameter, chosen: bool) -> None:
    if chosen:
        be_quiet(ctx)


hard_option = click.option("--hard", is_flag=True, help="Go on in spite of uncommitted changes; they are kept for `undo`.")
privileged_option = click.option(
    "--privileged", is_flag=True, help="Accept set-id programs and the like from a remote in a directory of the host."
)
timeout_option = click.option(
    "--timeout",
    type=float,
    default=_default_timeout_s,
    show_default="DM_TIMEOUT, or 120",
    help="Seconds to wait for each datastore to answer.",
)
unready_option = click.option(
    "--unready", is_flag=True, help="Commit at once, also if a datastore does not answer yet; the commit notes that."
)


def _not_empty(_: click.Context, __: click.Parameter, message: str) -> str:
    if not message.strip():
        raise UsageError("please provide a commit message", hint='For example: commit -m "seed"')
    return message


message_option = click.option("-m", "--message", required=True, callback=_not_empty, help="A description of this state.")
