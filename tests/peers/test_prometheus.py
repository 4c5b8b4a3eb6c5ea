"""Prometheus scrapes a server under load: every panel and rule has data, and slow answers raise an alert that ends."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from peers.observed_load import (
    QUICK_MS,
    SLOW_MS,
    TALKERS,
    crowd,
    observed_server,
    odd_calls,
    set_pace,
    talk,
    telephone_call,
)
from peers.prometheus_process import OBSERVE, WINDOW_S, Prometheus, needs_prometheus, prometheus
from peers.server_callers import all_of, run
from peers.server_process import Server

pytestmark = [pytest.mark.sockets, pytest.mark.timed, needs_prometheus]

ALERT = ("PatchbayAnswersSlow", "talker")
# What does not occur here, by the series that the expression needs, and why.
CANNOT_OCCUR = {
    "patchbay_store_request_units_total": "only Cosmos DB charges request units",
    "patchbay_store_operations_total": "only remote stores are counted by operation",
    "patchbay_store_operation_seconds_total": "only remote stores are counted by operation",
    "patchbay_tickets_refused_total": "only somebody who guesses a carrier's ticket is refused so",
    "patchbay_telemetry_items_total": "no destination is set",
    "patchbay_telemetry_dropped_total": "no destination is set",
    "patchbay_telemetry_up": "no destination is set",
}


@dataclass
class Watched:
    """What was seen. Times are seconds of Unix time."""

    prometheus: Prometheus
    began_s: float
    ended_s: float = 0.0
    timeline: list[tuple[float, str]] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    telephone: str = ""

    def note(self, text: str) -> None:
        """Something happens now."""
        self.timeline.append((time.time(), text))

    def at(self, text: str) -> float:
        """When this happened last. Fails if it did not."""
        return next(at_s for at_s, what in reversed(self.timeline) if what == text)

    def last(self, begins: str) -> str:
        """The last thing that happened whose words begin so; empty if there is none."""
        return next((what for _, what in reversed(self.timeline) if what.startswith(begins)), "")

    def series(self, expr: str) -> list[dict[str, Any]]:
        """What an expression gave in the whole time."""
        return self.prometheus.during(expr, self.began_s, self.ended_s)


async def watch(watched: Watched, over: asyncio.Event) -> None:
    """Note each change of the alert's state."""
    before = "inactive"
    while not over.is_set():
        alerts = await asyncio.to_thread(watched.prometheus.alerts)
        state, annotations = alerts.get(ALERT, ("inactive", {}))
        if state != before:
            watched.note(f"the alert is {state}")
            watched.annotations |= annotations
        before = state
        await asyncio.sleep(0.2)


async def until(happened: Callable[[], bool], seconds: float) -> None:
    """Wait for something that the timeline will have."""
    async with asyncio.timeout(seconds):
        while not happened():
            await asyncio.sleep(0.1)


async def drive(server: Server, watched: Watched) -> None:
    """Calls of every kind, with an ordinary model, then with a slow one, then with an ordinary one again."""
    over = asyncio.Event()

    def alert_is(state: str) -> Callable[[], bool]:
        return lambda: watched.last("the alert") == f"the alert is {state}"

    async with asyncio.TaskGroup() as group:
        group.create_task(watch(watched, over))
        telephones = [
            group.create_task(asyncio.to_thread(telephone_call, server, carrier))
            for carrier in ("twilio", "audiosocket")
        ]
        for talker in range(TALKERS):
            group.create_task(talk(server, over, after_s=talker * SLOW_MS / 1000 / TALKERS))
        await odd_calls(server)
        watched.note("the model becomes slow")
        set_pace(server, SLOW_MS)
        await all_of(until(alert_is("firing"), 30), odd_calls(server))
        await crowd(server)
        watched.note("the model is quick again")
        set_pace(server, QUICK_MS)
        await until(alert_is("inactive"), 30)
        over.set()
        watched.telephone = "".join([await telephone for telephone in telephones])


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A server and its Prometheus after the load; Prometheus still answers."""
    folder = tmp_path_factory.mktemp("observed")
    with observed_server(folder / "server") as server, prometheus(folder / "prometheus", server) as monitor:
        found = Watched(monitor, time.time())
        run(lambda: drive(server, found), seconds=80)
        time.sleep(1.5)  # one more scrape and one more evaluation
        found.ended_s = time.time()
        yield found


def panel_expressions() -> list[tuple[str, str]]:
    """Place and text of every expression of every panel, with all values chosen."""
    found = []
    for path in sorted((OBSERVE / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                expr = target["expr"].replace("$__rate_interval", f"{WINDOW_S}s").replace("$__range", f"{WINDOW_S}s")
                expr = re.sub(r"\$\w+", ".*", expr)
                found.append((f"{path.stem}: {panel['title']} {target['refId']}", expr))
    return found


def rule_expressions(folder: Path) -> list[tuple[str, str]]:
    """The name of every rule, and what has data if the rule works: what it records, or what it compares."""
    found = []
    for name in ("rules.yaml", "alerts.yaml"):
        for group in yaml.safe_load((folder / name).read_text())["groups"]:
            for rule in group["rules"]:
                compared = re.sub(r" (==|>=?|<=?) [\d.]+", "", rule["expr"])
                found.append((rule.get("record") or rule["alert"], rule.get("record") or compared))
    return found


def lacks_series(expr: str) -> list[str]:
    """Which series that cannot occur here an expression needs."""
    return [name for name in CANNOT_OCCUR if name in expr]


def test_every_panel_and_rule_has_data(watched: Watched) -> None:
    assert watched.telephone == ""
    folder = Path(watched.prometheus.ask("status/flags")["config.file"]).parent
    expressions = [*panel_expressions(), *rule_expressions(folder)]
    assert len(expressions) > 120
    empty = [f"{place}: {expr}" for place, expr in expressions if not lacks_series(expr) and not watched.series(expr)]
    assert not empty, "\n" + "\n".join(empty)
    without = {name: [place for place, expr in expressions if name in expr] for name in CANNOT_OCCUR}
    print(f"\n{len(expressions)} expressions; without data here:")
    for name, places in without.items():
        assert places, f"{name} is used nowhere"
        assert not watched.series(name), f"{name} does occur"
        print(f"  {CANNOT_OCCUR[name]}: {', '.join(places)}")


def test_all_rules_are_loaded_and_healthy(watched: Watched) -> None:
    groups = watched.prometheus.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 45
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []


def test_a_slow_model_raises_an_alert_that_ends_when_answers_are_quick_again(watched: Watched) -> None:
    quantile = 'agent:patchbay_turn_latency_seconds:p95_5m{agent="talker"}'
    (series,) = watched.series(quantile)
    values = [(float(at_s), f"p95 {float(value):.2f} s") for at_s, value in series["values"] if value != "NaN"]
    print(
        "\n" + "\n".join(f"{at_s - watched.began_s:5.1f} s  {text}" for at_s, text in sorted(watched.timeline + values))
    )
    print(watched.annotations)
    slow, firing = watched.at("the model becomes slow"), watched.at("the alert is firing")
    quick, ended = watched.at("the model is quick again"), watched.at("the alert is inactive")
    assert watched.at("the alert is pending") > slow
    assert slow < firing < quick < ended
    assert "answers of talker take" in watched.annotations["summary"].replace("takes", "take")


def test_alerts_fire_for_what_went_wrong_and_no_others(watched: Watched) -> None:
    fired = {series["metric"]["alertname"] for series in watched.series('ALERTS{alertstate="firing"}')}
    wanted = {"AnswersSlow", "CallsBroken", "CallsRefused", "McpServerDown"}
    busy = {"AnswersVerySlow", "CapacityNear", "LoopLag"}  # on a machine that is slow itself
    perhaps = {"CostRate", "DialsFailing", "ManyCallsBroken", "Redials", "ToolsFailing"} | busy
    names = {str(name).removeprefix("Patchbay") for name in fired}
    print(f"\nfired: {', '.join(sorted(names))}")
    assert wanted <= names <= wanted | perhaps
