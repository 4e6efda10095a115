"""What speaks against relying on a comparison: too few seeds, failures, methods that are one."""

import math

import numpy as np
import scipy

from mtl import metrics
from mtl.metrics import PairedTest
from mtl.report.assess import Assessment
from mtl.report.same_direction import same_directions
from mtl.report.summary import LEVEL, Comparison, GroupSummary, Measure
from mtl.report.tuned import Tuned, at_the_end
from mtl.report.words import METRIC_NAMES, method_list, method_name
from mtl.report.workdir import Method, Study, number

MIN_SEEDS = 3
"""Below this many seeds no difference is called, whatever its p-value."""

POWER = 0.8
"""A difference counts as detectable if the test finds it with this chance."""

MOST_SEEDS = 1000
"""Beyond this many seeds it is not worth saying how many a difference would take."""

MAX_RESIDUAL = 1e-3
"""Solver residuals above this mean that the weights are not the method's."""


def cautions(tuned: Tuned, found: Assessment) -> tuple[str, ...]:
    """Lists what a reader of a group's comparison should know.

    Args:
      tuned: the study at the chosen settings.
      found: the group.

    Returns:
      Sentences; empty when there is nothing to say.
    """
    study, group = tuned.study, found.summary
    return (
        *_few_seeds(group, group.baseline, {r.method: r.versus_baseline for r in group.methods}),
        *_few_seeds(group, group.best_static, {r.method: r.versus_static for r in group.methods}),
        *_same(study, group),
        *_missing_seeds(study, group),
        *_missing_values(group),
        *_range_ends(tuned, group),
        *_residuals(study, group),
    )


def _few_seeds(
    group: GroupSummary, reference: Method | None, table: dict[Method, dict[Measure, Comparison]]
) -> list[str]:
    """Whether the seeds could have shown the differences that were seen but not shown, one sentence."""
    if reference is None:
        return []
    tested = [
        (method, measure, comparisons[measure].gain, comparisons[measure].p_adjusted)
        for method, comparisons in table.items()
        for measure in group.primary
        if measure in comparisons and not math.isnan(comparisons[measure].p_adjusted)
    ]
    # Holm's first step tests at LEVEL / m; with it the detectable difference is on the safe side.
    level = LEVEL / max(1, len(tested))
    parts = []
    for measure in group.primary:
        open_ones = [
            (abs(gain.difference) / _spread(gain), method, gain)
            for method, own, gain, p_adjusted in tested
            if own == measure and p_adjusted >= LEVEL and gain.n >= MIN_SEEDS and gain.difference
        ]
        if not open_ones:
            continue
        # The one that needs the fewest seeds is the one worth more of them.
        _, method, gain = max(open_ones, key=lambda entry: entry[0])
        seen, metric = abs(gain.difference), METRIC_NAMES.get(measure[1], measure[1])
        detectable = metrics.detectable_difference(_spread(gain), gain.n, POWER, level)
        if seen < detectable:
            needed = metrics.seeds_needed(_spread(gain), seen, POWER, level)
            about = f"about {needed:.0f}" if needed <= MOST_SEEDS else f"more than {MOST_SEEDS}"
            parts.append(
                f"{measure[0]}, {method_name(method)}: {metric} differs by {seen:.2g}, {gain.n} seeds find "
                f"{detectable:.2g}, {about} find that"
            )
    if not parts:
        return []
    name = reference.model if reference == group.baseline else method_name(reference)
    family = "one comparison" if len(tested) == 1 else f"Holm over {len(tested)} comparisons"
    return [
        f"Too few seeds for differences from {name} that are not shown ({100 * POWER:.0f} % power, "
        f"{family}). The clearest per task: {'; '.join(parts)}."
    ]


def _spread(gain: PairedTest) -> float:
    """Standard deviation over seeds of the paired differences, back from their interval."""
    return float((gain.high - gain.difference) * np.sqrt(gain.n) / scipy.special.stdtrit(gain.n - 1, 0.975))


def _same(study: Study, group: GroupSummary) -> list[str]:
    methods = [row.method for row in group.methods if row.method.model != study.baseline]
    return [
        f"By theory one direction for two tasks, {direction}: {method_list(same)}. For each "
        "model they differ in step length at most, so count them once."
        for direction, same in same_directions(study, methods)
    ]


def _missing_seeds(study: Study, group: GroupSummary) -> list[str]:
    table = study.tables[group.group]
    present = {
        method: {s for place, seeds in places.items() if place.split == "test" for s in seeds}
        for method, places in table.items()
    }
    wanted = study.config["config"].get("seeds")
    seen = len(set().union(*present.values()))
    expected = wanted if isinstance(wanted, int) and wanted > seen else seen
    fewer = [
        f"{method_name(row.method)} has {len(present[row.method])}"
        for row in group.methods
        if len(present[row.method]) < expected
    ]
    return (
        [f"Seeds without a result, failed or not run yet, of {expected}: {', '.join(fewer)}."]
        if fewer
        else []
    )


def _missing_values(group: GroupSummary) -> list[str]:
    absent = [
        f"{method_name(row.method)} on {task}"
        for row in group.methods
        for task, metric in group.primary
        if (task, metric) not in row.intervals or math.isnan(row.intervals[task, metric].mean)
    ]
    if not absent:
        return []
    return [f"Without a value (undefined metric or failed seed): {', '.join(absent)}."]


def _range_ends(tuned: Tuned, group: GroupSummary) -> list[str]:
    lines = []
    for key, entries in at_the_end(tuned).items():
        methods = [method for own, method in entries if own == group.group]
        if methods:
            lines.append(
                f"The chosen {key} lies at the end of the range that was tried, a wider one may be better: "
                f"{method_list(methods)}."
            )
    return lines


def _residuals(study: Study, group: GroupSummary) -> list[str]:
    worst: dict[Method, float] = {}
    for record in study.records:
        if record.kind == "train" and record.group == group.group:
            residual = number(record.content.get("residual"))
            if residual > MAX_RESIDUAL:
                worst[record.method] = max(residual, worst.get(record.method, 0.0))
    return [
        f"The solver of {method_name(m)} missed its optimum, residual up to {r:.1e} (above {MAX_RESIDUAL:g})."
        for m, r in sorted(worst.items())
    ]
