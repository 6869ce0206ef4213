"""Traffic of a network namespace, from the kernel's counters: whether a process has received anything from outside. Pure.

Counters as in RFC 4293 and Linux' Documentation/networking/snmp_counter.rst.
"""

from __future__ import annotations

import functools
import ipaddress
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

_LOOPBACK = "lo"
_ESTABLISHED, _TIME_WAIT, _LISTEN = "01", "06", "0A"  # include/net/tcp_states.h
_STEADY = (_ESTABLISHED, _TIME_WAIT, _LISTEN)
_LOOPBACK6 = "00000000000000000000000001000000"  # ::1
_MAPPED = "0000000000000000FFFF0000"  # before an IPv4 address: ::ffff:a.b.c.d
_DATAGRAMS = ("InDatagrams", "NoPorts", "InErrors")


@dataclass(frozen=True)
class Traffic:
    """The receive counters of one namespace at one moment.

    `payload4` and `payload6` count the packets that IPv4 and IPv6 handed to a transport protocol other than ICMP. `segments`
    counts those of TCP and `datagrams` those of UDP, over either. Loopback is in all of these. `icmp4` and `icmp6` count ICMP
    messages, which include neighbour discovery and MLD. `frames` counts the packets that each interface but loopback has
    received, and `outside4` those of IPv4 that have not come over loopback. `accepted` counts the TCP connections that were
    opened to its processes, and `opened` those that they have opened. A connection within the namespace is in both.
    """

    payload4: int = 0
    payload6: int = 0
    segments: int = 0
    datagrams: int = 0
    icmp4: int = 0
    icmp6: int = 0
    frames: Mapping[str, int] = field(default_factory=dict)
    outside4: int = 0
    accepted: int = 0
    opened: int = 0

    @property
    def payload(self) -> tuple[int, ...]:
        """The counters of packets that were handed to processes."""
        return self.payload4, self.payload6, self.segments, self.datagrams

    def touch_since(self, before: Traffic) -> str | None:
        """Say why a process may have received something from outside. None means that none has.

        The answer is sound only if the loopback interface was read last for `before.outside4`, and first for `outside4`: what
        comes over it meanwhile then looks like a packet from outside.
        """
        if self.frames.keys() != before.frames.keys():
            return "its network interfaces have changed"
        if any(now < then for now, then in zip(self._counters, before._counters, strict=True)):
            return "its network counters went backwards"
        if self.payload == before.payload:
            return None
        if self.frames == before.frames:
            return None  # loopback only
        # All that processes have received was IPv4, and all IPv4 was loopback. So only ARP came from outside, and IPv6 that
        # nobody took. A container that starts on the same network sends both.
        if (self.payload6, self.icmp6, self.outside4) == (before.payload6, before.icmp6, before.outside4):
            return None
        return "something was sent to it over the network"

    def accepted_since(self, before: Traffic, ours: int) -> bool:
        """Whether somebody outside may have opened a TCP connection since, beside `ours`, the number of those that we have.

        A connection that the container itself has opened to somewhere else hides one, unless that is still open: see
        `foreign_peers`.
        """
        return self.accepted - before.accepted > ours + self.opened - before.opened

    @property
    def _counters(self) -> tuple[int, ...]:
        return *self.payload, self.icmp4, self.icmp6, *(self.frames[name] for name in sorted(self.frames))


@functools.lru_cache(maxsize=64)  # the files of idle containers do not change
def parse_snmp(text: str) -> Mapping[str, int]:
    """Read /proc/PID/net/snmp into `{"Ip.InDelivers": 12, ...}`."""
    found = {}
    lines = iter(text.splitlines())
    for names, values in zip(lines, lines, strict=True):
        group, _, names = names.partition(":")
        found.update({f"{group}.{n}": int(v) for n, v in zip(names.split(), values.partition(":")[2].split(), strict=True)})
    return found


@functools.lru_cache(maxsize=64)
def parse_snmp6(text: str) -> Mapping[str, int]:
    """Read /proc/PID/net/snmp6, or /proc/PID/net/dev_snmp6/INTERFACE, into `{"Ip6InDelivers": 12, ...}`."""
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}


def parse_frames(text: str) -> dict[str, int]:
    """Read /proc/PID/net/dev into the packets received by each interface but loopback."""
    return {name: count for name, count in _received(text).items() if name != _LOOPBACK}


def over_loopback(text: str) -> int:
    """Read from /proc/PID/net/dev the packets that came over loopback."""
    return _received(text)[_LOOPBACK]


def _received(text: str) -> dict[str, int]:
    rows = (line.partition(":")[::2] for line in text.splitlines()[2:])
    return {name.strip(): int(numbers.split()[1]) for name, numbers in rows}


def parse_bound(text: str) -> list[str]:
    """Read /proc/PID/net/unix into the paths that sockets of the namespace are bound to.

    They are as they were given to bind(). Abstract ones are left out.
    """
    rows = (line.split(maxsplit=7) for line in text.splitlines()[1:])
    return sorted({row[7] for row in rows if len(row) == 8 and not row[7].startswith("@")})


def closing(text: str) -> bool:
    """Whether /proc/PID/net/tcp or tcp6 lists a connection that is being opened or closed, so that packets are still to come."""
    return any(line.split()[3] not in _STEADY for line in text.splitlines()[1:])


def foreign_peers(text: str) -> set[str]:
    """Return the addresses from which connections are open that came from outside to a port which is listened at.

    `text` is that of /proc/PID/net/tcp or tcp6.
    """
    rows = [line.split()[1:4] for line in text.splitlines()[1:]]
    listening = {local.rpartition(":")[2] for local, _, state in rows if state == _LISTEN}
    return {
        _address(remote)
        for local, remote, state in rows
        if state == _ESTABLISHED and local.rpartition(":")[2] in listening and not _is_own(remote, local)
    }


def peers(text: str) -> set[str]:
    """Return the addresses to or from which /proc/PID/net/tcp or tcp6 lists connections, also ones that were closed just now."""
    rows = [line.split()[2:4] for line in text.splitlines()[1:]]
    return {_address(remote) for remote, state in rows if state != _LISTEN}


def _address(place: str) -> str:
    """Return the address of a place as people write it. The kernel writes words in the machine's byte order."""
    digits = place.rpartition(":")[0].removeprefix(_MAPPED)
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    return str(ipaddress.ip_address(struct.pack(f"={len(words)}I", *words)))


def listened_at(text: str) -> set[int]:
    """Return the TCP ports at which /proc/PID/net/tcp or tcp6 lists a listener for others than the container itself."""
    rows = [line.split()[1:4] for line in text.splitlines()[1:]]
    places = [local.rpartition(":")[::2] for local, _, state in rows if state == _LISTEN]
    return {int(port, 16) for address, port in places if not _is_loopback(address)}


def hears_datagrams(text: str) -> bool:
    """Whether /proc/PID/net/udp or udp6 lists a socket at which datagrams from outside can arrive from anybody."""
    rows = [line.split()[1:3] for line in text.splitlines()[1:]]
    return any(not int(remote.rpartition(":")[2], 16) and not _is_loopback(local.rpartition(":")[0]) for local, remote in rows)


def _is_own(remote: str, local: str) -> bool:
    address = remote.rpartition(":")[0]
    return address == local.rpartition(":")[0] or _is_loopback(address)


def _is_loopback(address: str) -> bool:
    four = len(address) == 8 or _MAPPED in address
    return address.endswith("7F") if four else address == _LOOPBACK6  # words are in the machine's byte order


def any_socket(text: str) -> bool:
    """Whether /proc/PID/net/raw or raw6 lists a socket."""
    return len(text.splitlines()) > 1


def hears_frames(text: str) -> bool:
    """Whether /proc/PID/net/packet lists a socket that frames may be handed to.

    The kernel hands none to a socket with protocol 0, which can only send (packet(7)). The engine has such a socket in each
    container's namespace for the first two seconds, to announce the container's address (from Engine 28 on).
    """
    return any(int(line.split()[3], 16) for line in text.splitlines()[1:])


def traffic(snmp: str, snmp6: str | None, frames: Mapping[str, int], inside4: int) -> Traffic:
    """Make Traffic of the texts of snmp and snmp6, of the frames, and of the IPv4 packets that came over loopback.

    `snmp6` is None where the kernel has no IPv6.
    """
    four = parse_snmp(snmp)
    six = parse_snmp6(snmp6) if snmp6 is not None else dict.fromkeys(("Ip6InDelivers", "Icmp6InMsgs"), 0)
    return Traffic(
        payload4=four["Ip.InDelivers"] - four["Icmp.InMsgs"],
        payload6=six["Ip6InDelivers"] - six["Icmp6InMsgs"],
        segments=four["Tcp.InSegs"],
        datagrams=sum(four.get(f"{group}.{name}", 0) for group in ("Udp", "UdpLite") for name in _DATAGRAMS)
        + sum(six.get(f"{group}{name}", 0) for group in ("Udp6", "UdpLite6") for name in _DATAGRAMS),
        icmp4=four["Icmp.InMsgs"],
        icmp6=six["Icmp6InMsgs"],
        frames=dict(frames),
        outside4=four["Ip.InReceives"] - inside4,
        accepted=four["Tcp.PassiveOpens"],
        opened=four["Tcp.ActiveOpens"],
    )
