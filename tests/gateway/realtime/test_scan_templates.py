"""The quick readings of sound: exactly what the slower ones say, or nothing."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.realtime.scan import DeltaTemplate, decode_audio, plain_append, scan_append, scan_delta
from sessions.errors import WireError

SOUND = base64.b64encode(bytes(range(240))).decode()


def delta(event_id: str | None = "event_1", sound: str = SOUND, **more: object) -> bytes:
    fields: dict[str, object] = {"type": "response.output_audio.delta"}
    if event_id is not None:
        fields["event_id"] = event_id
    fields |= {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0, **more}
    return json.dumps({**fields, "delta": sound}, separators=(",", ":")).encode()


def learnt(text: bytes) -> DeltaTemplate:
    found = scan_delta(text)
    assert found is not None
    template = DeltaTemplate.learn(text, found)
    assert template is not None
    return template


def test_a_template_reads_the_next_message_with_another_id_and_other_sound() -> None:
    template = learnt(delta())
    assert (template.response_id, template.item_id) == ("resp_1", "item_1")
    assert template.sound(delta("event_another-1", "AAAA")) == bytes(3)
    assert template.sound(delta("event_2", "")) == b""
    assert learnt(delta(None)).sound(delta(None, "AAAA")) == bytes(3)


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
        b"",
    ],
)
def test_a_template_leaves_what_differs_elsewhere(text: bytes) -> None:
    assert learnt(delta()).sound(text) is None


def test_no_template_is_learnt_where_the_id_stands_behind_the_sound_or_twice() -> None:
    for text in (delta(None)[:-1] + b',"event_id":"e"}', delta(more={"event_id": "x"})):
        found = scan_delta(text)
        assert found is not None
        assert DeltaTemplate.learn(text, found) is None


@given(data=st.data())
def test_whatever_a_template_reads_the_scan_reads_alike(data: st.DataObject) -> None:
    template = learnt(delta())
    text = bytearray(delta("event_2"))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 2))] = data.draw(st.sampled_from([b'"', b"\\", b"}", b",", b"A", b"="]))
    payload = template.sound(bytes(text))
    if payload is not None:
        found = scan_delta(bytes(text))
        assert found is not None
        assert (found.response_id, found.item_id) == ("resp_1", "item_1")
        assert decode_audio(found.audio) == payload


def test_a_plain_append_is_read_and_anything_odd_is_left_to_those_who_complain() -> None:
    head = b'{"type":"input_audio_buffer.append","audio":"'
    assert plain_append(head + b'AAAA"}', 1) == bytes(3)
    for odd in (head + b'AAAA"}', head + b"AAAA"):
        assert plain_append(odd, 2) is None  # half a sample; cut short
    for audio in (b"AA=A", b'AAAA","event_id":"e', b"AAA\\u0041", "ÄAAA".encode(), b"A"):
        assert plain_append(head + audio + b'"}', 1) is None


@given(audio=st.text(alphabet='A=/+"\\,:{} é', max_size=12))
def test_whatever_a_plain_append_reads_the_scan_reads_alike(audio: str) -> None:
    text = b'{"type":"input_audio_buffer.append","audio":"' + audio.encode() + b'"}'
    payload = plain_append(text, 1)
    if payload is not None:
        found = scan_append(text)
        assert found is not None
        assert decode_audio(found) == payload
    elif (found := scan_append(text)) is not None:
        with pytest.raises(WireError):
            decode_audio(found)
