"""What the interactive parts of the page draw, as JSON."""

import math
from typing import Any

from mtl.files import to_json
from mtl.metrics import HIGHER_IS_BETTER
from mtl.report.assess import Assessment
from mtl.report.figure import COLOURS, MARKERS, Look, colours
from mtl.report.summary import GroupSummary, MethodSummary, is_static
from mtl.report.trajectory import Trajectory, gate_trajectories, trajectories
from mtl.report.words import METRIC_NAMES, group_title, metric_name
from mtl.report.workdir import Group, Method, Place, Study

MAX_RUNS = 30
"""Runs per method that the scatter shows one by one."""

MAX_POINTS = 80
"""Points per curve."""

MAX_CURVES = 3000
"""Curves in all; beyond that the page would be slow, and the plots and files have them."""

QUANTITIES = {"loss": "training loss", "metrics": "primary metric on validation", "weight": "task weight"}


def page_data(study: Study, assessments: tuple[Assessment, ...], look: Look) -> str:
    """Collects points and curves.

    Args:
      study: the study at the chosen settings.
      assessments: its groups.
      look: colours and markers.

    Returns:
      JSON that may stand inside a `script` element.
    """
    models, weightings = list(look.models), list(look.weightings)
    hues = colours(COLOURS, len(models)) if len(weightings) == 1 else [None] * len(models)
    content = {
        "models": [
            {"name": m, "shape": MARKERS.index(look.models[m]), "colour": hue} for m, hue in zip(models, hues)
        ],
        "weightings": [{"name": w, "colour": look.weightings[w]} for w in weightings],
        "tasks": [{"name": name, "colour": colour} for name, colour in look.tasks.items()],
        "measures": [
            {
                "label": f"{task} {metric_name(metric)}",
                "gain": f"{task}: gain in {METRIC_NAMES.get(metric, metric)}",
                "higher": HIGHER_IS_BETTER[metric],
            }
            for task, metric in assessments[0].summary.primary
        ],
        "baseline": next((a.summary.baseline.model for a in assessments if a.summary.baseline), ""),
        "groups": [
            {
                "title": group_title(a.summary.group),
                "points": [_point(study, a, row, models, weightings) for row in a.summary.methods],
            }
            for a in assessments
        ],
        "curves": _curves(study, assessments, look),
    }
    # "<" would let a name close the element.
    return to_json(content).replace("<", "\\u003c")


def _point(
    study: Study, found: Assessment, row: MethodSummary, models: list[str], weightings: list[str]
) -> dict[str, Any]:
    group, method = found.summary, row.method
    places = [Place("test", *measure) for measure in group.primary]
    columns = [study.tables[group.group][method].get(place, {}) for place in places]
    seeds = sorted(set().union(*columns))[:MAX_RUNS]
    base = None
    if group.baseline is not None:
        base = [study.tables[group.group][group.baseline].get(place, {}) for place in places]
    return {
        "m": models.index(method.model),
        "w": weightings.index(method.weighting),
        "static": is_static(method, study) and method != group.baseline,
        "baseline": method == group.baseline,
        "chosen": found.chosen.get(method, ""),
        "mean": [_digits(row.intervals[x][:3] if x in row.intervals else ()) for x in group.primary],
        "gain": _gains(group, row),
        "seeds": seeds,
        "runs": [_digits([column.get(s, math.nan) for column in columns]) for s in seeds],
        "runGains": base
        and [
            _digits(
                [
                    (1 if HIGHER_IS_BETTER[metric] else -1) * (column.get(s, math.nan) - b.get(s, math.nan))
                    for column, b, (_, metric) in zip(columns, base, group.primary)
                ]
            )
            for s in seeds
        ],
    }


def _gains(group: GroupSummary, row: MethodSummary) -> list[list[float | None]] | None:
    if group.baseline is None:
        return None
    if row.method == group.baseline:
        return [[0.0, 0.0, 0.0] for _ in group.primary]
    gains = [row.versus_baseline[x].gain if x in row.versus_baseline else None for x in group.primary]
    return [_digits((g.difference, g.low, g.high) if g else ()) for g in gains]


def _curves(study: Study, assessments: tuple[Assessment, ...], look: Look) -> list[dict[str, Any]]:
    position: dict[Group, int] = {a.summary.group: i for i, a in enumerate(assessments)}
    models, weightings, tasks = list(look.models), list(look.weightings), list(look.tasks)
    curves = []
    for part, title in QUANTITIES.items():
        found = trajectories(study, part)
        for (group, method, task), curve in found.items():
            if group in position and not (part == "weight" and method.model == study.baseline):
                key = {"q": title, "g": position[group], "t": tasks.index(task)}
                own = {"m": models.index(method.model), "w": weightings.index(method.weighting)}
                curves.append({**key, **own, **_line(curve)})
    for (group, method), lines in _task_gates(study).items():
        for t, line in enumerate(lines):
            if group in position:
                key = {"q": "experts in use", "g": position[group], "t": t}
                own = {"m": models.index(method.model), "w": weightings.index(method.weighting)}
                curves.append({**key, **own, **_line(line)})
    return curves[:MAX_CURVES]


def _task_gates(study: Study) -> dict[tuple[Group, Method], tuple[Trajectory, ...]]:
    """Of every model's gates those nearest to the towers, one trajectory per task."""
    nearest: dict[tuple[Group, Method], tuple[Trajectory, ...]] = {}
    count = len(study.tasks)
    for (group, method, gate), lines in sorted(gate_trajectories(study).items(), key=lambda item: item[0][2]):
        if not gate.endswith("shared_gate"):
            nearest[group, method] = lines * count if len(lines) == 1 else lines
    return nearest


def _line(curve: Trajectory) -> dict[str, list]:
    every = -(-len(curve.steps) // MAX_POINTS)
    # Counted from the end, so that the last step is always there.
    kept = slice((len(curve.steps) - 1) % every, None, every)
    return {
        "x": curve.steps[kept].tolist(),
        "y": _digits(curve.mean[kept]),
        "low": _digits(curve.low[kept]),
        "high": _digits(curve.high[kept]),
    }


def _digits(values: Any) -> list[float | None]:
    """Six significant digits are more than a screen shows."""
    return [float(f"{v:.6g}") if math.isfinite(v) else None for v in values]
