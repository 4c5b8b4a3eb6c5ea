"""`python -m gateway.telemetry.courier`: started by the server, and of use to nobody else.

It reads its standard input and reports on its standard output. It ends when its input ends: signals that are meant for
the server, and reach all its processes, do not end it before it has sent what it has.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from contextlib import suppress

from gateway.logs import set_up_logging
from gateway.telemetry.link.wire import HELLO, MAX_LINE_BYTES, read_line

NICE = 10


def main() -> int:
    """Work for the server that started this program."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError, AttributeError):
        os.nice(NICE)
    reports = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not be taken for a report
    return asyncio.run(_serve(reports))


async def _serve(reports: int) -> int:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(MAX_LINE_BYTES, loop=loop)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader, loop=loop), sys.stdin)
    hello = read_line(await reader.readline())
    if hello is None or hello.get("k") != HELLO:
        sys.stderr.write("This program is started by patchbay serve.\n")
        return 2
    set_up_logging(hello["d"]["log_level"])
    # Only now, so that the server sees a reader as early as it can.
    from gateway.telemetry.courier.program import make_courier

    courier = make_courier(hello["d"], lambda report: _write(reports, report))
    gc.collect()
    gc.freeze()  # modules and tables live to the end
    await courier.run(reader)
    return 0


def _write(descriptor: int, report: bytes) -> None:
    with suppress(BrokenPipeError):  # the server is gone
        os.write(descriptor, report)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # a thread of an exporter may hang
