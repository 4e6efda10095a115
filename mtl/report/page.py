"""The report as one self-contained HTML page."""

import base64
import json
import math
from collections.abc import Iterable
from html import escape
from pathlib import Path

from mtl.metrics import HIGHER_IS_BETTER, Interval
from mtl.report.page_style import CSS, SCRIPT
from mtl.report.published import Figure
from mtl.report.summary import LEVEL, NO_VALUE, GroupSummary, Measure, MethodSummary, best_mean
from mtl.report.verdict import Verdict, primary_note
from mtl.report.words import decimals, group_title, interval_text, metric_name, p_text
from mtl.report.workdir import Study

PLOT_TITLES = {
    "tasks": "Task against task",
    "delta": "Δm against single-task",
    "curves": "Training curves",
    "weights": "Task weights",
    "gates": "Gate utilisation",
}
"""Plots in the order of the page; the table comes after the first two."""

RAW_FILES = ("config.json", "results.csv", "metrics.jsonl", "summary.csv")


def page(
    study: Study,
    groups: tuple[GroupSummary, ...],
    verdicts: tuple[Verdict, ...],
    plots: dict[str, Path],
    reference: tuple[Figure, ...],
) -> str:
    """Writes the page; everything that comes from files is escaped.

    Args:
      study: the study's results.
      groups: their comparison.
      verdicts: its sentences.
      plots: plot name → PNG file.
      reference: published figures to show beside the study's own; may be empty.

    Returns:
      The HTML.
    """
    body = [
        f"<h1>{escape(study.name)}</h1>",
        f'<p class="soft">{escape(_scope(groups))}</p>',
        "<h2>Verdict</h2>",
        *map(_verdict, verdicts),
        f'<p class="soft">{escape(primary_note(study))}</p>',
        *(_plot(name, plots) for name in ("tasks", "delta")),
        "<h2>Results</h2>",
        f'<p class="soft">{escape(_legend(groups))}</p>',
        *map(_table, groups),
        *(_plot(name, plots) for name in ("curves", "weights", "gates")),
        _reference(reference, groups),
        _details(study),
        _files(plots),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(study.name)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + f"\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _scope(groups: tuple[GroupSummary, ...]) -> str:
    methods = {row.method for group in groups for row in group.methods}
    seeds = {i.n for group in groups for row in group.methods for i in row.intervals.values()}
    return " · ".join(
        f"{count} {word}{'' if count == 1 else 's'}"
        for count, word in (
            (len({group.group.dataset for group in groups}), "data set"),
            (len(groups), "grid point"),
            (len(methods), "method"),
            (len(groups[0].primary), "task"),
            (max(seeds, default=0), "seed"),
        )
    )


def _verdict(verdict: Verdict) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in verdict.lines)
    title = escape(verdict.title)
    return f'<section class="verdict"><h3>{title}</h3><ul>{items}</ul></section>'


def _plot(name: str, plots: dict[str, Path]) -> str:
    if name not in plots:
        return ""
    data = base64.b64encode(plots[name].read_bytes()).decode()
    title = escape(PLOT_TITLES[name])
    return f'<h2>{title}</h2>\n<figure><img alt="{title}" src="data:image/png;base64,{data}"></figure>'


def _legend(groups: tuple[GroupSummary, ...]) -> str:
    text = "Mean ± half-width of the 95 % interval over seeds, test split; bold: best mean"
    models = sorted({group.baseline.model for group in groups if group.baseline})
    if models:
        text += f"; ▲ ▼: better, worse than {models[0]} at adjusted p < {LEVEL:g}"
    return text + ". Click a heading to sort."


def _table(group: GroupSummary) -> str:
    columns = [_text_column("model", [row.method.model for row in group.methods])]
    columns.append(_text_column("weighting", [row.method.weighting for row in group.methods]))
    columns += [_metric_column(group, measure) for measure in group.primary]
    if group.baseline is not None:
        deltas = [row.delta_m for row in group.methods]
        columns.append(_interval_column("Δm % ↓", deltas, False, [""] * len(deltas), 2))
    ranks = [Interval(row.mean_rank, math.nan, math.nan, 0) for row in group.methods]
    columns.append(_interval_column("mean rank ↓", ranks, False, [""] * len(ranks), 1))
    columns.append(_text_column("seesaw", ["seesaw" if row.seesaw else "" for row in group.methods]))
    heads = (f'<th scope="col"><button>{head}</button></th>' for head, _ in columns)
    rows = zip(*(cells for _, cells in columns))
    return (
        f'<div class="scroll"><table class="sortable"><caption>{escape(group_title(group.group))}'
        f"</caption><thead><tr>{''.join(heads)}</tr></thead><tbody>\n"
        + "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
        + "\n</tbody></table></div>"
    )


def _text_column(head: str, texts: Iterable[str]) -> tuple[str, list[str]]:
    return escape(head), [f"<td>{escape(text)}</td>" for text in texts]


def _metric_column(group: GroupSummary, measure: Measure) -> tuple[str, list[str]]:
    intervals = [row.intervals.get(measure, NO_VALUE) for row in group.methods]
    marks = [_mark(row, measure) for row in group.methods]
    head = f"{measure[0]} {metric_name(measure[1])}"
    return _interval_column(head, intervals, HIGHER_IS_BETTER[measure[1]], marks, 6)


def _interval_column(
    head: str, intervals: list[Interval], higher: bool, marks: list[str], most_decimals: int
) -> tuple[str, list[str]]:
    best, places = best_mean(intervals, higher), min(decimals(intervals), most_decimals)
    cells = []
    for interval, mark in zip(intervals, marks):
        value = "" if math.isnan(interval.mean) else f"{interval.mean:.10g}"
        style = ' class="best"' if interval.mean == best else ""
        text = escape(interval_text(interval, places))
        cells.append(f'<td data-value="{value}"{style}>{text}{mark}</td>')
    return escape(head), cells


def _mark(row: MethodSummary, measure: Measure) -> str:
    comparison = row.versus_baseline.get(measure)
    if comparison is None or not comparison.p_adjusted < LEVEL:
        return ""
    gain = comparison.gain
    hint = (
        f"gain {gain.difference:+.3g}, 95 % interval {gain.low:+.3g} to {gain.high:+.3g}, "
        f"adjusted {p_text(comparison.p_adjusted)}"
    )
    word, sign = ("better", "▲") if gain.difference > 0 else ("worse", "▼")
    return f' <span class="{word}" title="{escape(hint)}">{sign}</span>'


REFERENCE_HEADS = ("source", "model", "task", "statistic", "published", "this study", "reliability", "note")


def _reference(figures: tuple[Figure, ...], groups: tuple[GroupSummary, ...]) -> str:
    if not figures:
        return ""
    rows = []
    for figure in figures:
        # Trailing zeros are part of a printed figure, and so are digits beyond the fourth.
        printed = max(f"{figure.value:.4f}", f"{figure.value:g}", key=len)
        ours = "<br>".join(escape(text) for text in _ours(figure, groups)) or "–"
        rows.append(
            f'<tr><td class="wrap">{escape(figure.source)}</td><td>{escape(figure.model)}</td>'
            f"<td>{escape(figure.task)} {escape(metric_name(figure.metric))}</td>"
            f"<td>{escape(figure.statistic)}</td><td>{printed}</td><td>{ours}</td>"
            f'<td>{escape(figure.reliability)}</td><td class="wrap">{escape(figure.note)}</td></tr>'
        )
    return (
        "<h2>Published figures</h2>\n"
        '<p class="soft">Compared with, never returned as a result. Levels depend on preprocessing '
        "and budget; compare differences within a source, not levels across sources.</p>\n"
        '<div class="scroll"><table class="sortable"><thead><tr>'
        + "".join(f'<th scope="col"><button>{head}</button></th>' for head in REFERENCE_HEADS)
        + "</tr></thead><tbody>\n"
        + "\n".join(rows)
        + "\n</tbody></table></div>"
    )


def _ours(figure: Figure, groups: tuple[GroupSummary, ...]) -> list[str]:
    """This study's means of the same model, task and metric, one per weighting and group."""
    found = []
    for group in groups:
        for row in group.methods:
            interval = row.intervals.get((figure.task, figure.metric))
            if row.method.model == figure.model and interval is not None:
                where = f", {group_title(group.group)}" if len(groups) > 1 else ""
                text = interval_text(interval, decimals([interval]))
                found.append(f"{text} ({row.method.weighting}{where})")
    return found


def _details(study: Study) -> str:
    blocks = {
        "Config": study.config["config"],
        "Tasks": study.config["tasks"],
        "Provenance": study.config.get("provenance", {}),
    }
    return "<h2>Config and provenance</h2>\n" + "\n".join(
        f"<details><summary>{title}</summary><pre>"
        f"{escape(json.dumps(block, indent=2, ensure_ascii=False))}</pre></details>"
        for title, block in blocks.items()
    )


def _files(plots: dict[str, Path]) -> str:
    names = [*RAW_FILES, *(f"plots/{path.name}" for path in plots.values())]
    links = " · ".join(f'<a href="{escape(name)}">{escape(name)}</a>' for name in names)
    return f"<h2>Files</h2>\n<p>{links}</p>"
