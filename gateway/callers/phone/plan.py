"""What all telephone calls have in common, whatever carrier or PBX they come from.

A leg of a carrier's protocol admits its caller with `keys=True`, makes the facts from its first message, and begins the
call with this plan.
"""

from __future__ import annotations

from audio.formats import AudioFormat
from gateway.callers.realtime.new_session import session_with
from gateway.calls.admission import CallPlan, Ticket
from sessions.caller_facts import CallerFacts
from sessions.ports import Clock

IDLE_MS = 60_000  # a telephone that lies beside its cradle costs the carrier's and the model's minutes


def phone_plan(
    ticket: Ticket,
    facts: CallerFacts,
    clock: Clock,
    *,
    protocol: str,
    far_end: AudioFormat,
    format: AudioFormat,
) -> CallPlan:
    """The plan of a telephone call whose far end sends `far_end`; `format` is what its model is sent and asked for.

    `Admission.format_for` chooses the format.

    The agent greets as soon as the model is ready, and a call that is silent for a minute ends, unless the agent's file
    says otherwise. The gateway owns playback. `facts` fill the placeholders in the agent's instructions.
    """
    session = session_with(ticket.agent, ticket.toolbox, ticket.session_id, facts, clock, format)
    return CallPlan(
        protocol=protocol,
        setup=session.setup(),
        greet=True,
        client_plays=False,
        greeting_wait_ms=0,
        idle_ms=IDLE_MS,
        far_end=far_end,
    )
