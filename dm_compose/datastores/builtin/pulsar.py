"""Apache Pulsar. It acknowledges a message when the message is in BookKeeper's journal.

It writes the positions of subscriptions once a second. So a restored stack may see the last messages again, as after any crash.
"""

from __future__ import annotations

import struct

from dm_compose.datastores.base import Datastore
from dm_compose.datastores.protocols import exchange
from dm_compose.hookspecs import hookimpl

_CLIENT = b"dm-compose"
_CONNECT = b"\x0a" + bytes([len(_CLIENT)]) + _CLIENT + b"\x20\x06"  # client_version, protocol_version
_COMMAND = b"\x08\x02\x12" + bytes([len(_CONNECT)]) + _CONNECT  # type CONNECT, and its fields
_CONNECTED, _ERROR = b"\x08\x03", b"\x08\x0e"
_WANTS_LOGIN = (b"\x10\x03", b"\x10\x04")  # error AuthenticationError, AuthorizationError


def ready(host: str, port: int, timeout_s: float) -> bool:
    """Ask in the binary protocol (PulsarApi.proto): a broker answers CONNECT with CONNECTED, or refuses for want of a login."""
    request = struct.pack("!ii", len(_COMMAND) + 4, len(_COMMAND)) + _COMMAND
    answer = exchange(host, port, timeout_s, request, at_least=10)
    refused = answer[8:10] == _ERROR and any(code in answer for code in _WANTS_LOGIN)
    return answer[8:10] == _CONNECTED or refused


DATASTORE = Datastore(
    name="pulsar",
    images=("pulsar", "pulsar-all", "apachepulsar/pulsar", "apachepulsar/pulsar-all"),
    data=("/pulsar/data",),
    port=6650,
    ready=ready,
    not_data={"/pulsar/conf": "configuration"},
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
