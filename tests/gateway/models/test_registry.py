from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from audio.formats import PCM16_24K, PCMA_8K, PCMU_8K
from gateway.agents.files import AgentProblem
from gateway.clock import SystemClock
from gateway.config.settings import Settings, load_settings
from gateway.ids import CountingIds
from gateway.models.in_process import InProcessConnector
from gateway.models.realtime.leg import OpenAIRealtimeConnector
from gateway.models.registry import ModelRegistry
from sessions.agent import Agent, AgentLimits, ModelChoice, ReplayPolicy, TurnDetection


def agent(model: str) -> Agent:
    kind, _, name = model.partition("/")
    return Agent(
        name="a",
        version="1",
        model=ModelChoice(kind, name),
        voice=None,
        greeting=None,
        instructions="",
        turn_detection=TurnDetection(),
        tools=(),
        offline=None,
        client_may_set=frozenset(),
        recording=False,
        replay=ReplayPolicy.OFF,
        limits=AgentLimits(),
    )


def settings(folder: Path, **environ: str) -> Settings:
    return load_settings({"PATCHBAY_AGENTS_DIR": str(folder), **environ}, folder)


def registry(folder: Path, **environ: str) -> ModelRegistry:
    return ModelRegistry(settings(folder, **environ), SystemClock(), CountingIds())


def test_an_agent_without_its_models_key_is_unavailable(tmp_path: Path) -> None:
    bare = registry(tmp_path)
    assert bare.unavailable(agent("openai/gpt-realtime")) == "OPENAI_API_KEY is not set"
    assert bare.unavailable(agent("azure/dep")) == "AZURE_OPENAI_ENDPOINT is not set"
    endpoint = registry(tmp_path, AZURE_OPENAI_ENDPOINT="https://r.openai.azure.com")
    assert "AZURE_OPENAI_API_KEY" in (endpoint.unavailable(agent("azure/dep")) or "")


def test_an_agent_with_its_models_key_has_a_connector(tmp_path: Path) -> None:
    keyed = registry(
        tmp_path,
        OPENAI_API_KEY="k",
        AZURE_OPENAI_ENDPOINT="https://r.openai.azure.com",
        AZURE_OPENAI_API_KEY="k",
    )
    for model in ("openai/gpt-realtime", "azure/dep"):
        assert keyed.unavailable(agent(model)) is None
        assert isinstance(keyed.connector(agent(model)), OpenAIRealtimeConnector)


def test_a_script_is_checked_with_its_agent(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("turns: 7\n")
    for name in ("bad.yaml", "none.yaml"):
        with pytest.raises(AgentProblem) as caught:
            registry(tmp_path).check(agent(f"scripted/{name}"))
        assert caught.value.field == "model"


def test_a_script_that_turns_bad_takes_no_call_away(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("refuse: [429]\n")
    known = registry(tmp_path)
    scripted = agent("scripted/s.yaml")
    known.check(scripted)
    assert isinstance(known.connector(scripted), InProcessConnector)
    path.write_text("turns: 7\n")
    asyncio.run(known.look([scripted]))
    assert isinstance(known.connector(scripted), InProcessConnector)
    path.unlink()
    os.mkfifo(path)  # whoever opened it would wait for ever
    assert isinstance(known.connector(scripted), InProcessConnector)
    asyncio.run(known.look([scripted]))
    with pytest.raises(AgentProblem, match="its script cannot be read: is a named pipe; put a plain file there"):
        known.check(scripted)


@pytest.mark.parametrize("name", ["ofline", "Offline", "offline/2", "llama"])
def test_the_local_model_goes_by_one_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(AgentProblem, match=f"model: there is no local/{name}; the embedded model is local/offline"):
        registry(tmp_path).check(replace(agent(f"local/{name}"), offline={"rules": []}))


def test_the_local_model_needs_a_dialogue(tmp_path: Path) -> None:
    with pytest.raises(AgentProblem) as caught:
        registry(tmp_path).check(agent("local/offline"))
    assert caught.value.field == "offline"
    bad = replace(agent("local/offline"), offline={"rules": [{"say": 5}]})
    with pytest.raises(AgentProblem) as caught:
        registry(tmp_path).check(bad)
    assert caught.value.field.startswith("offline.rules[0]")


@pytest.mark.parametrize("model", ["openai/gpt-realtime", "azure/desk", "scripted/s.yaml", "local/offline"])
def test_each_kind_of_model_says_which_sound_it_takes(tmp_path: Path, model: str) -> None:
    assert set(registry(tmp_path).formats(agent(model))) == {PCM16_24K, PCMU_8K, PCMA_8K}


def test_an_unknown_kind_of_model_takes_no_sound(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no model of kind typewriter"):
        registry(tmp_path).formats(agent("typewriter/1"))
