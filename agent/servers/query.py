"""Asking a game who plays. The libraries are imported when the first server needs them: most agents never do."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from shared.messaging.server_messages import Players

SECONDS: Final = 3.0
MAX_NAMES: Final = 64


class NoAnswer(Exception):
    """The game does not answer its query protocol."""


async def query(protocol: str, port: int, host: str = "127.0.0.1") -> Players:
    """Ask once.

    Raises:
        NoAnswer: nothing came within 3 s, or nothing that could be read.
    """
    try:
        async with asyncio.timeout(SECONDS):
            return await _PROTOCOLS[protocol](host, port)
    except Exception as error:  # noqa: BLE001  # what a game, or a library reading it, may raise is not bounded
        raise NoAnswer(f"{protocol} query on port {port}: {str(error) or type(error).__name__}") from None


async def _minecraft(host: str, port: int) -> Players:
    from mcstatus import JavaServer

    status = await JavaServer(host, port, timeout=SECONDS).async_status()
    names = tuple(player.name[:64] for player in (status.players.sample or [])[:MAX_NAMES])
    return Players(status.players.online, status.players.max, names, status.version.name[:64])


async def _source(host: str, port: int) -> Players:
    import a2s  # type: ignore[import-untyped]  # carries no types

    info = await a2s.ainfo((host, port), timeout=SECONDS)
    players = await a2s.aplayers((host, port), timeout=SECONDS) if info.player_count else []
    names = tuple(player.name[:64] for player in players[:MAX_NAMES] if player.name)
    return Players(info.player_count, info.max_players, names, str(info.version)[:64], str(info.map_name)[:64])


class _Datagrams(asyncio.DatagramProtocol):
    """Datagrams into a queue."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue(16)

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002
        if not self.received.full():
            self.received.put_nowait(data)


async def _teeworlds(host: str, port: int) -> Players:
    """Teeworlds 0.7: a token first, then the server's information (teeworlds/src/engine/shared/network.h).

    A control packet asks for a token: flags and acknowledge 4 0 0, the peer's token (none yet), message 5 and our own.
    Its answer carries theirs. Connectionless packets have flags 0x21, both tokens, and then `gie3`.
    """
    loop = asyncio.get_running_loop()
    transport, datagrams = await loop.create_datagram_endpoint(_Datagrams, remote_addr=(host, port))
    try:
        ours = secrets.token_bytes(4)
        transport.sendto(b"\x04\x00\x00" + b"\xff" * 4 + b"\x05" + ours + b"\x00" * 512)
        while True:
            reply = await datagrams.received.get()
            if reply[:1] == b"\x04" and reply[3:7] == ours and reply[7:8] == b"\x05":
                theirs = reply[8:12]
                break
        transport.sendto(b"\x21" + theirs + ours + b"\xff\xff\xff\xffgie3" + b"\x00")
        while True:
            reply = await datagrams.received.get()
            if reply[9:17] == b"\xff\xff\xff\xffinf3":
                return _teeworlds_info(reply[17:])
    finally:
        transport.close()


def _teeworlds_info(data: bytes) -> Players:
    reader = _Unpacker(data)
    reader.number()  # our token, repeated
    version, _name, _host, map_name, _mode = (reader.text() for _ in range(5))
    reader.number(), reader.number()  # flags, skill level
    playing, _most_playing, clients, most = (reader.number() for _ in range(4))
    names = []
    for _ in range(min(max(clients, playing), MAX_NAMES)):
        name = reader.text()
        reader.text()
        reader.number(), reader.number(), reader.number()
        names.append(name[:64])
    return Players(clients, most, tuple(names), version[:64], map_name[:64])


class _Unpacker:
    """Teeworlds' packing: numbers of 6 bits, then 7 a byte with a continuation bit; texts end with a zero byte."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self) -> int:
        first = self._data[self._at]
        self._at += 1
        value, shift, more = first & 0x3F, 6, first & 0x80
        while more:
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            shift, more = shift + 7, byte & 0x80
        return ~value if first & 0x40 else value

    def text(self) -> str:
        end = self._data.index(b"\0", self._at)
        found = self._data[self._at : end].decode("utf-8", "replace")
        self._at = end + 1
        return found


_PROTOCOLS: Final[dict[str, Callable[[str, int], Awaitable[Players]]]] = {
    "minecraft": _minecraft,
    "source": _source,
    "teeworlds": _teeworlds,
}
