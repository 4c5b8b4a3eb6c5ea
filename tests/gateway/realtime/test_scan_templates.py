"""The fast readings of sound give exactly what the slower ones give, or None."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.realtime.scan import PLAIN, SoundPattern, decode_audio, scan_append, scan_delta
from sessions.errors import WireError

SOUND = base64.b64encode(bytes(range(240))).decode()


def delta(event_id: str | None = "event_1", sound: str = SOUND, **more: object) -> bytes:
    fields: dict[str, object] = {"type": "response.output_audio.delta"}
    if event_id is not None:
        fields["event_id"] = event_id
    fields |= {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0, **more}
    return json.dumps({**fields, "delta": sound}, separators=(",", ":")).encode()


def learnt(text: bytes) -> SoundPattern:
    found = scan_delta(text)
    assert found is not None
    pattern = SoundPattern.learn(text, b"delta", found.audio)
    assert pattern is not None
    return pattern


def append(sound: str = SOUND, *, spaced: bool = False, **more: object) -> bytes:
    separators = (", ", ": ") if spaced else (",", ":")
    return json.dumps({"type": "input_audio_buffer.append", "audio": sound, **more}, separators=separators).encode()


def learnt_append(text: bytes) -> SoundPattern:
    found = scan_append(text)
    assert found is not None
    pattern = SoundPattern.learn(text, b"audio", found)
    assert pattern is not None
    return pattern


def test_a_pattern_reads_a_message_with_another_id_and_other_sound() -> None:
    pattern = learnt(delta())
    assert pattern.payload(delta("event_another-1", "AAAA")) == bytes(3)
    assert pattern.payload(delta("event_2", "")) == b""
    assert learnt(delta(None)).payload(delta(None, "AAAA")) == bytes(3)


@pytest.mark.parametrize("spaced", [False, True])
@pytest.mark.parametrize("first", [{}, {"event_id": "event_1"}])
def test_a_clients_next_append_is_read_by_pattern(spaced: bool, first: dict[str, str]) -> None:
    pattern = learnt_append(append(spaced=spaced, **first))
    following = {"event_id": "another-2"} if first else {}
    assert pattern.payload(append("AAAA", spaced=spaced, **following)) == bytes(3)
    assert pattern.payload(append("AAAA", spaced=not spaced, **following)) is None
    assert pattern.payload(append("AAAA", spaced=spaced, **({} if first else {"event_id": "e"}))) is None


def test_the_event_id_may_come_before_the_type() -> None:
    def message(event_id: str, sound: str) -> bytes:
        fields = {"event_id": event_id, "type": "input_audio_buffer.append", "audio": sound}
        return json.dumps(fields).encode()

    assert learnt_append(message("e1", SOUND)).payload(message("another", "AAAA")) == bytes(3)


@pytest.mark.parametrize(
    "text",
    [
        delta(item_id="item_2"),
        delta(output_index=1),
        delta(None),
        delta(sound="AA=A"),
        delta(sound="AAA\\u0041"),
        delta("event_\n"),
        delta('event_"'),
        delta("event_\\"),
        delta()[:-1],
        delta()[:-2] + b"}",
        delta(sound="")[:-3] + b'"}',
        delta() + b" ",
        delta(sound="A" * 4 * 40_000),
        b"",
    ],
)
def test_a_pattern_refuses_messages_that_differ_elsewhere(text: bytes) -> None:
    assert learnt(delta()).payload(text) is None


def test_no_pattern_is_learnt_from_a_message_with_two_ids() -> None:
    text = delta(more={"event_id": "x"})
    found = scan_delta(text)
    assert found is not None
    assert SoundPattern.learn(text, b"delta", found.audio) is None


@given(data=st.data(), behind=st.booleans())
def test_a_pattern_and_the_scan_give_the_same_result(data: st.DataObject, behind: bool) -> None:
    def message(event_id: str) -> bytes:
        return delta(None)[:-1] + b',"event_id":"%b"}' % event_id.encode() if behind else delta(event_id)

    pattern = learnt(message("event_1"))
    text = bytearray(message("event_2"))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from([b'"', b"\\", b"}", b",", b"A", b"=", b'","event_id":"'])
        )
    payload = pattern.payload(bytes(text))
    if payload is not None:
        found = scan_delta(bytes(text))
        assert found is not None
        assert (found.response_id, found.item_id) == ("resp_1", "item_1")
        assert decode_audio(found.audio) == payload


def test_a_plain_append_is_read_and_any_other_message_is_left_to_the_parser() -> None:
    head = b'{"type":"input_audio_buffer.append","audio":"'
    assert PLAIN.payload(head + b'AAAA"}') == bytes(3)
    assert PLAIN.payload(head + b"AAAA") is None
    for audio in (b"AA=A", b'AAAA","event_id":"e', b"AAA\\u0041", "ÄAAA".encode(), b"A"):
        assert PLAIN.payload(head + audio + b'"}') is None


@given(audio=st.text(alphabet='A=/+"\\,:{} é', max_size=12))
def test_a_plain_append_and_the_scan_give_the_same_result(audio: str) -> None:
    text = b'{"type":"input_audio_buffer.append","audio":"' + audio.encode() + b'"}'
    payload = PLAIN.payload(text)
    if payload is not None:
        found = scan_append(text)
        assert found is not None
        assert decode_audio(found) == payload
    elif (found := scan_append(text)) is not None:
        with pytest.raises(WireError):
            decode_audio(found)
