"""`patchbay call`: be a caller, over the real socket, and print what came of each turn."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import typer
from rich.table import Table

from gateway.auth.keys import fits_a_header
from gateway.clock import SystemClock
from gateway.command_output import AsJson, fail, out, words_of
from gateway.urls import read_plain_url

GATEWAY_SCHEMES = ("https", "http", "wss", "ws")
MAX_TIMEOUT_S = 86_400


class UsedWrongly(ValueError):
    """An option that cannot be; the message names it."""


def call(
    agent: Annotated[str, typer.Argument(help="The agent to call.")],
    turns: Annotated[list[str] | None, typer.Argument(help="Recordings (WAV), or text:WORDS, one a turn.")] = None,
    text: Annotated[list[str] | None, typer.Option(help="A turn spoken by espeak-ng, after the recordings.")] = None,
    barge_in: Annotated[
        list[str] | None, typer.Option(help="TURN:MS: start that turn so long after the agent became audible.")
    ] = None,
    url: Annotated[str, typer.Option(help="The gateway.", envvar="PATCHBAY_URL")] = "http://127.0.0.1:8080",
    key: Annotated[str | None, typer.Option(help="An API key.", envvar="PATCHBAY_API_KEY")] = None,
    ca: Annotated[Path | None, typer.Option(help="A PEM file: whom to trust for the gateway's certificate.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Do not verify the gateway's certificate.")] = False,
    save: Annotated[Path, typer.Option(help="Where the stereo recording goes (caller left, agent right).")] = Path(
        "call.wav"
    ),
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer.")] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Be a caller: play recordings to an agent in real time, save both sides, and print the turn table."""
    from gateway.phone.line import LineOptions, PhoneCall
    from gateway.phone.plan import TEXT_PREFIX, PlanError, read_plan
    from gateway.phone.proxy import ProxyFault, proxy_for

    tell: Callable[[str], None] = (lambda line: None) if as_json else out.print
    try:
        check_url(url)
        check_key(key)
        check_timeout(timeout)
        check_folder(save)
        check_words([agent, *(text or []), *(turn for turn in turns or [] if turn.startswith(TEXT_PREFIX))])
        tls = tls_for(url, ca, insecure)
        address = realtime_url(url, agent)
        proxy = proxy_for(address)
        plan = read_plan(turns or [], text or [], barge_in or [], _speak)
    except (PlanError, ProxyFault, UsedWrongly) as problem:
        fail(str(problem), 2, as_json=as_json)
    remarks = [line for turn in plan for line in turn.remark.splitlines()]
    for remark in remarks:
        if not as_json:
            out.print(remark, soft_wrap=True)
    phone = PhoneCall(plan, agent, SystemClock(), tell)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    _dial(phone, LineOptions(address, headers, timeout, tls=tls, proxy=proxy), url, as_json)
    if not as_json:
        out.print(_table(phone.report))
    unsaved = _save(phone, save)
    if as_json:
        said: dict[str, Any] = phone.report.as_json() | ({"remarks": remarks} if remarks else {})
        out.print_json(json.dumps(said if unsaved is None else said | {"error": {"message": unsaved}}))
    elif unsaved is None:
        why = ", ".join(str(problem) for problem in phone.report.problems[-2:]) if phone.report.failed else ""
        ended = f"{phone.report.ended} ({why})" if why else phone.report.ended
        told = f"session {phone.report.session_id}, ended: {ended}; both sides saved in {save}"
        out.print(told)
    else:
        fail(unsaved, 1, as_json=False)
    raise typer.Exit(1 if unsaved is not None or phone.report.failed else 0)


def _dial(phone: Any, options: Any, url: str, as_json: bool) -> None:
    """Hold the call. Ends the command where there is none."""
    from websockets.exceptions import InvalidStatus, WebSocketException

    from gateway.phone.proxy import shown

    way = "" if options.proxy is None else f" through the proxy {shown(options.proxy)}"
    try:
        asyncio.run(_held(phone, options))
    except asyncio.CancelledError:
        fail("interrupted before there was a call", 1, as_json=as_json)
    except InvalidStatus as refused:
        fail(f"the gateway refused the call: {_reason(refused)}", 1, as_json=as_json)
    except ssl.SSLCertVerificationError as problem:
        told = f"the certificate of {url}{way} is not trusted: {problem.verify_message}"
        fail(f"{told}; name its authority with --ca FILE, or do without with --insecure", 1, as_json=as_json)
    except (OSError, WebSocketException, TimeoutError, ImportError) as problem:
        told = f"the gateway at {url} cannot be reached{way}: {problem or type(problem).__name__}"
        if way:
            told += (
                "; the environment names that proxy (HTTPS_PROXY or the like): to go straight, put the host in NO_PROXY"
            )
        fail(told, 1, as_json=as_json)


async def _held(phone: Any, options: Any) -> None:
    """Ctrl-C hangs up, and what was said until then is saved and told; a second one ends the command."""
    loop, this = asyncio.get_running_loop(), asyncio.current_task()

    def interrupted() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        if not phone.hang_up() and this is not None:
            this.cancel()

    with suppress(NotImplementedError):  # Windows: there it ends the command at once
        loop.add_signal_handler(signal.SIGINT, interrupted)
    await phone.run(options)


def check_url(url: str) -> None:
    """Whether a gateway can be there. Raises UsedWrongly."""
    try:
        read_plain_url(url, GATEWAY_SCHEMES)
    except ValueError as problem:
        shown = "" if set("@?#") & set(url) else f" {url}"  # what stands before an @ or behind a ? may be a secret
        told = f"--url{shown} (or PATCHBAY_URL): {problem}; write one such as http://127.0.0.1:8080"
        raise UsedWrongly(told) from problem


def check_key(key: str | None) -> None:
    """Whether a request can carry the key, which no message shows. Raises UsedWrongly."""
    if key and not fits_a_header(key):
        told = "a key has visible ASCII characters only, without spaces; copy it again"
        raise UsedWrongly(f"--key (or PATCHBAY_API_KEY): {told}")


def check_words(words: Iterable[str]) -> None:
    """Whether what is named or said is text; Python passes on what it cannot read as such. Raises UsedWrongly."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as problem:
            raise UsedWrongly(f"{word!a}: is not UTF-8 text; write it as such") from problem


def check_timeout(timeout_s: float) -> None:
    """Whether one can wait so long. Raises UsedWrongly."""
    if not 0 < timeout_s <= MAX_TIMEOUT_S:  # nor is NaN
        raise UsedWrongly(f"--timeout {timeout_s:g}: must be a number of seconds above 0, at most {MAX_TIMEOUT_S}")


def check_folder(save: Path) -> None:
    """Whether a recording can be saved there, asked before a call is made for nothing. Raises UsedWrongly."""
    folder = save.parent
    if not folder.is_dir():
        raise UsedWrongly(f"--save {save}: there is no folder {folder}; make it, or save elsewhere")
    if save.is_dir():
        raise UsedWrongly(f"--save {save}: is a folder; name a file in it")
    if not os.access(save if save.exists() else folder, os.W_OK):
        raise UsedWrongly(f"--save {save}: may not be written; save elsewhere")


def tls_for(url: str, ca: Path | None, insecure: bool) -> ssl.SSLContext | None:
    """How to verify the gateway; None: as the system does. Raises UsedWrongly."""
    option = f"--ca {ca}" if ca is not None else "--insecure"
    if ca is None and not insecure:
        return None
    if ca is not None and insecure:
        raise UsedWrongly("--ca and --insecure: give one of them")
    if urlsplit(url).scheme not in ("https", "wss"):
        raise UsedWrongly(f"{option}: {url} has no certificate; write https:// where the gateway has one")
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as problem:  # SSLError is one
        why = problem.strerror if problem.filename or isinstance(problem, FileNotFoundError) else None
        raise UsedWrongly(f"{option}: {why or 'holds no certificate in PEM'}") from problem
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def realtime_url(url: str, agent: str) -> str:
    """The socket of a gateway given by its http or https address."""
    split = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(split.scheme, split.scheme)
    query = urlencode({"model": agent, "greeting": "1", "server_tools": "show"})
    return urlunsplit((scheme, split.netloc, f"{split.path.rstrip('/')}/v1/realtime", query, ""))


def _speak(words: str) -> bytes:
    from gateway.models.local.voice import speak_pcm16_24k

    return speak_pcm16_24k(words)


def _save(phone: Any, path: Path) -> str | None:
    """Write both sides; why that failed, None where it did not."""
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


def _reason(refused: Any) -> str:
    try:
        error = json.loads(refused.response.body or b"")["error"]
    except (ValueError, KeyError, TypeError):
        return f"HTTP {refused.response.status_code}"
    return f"{error['message']} ({error['code']})"
