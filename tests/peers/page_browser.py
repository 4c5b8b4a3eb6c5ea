"""The page in a real Chromium, with a recording as the microphone and a tap on what it plays.

All times of the probe are seconds of the page's AudioContext clock, sample positions included, so that a moment in a
message handler can be compared with a sample that was played.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audio.formats import PCM16_24K
from audio.resampling import resample_in_place
from audio.wav import read_wav

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright, Route, WebSocket

CHROMIUM = "/usr/bin/chromium"
RATE_HZ = PCM16_24K.rate_hz
MICROPHONE_HZ = 48_000
AUDIBLE = 184 / 32768
WINDOW_S = 0.005
WAIT_MS = 12_000.0

TAP = """
registerProcessor("tap", class extends AudioWorkletProcessor {
  process([[channel]]) {
    if (channel) this.port.postMessage({ at: currentFrame, rate: sampleRate, samples: channel.slice() });
    return true;
  }
});
"""

PROBE = """
(() => {
  if (!globalThis.AudioWorklet) return;
  const probe = (globalThis.probe = { tapped: [], events: [], sockets: [], violations: [], context: null });
  const now = () => probe.context?.currentTime ?? 0;
  const ownRate = OWN_RATE;

  globalThis.AudioContext = class extends AudioContext {
    constructor(options = {}) {
      super(ownRate ? { sampleRate: ownRate, ...options } : options);
      Object.assign(probe, { context: this, tapped: [] });
    }
    createMediaStreamSource(stream) {
      if (ownRate && this.sampleRate !== ownRate) throw new DOMException("another rate", "NotSupportedError");
      return super.createMediaStreamSource(stream);
    }
  };
  const addModule = AudioWorklet.prototype.addModule;
  AudioWorklet.prototype.addModule = async function (address) {
    await addModule.call(this, URL.createObjectURL(new Blob([TAP_SOURCE], { type: "text/javascript" })));
    return addModule.call(this, address);
  };
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (target, ...rest) {
    if (target instanceof AudioDestinationNode) {
      const tap = new AudioWorkletNode(this.context, "tap", { numberOfOutputs: 0 });
      const { tapped } = probe;
      tap.port.onmessage = ({ data }) => tapped.push(data);
      connect.call(this, tap);
    }
    return connect.call(this, target, ...rest);
  };

  globalThis.WebSocket = class extends WebSocket {
    constructor(address, protocols) {
      super(address, protocols);
      probe.sockets.push({ address: String(address), protocols });
      this.addEventListener("message", ({ data }) => {
        const { type } = JSON.parse(data);
        probe.events.push({ type, at: now() });
      });
    }
  };
  addEventListener("click", ({ target }) => probe.events.push({ type: `click ${target.id}`, at: now() }), true);
  addEventListener("securitypolicyviolation", ({ violatedDirective }) => probe.violations.push(violatedDirective));
})();
"""

TAKE_TAPPED = """
() => {
  const blocks = probe.tapped;
  if (!blocks.length) return { rate: 0, begin: 0, sound: "" };
  const begin = blocks[0].at;
  const end = blocks.at(-1).at + blocks.at(-1).samples.length;
  const all = new Float32Array(end - begin);
  for (const { at, samples } of blocks) all.set(samples, at - begin);
  const bytes = new Uint8Array(all.buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return { rate: blocks[0].rate, begin, sound: btoa(text) };
}
"""

FLAGS = (
    "--no-sandbox",
    # A document that passed through `_let_probe_in` counts as one from the internet.
    "--disable-features=LocalNetworkAccessChecks",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)


@dataclass
class Tapped:
    """What the page played: samples from -1 to 1, the first of them at `begin_s`."""

    rate_hz: int
    begin_s: float
    samples: NDArray[np.float32]

    def loud(self) -> NDArray[np.bool_]:
        """One value for each window of 5 ms: whether it is above the gate."""
        window = round(self.rate_hz * WINDOW_S)
        whole = self.samples[: len(self.samples) // window * window].reshape(-1, window).astype(np.float64)
        levels: NDArray[np.float64] = np.sqrt(np.mean(whole**2, axis=1))
        return levels >= AUDIBLE

    def last_audible_s(self, after_s: float, quiet_s: float) -> float:
        """The beginning of the first silence of `quiet_s` after a moment."""
        need = round(quiet_s / WINDOW_S)
        loud = self.loud()
        first = max(0, int((after_s - self.begin_s) / WINDOW_S))
        last = first - 1
        for window in range(first, len(loud)):
            if loud[window]:
                last = window
            elif window - last >= need:
                break
        return self.begin_s + (last + 1) * WINDOW_S

    def first_audible_s(self, after_s: float) -> float:
        """The first audible moment at or after another."""
        first = max(0, int((after_s - self.begin_s) / WINDOW_S))
        return self.begin_s + (first + int(np.argmax(self.loud()[first:]))) * WINDOW_S


@dataclass
class Tab:
    """The page, with everything about it that the tests check."""

    page: Page
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)
    received: list[dict[str, Any]] = field(default_factory=list)

    def wait(self, text: str, selector: str = "#transcript") -> None:
        """Wait until a part of the page shows a text."""
        self.page.wait_for_function(
            "([where, text]) => document.querySelector(where)?.innerText.includes(text)",
            arg=[selector, text],
            timeout=WAIT_MS,
        )

    def until(self, true: str) -> None:
        """Wait until an expression is true. It is a function because the page's policy forbids evaluating text."""
        self.page.wait_for_function(f"() => {true}", timeout=WAIT_MS)

    def wait_state(self, *states: str) -> None:
        """Wait until the call is in one of these states."""
        self.page.wait_for_function(
            "(states) => states.includes(document.getElementById('stage').dataset.state)",
            arg=list(states),
            timeout=WAIT_MS,
        )

    def call(self, agent: str, *, microphone: bool = True) -> None:
        """Choose an agent, and call."""
        self.page.locator(f"#agent-list input[value={agent}]").check(force=True)
        self.page.locator("#microphone").set_checked(microphone)
        self.page.click("#call")
        self.wait("Connected", "#status")

    def type(self, text: str) -> None:
        """Send a typed message."""
        self.page.fill("#typed", text)
        self.page.press("#typed", "Enter")

    def tapped(self) -> Tapped:
        """What has been played so far."""
        taken = self.page.evaluate(TAKE_TAPPED)
        rate = taken["rate"] or RATE_HZ
        return Tapped(rate, taken["begin"] / rate, np.frombuffer(base64.b64decode(taken["sound"]), "<f4"))

    def happened(self, kind: str) -> list[float]:
        """When the page received events of one type, or clicks."""
        of_type = "(type) => probe.events.filter((one) => one.type === type).map((one) => one.at)"
        found: list[float] = self.page.evaluate(of_type, kind)
        return found

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """The server's events of one type."""
        return [event for event in self.received if event["type"] == kind]

    def agent_sound(self) -> NDArray[np.float32]:
        """All sound that the server sent, in order."""
        deltas = [base64.b64decode(event["delta"]) for event in self.of_type("response.output_audio.delta")]
        return from_pcm16(b"".join(deltas))

    def caller_sound(self) -> NDArray[np.float32]:
        """All sound that the page sent, in order."""
        frames = [event["audio"] for event in self.sent if event["type"] == "input_audio_buffer.append"]
        return from_pcm16(b"".join(map(base64.b64decode, frames)))

    def check_clean(self, allowed: Sequence[str] = ()) -> None:
        """Check for no console error except those allowed, no policy violation, and no request to another host."""
        left = [line for line in self.console if not any(part in line for part in allowed)]
        assert left == []
        assert self.page.evaluate("probe.violations") == []
        home = self.page.evaluate("location.host")
        strangers = [address for address in self.requests if address.split("/")[2] != home]
        assert strangers == []


def from_pcm16(sound: bytes) -> NDArray[np.float32]:
    """Samples from -1 to 1."""
    return (np.frombuffer(sound, "<i2") / np.float32(32768)).astype(np.float32)


def chromium_missing() -> str | None:
    """Why there is no browser for the tests, or None."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "pip install playwright"
    if not Path(CHROMIUM).exists():
        return "apt-get install chromium"
    return None if shutil.which("flite") else "apt-get install flite"


def say(folder: Path, *parts: float | str) -> Path:
    """A recording: texts in flite's voice, numbers as seconds of silence."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces: list[bytes] = []
    for part in parts:
        if isinstance(part, str):
            spoken = folder / "part.wav"
            subprocess.run(["flite", "-voice", "slt", "-t", part, "-o", str(spoken)], check=True, capture_output=True)
            format, (sound,) = read_wav(spoken)
            pieces.append(b"".join(resample_in_place([sound], format.rate_hz, MICROPHONE_HZ)))
        else:
            pieces.append(bytes(2 * round(part * MICROPHONE_HZ)))
    sound = b"".join(pieces)
    path = folder / "microphone.wav"
    sizes = (36 + len(sound)).to_bytes(4, "little"), len(sound).to_bytes(4, "little")
    rates = MICROPHONE_HZ.to_bytes(4, "little") + (MICROPHONE_HZ * 2).to_bytes(4, "little")
    shape = (16).to_bytes(4, "little") + b"\1\0\1\0" + rates + b"\2\0\x10\0"
    path.write_bytes(b"RIFF" + sizes[0] + b"WAVEfmt " + shape + b"data" + sizes[1] + sound)
    return path


@contextmanager
def chromium(playwright: Playwright, recording: Path, *, allow: bool = True) -> Iterator[Browser]:
    """A Chromium whose microphone is a recording; without `allow`, access to it is denied."""
    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={recording}%noloop"]
    if allow:
        flags.append("--use-fake-ui-for-media-stream")
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
    try:
        yield browser
    finally:
        browser.close()


def open_tab(
    browser: Browser,
    url: str,
    *,
    prepare: Callable[[Page], object] | None = None,
    own_rate: int | None = None,
    **context: Any,
) -> Tab:
    """The page with its probe. `own_rate`: as in Firefox, a microphone needs a context with the default rate."""
    page = browser.new_context(**{"viewport": {"width": 1280, "height": 860}, **context}).new_page()
    tab = Tab(page)
    page.add_init_script(PROBE.replace("OWN_RATE", json.dumps(own_rate)).replace("TAP_SOURCE", json.dumps(TAP)))
    page.on("console", lambda line: tab.console.append(line.text) if line.type in ("error", "warning") else None)
    page.on("pageerror", lambda problem: tab.console.append(f"uncaught: {problem}"))
    page.on("request", lambda request: tab.requests.append(request.url))
    page.on("websocket", lambda opened: _note(tab, opened))

    page.route(url + "/", _let_probe_in)
    if prepare is not None:
        prepare(page)
    page.goto(url)
    tab.until("document.querySelector('#agent-list input') || !document.getElementById('key-form').hidden")
    return tab


def _let_probe_in(route: Route) -> None:
    """The page's own policy, extended by the probe's one module: a worklet cannot be loaded otherwise."""
    answer = route.fetch()
    policy = answer.headers["content-security-policy"]
    headers = {**answer.headers, "content-security-policy": f"{policy}; script-src 'self' blob:"}
    route.fulfill(response=answer, headers=headers)


def _note(tab: Tab, opened: WebSocket) -> None:
    tab.requests.append(opened.url)
    opened.on("framesent", lambda text: tab.sent.append(json.loads(text)))
    opened.on("framereceived", lambda text: tab.received.append(json.loads(text)))
