"""The signalling of one SIP call over UDP: INVITE, ACK, BYE, and answers to the exchange. Source: RFC 3261."""

from __future__ import annotations

import random
import re
import socket
import threading
import time

ANSWERED_S = 8.0
_ECHOED = re.compile(r"(?i)(via|from|to|call-id|cseq):")


class NotAnswered(Exception):
    """The call was refused; `status` is the answer, 0 where none came."""

    def __init__(self, status: int) -> None:
        super().__init__(f"SIP {status}" if status else "no answer")
        self.status = status


class SipCall:
    """One call from loopback to an exchange on loopback. `ended` is set by whoever hangs up first."""

    def __init__(self, port: int, caller: str) -> None:
        self._exchange = ("127.0.0.1", port)
        self._caller = caller
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._host, self._port = self._socket.getsockname()
        self._tag = f"{random.getrandbits(32):08x}"
        self._id = f"{random.getrandbits(64):016x}@patchbay"
        self._to = ""
        self._contact = ""
        self._number = 1  # of the request, in CSeq
        self._thread: threading.Thread | None = None
        self.ended = threading.Event()
        self.ended_at_s: float | None = None  # of the monotonic clock
        self.ended_by_exchange = False

    def dial(self, extension: str, media_port: int, payload_type: int) -> tuple[str, int]:
        """Call, and return where the exchange wants the sound. Raises NotAnswered.

        `payload_type` is 0 for mu-law and 8 for A-law.
        """
        uri = f"sip:{extension}@{self._exchange[0]}:{self._exchange[1]}"
        self._to = f"<{uri}>"
        offer = _offer(self._host, media_port, payload_type)
        branch = f"{random.getrandbits(32):08x}"
        self._send(self._head("INVITE", uri, branch), offer)
        status, answer = self._final_answer()
        if status:
            self._to = _header(answer, "to") or self._to
            contact = re.search(r"<([^>]+)>", _header(answer, "contact"))
            self._contact = contact[1] if contact else uri
            self._send(self._head("ACK", self._contact, f"{branch}a"))
        if status != 200:
            self.ended.set()
            raise NotAnswered(status)
        host, port = re.search(r"(?m)^c=IN IP4 (\S+)", answer), re.search(r"(?m)^m=audio (\d+)", answer)
        assert host is not None
        assert port is not None
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return host[1], int(port[1])

    def hang_up(self) -> None:
        """End the call, if it has not ended, and close the socket."""
        if not self.ended.is_set():
            self._number += 1
            self._send(self._head("BYE", self._contact, f"{random.getrandbits(32):08x}"))
            self._end(by_exchange=False)
        if self._thread is not None:
            self._thread.join(2)
        self._socket.close()

    def _final_answer(self) -> tuple[int, str]:
        self._socket.settimeout(0.5)
        until = time.monotonic() + ANSWERED_S
        while time.monotonic() < until:
            try:
                answer = self._socket.recv(8192).decode("utf-8", "replace")
            except TimeoutError:
                continue
            if answer.startswith("SIP/2.0 ") and int(answer.split(" ", 2)[1]) >= 200:
                return int(answer.split(" ", 2)[1]), answer
        return 0, ""

    def _listen(self) -> None:
        self._socket.settimeout(0.1)
        while not self.ended.is_set():
            try:
                message = self._socket.recv(8192).decode("utf-8", "replace")
            except TimeoutError:
                continue
            if not message.startswith("SIP/2.0"):
                kept = [line for line in message.split("\r\n") if _ECHOED.match(line)]
                self._send("SIP/2.0 200 OK\r\n" + "\r\n".join(kept) + "\r\n")
            if message.startswith("BYE "):
                self._end(by_exchange=True)

    def _end(self, *, by_exchange: bool) -> None:
        self.ended_by_exchange, self.ended_at_s = by_exchange, time.monotonic()
        self.ended.set()

    def _head(self, method: str, uri: str, branch: str) -> str:
        return (
            f"{method} {uri} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {self._host}:{self._port};branch=z9hG4bK{branch};rport\r\n"
            "Max-Forwards: 70\r\n"
            f"From: <sip:{self._caller}@{self._host}>;tag={self._tag}\r\n"
            f"To: {self._to}\r\n"
            f"Call-ID: {self._id}\r\n"
            f"CSeq: {self._number} {method}\r\n"
            f"Contact: <sip:{self._caller}@{self._host}:{self._port}>\r\n"
        )

    def _send(self, head: str, body: str = "") -> None:
        kind = "Content-Type: application/sdp\r\n" if body else ""
        message = f"{head}{kind}Content-Length: {len(body)}\r\n\r\n{body}"
        self._socket.sendto(message.encode(), self._exchange)


def _offer(host: str, port: int, payload_type: int) -> str:
    name = "PCMU" if payload_type == 0 else "PCMA"
    lines = (
        "v=0",
        f"o=- 1 1 IN IP4 {host}",
        "s=-",
        f"c=IN IP4 {host}",
        "t=0 0",
        f"m=audio {port} RTP/AVP {payload_type} 101",
        f"a=rtpmap:{payload_type} {name}/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=ptime:20",
        "a=sendrecv",
    )
    return "".join(f"{line}\r\n" for line in lines)


def _header(message: str, name: str) -> str:
    found = re.search(rf"(?im)^{name}:\s*(.+?)\r?$", message)
    return found[1] if found else ""
