"""A command takes more out of its environment than the variables that are set."""

from __future__ import annotations

import os
import pwd

import pytest

from dm_compose.cli.environment import read_variables


def test_the_users_own_directory_is_known_without_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert read_variables().user_home == "/home/me"
    monkeypatch.delenv("HOME")
    assert read_variables().user_home == pwd.getpwuid(os.getuid()).pw_dir
