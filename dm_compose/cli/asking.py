"""Asking the user, on standard error, so that what is printed stays what was asked for."""

from __future__ import annotations

import sys

import click


def ask(question: str) -> str:
    """Return the answer; the end of the input is an empty one, so that a script is never taken to have agreed."""
    click.echo(f"{question} ", nl=False, err=True)
    try:
        answer = sys.stdin.readline() if sys.stdin is not None else ""
    except ValueError:  # what was typed is no text
        answer = ""
    if not answer.endswith("\n"):
        click.echo(err=True)
    return answer.strip()
