"""`patchbay call`: acts as a caller over a real socket, and prints the result of each turn."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import urlencode, urlsplit, urlunsplit

import typer
from rich.table import Table

from gateway.auth.keys import fits_a_header
from gateway.cli.call_as import Carrier, options_for, server_at
from gateway.cli.output import AsJson, UsedWrongly, fail, out, words_of
from gateway.clock import SystemClock
from gateway.config.urls import read_plain_url

GATEWAY_SCHEMES = ("https", "http", "wss", "ws")
MAX_TIMEOUT_S = 86_400


def call(
    agent: Annotated[str, typer.Argument(help="The agent to call.")],
    turns: Annotated[list[str] | None, typer.Argument(help="Recordings (WAV), or text:WORDS; one per turn.")] = None,
    text: Annotated[list[str] | None, typer.Option(help="A turn spoken by espeak-ng, after the recordings.")] = None,
    barge_in: Annotated[
        list[str] | None, typer.Option(help="TURN:MS: start that turn MS milliseconds after the agent became audible.")
    ] = None,
    url: Annotated[str, typer.Option(help="The gateway.", envvar="PATCHBAY_URL")] = "http://127.0.0.1:8080",
    key: Annotated[str | None, typer.Option(help="An API key.", envvar="PATCHBAY_API_KEY")] = None,
    ca: Annotated[Path | None, typer.Option(help="A PEM file with the authority of the gateway's certificate.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Do not verify the gateway's certificate.")] = False,
    save: Annotated[Path, typer.Option(help="The file for the stereo recording (caller left, agent right).")] = Path(
        "call.wav"
    ),
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer.")] = 30.0,
    carrier: Annotated[
        Carrier | None,
        typer.Option("--as", help="Call as this carrier does, a server on this machine with this folder's settings."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Act as a caller: play recordings to an agent in real time, save both sides, and print a table of the turns."""
    from gateway.config.settings import SettingsError
    from gateway.softphone.plan import TEXT_PREFIX, PlanError, read_plan
    from gateway.softphone.proxy import ProxyFault

    try:
        check_url(url)
        check_key(key)
        check_timeout(timeout)
        check_folder(save)
        check_words([agent, *(text or []), *(turn for turn in turns or [] if turn.startswith(TEXT_PREFIX))])
        tls = tls_for(url, ca, insecure)
        options: Any
        if carrier is None:
            options = _realtime_options(url, agent, key, timeout, tls)
        else:
            options = options_for(carrier, agent, server_at(url, key, tls), timeout)
        speak = _speak_wide if carrier is None or carrier.wide else _speak_narrow
        plan = read_plan(turns or [], text or [], barge_in or [], speak)
    except (PlanError, ProxyFault, SettingsError, UsedWrongly) as problem:
        fail(str(problem), 2, as_json=as_json)
    remarks = [line for turn in plan for line in turn.remark.splitlines()]
    for remark in remarks:
        if not as_json:
            out.print(remark, soft_wrap=True)
    tell: Callable[[str], None] = (lambda line: None) if as_json else out.print
    phone = _phone(carrier)(plan, agent, SystemClock(), tell)
    _make_call(phone, options, url, as_json)
    _finish(phone, save, remarks, as_json)


def _phone(carrier: Carrier | None) -> Any:
    """The class that makes the call."""
    if carrier is None:
        from gateway.softphone.client import PhoneCall

        return PhoneCall
    from gateway.softphone.telephone import TelephoneCall

    return TelephoneCall


def _realtime_options(url: str, agent: str, key: str | None, timeout: float, tls: ssl.SSLContext | None) -> Any:
    """How to call an agent as a Realtime client. Raises ProxyFault."""
    from gateway.softphone.client import ClientOptions
    from gateway.softphone.proxy import proxy_for

    address = realtime_url(url, agent)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return ClientOptions(address, headers, timeout, tls=tls, proxy=proxy_for(address))


def _finish(phone: Any, save: Path, remarks: list[str], as_json: bool) -> NoReturn:
    """Save both sides and print the result."""
    report = phone.report
    if not as_json:
        out.print(_table(report))
        for line in (*(f"the gateway broke the protocol: {fault}" for fault in report.faults), report.remark):
            if line:
                out.print(line, soft_wrap=True)
    unsaved = _save(phone, save)
    if as_json:
        result: dict[str, Any] = report.as_json() | ({"remarks": remarks} if remarks else {})
        out.print_json(json.dumps(result if unsaved is None else result | {"error": {"message": unsaved}}))
    elif unsaved is None:
        out.print(last_line(report, save))
    else:
        fail(unsaved, 1, as_json=False)
    raise typer.Exit(1 if unsaved is not None or report.failed else 0)


def last_line(report: Any, save: Path) -> str:
    """Who or what ended the call, and where it is saved."""
    why = ", ".join(str(problem) for problem in report.problems[-2:]) if report.failed else ""
    reason = report.ended.removesuffix(".")  # the gateway's own reasons are whole sentences
    ended = f"{reason} ({why})" if why else reason
    return f"session {report.session_id}, ended: {ended}; both sides saved in {save}"


def _make_call(phone: Any, options: Any, url: str, as_json: bool) -> None:
    """Make the call. Exits with an error message where it cannot be made."""
    from websockets.exceptions import InvalidStatus, WebSocketException

    from gateway.softphone.lines.line import LineRefused
    from gateway.softphone.proxy import without_password

    proxy = getattr(options, "proxy", None)
    via = "" if proxy is None else f" through the proxy {without_password(proxy)}"
    try:
        asyncio.run(_run_call(phone, options))
    except asyncio.CancelledError:
        fail("interrupted before there was a call", 1, as_json=as_json)
    except LineRefused as refused:
        fail(str(refused), 1, as_json=as_json)
    except InvalidStatus as refused:
        fail(f"the gateway refused the call: {_refusal_reason(refused)}", 1, as_json=as_json)
    except ssl.SSLCertVerificationError as problem:
        message = f"the certificate of {url}{via} is not trusted: {problem.verify_message}"
        fail(f"{message}; name its authority with --ca FILE, or skip the check with --insecure", 1, as_json=as_json)
    except (OSError, WebSocketException, TimeoutError, ImportError) as problem:
        message = f"the gateway at {url} cannot be reached{via}: {problem or type(problem).__name__}"
        if via:
            message += "; the environment names this proxy (HTTPS_PROXY or similar); NO_PROXY can exempt the host"
        fail(message, 1, as_json=as_json)


async def _run_call(phone: Any, options: Any) -> None:
    """Run the call. The first Ctrl-C hangs up, and the call so far is saved; a second one ends the command."""
    loop, this = asyncio.get_running_loop(), asyncio.current_task()

    def interrupted() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        if not phone.hang_up() and this is not None:
            this.cancel()

    with suppress(NotImplementedError):  # on Windows, Ctrl-C ends the command at once
        loop.add_signal_handler(signal.SIGINT, interrupted)
    await phone.run(options)


def check_url(url: str) -> None:
    """Check that a gateway may be at this address. Raises UsedWrongly."""
    try:
        read_plain_url(url, GATEWAY_SCHEMES)
    except ValueError as problem:
        # The part before an @ or after a ? may be a secret.
        shown_url = "" if set("@?#") & set(url) else f" {url}"
        message = f"--url{shown_url} (or PATCHBAY_URL): {problem}; write one such as http://127.0.0.1:8080"
        raise UsedWrongly(message) from problem


def check_key(key: str | None) -> None:
    """Check that a request header can carry the key. The message does not show the key. Raises UsedWrongly."""
    if key and not fits_a_header(key):
        message = "a key consists of visible ASCII characters without spaces; copy it again"
        raise UsedWrongly(f"--key (or PATCHBAY_API_KEY): {message}")


def check_words(words: Iterable[str]) -> None:
    """Check that names and spoken words are text: Python passes undecodable arguments on. Raises UsedWrongly."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as problem:
            raise UsedWrongly(f"{word!a}: is not UTF-8 text") from problem


def check_timeout(timeout_s: float) -> None:
    """Check that the timeout is usable. Raises UsedWrongly."""
    if not 0 < timeout_s <= MAX_TIMEOUT_S:  # also false for NaN
        raise UsedWrongly(f"--timeout {timeout_s:g}: must be a number of seconds above 0, at most {MAX_TIMEOUT_S}")


def check_folder(save: Path) -> None:
    """Check, before the call is made, that a recording can be saved at this path. Raises UsedWrongly."""
    folder = save.parent
    if not folder.is_dir():
        raise UsedWrongly(f"--save {save}: there is no folder {folder}; create it, or save elsewhere")
    if save.is_dir():
        raise UsedWrongly(f"--save {save}: is a folder; name a file in it")
    if not os.access(save if save.exists() else folder, os.W_OK):
        raise UsedWrongly(f"--save {save}: cannot be written; save elsewhere")


def tls_for(url: str, ca: Path | None, insecure: bool) -> ssl.SSLContext | None:
    """How to verify the gateway's certificate; None: with the system's authorities. Raises UsedWrongly."""
    option = f"--ca {ca}" if ca is not None else "--insecure"
    if ca is None and not insecure:
        return None
    if ca is not None and insecure:
        raise UsedWrongly("--ca and --insecure: give only one of them")
    if urlsplit(url).scheme not in ("https", "wss"):
        raise UsedWrongly(f"{option}: {url} has no certificate; write https:// if the gateway has one")
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as problem:  # SSLError is an OSError
        why = problem.strerror if problem.filename or isinstance(problem, FileNotFoundError) else None
        raise UsedWrongly(f"{option}: {why or 'holds no PEM certificate'}") from problem
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def realtime_url(url: str, agent: str) -> str:
    """The address of a gateway's Realtime socket, from its http or https address."""
    split = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(split.scheme, split.scheme)
    query = urlencode({"model": agent, "greeting": "1", "server_tools": "show"})
    return urlunsplit((scheme, split.netloc, f"{split.path.rstrip('/')}/v1/realtime", query, ""))


def _speak_wide(words: str) -> bytes:
    from gateway.models.local.speech.voice import speak_pcm16_24k

    return speak_pcm16_24k(words)


def _speak_narrow(words: str) -> bytes:
    from gateway.models.local.speech.voice import NARROW_VOICE, speak_pcm16_24k

    return speak_pcm16_24k(words, NARROW_VOICE)


def _save(phone: Any, path: Path) -> str | None:
    """Write both sides to a file. Returns why that failed, or None."""
    from audio.formats import PCM16_24K
    from audio.wav import write_wav

    caller, agent = phone.tracks()
    try:
        write_wav(path, PCM16_24K, [caller, agent])
    except OSError as problem:
        return f"the recording could not be saved: {words_of(problem)}"
    phone.report.saved = {"stereo": str(path)}
    return None


def _table(report: Any) -> Table:
    table = Table("turn", "said", "heard", "answer", "tools", "latency", title=f"call to {report.agent}")
    if report.greeting:
        table.add_row("", "", "", report.greeting, "", "")
    for turn in report.turns:
        tools = "\n".join(f"{tool.name}{' (failed)' if tool.error else ''} {tool.arguments}" for tool in turn.tools)
        latency = "–" if turn.latency_ms is None else f"{turn.latency_ms} ms"
        answer = f"{turn.answer} ✂" if turn.interrupted else turn.answer
        if turn.problem is not None and turn.error is None:
            answer = f"{answer} [{turn.problem}]".lstrip()
        table.add_row(str(turn.number), turn.said, turn.heard, turn.error or answer, tools, latency)
    return table


def _refusal_reason(refused: Any) -> str:
    try:
        error = json.loads(refused.response.body or b"")["error"]
    except (ValueError, KeyError, TypeError):
        return f"HTTP {refused.response.status_code}"
    return f"{error['message']} ({error['code']})"
