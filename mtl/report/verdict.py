"""What may be said, in sentences: which differences the seeds support and which they do not."""

import math
from typing import NamedTuple

from mtl.metrics import PRIMARY
from mtl.report.summary import LEVEL, Comparison, GroupSummary, Measure
from mtl.report.words import METRIC_NAMES, group_title, method_list, method_name, p_text
from mtl.report.workdir import Method, Study, number

MIN_SEEDS = 3
"""Below this many seeds no difference is called, whatever its p-value."""

MAX_RESIDUAL = 1e-3
"""Solver residuals above this mean that the weights are not the method's."""


class Verdict(NamedTuple):
    """What holds within one group.

    Attributes:
      title: data set and hyper-parameters.
      lines: sentences.
    """

    title: str
    lines: tuple[str, ...]


def verdicts(study: Study, groups: tuple[GroupSummary, ...]) -> tuple[Verdict, ...]:
    """Says for every group what differs from single-task and from the best static weighting.

    Args:
      study: the study's results.
      groups: their comparison.

    Returns:
      One verdict per group.
    """
    return tuple(
        Verdict(
            group_title(group.group),
            (*_differences(study, group), *_missing(group), *_residuals(study, group)),
        )
        for group in groups
    )


def _differences(study: Study, group: GroupSummary) -> list[str]:
    seeds = min(
        (row.intervals[m].n for row in group.methods for m in group.primary if m in row.intervals),
        default=0,
    )
    lines = []
    if seeds < MIN_SEEDS and len(group.methods) > 1:
        plural = "seed is" if seeds == 1 else "seeds is"
        return [f"{seeds} {plural} too few to tell; run at least {MIN_SEEDS}."]
    if group.baseline is None:
        wanted = study.baseline or "single_task"
        lines.append(f"No {wanted} run in this group: gains, Δm and seesaw cannot be given.")
    else:
        table = {row.method: row.versus_baseline for row in group.methods if row.versus_baseline}
        lines += _against(group.baseline.model, table, group.primary)
    if group.best_static is not None:
        table = {row.method: row.versus_static for row in group.methods if row.versus_static}
        name = method_name(group.best_static)
        if table:
            lines.append(f"Best static weights, chosen on validation: {name}.")
        lines += _against(name, table, group.primary)
    seesaw = [row.method for row in group.methods if row.seesaw]
    if seesaw:
        lines.append(
            f"Seesaw, one task gains while another loses against {study.baseline} beyond the 95 % "
            f"intervals: {method_list(seesaw)}."
        )
    return lines


def _against(
    reference: str,
    table: dict[Method, dict[Measure, Comparison]],
    primary: tuple[Measure, ...],
) -> list[str]:
    lines = []
    for sign, word in ((1, "Better"), (-1, "Worse")):
        for measure in primary:
            found = {
                method: comparisons[measure].p_adjusted
                for method, comparisons in table.items()
                if measure in comparisons
                and comparisons[measure].p_adjusted < LEVEL
                and sign * comparisons[measure].gain.difference > 0
            }
            if found:
                p = p_text(max(found.values()), bound=True)
                lines.append(f"{word} than {reference} on {measure[0]} ({p}): {method_list(found)}.")
    same = [
        method
        for method, comparisons in table.items()
        if not any(c.p_adjusted < LEVEL for c in comparisons.values())
    ]
    if same:
        lines.append(f"Not shown to differ from {reference} on any task: {method_list(same)}.")
    return lines


def _missing(group: GroupSummary) -> list[str]:
    absent = [
        f"{method_name(row.method)} on {task}"
        for row in group.methods
        for task, metric in group.primary
        if (task, metric) not in row.intervals or math.isnan(row.intervals[task, metric].mean)
    ]
    if not absent:
        return []
    return [f"Without a value (undefined metric or failed seed): {', '.join(absent)}."]


def _residuals(study: Study, group: GroupSummary) -> list[str]:
    worst: dict[Method, float] = {}
    for record in study.records:
        if record.kind == "train" and record.group == group.group:
            residual = number(record.content.get("residual"))
            if residual > MAX_RESIDUAL:
                worst[record.method] = max(residual, worst.get(record.method, 0.0))
    return [
        f"Caution: the solver of {method_name(m)} missed its optimum, residual up to {r:.1e} "
        f"(above {MAX_RESIDUAL:g})."
        for m, r in sorted(worst.items())
    ]


def primary_note(study: Study) -> str:
    """Says on what the comparison stands.

    Args:
      study: the study.

    Returns:
      One sentence.
    """
    kinds = sorted({task.kind for task in study.tasks})
    names = ", ".join(f"{METRIC_NAMES.get(PRIMARY[k], PRIMARY[k])} for {k} tasks" for k in kinds)
    return (
        f"Test split; primary metric: {names}. Paired t-tests over seeds, Holm-adjusted over methods × "
        f"tasks within each grid point, level {LEVEL:g}."
    )
