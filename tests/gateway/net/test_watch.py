"""Tests for gateway/net/watch.py."""

from __future__ import annotations

import os

from support.calls.call_rig import later
from support.virtual import run

from gateway.net.watch import POLL_EVERY_S, ResetWatch


def test_a_reset_connection_is_read_again_and_an_open_one_is_not() -> None:
    read_again: list[str] = []
    ended, living = os.pipe(), os.pipe()
    os.close(ended[0])  # for the writing end this looks like a reset connection

    async def main() -> None:
        watch = ResetWatch()
        watch.add(ended[1], lambda: read_again.append("ended"))
        watch.add(living[1], lambda: read_again.append("living"))
        await later(POLL_EVERY_S * 1.5)
        assert read_again == ["ended"]
        watch.remove(ended[1])
        watch.remove(ended[1])
        await later(POLL_EVERY_S)
        assert read_again == ["ended"]

    try:
        run(main())
    finally:
        for descriptor in (ended[1], *living):
            os.close(descriptor)


def test_nothing_is_polled_while_no_socket_is_watched() -> None:
    read_again: list[str] = []
    ended = os.pipe()
    os.close(ended[0])

    async def main() -> None:
        watch = ResetWatch()
        watch.add(ended[1], lambda: read_again.append("first"))
        watch.remove(ended[1])
        await later(POLL_EVERY_S * 3)
        watch.add(ended[1], lambda: read_again.append("second"))
        await later(POLL_EVERY_S * 1.5)
        assert read_again == ["second"]

    try:
        run(main())
    finally:
        os.close(ended[1])
