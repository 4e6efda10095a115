"""The tables of a report: results, protocol, and all settings that were tried."""

import math

from mtl.metrics import HIGHER_IS_BETTER, Interval, mean_interval
from mtl.report.assess import Assessment
from mtl.report.summary import LEVEL, NO_VALUE, GroupSummary, Measure, MethodSummary, best_mean
from mtl.report.table import Cell, Table, from_columns, number_cell
from mtl.report.tuned import Tuned
from mtl.report.words import decimals, group_title, interval_text, metric_name, p_text
from mtl.report.workdir import Method, Place

Column = tuple[str, list[Cell]]


def result_table(found: Assessment) -> Table:
    """The comparison of a group: primary metrics, Δm, mean rank, seesaw.

    Args:
      found: the group.

    Returns:
      The table, one row per method.
    """
    group = found.summary
    columns = _names([row.method for row in group.methods])
    if found.chosen:
        columns.append(("chosen", [Cell(found.chosen[row.method]) for row in group.methods]))
    columns += [_metric_column(group, measure) for measure in group.primary]
    if group.baseline is not None:
        columns.append(_interval_column("Δm % ↓", [row.delta_m for row in group.methods], False, 2))
    ranks = [Interval(row.mean_rank, math.nan, math.nan, 0) for row in group.methods]
    columns.append(_interval_column("mean rank ↓", ranks, False, 1))
    if any(row.seesaw for row in group.methods):
        columns.append(("seesaw", [Cell("seesaw" if row.seesaw else "") for row in group.methods]))
    return from_columns(group_title(group.group), columns)


def protocol_table(found: Assessment) -> Table:
    """What supports the comparison of a group: ranks, wins, trade-off, budget.

    Args:
      found: the group.

    Returns:
      The table, one row per method, without columns that have no value.
    """
    methods = [row.method for row in found.summary.methods]
    columns = _names(methods)
    if found.rankings:
        ranking = found.rankings[0]
        ranks = dict(zip(ranking.methods, map(float, ranking.test.mean_ranks)))
        columns.append(("rank over seeds ↓", [number_cell(ranks.get(m, math.nan), ".2f") for m in methods]))
    if found.reference is not None:
        shown = [found.improvement.get(m) for m in methods]
        cells = [
            Cell("–", math.nan)
            if e is None or math.isnan(e.value)
            else Cell(_range_text(e.value, e.low, e.high), e.value)
            for e in shown
        ]
        columns.append(("P(better) ↑", cells))
    columns += _trade_off_columns(found, methods)
    budgets = [found.budgets[m] for m in methods]
    columns.append(("examples", [number_cell(b.examples, ",.0f") for b in budgets]))
    columns.append(("backward passes", [number_cell(b.backward_passes, ",.0f") for b in budgets]))
    if any(b.settings > 1 for b in budgets):
        columns.append(("settings tried", [number_cell(b.settings, ".0f") for b in budgets]))
    kept = [c for c in columns if not all(cell.value is not None and math.isnan(cell.value) for cell in c[1])]
    return from_columns(group_title(found.summary.group), kept)


def settings_table(tuned: Tuned, found: Assessment) -> Table:
    """Every setting that was tried in a group, on validation and on the test split.

    Args:
      tuned: the study at the chosen settings.
      found: the group.

    Returns:
      The table, one row per method and setting; the chosen ones are marked as best.
    """
    rows = []
    for summary in found.summary.methods:
        key = (found.summary.group, summary.method)
        for setting, places in tuned.variants[key].items():
            chosen = setting == tuned.chosen[key]
            cells = [Cell(summary.method.model), Cell(summary.method.weighting), Cell(setting, best=chosen)]
            cells.append(Cell("chosen" if chosen else ""))
            score = tuned.score[key][setting]
            cells.append(number_cell(score, ".5g"))
            for measure in found.summary.primary:
                interval = mean_interval(list(places.get(Place("test", *measure), {}).values()))
                places_shown = min(decimals([interval]), 6)
                cells.append(Cell(interval_text(interval, places_shown), interval.mean))
            rows.append(tuple(cells))
    heads = ["model", "weighting", "setting", "", "validation ↑"]
    heads += [f"{task} {metric_name(metric)}" for task, metric in found.summary.primary]
    return Table(group_title(found.summary.group), tuple(heads), tuple(rows))


def _names(methods: list[Method]) -> list[Column]:
    return [
        ("model", [Cell(method.model) for method in methods]),
        ("weighting", [Cell(method.weighting) for method in methods]),
    ]


def _trade_off_columns(found: Assessment, methods: list[Method]) -> list[Column]:
    if found.trade_off is None:
        return []
    positions = [found.trade_off.positions.get(m) for m in methods]
    front = [Cell("–") if p is None else Cell("front" if p.on_front else "") for p in positions]
    share = [number_cell(math.nan if p is None else 100 * p.front_share, ".0f") for p in positions]
    volumes = [NO_VALUE if p is None else p.hypervolume for p in positions]
    return [
        ("Pareto", front),
        ("on front, % of seeds", share),
        _interval_column("hypervolume ↑", volumes, True, 3),
    ]


def _range_text(value: float, low: float, high: float) -> str:
    return f"{value:.2f}" if math.isnan(low) else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _metric_column(group: GroupSummary, measure: Measure) -> Column:
    intervals = [row.intervals.get(measure, NO_VALUE) for row in group.methods]
    name = f"{measure[0]} {metric_name(measure[1])}"
    head, cells = _interval_column(name, intervals, HIGHER_IS_BETTER[measure[1]], 6)
    return head, [_with_sign(cell, row, measure) for cell, row in zip(cells, group.methods)]


def _interval_column(head: str, intervals: list[Interval], higher: bool, most_decimals: int) -> Column:
    best, places = best_mean(intervals, higher), min(decimals(intervals), most_decimals)
    return head, [Cell(interval_text(i, places), i.mean, best=i.mean == best) for i in intervals]


def _with_sign(cell: Cell, row: MethodSummary, measure: Measure) -> Cell:
    comparison = row.versus_baseline.get(measure)
    if comparison is None or not comparison.p_adjusted < LEVEL:
        return cell
    gain = comparison.gain
    hint = (
        f"gain {gain.difference:+.3g}, 95 % interval {gain.low:+.3g} to {gain.high:+.3g}, "
        f"adjusted {p_text(comparison.p_adjusted)}"
    )
    return cell._replace(sign="▲" if gain.difference > 0 else "▼", hint=hint)
