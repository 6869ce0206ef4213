"""A settled form stays with its commit, in the store and through gc."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dm_compose.core.names import MAIN_WORKTREE, CommitId
from dm_compose.errors import NotFoundError
from tests.unit.test_store import DOT, Bench, where
