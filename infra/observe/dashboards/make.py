"""Makes Grafana's JSON files from the short descriptions in `panels/`:

    python infra/observe/dashboards/make.py

A description has the title of a dashboard and rows of panels. A panel has a `title`, a sentence that `says` what it
shows, a `unit` of Grafana, and `queries`: pairs of an expression and a legend. `kind` is graph (if nothing is said),
stat, states, heatmap or table; `width` is of 24. In an expression `$I`, `$A`, `$M` and `$R`, alone or together, stand
for the selectors of the variables instance, agent, model, and model as the gen_ai_ metrics write it.
Source: Grafana 11's dashboard JSON; schemaVersion 39 is read by 11 and 12.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
SELECTORS = {
    "I": 'instance=~"$instance"',
    "A": 'agent=~"$agent"',
    "M": 'model=~"$model"',
    "R": 'gen_ai_request_model=~"$request_model"',
}
TYPES = {"graph": "timeseries", "stat": "stat", "states": "state-timeline", "heatmap": "heatmap", "table": "table"}
HEIGHT = {"stat": 4, "row": 1}
OPTIONS: dict[str, dict[str, Any]] = {
    "graph": {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {"reduceOptions": {"calcs": ["lastNotNull"]}, "graphMode": "area", "colorMode": "value"},
    "states": {"showValue": "never", "legend": {"displayMode": "list", "placement": "bottom"}},
    "heatmap": {"calculate": False, "color": {"mode": "scheme", "scheme": "Oranges"}, "cellGap": 1},
    "table": {},
}
GOOD_OR_BAD = {
    "type": "value",
    "options": {"0": {"text": "no", "color": "red"}, "1": {"text": "yes", "color": "green"}},
}


def expanded(expr: str) -> str:
    """The expression with the selectors written out."""
    return re.sub(r"\$([IAMR]+)\b", lambda found: ",".join(SELECTORS[one] for one in found[1]), expr.strip())


def variable(name: str, label: str, query: str, **more: Any) -> dict[str, Any]:
    """A variable whose values Prometheus has; several can be chosen, and all are at first."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        **more,
    }


def variables() -> list[dict[str, Any]]:
    """The same in every dashboard."""
    models = 'label_values(patchbay_model_legs_opened_total{model=~"$model"}, model)'
    return [
        {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus"},
        variable("instance", "Instance", "label_values(patchbay_ready, instance)", allValue=".*"),
        variable("agent", "Agent", "label_values(patchbay_calls_started_total, agent)", allValue=".*"),
        variable("model", "Model", "label_values(patchbay_model_legs_opened_total, model)", allValue=".*"),
        # Hidden: the chosen models without their kind (`openai/x` is `x` there). All means all of the chosen ones.
        variable("request_model", "", models, regex="/^[^\\/]+\\/(.*)$/", hide=2),
    ]


def panel(source: dict[str, Any], number: int, place: dict[str, int]) -> dict[str, Any]:
    """One panel."""
    kind = source.get("kind", "graph")
    defaults: dict[str, Any] = {"unit": source["unit"], "min": 0}
    if kind == "graph":
        stacking = {"mode": "normal" if source.get("stack") else "none"}
        defaults["custom"] = {"fillOpacity": 10, "lineWidth": 1, "showPoints": "never", "stacking": stacking}
    if kind == "states":
        defaults["mappings"] = [GOOD_OR_BAD]
    if "limits" in source:
        steps = [{"color": color, "value": value} for value, color in source["limits"]]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        defaults["color"] = {"mode": "thresholds"}
    if kind == "heatmap":
        options = {**OPTIONS[kind], "yAxis": {"unit": source["unit"]}}
    else:
        options = OPTIONS[kind]
    return {
        "id": number,
        "type": TYPES[kind],
        "title": source["title"],
        "description": source["says"],
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [target(kind, index, *query) for index, query in enumerate(source["queries"])],
    }


def target(kind: str, index: int, expr: str, legend: str) -> dict[str, Any]:
    """One query of a panel."""
    shape = {"heatmap": "heatmap", "table": "table"}.get(kind, "time_series")
    return {
        "refId": chr(ord("A") + index),
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": expanded(expr),
        "legendFormat": legend,
        "format": shape,
        "instant": kind == "table",
        "range": kind != "table",
    }


def laid_out(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The panels row by row: each as wide as it says, in lines of 24."""
    made: list[dict[str, Any]] = []
    y = 0
    for row in rows:
        title = {"id": len(made) + 1, "type": "row", "title": row["row"], "collapsed": False, "panels": []}
        made.append({**title, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y, x, tallest = y + 1, 0, 0
        for source in row["panels"]:
            width, height = source.get("width", 8), HEIGHT.get(source.get("kind", "graph"), 8)
            if x + width > 24:
                y, x, tallest = y + tallest, 0, 0
            made.append(panel(source, len(made) + 1, {"x": x, "y": y, "w": width, "h": height}))
            x, tallest = x + width, max(tallest, height)
        y += tallest
    return made


def dashboard(name: str, source: dict[str, Any]) -> dict[str, Any]:
    """The whole dashboard."""
    link = {"type": "dashboards", "title": "Patchbay", "tags": ["patchbay"], "asDropdown": True}
    return {
        "uid": f"patchbay-{name.replace('_', '-')}",
        "title": source["title"],
        "description": source["says"],
        "tags": ["patchbay"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "links": [{**link, "includeVars": True, "keepTime": True}],
        "templating": {"list": variables()},
        "annotations": {"list": []},
        "panels": laid_out(source["rows"]),
    }


def made() -> dict[Path, str]:
    """The text of each JSON file."""
    sources = sorted((HERE / "panels").glob("*.yaml"))
    boards = {path.stem: dashboard(path.stem, yaml.safe_load(path.read_text())) for path in sources}
    return {HERE / f"{name}.json": json.dumps(board, indent=1) + "\n" for name, board in boards.items()}


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text)
