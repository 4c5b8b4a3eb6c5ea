"""Lets the loop's thread run while another one computes for long."""

from __future__ import annotations

import time

EVERY = 50  # steps of some ten microseconds each
_PAUSE_S = 0.0001


def let_others_run(step: int) -> None:
    """To be called at each step of long work in a thread, with the step's number; at some it pauses.

    A thread that computes gives the interpreter up only after 5 ms, and the loop's thread asks for it anew behind each
    send and receive: twenty of them took 150 ms beside a large file that was read without a pause.
    """
    if step % EVERY == EVERY - 1:
        time.sleep(_PAUSE_S)
