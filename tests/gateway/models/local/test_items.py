"""gateway/models/local/items.py"""

from __future__ import annotations

import pytest

from gateway.models.local.dialogue.answerer import Picture, ToolOutput, Typed
from gateway.models.local.items import ItemContent, PastAnswer, PastCall, Sound, contents_of, inputs_of
from sessions.ports import JsonObject

URL = "data:image/png;base64,AAAA"


def message(role: str, *parts: JsonObject) -> JsonObject:
    return {"type": "message", "role": role, "content": list(parts)}


@pytest.mark.parametrize(
    ("item", "content"),
    [
        (message("user", {"type": "input_text", "text": " Hi. "}), [Typed("Hi.")]),
        (message("user", {"type": "input_text", "text": " "}), []),
        (message("user", {"type": "input_image", "image_url": URL}), [Picture(URL)]),
        (message("user", {"type": "input_audio", "audio": "AAAA"}), [Sound("AAAA")]),
        (message("user", {"type": "input_audio", "audio": "AAAA", "transcript": "Hi."}), [Typed("Hi.")]),
        (
            message("user", {"type": "input_text", "text": "One."}, {"type": "input_audio", "audio": "AAAA"}),
            [Typed("One."), Sound("AAAA")],
        ),
        (
            message("assistant", {"type": "output_text", "text": "One."}, {"type": "output_audio", "transcript": "2"}),
            [PastAnswer("One. 2")],
        ),
        (message("system", {"type": "input_text", "text": "Be kind."}), []),
        ({"type": "function_call_output", "call_id": "c", "output": "{}"}, [ToolOutput("c", "{}")]),
        ({"type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"}, [PastCall("c", "n", "{}")]),
        ({"type": "something_new"}, []),
    ],
)
def test_an_item_is_converted(item: JsonObject, content: list[ItemContent]) -> None:
    assert contents_of(item) == content


def test_a_request_s_input_is_the_caller_s_words_and_pictures() -> None:
    question = message("user", {"type": "input_text", "text": "Sum up."}, {"type": "input_image", "image_url": URL})
    answered = message("assistant", {"type": "output_text", "text": "Yes."})
    output: JsonObject = {"type": "function_call_output", "call_id": "c", "output": "{}"}
    assert inputs_of([question, answered, output]) == [Typed("Sum up."), Picture(URL)]
