"""Counters of a network namespace: what they prove."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dm_compose.untouched.traffic import (
    Traffic,
    any_socket,
    closing,
    foreign_peers,
    hears_datagrams,
    hears_frames,
    listened_at,
    over_loopback,
    parse_bound,
    parse_frames,
    parse_snmp,
    peers,
    traffic,
)

SNMP = """\
Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers OutRequests
Ip: 1 64 31 0 0 0 0 0 28 26
Icmp: InMsgs InErrors InCsumErrors OutMsgs
Icmp: 3 0 0 3
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs
Tcp: 1 200 120000 -1 2 1 0 0 0 24 22
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors
Udp: 0 1 0 1 0 0 0 0 0
"""
SNMP6 = """\
Ip6InReceives                   \t17
Ip6InDelivers                   \t6
Icmp6InMsgs                     \t5
Udp6InDatagrams                 \t1
"""
DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     840      10    0    0    0     0          0         0      840      10    0    0    0     0       0          0
  eth0: 1234567890   42    0    0    0     0          0         0        0       0    0    0    0     0       0          0
  eth1:1234567890     7    0    0    0     0          0         0        0       0    0    0    0     0       0          0
"""
UNIX = """\
Num       RefCount Protocol Flags    Type St Inode Path
00000000e0fcdb93: 00000002 00000000 00010000 0001 01 166348 /var/run/postgresql/.s.PGSQL.5432
000000006a3bd1a1: 00000003 00000000 00000000 0001 03 166350
00000000b2a4ec6e: 00000002 00000000 00010000 0001 01 166351 @abstract
0000000041b6ce1b: 00000003 00000000 00000000 0001 03 166352 /var/run/postgresql/.s.PGSQL.5432
00000000e1f1e0a2: 00000002 00000000 00000000 0002 01 166353 a name/with spaces
"""
RAW = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"

BEFORE = Traffic(
    payload4=25,
    payload6=1,
    segments=24,
    datagrams=2,
    icmp4=3,
    icmp6=5,
    frames={"eth0": 42, "eth1": 7},
    outside4=21,
    accepted=1,
    opened=2,
)
OUTSIDE = "something was sent to it over the network"


def test_the_kernels_files_are_read() -> None:
    frames = parse_frames(DEV)
    assert traffic(SNMP, SNMP6, frames, over_loopback(DEV)) == BEFORE


def test_a_kernel_without_ipv6_is_read() -> None:
    found = traffic(SNMP, None, parse_frames(DEV), over_loopback(DEV))
    assert (found.payload4, found.payload6, found.icmp6) == (25, 0, 0)


def test_a_file_that_lacks_a_counter_is_no_proof() -> None:
    with pytest.raises(LookupError):
        traffic(SNMP.replace("InDelivers", "Else"), SNMP6, {}, 0)
    with pytest.raises(ValueError, match="zip"):
        parse_snmp("Ip: InDelivers\n")


def test_paths_of_sockets_are_read_without_abstract_ones() -> None:
    assert parse_bound(UNIX) == ["/var/run/postgresql/.s.PGSQL.5432", "a name/with spaces"]


def test_a_listed_raw_socket_is_found() -> None:
    assert not any_socket(RAW)
    assert any_socket(
        RAW + "    1: 00000000:0001 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 7 2 0 0\n"
    )


ETH_P_ALL = 3


@pytest.fixture
def packet_socket() -> Iterator[Callable[[int, int], socket.socket]]:
    """Return a function that opens a packet socket on the loopback interface."""
    made: list[socket.socket] = []

    def opened(kind: int, protocol: int) -> socket.socket:
        try:
            made.append(socket.socket(socket.AF_PACKET, kind, socket.htons(protocol)))
        except PermissionError:
            pytest.skip("not root with CAP_NET_RAW")
        made[-1].bind(("lo", 0))
        made[-1].settimeout(5)
        return made[-1]

    yield opened
    for found in made:
        found.close()


def listed(found: socket.socket) -> str:
    """Return the kernel's list of packet sockets, with this one only."""
    header, *lines = Path("/proc/self/net/packet").read_text().splitlines(keepends=True)
    inode = str(os.fstat(found.fileno()).st_ino)
    (line,) = [line for line in lines if line.split()[-1] == inode]
    return header + line


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_RAW])
def test_a_packet_socket_without_a_protocol_receives_nothing_and_one_for_all_of_them_does(
    packet_socket: Callable[[int, int], socket.socket], kind: int
) -> None:
    deaf, hearing = packet_socket(kind, 0), packet_socket(kind, ETH_P_ALL)
    assert not hears_frames(listed(deaf))
    assert hears_frames(listed(hearing))
    words = os.urandom(32)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(words, ("127.0.0.1", 9))
    while words not in hearing.recv(65536):
        pass
    deaf.setblocking(False)
    with pytest.raises(BlockingIOError):
        deaf.recv(65536)
    deaf.bind(("lo", ETH_P_ALL))  # from now on it hears, and the kernel's list says so
    assert hears_frames(listed(deaf))


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({}, None),
        ({"icmp4": 9, "frames": {"eth0": 50, "eth1": 7}}, None),  # pings, or ARP
        ({"icmp6": 9, "frames": {"eth0": 50, "eth1": 7}}, None),  # neighbour discovery
        ({"payload4": 30, "segments": 29}, None),  # loopback
        ({"payload6": 30, "segments": 53}, None),
        ({"payload4": 30, "segments": 29, "frames": {"eth0": 45, "eth1": 7}}, None),  # and a neighbour's start
        ({"payload4": 26, "outside4": 22, "frames": {"eth0": 43, "eth1": 7}}, OUTSIDE),
        ({"payload6": 2, "frames": {"eth0": 43, "eth1": 7}}, OUTSIDE),
        ({"payload4": 30, "outside4": 22, "frames": {"eth0": 46, "eth1": 7}}, OUTSIDE),  # loopback, and a packet beside it
        ({"payload4": 30, "payload6": 2, "frames": {"eth0": 45, "eth1": 7}}, OUTSIDE),
        ({"payload4": 30, "icmp6": 6, "frames": {"eth0": 45, "eth1": 7}}, OUTSIDE),  # unclear
        ({"segments": 25, "outside4": 22, "frames": {"eth0": 43, "eth1": 7}}, OUTSIDE),  # hidden in the sum by a late ping
        ({"datagrams": 3, "outside4": 22, "frames": {"eth0": 42, "eth1": 8}}, OUTSIDE),
        ({"payload4": 24}, "its network counters went backwards"),
        ({"frames": {"eth0": 42, "eth1": 6}}, "its network counters went backwards"),
        ({"frames": {"eth0": 42}}, "its network interfaces have changed"),
        ({"frames": {"eth0": 42, "eth1": 7, "eth2": 0}}, "its network interfaces have changed"),
    ],
)
def test_only_payload_from_outside_is_a_touch(change: dict[str, object], cause: str | None) -> None:
    assert replace(BEFORE, **change).touch_since(BEFORE) == cause  # type: ignore[arg-type]


@pytest.mark.parametrize(("state", "more_to_come"), [("01", False), ("06", False), ("0A", False), ("08", True), ("03", True)])
def test_a_connection_that_is_being_closed_is_found(state: str, more_to_come: bool) -> None:
    header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    entry = (
        f"   1: 020012AC:1538 010012AC:D2F4 {state} 00000000:00000000 00:00000000 00000000     0        0 0 1 0000 20 0 0 10 -1\n"
    )
    assert closing(header + entry) == more_to_come
    assert not closing(header)


@pytest.mark.parametrize(
    ("accepted", "opened", "ours", "expected"),
    [(0, 0, 0, False), (1, 0, 1, False), (1, 0, 0, True), (3, 2, 1, False), (4, 2, 1, True), (0, 1, 0, False)],
)
def test_who_connected_since_is_reckoned(accepted: int, opened: int, ours: int, expected: bool) -> None:
    now = replace(BEFORE, accepted=BEFORE.accepted + accepted, opened=BEFORE.opened + opened)
    assert now.accepted_since(BEFORE, ours) is expected


TCP = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LISTENS = "   0: 00000000:18EB 00000000:0000 0A 0 0 0 0 0 1 1 0 100 0 0 10 0\n"
LISTENS6 = "   0: 00000000000000000000000000000000:18EB 00000000000000000000000000000000:0000 0A 0 0 0 0 0 1 1 0 100 0 0 10 0\n"
MAPPED, ONE = "0000000000000000FFFF0000", "00000000000000000000000001000000"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1: 020012AC:18EB 030012AC:D2F4 01", True),
        ("1: 020012AC:18EB 030012AC:D2F4 06", False),
        ("1: 020012AC:D2F4 030012AC:1538 01", False),  # it has opened that one itself
        ("1: 020012AC:18EB 020012AC:D2F4 01", False),
        ("1: 0100007F:18EB 0100007F:D2F4 01", False),
        (f"1: {MAPPED}020012AC:18EB {MAPPED}030012AC:D2F4 01", True),
        (f"1: {MAPPED}0100007F:18EB {MAPPED}0100007F:D2F4 01", False),
        (f"1: {ONE}:18EB {ONE}:D2F4 01", False),
    ],
)
def test_a_connection_from_outside_is_found(line: str, expected: bool) -> None:
    for listens in (LISTENS, LISTENS6):
        assert bool(foreign_peers(f"{TCP}{listens}  {line} 0 0 0 0 0 2 1 0 20 4 30 10 -1\n")) is expected
    assert not foreign_peers(f"{TCP}  {line} 0 0 0 0 0 2 1 0 20 4 30 10 -1\n"), "nobody listens at its port"


def test_addresses_are_told_as_people_write_them() -> None:
    mapped, six = "0000000000000000FFFF0000040012AC", "B80D0120000000000000000001000000"
    rows = "".join(
        f"  1: 020012AC:18EB {place} 01 0 0 0 0 0 2 1 0\n" for place in ("030012AC:D2F4", f"{mapped}:D2F4", f"{six}:D2F4")
    )
    expected = {"172.18.0.3", "172.18.0.4", "2001:db8::1"}
    assert foreign_peers(f"{TCP}{LISTENS}{rows}") == expected
    assert peers(f"{TCP}{LISTENS}{rows}  1: 020012AC:9C40 050012AC:1538 06 0\n") == {*expected, "172.18.0.5"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1: 00000000:14E9 00000000:0000 07", True),
        ("1: 020012AC:14E9 00000000:0000 07", True),
        ("1: 0B00007F:9C40 00000000:0000 07", False),  # Docker's own name server
        ("1: 020012AC:9C40 0A00000A:0035 01", False),  # a question that waits for its answer
        (f"1: {ONE}:14E9 {'0' * 32}:0000 07", False),
        (f"1: {'0' * 32}:14E9 {'0' * 32}:0000 07", True),
    ],
)
def test_a_socket_for_datagrams_from_anybody_is_found(line: str, expected: bool) -> None:
    assert hears_datagrams(f"{TCP}  {line} 0 0 0 0 0 2 1 0\n") is expected
    assert not hears_datagrams(TCP)


def test_ports_at_which_others_can_reach_a_program_are_found() -> None:
    header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    rows = ["00000000:1538 00000000:0000 0A", "0100007F:18EB 00000000:0000 0A", "0B00007F:9F2D 00000000:0000 0A"]
    rows += ["020012AC:0050 010012AC:D2F4 01", "00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A"]
    assert listened_at(header + "".join(f"   {n}: {row} 00000000:00000000\n" for n, row in enumerate(rows))) == {5432, 8080}
