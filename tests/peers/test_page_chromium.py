"""The page at `/` in a real Chromium, with a recording as its microphone; what it plays is captured and measured."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from peers.page_browser import RATE_HZ, Tab, Tapped, chromium, chromium_missing, from_pcm16, open_tab, say
from peers.page_gateway import PageGateway

from audio.formats import PCM16_24K
from audio.resampling import resample_in_place

if TYPE_CHECKING:
    from playwright.sync_api import Page, Playwright, WebSocketRoute

missing = chromium_missing()
pytestmark = [
    pytest.mark.chromium,
    pytest.mark.skipif(missing is not None, reason=f"needs {missing}"),
    pytest.mark.timed,
]

KEY = "page-key-of-no-worth"
# From the moment when the page learns of an interruption to the last audible sample.
STOP_S = 0.1
# The page measures what the record cannot see: a frame of the microphone (20 ms), the sound buffered before playing (60
# ms), the browser's own delay to the loudspeaker (30 ms here), both sockets, and a busy machine.
OVER_RECORD_MS = 250


@pytest.fixture(scope="module")
def page_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageGateway]:
    """A gateway that requires no key."""
    yield from _open(PageGateway(tmp_path_factory.mktemp("page-house")))


@pytest.fixture(scope="module")
def locked_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageGateway]:
    """A gateway that requires a key."""
    yield from _open(PageGateway(tmp_path_factory.mktemp("locked-house"), KEY))


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """A running Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A silent microphone."""
    return say(tmp_path_factory.mktemp("quiet"), 3.0)


def _open(page_gateway: PageGateway) -> Iterator[PageGateway]:
    try:
        page_gateway.start()
        yield page_gateway
    finally:
        page_gateway.stop()


def heard_of(played: Tapped, sent: NDArray[np.float32]) -> tuple[int, float]:
    """How many of the sent samples were played in one run without a gap, and where they begin, in s."""
    lead = int(np.argmax(sent != 0))
    begin = int(np.argmax(played.samples != 0)) - lead
    line = played.samples[begin : begin + len(sent)]
    same = np.isclose(line, sent[: len(line)], atol=1e-6)
    count = len(line) if same.all() else int(np.argmin(same))
    return count, played.begin_s + begin / played.rate_hz


def latencies(tab: Tab) -> list[int]:
    """The figures under the agent's words."""
    return [int(text.removesuffix(" ms")) for text in tab.page.locator("#transcript .latency").all_inner_texts()]


def test_a_spoken_turn_with_a_tool_and_a_barge_in(
    page_gateway: PageGateway, playwright: Playwright, tmp_path: Path
) -> None:
    lines = ("A table for two tomorrow at seven please.", "Thank you, that is enough.")
    recording = say(tmp_path, 1.2, lines[0], 4.5, lines[1], 4.0)
    with chromium(playwright, recording) as browser:
        tab = open_tab(browser, page_gateway.url)
        tab.call("desk")
        tab.wait("A table for two tomorrow at seven, please.")
        tab.wait("One moment, I am looking.")
        tab.wait("find_tables\ndate tomorrow · time 19:00 · party size 2")
        tab.wait("There is a table for two")
        tab.wait("All right.")
        tab.wait_state("listening")
        played, interrupted = tab.tapped(), tab.happened("input_audio_buffer.speech_started")[1]
        answered = tab.happened("response.created")[1]
        shown = latencies(tab)
        session_id = tab.page.inner_text("#session")
        rows = [" ".join(row.split()) for row in tab.page.locator("#transcript li").all_inner_texts()]
        tab.page.click("#hang-up")
        tab.wait("Call ended.", "#status")
        tab.check_clean()

    assert played.last_audible_s(interrupted, quiet_s=0.3) - interrupted <= STOP_S
    assert [row.split()[0] for row in rows] == ["A", "One", "find_tables", "There", "Thank", "All"]
    assert "interrupted" in rows[3]
    recorded = page_gateway.get(f"/api/v1/sessions/{session_id}")["latencies_ms"]
    assert len(shown) == len(recorded) == 2
    for page_ms, record_ms in zip(shown, recorded, strict=True):
        assert 0 <= page_ms - record_ms <= OVER_RECORD_MS
    first = page_gateway.get(f"/api/v1/sessions/{session_id}/transcript")["turns"][0]
    said = [entry for entry in first["entries"] if entry["speaker"] == "agent"][-1]
    truncated = [event for event in tab.sent if event["type"] == "conversation.item.truncate"]
    assert [event["audio_end_ms"] for event in truncated] == [said["heard_ms"]]
    assert said["heard"] == "reported"
    # What the page reports as heard is what was played, from the answer's first sample to the fade.
    begins = played.first_audible_s(answered)
    assert abs((interrupted - begins) * 1000 - said["heard_ms"]) < 100


def test_what_is_played_is_what_was_sent_until_the_button_or_a_word_stops_it(
    page_gateway: PageGateway, playwright: Playwright, quiet: Path
) -> None:
    with chromium(playwright, quiet) as browser:
        tab = open_tab(browser, page_gateway.url)
        tab.call("reader")
        tab.wait("Hello there.")
        tab.wait_state("listening")
        tab.type("what are your hours")
        tab.wait("From noon to ten.")
        tab.wait_state("listening")
        count, _ = heard_of(tab.tapped(), tab.agent_sound()[: RATE_HZ * 400 // 1000])
        assert count == RATE_HZ * 400 // 1000  # the greeting
        answer = tab.agent_sound()[RATE_HZ * 400 // 1000 :]
        later = tab.tapped()
        asked = tab.happened("response.created")[1]
        later.samples = later.samples.copy()
        later.samples[: int((asked - later.begin_s) * later.rate_hz)] = 0
        assert heard_of(later, answer)[0] == len(answer)

        for stop in ("button", "key", "word"):
            tab.type("read to me")
            tab.until("patchbay.call.state === 'speaking'")
            tab.page.wait_for_timeout(700)
            if stop == "button":
                tab.page.click("#interrupt")
            elif stop == "key":
                tab.page.press("body", "Escape")
            else:
                tab.type("what are your hours")
                tab.until("document.querySelector('#transcript li:last-child')?.innerText.includes('to ten')")
            tab.wait_state("listening")
            tab.page.wait_for_timeout(400)
        pressed = tab.happened("click interrupt")[0]
        assert tab.tapped().last_audible_s(pressed, quiet_s=0.3) - pressed <= STOP_S
        assert tab.page.locator("#transcript .agent:has-text('interrupted') s").count() == 3
        assert len(tab.of_type("conversation.item.truncated")) == 3
        assert len(latencies(tab)) == 5
        assert tab.of_type("error") == []
        tab.page.click("#hang-up")
        tab.wait("Call ended.", "#status")
        assert tab.page.evaluate("document.activeElement.id") == "call"
        tab.check_clean()


def test_late_sound_of_an_interrupted_answer_is_not_played(
    page_gateway: PageGateway, playwright: Playwright, quiet: Path
) -> None:
    with chromium(playwright, quiet) as browser:
        tab = open_tab(browser, page_gateway.url)
        tab.call("reader", microphone=False)
        tab.type("cut me short")
        tab.until("patchbay.call.state === 'speaking'")
        tab.page.wait_for_timeout(400)
        tab.page.click("#interrupt")
        tab.wait_state("listening")
        tab.page.wait_for_timeout(500)
        pressed = tab.happened("click interrupt")[0]
        # Of the answer that was cut: the greeting, which the typed message cut, has ended before.
        done = max(index for index, event in enumerate(tab.received) if event["type"] == "response.done")
        assert tab.received[done]["response"]["status"] == "cancelled"
        assert "response.output_audio.delta" not in [event["type"] for event in tab.received[done:]]
        played = tab.tapped()
        after = played.samples[int((pressed + STOP_S - played.begin_s) * played.rate_hz) :]
        assert len(after) > 0.3 * played.rate_hz
        assert not after.any()
        tab.check_clean()


def test_the_last_words_are_played_when_the_agent_hangs_up(
    page_gateway: PageGateway, playwright: Playwright, quiet: Path
) -> None:
    with chromium(playwright, quiet) as browser:
        tab = open_tab(browser, page_gateway.url)
        for call in (1, 2):  # the second call shows that the page is ready again
            tab.call("porter")
            tab.received.clear()
            tab.type("bye")
            tab.wait("Call ended", "#status")
            sent = tab.agent_sound()
            assert len(sent) == RATE_HZ * 5 * 200 // 1000
            assert heard_of(tab.tapped(), sent)[0] == len(sent), f"call {call}"
            assert tab.page.is_enabled("#call")
            assert tab.page.is_hidden("#hang-up")
        assert tab.page.locator("#status.problem").count() == 0
        tab.check_clean()


def test_without_a_microphone_the_caller_can_type(
    page_gateway: PageGateway, playwright: Playwright, quiet: Path
) -> None:
    with chromium(playwright, quiet, allow=False) as browser:
        tab = open_tab(browser, page_gateway.url)
        tab.call("reader")
        tab.wait("The microphone is not allowed. You can type.")
        assert not tab.page.is_checked("#microphone")
        tab.type("what are your hours")
        tab.wait("From noon to ten.")
        tab.page.wait_for_selector("#transcript .latency", timeout=5000)
        assert [event for event in tab.sent if event["type"] == "input_audio_buffer.append"] == []
        tab.check_clean()


def test_an_agent_that_cannot_be_called_says_why(
    page_gateway: PageGateway, playwright: Playwright, quiet: Path
) -> None:
    with chromium(playwright, quiet) as browser:
        tab = open_tab(browser, page_gateway.url)
        card = tab.page.locator("#agent-list label", has_text="away")
        assert "OPENAI_API_KEY is not set" in card.inner_text()
        assert card.locator("input").is_disabled()
        assert tab.page.is_enabled("#call")
        tab.check_clean()


def test_an_agent_that_is_loading_can_be_called_once_it_is_loaded(
    page_gateway: PageGateway, playwright: Playwright, quiet: Path
) -> None:
    loading = [{"name": "reader", "description": "", "model": "m", "available": False, "reason": "being loaded"}]

    def keep_loading(page: Page) -> None:
        page.route("**/api/v1/agents", lambda route: route.fulfill(json={"agents": loading}), times=1)

    with chromium(playwright, quiet) as browser:
        tab = open_tab(browser, page_gateway.url, prepare=keep_loading)
        tab.wait("No agent can be called at the moment.", "#status")
        tab.until("!document.getElementById('call').disabled")
        tab.call("reader", microphone=False)
        tab.check_clean()


def test_a_key_is_requested_and_sent_only_in_headers(
    locked_gateway: PageGateway, playwright: Playwright, quiet: Path
) -> None:
    with chromium(playwright, quiet) as browser:
        tab = open_tab(browser, locked_gateway.url)
        assert tab.page.inner_text("#status") == "This gateway requires an API key."
        assert tab.page.is_disabled("#call")
        tab.page.keyboard.type("wrong-key")  # the field has the focus
        tab.page.keyboard.press("Enter")
        tab.wait("This server does not know the API key.", "#status")
        assert tab.page.input_value("#key") == ""
        tab.page.fill("#key", KEY)
        tab.page.click("#key-form button")
        tab.page.wait_for_selector("#agent-list input")
        assert tab.page.is_hidden("#key-form")
        tab.call("reader")
        tab.wait("Hello there.")
        assert locked_gateway.live_calls() == 1
        (opened,) = tab.page.evaluate("probe.sockets")
        assert opened["protocols"][0] == "realtime"
        assert opened["protocols"][1].startswith("openai-insecure-api-key.ek_")
        assert not any(KEY in text for text in (*tab.requests, json.dumps(opened), tab.page.content()))
        kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, history.state])"
        assert tab.page.evaluate(kept) == '[{},{},"",null]'
        tab.page.click("#change-key")
        tab.wait("This gateway requires an API key.", "#status")
        assert tab.page.is_visible("#key-form")
        tab.check_clean(allowed=["status of 401"])  # Chromium itself logs these


def test_the_caller_can_call_again_after_the_server_was_down(
    tmp_path: Path, playwright: Playwright, quiet: Path
) -> None:
    page_gateway = PageGateway(tmp_path)
    try:
        page_gateway.start()
        with chromium(playwright, quiet) as browser:
            tab = open_tab(browser, page_gateway.url)
            tab.call("reader")
            page_gateway.stop()
            tab.wait("the server is going down", "#status")
            tab.page.click("#call")
            tab.wait("The gateway cannot be reached.", "#status")
            page_gateway.start()
            tab.call("reader")
            tab.wait("Hello there.")
            tab.check_clean(allowed=["ERR_CONNECTION_REFUSED"])
    finally:
        page_gateway.stop()


def test_an_extra_click_does_no_harm_and_leaving_the_page_hangs_up(
    page_gateway: PageGateway, playwright: Playwright, quiet: Path
) -> None:
    with chromium(playwright, quiet) as browser:
        tab = open_tab(browser, page_gateway.url)
        tab.page.locator("#agent-list input[value=reader]").check(force=True)
        tab.page.dblclick("#call")
        tab.wait("Connected", "#status")
        assert len(tab.page.evaluate("probe.sockets")) == 1
        assert page_gateway.live_calls() == 1
        tab.page.goto("about:blank")
        tab.page.wait_for_timeout(300)
        assert page_gateway.live_calls() == 0
        assert tab.console == []


def test_sound_that_the_browser_blocks_starts_with_a_touch(
    page_gateway: PageGateway, playwright: Playwright, quiet: Path
) -> None:
    # Browsers do this on pages without a user gesture, but the test's own access to the page counts as one.
    held = """
    let touched = false;
    addEventListener("pointerdown", () => { touched = true; }, true);
    globalThis.AudioContext = class extends AudioContext {
      constructor(options) {
        super(options);
        this.suspend();
      }
      resume() {
        return touched ? super.resume() : new Promise(() => {});
      }
    };
    """
    with chromium(playwright, quiet) as browser:
        tab = open_tab(browser, page_gateway.url, prepare=lambda page: page.add_init_script(held))
        tab.page.evaluate("document.getElementById('call').click()")
        tab.wait("Your browser blocks the sound: click anywhere.", "#status")
        tab.page.mouse.click(700, 300)
        tab.wait("Connected.", "#status")
        tab.wait_state("listening")
        tab.check_clean()


def test_a_slow_network_drops_speech_and_the_page_says_so(
    page_gateway: PageGateway, playwright: Playwright, quiet: Path
) -> None:
    slow = "Object.defineProperty(WebSocket.prototype, 'bufferedAmount', { get: () => globalThis.unsent ?? 0 });"
    with chromium(playwright, quiet) as browser:
        tab = open_tab(browser, page_gateway.url, prepare=lambda page: page.add_init_script(slow))
        tab.call("desk")
        tab.page.evaluate("globalThis.unsent = 300000")
        tab.wait("Your connection is slow")
        before = len(tab.sent)
        tab.page.wait_for_timeout(200)
        assert len(tab.sent) == before
        tab.page.evaluate("globalThis.unsent = 0")
        tab.page.wait_for_timeout(200)
        assert len(tab.sent) > before
        assert tab.page.locator("#transcript .notice").count() == 1
        tab.check_clean()


def test_sound_is_resampled_for_a_browser_with_its_own_rate(
    page_gateway: PageGateway, playwright: Playwright, tmp_path: Path
) -> None:
    raw = """
    const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = () =>
      ask({ audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
    """
    recording = say(tmp_path, 1.2, "A table for two please.", 3.0)
    with chromium(playwright, recording) as browser:
        tab = open_tab(browser, page_gateway.url, own_rate=44_100, prepare=lambda page: page.add_init_script(raw))
        tab.call("steady")
        tab.wait("I go on.")
        tab.wait_state("listening")
        played, sent, spoken = tab.tapped(), tab.agent_sound(), tab.caller_sound()
        tab.check_clean()
    assert played.rate_hz == 44_100
    # Playing may begin between two samples: half a sample costs 0.0064 here, while a wrong rate leaves 0.03.
    assert correlation(to_wire(played.samples, 44_100), sent) > 0.99
    microphone = from_pcm16(recording.read_bytes()[44:])
    assert correlation(to_wire(microphone, 48_000), spoken[: RATE_HZ * 5 // 2]) > 0.99


def test_the_microphone_can_be_switched_in_a_call(
    page_gateway: PageGateway, playwright: Playwright, tmp_path: Path
) -> None:
    recording = say(tmp_path, 0.1, "One two three four five six seven eight nine ten. " * 2)
    with chromium(playwright, recording) as browser:
        tab = open_tab(browser, page_gateway.url)
        tab.call("steady", microphone=False)
        assert not len(tab.caller_sound())
        tab.page.check("#microphone")
        tab.page.wait_for_timeout(800)
        assert np.abs(tab.caller_sound()).max() > 0.05
        tab.page.uncheck("#microphone")
        tab.page.wait_for_timeout(200)
        tab.sent.clear()
        tab.page.wait_for_timeout(300)
        assert len(tab.caller_sound()) > 0.2 * RATE_HZ  # silence, so that the end of an open turn is detected
        assert not tab.caller_sound().any()
        tab.check_clean()


def test_an_agent_that_must_not_be_interrupted_continues_to_speak(
    page_gateway: PageGateway, playwright: Playwright, tmp_path: Path
) -> None:
    recording = say(tmp_path, 1.5, "Excuse me, please, hello.", 3.0)
    with chromium(playwright, recording) as browser:
        tab = open_tab(browser, page_gateway.url)
        tab.call("steady")
        tab.type("read to me")
        tab.until("probe.events.some(({ type }) => type.endsWith('speech_stopped'))")
        started = tab.happened("input_audio_buffer.speech_started")[0]
        played = tab.tapped()
        assert played.last_audible_s(started, quiet_s=0.3) - started > 0.5
        assert [event for event in tab.sent if event["type"] == "conversation.item.truncate"] == []
        tab.check_clean()


def test_events_in_an_odd_order_and_sound_in_bursts(
    page_gateway: PageGateway, playwright: Playwright, quiet: Path
) -> None:
    def mock(page: Page) -> None:
        page.route_web_socket("**/v1/realtime*", serve)

    served: list[WebSocketRoute] = []

    def serve(route: WebSocketRoute) -> None:
        served.append(route)
        route.on_message(lambda text: None)
        tell({"type": "session.created", "session": {"id": "sess_odd", "audio": {}}})

    def tell(event: dict[str, object]) -> None:
        served[0].send(json.dumps(event))

    def sound(ms: int, item: str = "item_a") -> dict[str, object]:
        tone = np.full(RATE_HZ * ms // 1000, 3000, "<i2").tobytes()
        delta = base64.b64encode(tone).decode()
        return {"type": "response.output_audio.delta", "response_id": "resp_a", "item_id": item, "delta": delta}

    with chromium(playwright, quiet) as browser:
        tab = open_tab(browser, page_gateway.url, prepare=mock)
        tab.call("reader", microphone=False)
        # The words before their item, the transcription before its item, and an unknown event.
        tell(
            {"type": "conversation.item.input_audio_transcription.completed", "item_id": "item_u", "transcript": "Hi."}
        )
        tell({"type": "response.output_audio_transcript.delta", "item_id": "item_a", "delta": "Good day."})
        tell({"type": "response.from_next_year", "anything": [1, {"two": None}]})
        tell({"type": "response.done", "response": {"id": "resp_0", "status": "completed", "output": []}})
        tell({"type": "response.created", "response": {"id": "resp_a"}})
        for _ in range(3):
            tell(sound(100))
            tab.page.wait_for_timeout(400)
        tell({"type": "input_audio_buffer.speech_started", "item_id": "item_v"})
        tell(sound(300))
        tell({"type": "response.done", "response": {"id": "resp_a", "status": "cancelled", "output": []}})
        tell({"type": "error", "error": {"code": "response_cancel_not_active", "message": "Too late."}})
        tell({"type": "conversation.item.input_audio_transcription.failed", "item_id": "item_v", "error": {}})
        tab.wait("(not understood)")
        tab.page.wait_for_timeout(300)
        played = tab.tapped()
        assert int((played.samples > 0.09).sum()) >= 3 * RATE_HZ // 10 - 10
        assert int((played.samples > 0.09).sum()) <= 3 * RATE_HZ // 10
        assert tab.page.evaluate("patchbay.call.gaps") == 2
        text = tab.page.inner_text("#transcript")
        assert text.index("Hi.") < text.index("Good day.")
        assert "Too late" not in text
        tab.check_clean()


def test_long_conversations_scroll_and_narrow_windows_work(
    page_gateway: PageGateway, playwright: Playwright, quiet: Path
) -> None:
    with chromium(playwright, quiet) as browser:
        tab = open_tab(browser, page_gateway.url, viewport={"width": 360, "height": 640})
        tab.call("reader", microphone=False)
        fill = """
        for (let i = 0; i < 60; i += 1) {
          const tell = (type, detail) => patchbay.call.dispatchEvent(new CustomEvent(type, { detail }));
          tell("agent-text", { item: `x${i}`, text: `Sentence number ${i} of the talk. `.repeat(4), receivedMs: 0 });
        }
        """
        tab.page.evaluate(fill)
        place = "[transcript.scrollHeight - transcript.scrollTop - transcript.clientHeight, transcript.scrollTop]"
        assert tab.page.evaluate(place)[0] < 2
        # Text that comes before the event of the scroll must not undo it.
        tab.page.evaluate("transcript.scrollTop = 0;" + fill.replace("`x$", "`z$"))
        tab.page.wait_for_selector("#latest")
        tab.page.evaluate(fill.replace("`x$", "`y$"))
        assert tab.page.evaluate(place)[1] == 0  # the reading position does not move
        tab.page.click("#latest")
        assert tab.page.evaluate(place)[0] < 2
        assert tab.page.evaluate("document.documentElement.scrollWidth <= 360 && document.body.scrollHeight <= 640")
        for button in ("#hang-up", "#interrupt", "#microphone", "#typed", "#send"):
            box = tab.page.locator(button).bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 360
            assert box["y"] + box["height"] <= 640
        tab.check_clean()


def test_the_page_may_load_nothing_from_other_hosts(page_gateway: PageGateway) -> None:
    with urllib.request.urlopen(page_gateway.url, timeout=5) as answer:
        policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy


def to_wire(samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """Resample to the wire's rate."""
    pcm = np.clip(samples * 32768, -32768, 32767).astype("<i2").tobytes()
    return from_pcm16(b"".join(resample_in_place([pcm], rate_hz, PCM16_24K.rate_hz)))


def correlation(long: NDArray[np.float32], part: NDArray[np.float32]) -> float:
    """The best match of `part` within `long` at any position; 1 means the same sound."""
    size = 1 << (len(long) + len(part)).bit_length()
    products = np.fft.irfft(np.fft.rfft(long, size) * np.conj(np.fft.rfft(part, size)), size)
    shift = int(np.argmax(products))
    shift = shift - size if shift >= len(long) else shift
    line = long[shift : shift + len(part)] if shift >= 0 else np.concatenate([np.zeros(-shift, np.float32), long])
    line = np.pad(line, (0, max(0, len(part) - len(line))))[: len(part)]
    return float(np.dot(line, part) / max(1e-9, np.linalg.norm(line) * np.linalg.norm(part)))
