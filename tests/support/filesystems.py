"""File systems made for a test run: one that clones, ones that fill up, ones with coarse time stamps.

Every mount lives in a directory of its own below BASE, beside a file that names its owner: a run that was killed cannot clean
up, so the next one sweeps what dead owners left. Needs root; without it, or without the tools, `why_not` gives the reason for
a visible skip.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BASE = Path(tempfile.gettempdir()) / "dm-compose-test-mounts"
REFLINK_MB = 512  # mkfs.xfs wants 300; sparse, so a run uses some ten of it
_TIMEOUT_S = 60


class Unavailable(Exception):
    """This machine cannot have the file system; the message is for `pytest.skip`."""


@dataclass(frozen=True)
class Mount:
    """A mounted file system: `path` is its root directory, `home` what is removed with it."""

    kind: str
    home: Path
    path: Path
    image: Path | None

    def remove(self) -> None:
        """Unmount, and delete the image."""
        _remove(self.home)

    def power_cut(self) -> Mount:
        """Return what the disk would hold if the power failed now: the image without what is only in memory, mounted anew."""
        assert self.image is not None
        return _mount_image(self.kind, lambda image: shutil.copyfile(self.image or "", image))


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except FileNotFoundError:
        raise Unavailable(f"{command[0]} missing") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise Unavailable(f"{command[0]} failed: {said[-1] if said else done.returncode}")


def _tool(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _start_of(pid: int) -> str | None:
    """Return when a process began, in ticks since boot, so that a number used again is not taken for its first owner."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def _new_home() -> Path:
    BASE.mkdir(mode=0o755, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=BASE))
    home.chmod(0o755)
    (home / "owner").write_text(f"{os.getpid()} {_start_of(os.getpid())}")
    (home / "mount").mkdir()
    return home


def _remove(home: Path) -> None:
    path = home / "mount"
    if os.path.ismount(path):
        with contextlib.suppress(Unavailable):
            _run("umount", str(path))
    if os.path.ismount(path):  # a process of the test still has a file open there
        with contextlib.suppress(Unavailable):
            _run("umount", "--lazy", str(path))
    if not os.path.ismount(path):
        shutil.rmtree(home, ignore_errors=True)


def sweep() -> list[str]:
    """Remove what killed runs left; return the names of what was removed. Mounts whose owner lives are not touched."""
    swept = []
    for home in sorted(BASE.glob("*-*")) if BASE.is_dir() else []:
        try:
            pid, start = (home / "owner").read_text().split()
        except (OSError, ValueError):
            pid, start = home.name.partition("-")[0], ""
            if not pid.isdigit() or _start_of(int(pid)) is not None:  # it is being made just now
                continue
        if _start_of(int(pid)) != start:
            _remove(home)
            swept.append(home.name)
    return swept


def _mount(kind: str, home: Path, *arguments: str) -> None:
    try:
        _run("mount", *arguments, str(home / "mount"))
    except Unavailable:
        _remove(home)
        raise
    (home / "mount").chmod(0o755)


def _mount_image(kind: str, fill: object) -> Mount:
    home = _new_home()
    image = home / "image"
    try:
        fill(image)  # type: ignore[operator]
    except Unavailable:
        _remove(home)
        raise
    _mount(kind, home, "-t", kind, "-o", "loop,nouuid" if kind == "xfs" else "loop", str(image))
    return Mount(kind, home, home / "mount", image)


def make_image(kind: str, megabytes: int, *options: str) -> Mount:
    """Make and mount a file system of `kind` (ext4, xfs, btrfs) in a sparse image."""

    def fill(image: Path) -> None:
        with open(image, "wb") as file:
            file.truncate(megabytes << 20)
        command = _tool(f"mkfs.{kind}")
        if command is None:
            raise Unavailable(f"mkfs.{kind} missing")
        _run(command, "-q", *options, str(image))

    if os.geteuid() != 0:
        raise Unavailable("only root can mount")
    return _mount_image(kind, fill)


def make_memory(kind: str, *options: str) -> Mount:
    """Mount a file system that lives in memory: tmpfs (with a size) or ramfs (without, and with time stamps of whole ticks)."""
    if os.geteuid() != 0:
        raise Unavailable("only root can mount")
    home = _new_home()
    _mount(kind, home, "-t", kind, *(("-o", ",".join(options)) if options else ()), "none")
    return Mount(kind, home, home / "mount", None)


def make_reflink() -> Mount:
    """Make a file system that clones files: xfs, or btrfs where there is no mkfs.xfs."""
    try:
        return make_image("xfs", REFLINK_MB, "-m", "reflink=1,crc=1")
    except Unavailable as first:
        if _tool("mkfs.btrfs") is None:
            raise Unavailable(f"no reflink file system: {first}") from None
    try:
        return make_image("btrfs", 160)
    except Unavailable as second:
        raise Unavailable(f"no reflink file system: {second}") from None


def make_small(kind: str, megabytes: int = 12) -> Mount:
    """Make a file system that a test can fill: ext4 or tmpfs."""
    if kind == "tmpfs":
        return make_memory("tmpfs", f"size={megabytes}m")
    return make_image("ext4", megabytes, "-m", "0", "-O", "^resize_inode")


def make_whole_seconds() -> Mount:
    """Make an ext4 with inodes of 128 bytes: its time stamps are whole seconds, as on volumes that began as ext3."""
    return make_image("ext4", 24, "-I", "128", "-O", "^metadata_csum,^resize_inode")


@contextlib.contextmanager
def mounted(mount: Mount) -> Iterator[Mount]:
    """Remove a mount at the end of the block."""
    try:
        yield mount
    finally:
        mount.remove()


def leave_free(directory: Path, free_bytes: int) -> Path:
    """Fill the file system of `directory` until about `free_bytes` are left; return the file to delete for more space."""
    ballast = directory / "ballast"
    with open(ballast, "ab") as file:
        while True:
            state = os.statvfs(directory)
            spare = state.f_bavail * state.f_frsize - free_bytes
            if spare < state.f_frsize:
                break
            size = os.fstat(file.fileno()).st_size
            try:
                os.posix_fallocate(file.fileno(), size, max(spare // 2, state.f_frsize))
            except OSError:
                break
    return ballast


@functools.cache
def _why_no_mounts() -> str | None:
    if os.geteuid() != 0:
        return "only root can mount"
    try:
        make_memory("tmpfs", "size=1m").remove()
    except Unavailable as error:
        return str(error)
    return None


def why_not(name: str) -> str | None:
    """Return why this machine cannot have "reflink", "loop" or "memory" mounts, as far as can be told without making one."""
    if (reason := _why_no_mounts()) is not None:
        return f"no reflink file system: {reason}" if name == "reflink" else reason
    if name == "memory":
        return None
    tools = ("mkfs.xfs", "mkfs.btrfs") if name == "reflink" else ("mkfs.ext4",)
    if not any(_tool(tool) for tool in tools):
        return f"no reflink file system: {tools[0]} missing" if name == "reflink" else f"{tools[0]} missing"
    if not os.path.exists("/dev/loop-control"):
        reason = "no loop devices"
        return f"no reflink file system: {reason}" if name == "reflink" else reason
    return None


def capabilities() -> dict[str, str]:
    """Return what this machine lets the tests do: name to "yes" or the reason why not. For the header of a test run."""
    return {
        "reflink file system": why_not("reflink") or "yes",
        "loop-mounted file systems": why_not("loop") or "yes",
        "memory file systems": why_not("memory") or "yes",
    }
