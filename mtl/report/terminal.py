"""The comparison as aligned text for a terminal."""

import math
import textwrap

from mtl.metrics import HIGHER_IS_BETTER, Interval
from mtl.report.assess import Assessment
from mtl.report.claims import Claim
from mtl.report.summary import LEVEL, NO_VALUE, GroupSummary, Measure, best_mean
from mtl.report.tuned import Tuned
from mtl.report.verdict import Verdict
from mtl.report.words import decimals, group_title, interval_text, metric_name

MAX_TASKS = 6
"""Tasks with a column of their own; the rest are in `summary.csv`."""


def terminal_text(
    tuned: Tuned,
    assessments: tuple[Assessment, ...],
    claims: tuple[Claim, ...],
    verdicts: tuple[Verdict, ...],
    width: int = 100,
) -> str:
    """Lays out tables and verdicts.

    Args:
      tuned: the study at the chosen settings.
      assessments: its groups.
      claims: judged claims; may be empty.
      verdicts: sentences on each group, in the same order.
      width: columns at which sentences wrap.

    Returns:
      The text, without a newline at its end.
    """
    parts = [f"{tuned.study.name}: test split, mean ± half-width of the 95 % interval over seeds"]
    parts.append("\n".join(_wrapped(f"{c.verdict}: {c.claim}", "·", width) for c in claims))
    for found, verdict in zip(assessments, verdicts):
        parts.append("\n".join([group_title(found.summary.group), *_table(found)]))
        lines = [_wrapped(line, "·", width) for line in verdict.lines]
        parts.append("\n".join([*lines, *(_wrapped(line, "!", width) for line in verdict.cautions)]))
    groups = [found.summary for found in assessments]
    reference = next((g.baseline.model for g in groups if g.baseline), "")
    legend = "* best mean" if any(len(group.methods) > 1 for group in groups) else ""
    if reference:
        legend += f"   ▲ ▼ better, worse than {reference} (adjusted p < {LEVEL:g})"
    return "\n\n".join(part for part in (*parts, legend) if part)


def _wrapped(line: str, bullet: str, width: int) -> str:
    return textwrap.fill(
        line, width, initial_indent=f"  {bullet} ", subsequent_indent="    ", break_on_hyphens=False
    )


def _table(found: Assessment) -> list[str]:
    group = found.summary
    columns = [["model", *(row.method.model for row in group.methods)]]
    columns.append(["weighting", *(row.method.weighting for row in group.methods)])
    if found.chosen:
        columns.append(["chosen", *(found.chosen[row.method] for row in group.methods)])
    shown = group.primary[:MAX_TASKS]
    columns += [_metric_column(group, measure) for measure in shown]
    if group.baseline is not None:
        columns.append(_delta_column(group))
    columns.append(_rank_column(group))
    columns.append(["", *("seesaw" if row.seesaw else "" for row in group.methods)])
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip()
        for cells in zip(*columns)
    ]
    if len(group.primary) > len(shown):
        lines.append(f"  … and {len(group.primary) - len(shown)} more tasks in summary.csv")
    return lines


def _metric_column(group: GroupSummary, measure: Measure) -> list[str]:
    intervals = [row.intervals.get(measure, NO_VALUE) for row in group.methods]
    best = best_mean(intervals, HIGHER_IS_BETTER[measure[1]])
    places = decimals(intervals)
    cells = [f"{measure[0]} {metric_name(measure[1])}"]
    for row, interval in zip(group.methods, intervals):
        text = interval_text(interval, places)
        comparison = row.versus_baseline.get(measure)
        if comparison is not None and comparison.p_adjusted < LEVEL:
            text += " ▲" if comparison.gain.difference > 0 else " ▼"
        cells.append(text + ("*" if interval.mean == best else ""))
    return cells


def _delta_column(group: GroupSummary) -> list[str]:
    deltas = [row.delta_m for row in group.methods]
    best, places = best_mean(deltas, higher=False), min(decimals(deltas), 2)
    return ["Δm % ↓"] + [
        interval_text(delta, places) + ("*" if delta.mean == best else "") for delta in deltas
    ]


def _rank_column(group: GroupSummary) -> list[str]:
    ranks = [Interval(row.mean_rank, math.nan, math.nan, 0) for row in group.methods]
    best = best_mean(ranks, higher=False)
    return ["rank ↓"] + [interval_text(rank, 1) + ("*" if rank.mean == best else "") for rank in ranks]
