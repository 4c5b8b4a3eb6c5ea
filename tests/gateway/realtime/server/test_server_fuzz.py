"""The server's invariants hold for any sequence of client messages and brain actions."""

from __future__ import annotations

import base64
from collections import Counter
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.local.parrot import Caller

SOUND = base64.b64encode(bytes(4800)).decode()
DOINGS = ["wait", "say:hi", "long:300", "call:f", "finish", "fail", "incomplete"]

item_ids = st.sampled_from([f"item_{n}" for n in range(1, 9)] + ["a", "b", "root"])
response_ids = st.sampled_from([f"resp_{n}" for n in range(1, 6)])
do = st.lists(st.sampled_from(DOINGS), max_size=5).map(" ".join)
content = st.lists(
    st.sampled_from(
        [
            {"type": "input_text", "text": "hello"},
            {"type": "input_audio", "audio": SOUND},
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
            {"type": "text", "text": "beta"},
        ]
    ),
    max_size=2,
)
items = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("message"), "role": st.just("user"), "content": content}, optional={"id": item_ids}
    ),
    st.just({"type": "function_call_output", "call_id": "call_1", "output": "yes"}),
    st.just({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]}),
    st.just({"type": "mcp_call", "server_label": "s", "name": "n", "arguments": "{}"}),
    st.just({"type": "mcp_list_tools", "server_label": "s", "tools": []}),
)
detections = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["server_vad", "semantic_vad", "odd"])},
        optional={"create_response": st.booleans(), "interrupt_response": st.booleans()},
    ),
)
sessions = st.fixed_dictionaries(
    {"type": st.just("realtime")},
    optional={
        "output_modalities": st.sampled_from([["audio"], ["text"], []]),
        "audio": st.fixed_dictionaries(
            {},
            optional={
                "input": st.fixed_dictionaries(
                    {},
                    optional={
                        "turn_detection": detections,
                        "format": st.sampled_from([{"type": "audio/pcmu"}, {"type": "audio/pcm", "rate": 24000}]),
                        "transcription": st.sampled_from([None, {"model": "x"}]),
                    },
                ),
                "output": st.sampled_from([{"voice": "ash"}, {"voice": "sage"}, {"format": {"type": "audio/pcma"}}]),
            },
        ),
    },
)
responses = st.fixed_dictionaries(
    {"metadata": st.fixed_dictionaries({"do": do})},
    optional={
        "conversation": st.sampled_from(["auto", "none", "x"]),
        "output_modalities": st.sampled_from([["text"], ["audio"]]),
        "input": st.lists(items, max_size=1),
        "audio": st.just({"output": {"format": {"type": "audio/pcmu"}}}),
    },
)


def event(type: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(type), **fields}).map(lambda message: ("send", orjson.dumps(message)))


steps = st.one_of(
    event("session.update", session=sessions),
    event("input_audio_buffer.append", audio=st.just(SOUND)),
    event("input_audio_buffer.commit"),
    event("input_audio_buffer.clear"),
    event("conversation.item.create", item=items, previous_item_id=st.one_of(st.none(), item_ids)),
    event("conversation.item.retrieve", item_id=item_ids),
    event(
        "conversation.item.truncate",
        item_id=item_ids,
        content_index=st.integers(0, 1),
        audio_end_ms=st.sampled_from([0, 10, 40, 10_000]),
    ),
    event("conversation.item.delete", item_id=item_ids),
    event("response.create", response=responses),
    event("response.create", response=responses),
    event("response.cancel", response_id=st.one_of(st.none(), response_ids)),
    st.tuples(st.just("send"), st.binary(max_size=20)),
    st.tuples(st.just("send"), st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3).map(orjson.dumps)),
    st.tuples(st.sampled_from(["start", "stop", "transcribed", "on"]), st.none()),
)


class Watch:
    """Checks each event against all earlier ones."""

    def __init__(self) -> None:
        self.event_ids: Counter[str] = Counter()
        self.created: list[str] = []
        self.done: list[str] = []
        self.speaking: set[str] = set()
        self.order: list[str] = []
        self.added: set[str] = set()
        self.finished: set[str] = set()

    def see(self, event: dict[str, Any]) -> None:
        self.event_ids[event["event_id"]] += 1
        kind = event["type"]
        response = event.get("response", {})
        response_id = event.get("response_id")
        if kind == "response.created":
            assert response["status"] == "in_progress"
            self.created.append(response["id"])
            if response["conversation_id"] is not None:
                self.speaking.add(response["id"])
            assert len(self.speaking) <= 1
        elif kind == "response.done":
            assert response["status"] != "in_progress"
            assert response["usage"] is not None
            self.done.append(response["id"])
            self.speaking.discard(response["id"])
        elif response_id is not None:
            assert response_id in self.created
            assert response_id not in self.done
        elif kind == "conversation.item.added":
            self._place(event["item"]["id"], event["previous_item_id"])
        elif kind == "conversation.item.done":
            assert event["item"]["id"] in self.added
            self.finished.add(event["item"]["id"])
        elif kind == "conversation.item.deleted":
            self.order.remove(event["item_id"])

    def _place(self, item_id: str, previous: str | None) -> None:
        assert item_id not in self.order
        self.order.insert(0 if previous is None else self.order.index(previous) + 1, item_id)
        self.added.add(item_id)

    def end(self, active: int) -> None:
        assert max(self.event_ids.values()) == 1
        assert len(set(self.created)) == len(self.created)
        assert len(set(self.done)) == len(self.done)
        assert set(self.done) <= set(self.created)
        assert len(self.created) - len(self.done) == active


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=30))
def test_the_servers_invariants_hold(script: list[tuple[str, Any]]) -> None:
    caller = Caller()
    speech: str | None = None
    for what, text in script:
        notes = len(caller.brain.notes)
        if what == "send":
            caller.server.receive(text, caller.now_ms)
        elif what == "start" and speech is None:
            speech = caller.brain.turns.speech_started(0)
        elif what == "stop" and speech is not None:
            caller.brain.turns.speech_stopped(100)
            speech = None
        elif what == "transcribed" and speech is not None:
            caller.brain.turns.transcribed_part(speech, "hel")
            caller.brain.turns.transcribed(speech, "hello")
        elif what == "on":
            caller.brain.go_on()
        if any(note[0] in ("committed", "cleared") for note in caller.brain.notes[notes:]):
            speech = None
    watch = Watch()
    for event in caller.events:
        watch.see(event)
    # Let all responses in progress end.
    before = len(caller.events)
    for response_id in [created for created in watch.created if created not in watch.done]:
        if caller.server.failed is None:
            caller.send("response.cancel", response_id=response_id)
    for event in caller.events[before:]:
        watch.see(event)
    watch.end(active=0 if caller.server.failed is None else len(watch.created) - len(watch.done))
