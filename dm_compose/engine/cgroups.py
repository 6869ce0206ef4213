"""A container's control group, as the kernel shows it on the engine's own machine (cgroups(7), v1 and v2). Needs no root."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_TOP = Path("/sys/fs/cgroup")


def cgroup_of(pid: int, container_id: str) -> Path:
    """Return the control group of a container's process. OSError when the number belongs to another process by now."""
    for controllers, path in _groups(pid, container_id):
        for top in ("", controllers, *controllers.split(",")):
            directory = _TOP / top / path
            if directory.is_dir():
                return directory
    raise ProcessLookupError(f"process {pid} is not container {container_id[:12]}")


def is_frozen(pid: int, container_id: str) -> bool | None:
    """Whether the kernel holds a container's processes still; None where that cannot be seen from here."""
    try:
        for controllers, path in _groups(pid, container_id):
            if "freezer" in controllers.split(","):
                return (_TOP / controllers / path / "freezer.state").read_text().strip() != "THAWED"
            if not controllers and (events := _TOP / path / "cgroup.events").exists():
                return "frozen 1" in events.read_text().splitlines()
    except OSError:
        pass
    return None


def _groups(pid: int, container_id: str) -> Iterator[tuple[str, str]]:
    """Yield the controllers and the path of each control group that a process is in by the name of a container."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if container_id in path:
            yield controllers, path.lstrip("/")
