"""The kernel's counters and sockets of a container's network namespace, read from /proc."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterable

from dm_compose.core.at_once import at_once
from dm_compose.core.containers import Container
from dm_compose.untouched.traffic import (
    Traffic,
    any_socket,
    closing,
    hears_datagrams,
    hears_frames,
    listened_at,
    over_loopback,
    parse_frames,
    parse_snmp6,
    traffic,
)

_MAX_LINKS = 40


def await_last_packets(pids: Iterable[int], timeout_s: float) -> dict[int, list[str]]:
    """Return when no connection is being opened or closed in these namespaces, or after `timeout_s`.

    The result has the lists of TCP connections (/proc/PID/net/tcp and tcp6) as they were read last.
    """
    deadline = time.monotonic() + timeout_s
    pids = list(pids)

    def wait(pid: int) -> list[str]:
        with contextlib.suppress(OSError):
            while True:
                texts = tcp_texts(pid)
                if not any(map(closing, texts)) or time.monotonic() >= deadline:
                    return texts
                time.sleep(0.001)
        return []

    return dict(zip(pids, at_once(wait, pids), strict=True))  # the kernel takes 2 ms for each of the two files


def heard_datagrams(pid: int, before: Traffic, now: Traffic) -> bool:
    """Whether datagrams have come, and a socket may have received them from outside."""
    if now.datagrams == before.datagrams:
        return False
    return any(map(hears_datagrams, (net_text(pid, "udp"), *_optional(pid, "udp6"))))


def listening_ports(container: Container) -> set[int]:
    """Return the TCP ports at which the container's processes listen for others. Empty if that cannot be seen from here."""
    try:
        if container.pid and is_process_of(container):
            return set().union(*map(listened_at, tcp_texts(container.pid)))
    except OSError:
        pass
    return set()


def tcp_texts(pid: int) -> list[str]:
    """Return the lists of TCP connections in a process's network namespace. OSError when the process is gone."""
    return [net_text(pid, "tcp"), *_optional(pid, "tcp6")]


def _optional(pid: int, name: str) -> list[str]:
    try:
        return [net_text(pid, name)]
    except FileNotFoundError:  # no IPv6
        return []


def net_text(pid: int, name: str) -> str:
    """Return /proc/PID/net/NAME. OSError when the process is gone."""
    with open(f"/proc/{pid}/net/{name}", "rb", buffering=0) as file:  # half the time of a text file
        return file.read().decode(errors="surrogateescape")


def is_process_of(container: Container) -> bool:
    """Whether the container's process id, looked up here, names a process of the container. On another machine it would not."""
    with open(f"/proc/{container.pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        return container.id in file.read()


def read_baseline(pid: int) -> Traffic:
    """Read a baseline, in an order by which a later comparison misses nothing that arrives between two of these reads."""
    inside6, frames = _inside6(pid), parse_frames(net_text(pid, "dev"))
    snmp, snmp6 = net_text(pid, "snmp"), _snmp6(pid)
    return traffic(snmp, snmp6, frames, over_loopback(net_text(pid, "dev")) - inside6)


def read_again(pid: int, before: Traffic) -> Traffic:
    """Read the counters to compare with a baseline, in the opposite order."""
    snmp, snmp6, frames = net_text(pid, "snmp"), _snmp6(pid), parse_frames(net_text(pid, "dev"))
    if (now := traffic(snmp, snmp6, frames, 0)).payload == before.payload:
        return now  # `outside4` is not needed then
    inside = over_loopback(net_text(pid, "dev"))
    snmp, snmp6, frames = net_text(pid, "snmp"), _snmp6(pid), parse_frames(net_text(pid, "dev"))
    return traffic(snmp, snmp6, frames, inside - _inside6(pid))


def _snmp6(pid: int) -> str | None:
    try:
        return net_text(pid, "snmp6")
    except FileNotFoundError:
        os.stat(f"/proc/{pid}/net/snmp")  # the process is there
        return None


def _inside6(pid: int) -> int:
    """Return the IPv6 packets that came over loopback."""
    try:
        return parse_snmp6(net_text(pid, "dev_snmp6/lo"))["Ip6InReceives"]
    except FileNotFoundError:  # loopback without IPv6
        os.stat(f"/proc/{pid}/net/snmp")  # the process is there
        return 0


def heard_by_raw_sockets(pid: int, before: Traffic, now: Traffic) -> bool:
    """Whether packets that no transport protocol counts have come, and a raw or packet socket may have received them."""
    icmp = (now.icmp4, now.icmp6) != (before.icmp4, before.icmp6)
    return (icmp and (any_socket(net_text(pid, "raw")) or any_socket(net_text(pid, "raw6")))) or (
        now.frames != before.frames and hears_frames(net_text(pid, "packet"))
    )


def is_socket(path: str) -> bool:
    """Whether there is a unix socket at a path of this machine."""
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except FileNotFoundError:
        return False


def resolved(pid: int, path: str) -> str | None:
    """Follow the symbolic links in a container's path to a socket. Return None for a relative path and for a circle of links."""
    if not path.startswith("/"):
        return None
    root, done, links = f"/proc/{pid}/root", "", 0
    parts = path.split("/")[::-1]
    while parts:
        part = parts.pop()
        if part in ("", "."):
            continue
        if part == "..":
            done = done.rpartition("/")[0]
            continue
        try:
            target = os.readlink(f"{root}{done}/{part}")
        except FileNotFoundError:
            return f"{done}/{part}" + "".join(f"/{p}" for p in reversed(parts))
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTDIR):  # no link
                raise
            done = f"{done}/{part}"
            continue
        links += 1
        if links > _MAX_LINKS:
            return None
        if target.startswith("/"):
            done = ""
        parts += target.split("/")[::-1]
    return done or "/"
