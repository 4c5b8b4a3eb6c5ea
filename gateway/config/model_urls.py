"""Reduces the address of a model's service, as people copy it from a portal or an example, to the part that is needed.

People often copy the address of one API call. Used for another kind of call, its path would give a 404 while a caller
waits. So the path is removed here, or the address is refused at the start with the form that is expected.
Source: the paths of the OpenAI API reference, and of Azure's "v1" and dated APIs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import SplitResult, parse_qsl

from gateway.config.urls import read_url

AZURE_FORM = "write the resource's address, such as https://NAME.openai.azure.com"
OPENAI_FORM = "OpenAI's is https://api.openai.com/v1"

_AZURE = re.compile(r"([a-z0-9-]+\.)+(openai|services\.ai|cognitiveservices)\.azure\.(com|us|cn)")
_AZURE_PAGES = re.compile(r"(.+\.)?(azure|microsoft)\.(com|us|cn)")
_OPENAI = re.compile(r"([a-z0-9-]+\.)*api\.openai\.com")
_OPENAI_PAGES = re.compile(r"(.+\.)?(openai|chatgpt)\.com")
_AZURE_PATH = re.compile(r"/(openai|api/projects|models|v1)(?=/|$).*|")
_CALLS = re.compile(r"/(deployments|chat|completions|realtime|responses|embeddings)(?=/|$)")
_CALL = re.compile(
    r"/(realtime(/(client_secrets|sessions|calls|transcription_sessions))?|(chat/)?completions|responses|embeddings|models"
    r"|audio/(speech|transcriptions|translations))$"
)
# Every call sets these parameters of a query itself.
_SET_BY_CALLS = frozenset({"api-version", "deployment", "model", "intent"})


def azure_resource(url: str) -> str:
    """The address of a resource of Azure OpenAI without the API's path; for other hosts, what stands before that path.

    Raises ValueError, whose message says what form is expected and does not show the address.
    """
    try:
        parts = _read(url, ("https", "http", "wss", "ws"))
    except ValueError as error:
        raise ValueError(f"{error}; {AZURE_FORM}") from None
    host, path = parts.hostname or "", parts.path.rstrip("/")
    if _AZURE.fullmatch(host):
        if parts.scheme in ("http", "ws"):
            raise ValueError(f"must begin with https://, as Azure is reached over TLS only; {AZURE_FORM}")
        if path.startswith("/voice-live"):
            raise ValueError(f"belongs to Voice Live, which is not supported; {AZURE_FORM}")
        if not _AZURE_PATH.fullmatch(path):
            raise ValueError(f"has a path that Azure OpenAI does not have; {AZURE_FORM}")
        return f"{parts.scheme}://{parts.netloc}"
    if _AZURE_PAGES.fullmatch(host) or _OPENAI_PAGES.fullmatch(host):
        raise ValueError(f"is not the address of an Azure OpenAI resource; {AZURE_FORM}")
    ends = [found.start() for found in re.finditer(r"/(openai|api/projects)(?=/|$)", path)]
    path = path[: ends[-1]] if ends else path.removesuffix("/realtime")
    if _CALLS.search(path):
        raise ValueError(f"has the path of one call; {AZURE_FORM}")
    return f"{parts.scheme}://{parts.netloc}{path}"


def api_base(url: str, schemes: Sequence[str]) -> str:
    """The address of an OpenAI-compatible API, without the path of a call.

    Raises ValueError, whose message does not show the address.
    """
    parts = _read(url, schemes)
    host, path = parts.hostname or "", _CALL.sub("", parts.path.rstrip("/"))
    if _OPENAI.fullmatch(host):
        if parts.scheme in ("http", "ws") or path not in ("", "/v1"):
            raise ValueError(f"is not the address of OpenAI's API; {OPENAI_FORM}")
        path = "/v1"
    elif _OPENAI_PAGES.fullmatch(host):
        raise ValueError(f"is the address of a web page, not of an API; {OPENAI_FORM}")
    elif (_AZURE.fullmatch(host) and path != "/openai/v1") or "/openai/deployments/" in parts.path:
        raise ValueError(
            "belongs to Azure; for agents on azure/… set it as AZURE_OPENAI_ENDPOINT, otherwise write …/openai/v1"
        )
    elif path.endswith(("/api/chat", "/api/generate")):
        raise ValueError("is an API of Ollama's own; write http://HOST:PORT/v1, which is compatible with OpenAI's")
    return f"{parts.scheme}://{parts.netloc}{path}"


def _read(url: str, schemes: Sequence[str]) -> SplitResult:
    parts = read_url(url, schemes)
    asked = {name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if parts.username is not None or parts.fragment or (parts.query and not (asked and asked <= _SET_BY_CALLS)):
        raise ValueError(
            "must hold no user name, key or fragment, and no parameters after a ?; a key has a setting of its own"
        )
    return parts
