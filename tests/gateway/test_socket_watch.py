from __future__ import annotations

import os

from call_rig import later
from virtual import run

from gateway.socket_watch import LOOK_S, Watch


def test_a_line_that_has_ended_is_read_again_and_one_that_lives_is_not() -> None:
    read_again: list[str] = []
    ended, living = os.pipe(), os.pipe()
    os.close(ended[0])  # to its writer it looks like a connection that was reset

    async def main() -> None:
        watch = Watch()
        watch.add(ended[1], lambda: read_again.append("ended"))
        watch.add(living[1], lambda: read_again.append("living"))
        await later(LOOK_S * 1.5)
        assert read_again == ["ended"]
        watch.remove(ended[1])
        watch.remove(ended[1])
        await later(LOOK_S)
        assert read_again == ["ended"]

    try:
        run(main())
    finally:
        for descriptor in (ended[1], *living):
            os.close(descriptor)


def test_the_watch_rests_while_there_is_nothing_to_look_after() -> None:
    read_again: list[str] = []
    ended = os.pipe()
    os.close(ended[0])

    async def main() -> None:
        watch = Watch()
        watch.add(ended[1], lambda: read_again.append("first"))
        watch.remove(ended[1])
        await later(LOOK_S * 3)
        watch.add(ended[1], lambda: read_again.append("second"))
        await later(LOOK_S * 1.5)
        assert read_again == ["second"]

    try:
        run(main())
    finally:
        os.close(ended[1])
