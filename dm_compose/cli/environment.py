"""The environment of a command."""

from __future__ import annotations

import os

from dm_compose.core.variables import Variables


def read_variables() -> Variables:
    """Return what the environment says now. Without HOME, the user's own directory is the one in the system's list of users."""
    return Variables.of({"HOME": os.path.expanduser("~"), **os.environ})
