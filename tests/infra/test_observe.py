"""Rules and dashboards for Prometheus and Grafana: they use figures that exist, and each alert is tested."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.promql import grouped, labels_left, selectors

from gateway.telemetry.names import FAMILIES, Family, Kind

ROOT = Path(__file__).parents[2]
OBSERVE = ROOT / "infra" / "observe"
TARGET = ("job", "instance")
PROCESS = ("cpu_seconds_total", "resident_memory_bytes", "start_time_seconds", "open_fds", "max_fds")


def read(name: str) -> Any:
    return yaml.safe_load((OBSERVE / name).read_text())


def rules(name: str) -> list[dict[str, Any]]:
    return [rule for group in read(name)["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules("alerts.yaml")}
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((OBSERVE / "dashboards").glob("*.json"))}
PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]


def of_family(family: Family) -> dict[str, tuple[str, ...]]:
    """The names of a family's series with their labels."""
    labels = (*TARGET, *family.labels)
    if family.kind is not Kind.HISTOGRAM:
        return {family.name: labels}
    return {f"{family.name}_bucket": (*labels, "le"), f"{family.name}_sum": labels, f"{family.name}_count": labels}


@cache
def known() -> dict[str, tuple[str, ...]]:
    """Every metric that there is with its labels: figures, what libraries show, and what the rules record."""
    found = {"up": TARGET, "ALERTS": (*TARGET, "alertname", "alertstate", "severity")}
    found |= {f"process_{name}": TARGET for name in PROCESS}
    found["python_gc_collections_total"] = (*TARGET, "generation")
    for family in FAMILIES:
        found |= of_family(family)
    for rule in rules("rules.yaml"):
        found[rule["record"]] = tuple(sorted(labels_left(rule["expr"], found)))
    return found


def faults(expr: str) -> list[str]:
    """What an expression uses that does not exist."""
    found = [f"{one.metric} does not exist" for one in selectors(expr) if one.metric not in known()]
    if found:
        return found
    for one in selectors(expr):
        found += [f"{one.metric} has no {label}" for label in one.matchers if label not in known()[one.metric]]
    for labels, argument in grouped(expr):
        metrics = {one.metric for one in selectors(argument)} - {"up"}
        left = [labels_left(argument, known())] if grouped(argument) else [set(known()[metric]) for metric in metrics]
        found += [f"by ({label}) of {argument}" for label in labels if any(label not in one for one in left)]
    return found


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_it_is_what_happens_and_what_to_do(name: str) -> None:
    alert = ALERTS[name]
    assert name.startswith("Patchbay")
    assert alert["labels"]["severity"] in ("critical", "warning")
    for text in (alert["annotations"]["summary"], alert["annotations"]["description"]):
        assert text.endswith(".")
    assert len(alert["annotations"]["description"]) > 60
    told = set(re.findall(r"\$labels\.(\w+)", json.dumps(alert["annotations"])))
    assert told <= labels_left(alert["expr"], known())
    assert f"`{name}`" in (ROOT / "docs" / "telemetry.md").read_text()


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_a_test_of_firing_and_one_of_silence(name: str) -> None:
    cases = [
        case
        for path in sorted((OBSERVE / "tests").glob("*.yaml"))
        for case in yaml.safe_load(path.read_text())["tests"]
    ]
    firing = [case for case in cases if case["name"].startswith(f"{name} fires")]
    silent = [case for case in cases if case["name"].startswith(f"{name} is silent")]
    assert firing
    for case in firing:
        (asked,) = case["promql_expr_test"]
        assert asked["expr"] == f'ALERTS{{alertname="{name}",alertstate="firing"}}'
        assert asked["exp_samples"]
    assert silent
    for case in silent:
        (asked,) = case["alert_rule_test"]
        assert (asked["alertname"], asked["exp_alerts"]) == (name, [])
        assert case["input_series"]


@pytest.mark.parametrize(
    "rule", [*rules("rules.yaml"), *ALERTS.values()], ids=lambda rule: rule.get("record") or rule["alert"]
)
def test_a_rule_uses_figures_that_exist(rule: dict[str, Any]) -> None:
    assert faults(rule["expr"]) == []


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_uses_figures_that_exist_and_the_variables(panel: dict[str, Any]) -> None:
    chosen = {"instance": "$instance", "agent": "$agent", "model": "$model", "gen_ai_request_model": "$request_model"}
    for target in panel["targets"]:
        assert faults(target["expr"]) == []
        legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        assert legend <= labels_left(target["expr"], known())
        # A server's capacity is for the calls of all agents, and how long calls last is known for all models together.
        whole = "patchbay_call_capacity" in json.dumps(panel), "patchbay_call_duration" in target["expr"]
        needless = {label for label, without in zip(("agent", "model"), whole, strict=True) if without}
        for one in selectors(target["expr"]):
            if one.metric != "ALERTS":
                labels = set(known()[one.metric]) - needless
                wanted = {label: value for label, value in chosen.items() if label in labels}
                assert wanted.items() <= one.matchers.items(), one
            for bound in [one.matchers["le"]] if "le" in one.matchers else []:
                (family,) = [family for family in FAMILIES if f"{family.name}_bucket" == one.metric]
                assert bound in [str(float(bucket)) for bucket in family.buckets]


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_has_a_description_a_unit_and_legends(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith((".", ")"))
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    assert all(target["legendFormat"] for target in panel["targets"])


def test_every_figure_is_on_a_dashboard() -> None:
    shown = " ".join(
        target["expr"] for board in BOARDS.values() for panel in board["panels"] for target in panel.get("targets", [])
    )
    assert [
        family.name for family in FAMILIES if not re.search(rf"\b{family.name}(_bucket|_sum|_count)?\{{", shown)
    ] == []


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_asks_for_its_data_source_and_its_panels_lie_side_by_side(name: str) -> None:
    board = BOARDS[name]
    assert re.findall(r'"type": "prometheus", "uid": "(.*?)"', json.dumps(board)).count("${datasource}") > 10
    assert set(re.findall(r'"type": "prometheus", "uid": "(.*?)"', json.dumps(board))) == {"${datasource}"}
    assert [one["name"] for one in board["templating"]["list"]][:4] == ["datasource", "instance", "agent", "model"]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in board["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


def test_the_dashboards_are_made_from_their_descriptions() -> None:
    spec = importlib.util.spec_from_file_location("make_dashboards", OBSERVE / "dashboards" / "make.py")
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    made = maker.made()
    assert {path.stem for path in made} == set(BOARDS)
    for path, text in made.items():
        assert path.read_text() == text, f"run infra/observe/dashboards/make.py: {path.name} differs"


def test_the_example_of_alertmanager_names_alerts_that_exist() -> None:
    text = (OBSERVE / "alertmanager.yaml").read_text()
    named = set(re.findall(r'alertname = "(\w+)"', text))
    assert named
    assert named <= set(ALERTS)
    assert {
        route["receiver"] for route in [yaml.safe_load(text)["route"], *yaml.safe_load(text)["route"]["routes"]]
    } == {receiver["name"] for receiver in yaml.safe_load(text)["receivers"]}


@pytest.mark.parametrize(
    ("expr", "fault"),
    [
        ("patchbay_nothing_total", "patchbay_nothing_total does not exist"),
        ('sum(rate(patchbay_turns_total{tenant=~".*"}[5m]))', "patchbay_turns_total has no tenant"),
        ("sum by (job, model) (rate(patchbay_turns_total[5m]))", "by (model) of rate(patchbay_turns_total[5m])"),
        ("sum by (le) (sum by (job) (patchbay_live_calls))", "by (le) of sum by (job) (patchbay_live_calls)"),
        ("patchbay_turn_latency_seconds > 1", "patchbay_turn_latency_seconds does not exist"),
    ],
)
def test_a_name_that_does_not_exist_is_found(expr: str, fault: str) -> None:
    assert faults(expr) == [fault]


def promtool(*arguments: str) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("install Debian's prometheus, which has promtool")
    done = subprocess.run([program, *arguments], cwd=OBSERVE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_rules_and_the_configuration() -> None:
    promtool("check", "rules", "rules.yaml", "alerts.yaml")
    promtool("check", "config", "--syntax-only", "prometheus.yaml")


def test_promtool_runs_the_tests_of_the_alerts() -> None:
    promtool("test", "rules", *(str(path) for path in sorted((OBSERVE / "tests").glob("*.yaml"))))
