"""What may be said, in sentences: which differences the seeds support and which they do not."""

import math
from typing import NamedTuple

from mtl.metrics import PRIMARY, selection_text
from mtl.report.assess import Assessment
from mtl.report.cautions import MIN_SEEDS, cautions
from mtl.report.summary import LEVEL, Comparison, GroupSummary, Measure
from mtl.report.tuned import Tuned
from mtl.report.words import METRIC_NAMES, group_title, method_list, method_name, p_text
from mtl.report.workdir import Method, Study


class Verdict(NamedTuple):
    """What holds within one group.

    Attributes:
      title: data set and hyper-parameters.
      lines: what differs and what does not.
      cautions: what speaks against relying on it.
    """

    title: str
    lines: tuple[str, ...]
    cautions: tuple[str, ...]


def verdicts(tuned: Tuned, assessments: tuple[Assessment, ...]) -> tuple[Verdict, ...]:
    """Says for every group what differs from single-task and from the best static weighting.

    Args:
      tuned: the study at the chosen settings.
      assessments: its groups.

    Returns:
      One verdict per group.
    """
    return tuple(
        Verdict(
            group_title(found.summary.group),
            (*_differences(tuned.study, found.summary), *_ranks(found)),
            cautions(tuned, found),
        )
        for found in assessments
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
    if group.baseline is None and study.baseline:
        lines.append(f"No {study.baseline} run in this group: gains, Δm and seesaw cannot be given.")
    if group.baseline is not None:
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


def _ranks(found: Assessment) -> list[str]:
    """One sentence on the ranks over seeds, when there are enough of both."""
    if not found.rankings:
        return []
    name, methods, test, difference, _, _ = found.rankings[0]
    if test.n < MIN_SEEDS or len(methods) < 3 or math.isnan(test.p_value):
        return []
    where = "" if len(found.rankings) == 1 else f" over {name}"
    text = f"Ranks{where}, {test.n} seeds: Friedman {p_text(test.p_value)}"
    if test.p_value >= LEVEL:
        return [f"{text}, no method is shown to rank above another."]
    apart = [m for m, rank in zip(methods, test.mean_ranks) if rank - test.mean_ranks[0] >= difference]
    text += f"; best mean rank {test.mean_ranks[0]:.1f}, {method_name(methods[0])}"
    if not apart:
        return [f"{text}; none is beyond the critical difference of {difference:.1f} from it."]
    return [f"{text}; beyond the critical difference of {difference:.1f} from it: {method_list(apart)}."]


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


def primary_note(tuned: Tuned) -> str:
    """Says on what the comparison stands.

    Args:
      tuned: the study at the chosen settings.

    Returns:
      Sentences.
    """
    study = tuned.study
    kinds = sorted({task.kind for task in study.tasks})
    names = ", ".join(f"{METRIC_NAMES.get(PRIMARY[k], PRIMARY[k])} for {k} tasks" for k in kinds)
    text = (
        f"Test split; primary metric: {names}. Paired t-tests over seeds, Holm-adjusted over methods × "
        f"tasks within each grid point, level {LEVEL:g}."
    )
    if not tuned.chosen:
        return text
    config = study.config["config"]
    conditions = (config.get("report") or {}).get("conditions") or ()
    swept = (config.get("sweep") or {}).get("train") or {}
    keys = ", ".join(key for key in swept if key not in conditions)
    rule = selection_text((config.get("train") or {}).get("select", "mean"))
    return f"{text} Tuned for every method alike ({keys}): the value with the best validation mean of {rule}."
