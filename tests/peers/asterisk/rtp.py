"""The sound of one telephone over RTP: G.711 in frames of 20 ms, and keys. Sources: RFC 3550, RFC 4733."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

FRAME_S = 0.02
FRAME_BYTES = 160
EVENT_TYPE = 101  # as offered in the call's description
EVENT_FRAMES = 8  # how long a key is held
KEYS = "0123456789*#ABCD"
SO_TIMESTAMPNS = 35  # of Linux; the socket module has no name for it


@dataclass(frozen=True, slots=True)
class Packet:
    """Sound that has arrived. `at_s` is when this machine's kernel got it, on the monotonic clock."""

    at_s: float
    sequence: int
    timestamp: int
    payload_type: int
    payload: bytes


class RtpPort:
    """The telephone's port for sound. What arrives is kept in `packets`, and keys of the far end in `keys`."""

    def __init__(self, payload_type: int, silence: bytes) -> None:
        self.packets: list[Packet] = []
        self.keys: list[str] = []
        self.late_ms: list[float] = []  # how late each frame has left, on this machine
        self._payload_type = payload_type
        self._silence = silence
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._to: tuple[str, int] | None = None
        self._sequence = random.getrandbits(15)
        self._timestamp = random.getrandbits(31)
        self._source = random.getrandbits(32)
        self._due_s: float | None = None
        self._last_event: int | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def open(self, to: tuple[str, int]) -> None:
        """Send to this address from now on, and keep what arrives."""
        self._to = to
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._closed = True
        if self._thread.is_alive():
            self._thread.join(2)
        self._socket.close()

    def play(self, frames: Sequence[bytes], seconds: float, ended: threading.Event) -> None:
        """Send frames and then silence, on a steady clock that goes on from the last call of this method."""
        for index in range(round(seconds / FRAME_S)):
            if ended.is_set():
                return
            self._wait()
            payload = frames[index] if index < len(frames) else self._silence
            self._send(payload, self._payload_type, self._timestamp, marker=False)
            self._timestamp += FRAME_BYTES

    def press(self, key: str, ended: threading.Event) -> None:
        """Hold a key for 160 ms, in which no sound is sent."""
        begun = self._timestamp
        for count in range(1, EVENT_FRAMES + 1):
            if ended.is_set():
                return
            self._wait()
            last = count == EVENT_FRAMES
            event = struct.pack("!BBH", KEYS.index(key), (0x80 if last else 0) | 10, count * FRAME_BYTES)
            for _ in range(3 if last else 1):  # the last packet is sent three times, as it may be lost
                self._send(event, EVENT_TYPE, begun, marker=count == 1)
            self._timestamp += FRAME_BYTES

    def pause(self) -> None:
        """Begin the clock anew: nothing has been sent for a while."""
        if self._due_s is not None:
            self._timestamp += max(0, round((time.monotonic() - self._due_s) / FRAME_S)) * FRAME_BYTES
        self._due_s = None

    def _wait(self) -> None:
        now_s = time.monotonic()
        due_s = now_s if self._due_s is None else self._due_s
        if now_s < due_s:
            time.sleep(due_s - now_s)
        self.late_ms.append(max(0.0, time.monotonic() - due_s) * 1000)
        self._due_s = due_s + FRAME_S

    def _send(self, payload: bytes, payload_type: int, timestamp: int, *, marker: bool) -> None:
        assert self._to is not None
        kind = payload_type | (0x80 if marker else 0)
        head = struct.pack("!BBHII", 0x80, kind, self._sequence & 0xFFFF, timestamp & 0xFFFFFFFF, self._source)
        self._sequence += 1
        self._socket.sendto(head + payload, self._to)

    def _listen(self) -> None:
        self._socket.settimeout(0.1)
        while not self._closed:
            try:
                message, stamps, _, _ = self._socket.recvmsg(2048, socket.CMSG_SPACE(16))
            except (TimeoutError, ConnectionRefusedError):  # the far end's port may have been closed
                continue
            # The port may follow that of another telephone, to which reports are sent there (RFC 5761, 4).
            if len(message) >= 12 and not 64 <= message[1] & 0x7F <= 95:
                self._take(message, _arrival_s(stamps))

    def _take(self, message: bytes, at_s: float) -> None:
        payload_type = message[1] & 0x7F
        sequence, timestamp = struct.unpack("!HI", message[2:8])
        if payload_type != EVENT_TYPE:
            self.packets.append(Packet(at_s, sequence, timestamp, payload_type, message[12:]))
        elif timestamp != self._last_event and len(message) > 12 and message[12] < len(KEYS):
            self._last_event = timestamp
            self.keys.append(KEYS[message[12]])


def _arrival_s(stamps: Sequence[tuple[int, int, bytes]]) -> float:
    """When a message arrived: a thread of a telephone may be late, above all where there are many of them."""
    for _, kind, stamp in stamps:
        if kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("@qq", stamp)
            return time.monotonic() - (time.time() - seconds - nanoseconds / 1e9)
    return time.monotonic()
