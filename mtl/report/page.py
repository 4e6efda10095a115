"""The report as one self-contained HTML page."""

from html import escape
from pathlib import Path

from mtl.report.assess import Assessment
from mtl.report.claims import Claim
from mtl.report.page_parts import (
    claims_html,
    contents,
    details,
    document,
    heading,
    links,
    picture,
    soft,
    table_html,
    verdict_html,
)
from mtl.report.published import Figure
from mtl.report.ranking import ALL_TASKS
from mtl.report.result_tables import protocol_table, result_table, settings_table
from mtl.report.summary import LEVEL, GroupSummary
from mtl.report.tuned import Tuned
from mtl.report.verdict import Verdict, primary_note
from mtl.report.words import decimals, group_title, interval_text, method_name, metric_name, p_text

SECTIONS = {
    "verdicts": "Verdicts",
    "tasks": "Task against task",
    "results": "Results",
    "protocol": "Ranks, wins, trade-off, budget",
    "training": "Training",
    "gates": "Gates",
    "published": "Published figures",
    "provenance": "Config and provenance",
    "files": "Files",
}

GATES = {"gates": "Gate utilisation", "gate_paths": "Experts in use over training"}
"""Figures of the section on gates."""

OPEN_GROUPS = 4
"""Verdicts shown open; those of further groups open on click."""

RAW_FILES = ("config.json", "results.csv", "metrics.jsonl", "summary.csv")


def page(
    tuned: Tuned,
    assessments: tuple[Assessment, ...],
    claims: tuple[Claim, ...],
    verdicts: tuple[Verdict, ...],
    plots: dict[str, Path],
    files: tuple[str, ...],
    reference: tuple[Figure, ...],
    data: str,
) -> str:
    """Writes the page; everything that comes from files is escaped.

    Args:
      tuned: the study at the chosen settings.
      assessments: its groups.
      claims: judged claims; may be empty.
      verdicts: sentences on each group.
      plots: plot name → PNG file, with an SVG file beside it.
      files: other files of the workdir to link to.
      reference: published figures to show beside the study's own; may be empty.
      data: JSON of the interactive parts.

    Returns:
      The HTML.
    """
    groups = tuple(found.summary for found in assessments)
    sections = {
        "verdicts": _verdicts(tuned, claims, verdicts),
        "tasks": _scatter(assessments, plots),
        "results": _results(tuned, assessments, plots),
        "protocol": _protocol(assessments, plots),
        "training": _training(tuned, plots),
        "gates": [picture(title, plots[name]) for name, title in GATES.items() if name in plots],
        "published": _published(reference, groups),
        "provenance": _provenance(tuned),
        "files": [links((*RAW_FILES, *files, *_plot_files(plots)))],
    }
    shown = {key: parts for key, parts in sections.items() if any(parts)}
    body = [
        f"<h1>{escape(tuned.study.name)}</h1>",
        soft(_scope(groups)),
        contents({key: SECTIONS[key] for key in shown}),
    ]
    for key, parts in shown.items():
        body += [heading(key, SECTIONS[key]), *parts]
    return document(tuned.study.name, body, data)


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


def _verdicts(tuned: Tuned, claims: tuple[Claim, ...], verdicts: tuple[Verdict, ...]) -> list[str]:
    return [
        claims_html(claims),
        *(verdict_html(v, is_open=i < OPEN_GROUPS) for i, v in enumerate(verdicts)),
        soft(primary_note(tuned)),
    ]


def _results(tuned: Tuned, assessments: tuple[Assessment, ...], plots: dict[str, Path]) -> list[str]:
    text = "Mean ± half-width of the 95 % interval over seeds, test split; bold: best mean"
    models = sorted({a.summary.baseline.model for a in assessments if a.summary.baseline})
    if models:
        text += f"; ▲ ▼: better, worse than {models[0]} at adjusted p < {LEVEL:g}"
    parts = [soft(f"{text}. Click a heading to sort.")]
    parts += [
        table_html(result_table(found), [row.method for row in found.summary.methods])
        for found in assessments
    ]
    if tuned.chosen:
        tables = "\n".join(table_html(settings_table(tuned, found)) for found in assessments)
        parts.append(f"<details><summary>All settings that were tried</summary>{tables}</details>")
    titles = {"overview": "All methods under all conditions", "delta": "Δm against single-task"}
    titles |= {"conditions": "Losses and final values by condition", "claims": "What the claims compare"}
    return parts + [picture(title, plots[name]) for name, title in titles.items() if name in plots]


def _scatter(assessments: tuple[Assessment, ...], plots: dict[str, Path]) -> list[str]:
    legend = (
        '<div class="legend" id="models" role="group" aria-label="Models shown"></div>'
        '<div class="legend" id="weightings" role="group" aria-label="Weightings shown"></div>'
    )
    many = len(assessments[0].summary.primary) > 1
    note = "Click legend entries to see only those, here, under Training and in the tables. "
    if many:
        note += (
            "Large marks: means with 95 % intervals; small marks: single runs. Dashed: what static weights "
            "of one model reach. Hover or tab to a mark to see what it is."
        )
    chart = (
        '<div class="controls"{}><label>Grid point <select id="scatter-group"></select></label>'
        '<label>across <select id="x-task"></select></label><label>up <select id="y-task"></select></label>'
        '<label><input type="checkbox" id="as-gain"> gain over the baseline</label>'
        '<label><input type="checkbox" id="single-runs" checked> single runs</label></div>'
        '<div class="chart" id="scatter"{}><div class="tip" hidden></div></div>'
    ).format(*["" if many else " hidden"] * 2)
    return [soft(note), legend, chart, _as_pictures({"tasks": "Task against task"}, plots)]


def _protocol(assessments: tuple[Assessment, ...], plots: dict[str, Path]) -> list[str]:
    references = {method_name(a.reference) for a in assessments if a.reference is not None}
    versus = " or ".join(sorted(references))
    parts = [
        "Rank over seeds: rank of the method within each seed, averaged over tasks and seeds",
        f"P(better): probability that a run beats that of {versus} on the same seed, averaged over tasks",
        "Pareto: no other method has means as good on all tasks and better on one",
        "hypervolume: volume that a run dominates, from the worst run of the group on each task (0) to the "
        "best (1)",
        "examples and backward passes are those of one run",
        "intervals are 95 %",
    ]
    if not references:
        del parts[1]
    body = [soft("; ".join(parts) + ".")]
    for found in assessments:
        body.append(table_html(protocol_table(found), [row.method for row in found.summary.methods]))
        body.append(soft(" ".join(_group_notes(found))))
    if "ranks" in plots:
        body.append(picture("Ranks over seeds and the critical difference", plots["ranks"]))
    return body


def _group_notes(found: Assessment) -> list[str]:
    notes = []
    for ranking in found.rankings:
        if ranking.test.p_value == ranking.test.p_value and len(ranking.methods) > 2:
            where = "" if ranking.name == ALL_TASKS else f" on {ranking.name}"
            notes.append(f"Friedman over {ranking.test.n} seeds{where}: {p_text(ranking.test.p_value)}.")
    if found.trade_off is not None:
        ends = zip(found.summary.primary, found.trade_off.worst, found.trade_off.best)
        box = ", ".join(f"{task} {worst:.4g} to {best:.4g}" for (task, _), worst, best in ends)
        notes.append(f"Hypervolume from worst to best run: {box}.")
        notes += [
            f"Static weights of {front.model} together: {interval_text(front.hypervolume, 3)}."
            for front in found.trade_off.static_fronts
        ]
    return notes


def _training(tuned: Tuned, plots: dict[str, Path]) -> list[str]:
    if not any(record.kind in ("train", "val") for record in tuned.study.records):
        return []
    chart = (
        '<div class="controls"><label>Show <select id="quantity"></select></label>'
        '<label>grid point <select id="curve-group"></select></label>'
        '<label>task <select id="curve-task"></select></label></div>'
        '<div class="chart" id="curves"><div class="tip" hidden></div></div>'
    )
    note = "Means over seeds; colours as above, dashes tell models apart. The legend above filters."
    titles = {"curves": "Training curves", "weights": "Task weights"}
    return [soft(note), chart, _as_pictures(titles, plots)]


def _as_pictures(titles: dict[str, str], plots: dict[str, Path]) -> str:
    pictures = "".join(picture(title, plots[name]) for name, title in titles.items() if name in plots)
    label = "All of them as pictures, with 95 % intervals"
    return f'<details class="plots"><summary>{label}</summary>{pictures}</details>' if pictures else ""


REFERENCE_HEADS = ("source", "model", "task", "statistic", "published", "this study", "reliability", "note")


def _published(figures: tuple[Figure, ...], groups: tuple[GroupSummary, ...]) -> list[str]:
    if not figures:
        return []
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
    heads = "".join(f'<th scope="col"><button>{head}</button></th>' for head in REFERENCE_HEADS)
    note = (
        "Compared with, never returned as a result. Levels depend on preprocessing and budget; compare "
        "differences within a source, not levels across sources."
    )
    return [
        soft(note),
        '<div class="scroll" tabindex="0" role="region" aria-label="Published figures">'
        f'<table class="sortable"><thead><tr>{heads}</tr></thead><tbody>\n'
        + "\n".join(rows)
        + "\n</tbody></table></div>",
    ]


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


def _provenance(tuned: Tuned) -> list[str]:
    config = tuned.study.config
    return [
        details("Config", config["config"]),
        details("Tasks", config["tasks"]),
        details("Provenance", config.get("provenance", {})),
    ]


def _plot_files(plots: dict[str, Path]) -> list[str]:
    return [f"plots/{path.stem}{kind}" for path in plots.values() for kind in (".png", ".svg")]
