"""`patchbay` with one fault, as `python -m peers.breaking_server`: a call in which "break" is typed breaks.

What is typed behind it is in the exception's message.
"""

from gateway.cli.main import main
from sessions.call import Call
from sessions.commands import Command
from sessions.events import CallerText, CallEvent

on_event = Call.on_event


def breaking(call: Call, event: CallEvent, now_ms: int) -> list[Command]:
    """What `Call.on_event` does, except for that text."""
    if isinstance(event, CallerText) and event.text.partition(" ")[0] == "break":
        raise RuntimeError(f"a fault for the test: {event.text}")
    return on_event(call, event, now_ms)


if __name__ == "__main__":
    Call.on_event = breaking  # type: ignore[method-assign]
    main()
