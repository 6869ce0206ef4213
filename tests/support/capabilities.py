"""The capabilities of this machine, for the tests: shown in the header, and required where DM_REQUIRE says so (CI does)."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from importlib.util import find_spec

import pytest

from tests.support import engines
from tests.support.servers import registry_program

IMAGES = ("mariadb:10.11", "postgres:15", "redis:7.0", "rabbitmq:3.10", "mongo", "python", "shop")
REQUIRE_VARIABLE = "DM_REQUIRE"


def _answers(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@functools.cache
def capabilities() -> dict[str, str]:
    """Return "yes", or why not, by capability."""
    found = {"root": "yes" if os.geteuid() == 0 else "not root"}
    found["docker"] = "yes" if _answers("docker", "info") else "no Docker Engine answers"
    found["compose"] = "yes" if _answers("docker", "compose", "version") else "docker compose does not run"
    missing = [
        name for name in IMAGES if found["docker"] != "yes" or not _answers("docker", "image", "inspect", f"dm-example/{name}")
    ]
    found["images"] = "yes" if not missing else f"missing: {', '.join(missing)} (tools/images builds them)"
    found["reflink"] = "yes" if found["root"] == "yes" and shutil.which("mkfs.xfs") else "no mkfs.xfs, or not root"
    found["registry"] = "yes" if registry_program() else "no docker-registry (tools/registry fetches Debian's)"
    found["s3"] = "yes" if find_spec("moto") and find_spec("obstore") else "no moto or obstore"
    found["second-engine"] = engines.why_not() or "yes"
    return found


def missing_required() -> list[str]:
    """Return the capabilities that DM_REQUIRE (comma-separated) asks for and that are not there, with the reason."""
    required = [name for name in os.environ.get(REQUIRE_VARIABLE, "").split(",") if name]
    return [f"{name} ({capabilities().get(name, 'unknown')})" for name in required if capabilities().get(name) != "yes"]


needs_compose = pytest.mark.skipif(capabilities()["compose"] != "yes", reason=f"compose: {capabilities()['compose']}")
