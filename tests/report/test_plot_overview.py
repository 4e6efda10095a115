"""The heat map of all methods under all conditions."""

import numpy as np
import pytest

from mtl.report.plot_overview import plot_overview
from mtl.report.summary import summarise
from mtl.report.workdir import Group, Method, Place, Study
from mtl.tasks import Task

TASKS = (Task("left", "regression"), Task("right", "regression"))
WEIGHTINGS = ("static", "uwl", "mgda", "gls", "dwa", "rlw")


def study(conditions=("p=0.5", "p=1.0"), weightings=WEIGHTINGS, baseline="single_task"):
    """Errors of 1 for the baseline, and of 1.1, 1.2, … for the weightings, the same under all conditions."""
    tables = {}
    for condition in conditions:
        levels = {Method("single_task", "static"): 1.0}
        levels |= {Method("sb", w): 1.1 + 0.1 * i for i, w in enumerate(weightings)}
        tables[Group("d", condition)] = {
            method: {Place(s, t.name, "rmse"): {0: x, 1: x} for s in ("val", "test") for t in TASKS}
            for method, x in levels.items()
        }
    return Study("s", {"config": {"weightings": list(weightings)}}, TASKS, baseline, "", tables, ())


def test_a_row_per_method_sorted_by_rank_and_a_column_per_condition():
    ((axis,),) = (plot_overview(summarise(study(weightings=WEIGHTINGS[::-1]))).axes,)
    values = np.asarray(axis.images[0].get_array())
    np.testing.assert_allclose(values, np.repeat([[10.0], [20], [30], [40], [50], [60]], 2, axis=1))
    assert [label.get_text() for label in axis.get_yticklabels()] == [f"sb × {w}" for w in WEIGHTINGS[::-1]]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["p=0.5", "p=1.0"]


@pytest.mark.parametrize(
    "options", [{"conditions": ("p=1.0",)}, {"weightings": WEIGHTINGS[:5]}, {"baseline": ""}], ids=str
)
def test_nothing_is_drawn_where_tables_say_as_much(options):
    assert plot_overview(summarise(study(**options))) is None
