"""Questions to the user. They go to standard error, so that standard output has the answer of the command only."""

from __future__ import annotations

import sys

import click


def ask(question: str) -> str:
    """Return the user's answer. At the end of the input it is empty, so that a script never agrees by accident."""
    click.echo(f"{question} ", nl=False, err=True)
    try:
        answer = sys.stdin.readline() if sys.stdin is not None else ""
    except ValueError:  # the bytes that were typed are no text
        answer = ""
    if not answer.endswith("\n"):
        click.echo(err=True)
    return answer.strip()
