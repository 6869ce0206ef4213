"""The capabilities of this machine, for the tests: shown in the header, and required where DM_REQUIRE says so (CI does)."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

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


def why_no_watch(directory: Path) -> str | None:
    """Return why nobody here can watch the file system of a directory, None if it can be done. This asks no code of ours."""
    if os.geteuid() != 0 or not int(re.findall(r"CapEff:\s*(\w+)", Path("/proc/self/status").read_text())[0], 16) >> 21 & 1:
        return "not root with CAP_SYS_ADMIN"
    if os.stat("/proc/self/ns/pid").st_ino != 0xEFFFFFFC:
        return "not in the first PID namespace"
    if tuple(map(int, os.uname().release.split(".")[:2])) < (5, 14):
        return "the kernel is older than 5.14"
    found = subprocess.run(["stat", "-f", "-c", "%T", directory], capture_output=True, text=True, timeout=30, check=True).stdout
    return None if found.strip() in ("ext2/ext3", "xfs") else f"{found.strip()} is neither ext4 nor xfs"


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
    with tempfile.TemporaryDirectory() as directory:
        found["watch"] = why_no_watch(Path(directory)) or "yes"
    return found


def missing_required() -> list[str]:
    """Return the capabilities that DM_REQUIRE (comma-separated) asks for and that are not there, with the reason."""
    required = [name for name in os.environ.get(REQUIRE_VARIABLE, "").split(",") if name]
    return [f"{name} ({capabilities().get(name, 'unknown')})" for name in required if capabilities().get(name) != "yes"]


needs_compose = pytest.mark.skipif(capabilities()["compose"] != "yes", reason=f"compose: {capabilities()['compose']}")
