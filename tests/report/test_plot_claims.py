"""The figure of what claims compare: its panels, methods, conditions and means."""

import numpy as np

from mtl.report import tune
from mtl.report.plot_claims import plot_claims
from mtl.report.workdir import Group, Method, Place, Study
from mtl.tasks import Task

TASKS = (Task("left", "regression"), Task("right", "regression"))


def study(claims, conditions=("p=10", "p=2"), scale=1.0):
    tables = {
        Group("d", condition): {
            Method(model, "static"): {
                Place(split, task.name, "rmse"): {s: (m + 1) * scale**c + 0.1 * s for s in range(3)}
                for split in ("val", "test")
                for task in TASKS
            }
            for m, model in enumerate("ab")
        }
        for c, condition in enumerate(conditions)
    }
    config = {"config": {"report": {"claims": claims}}}
    return tune(Study("s", config, TASKS, "", "", tables, ()))


def mean(model, condition, *task):
    return ("mean", model, "static", condition, *task)


def claim(conditions, *task):
    tests = tuple(
        {"value": ("minus", mean("b", c, *task), mean("a", c, *task)), "at_least": 0.0} for c in conditions
    )
    return {"claim": "b is larger", "metric": "rmse", "tests": tests}


def test_a_panel_for_each_task_with_conditions_in_rising_order():
    conditions = ("p=10", "p=2")
    figure = plot_claims(study((claim(conditions), claim(conditions, "left"))))
    first, second = figure.axes[:2]
    assert first.get_title() == "RMSE, mean over tasks"
    assert second.get_title() == "RMSE, left"
    assert [label.get_text() for label in first.get_xticklabels()] == ["2", "10"]
    assert first.get_xlabel() == "p"
    b, a = (container[0] for container in first.containers)
    np.testing.assert_allclose(np.float64(a.get_ydata()), [1.1, 1.1])
    np.testing.assert_allclose(np.float64(b.get_ydata()), [2.1, 2.1])
    assert first.get_yscale() == "linear"


def test_means_far_apart_are_on_a_logarithmic_axis():
    conditions = ("p=10", "p=2")
    figure = plot_claims(study((claim(conditions),), scale=100.0))
    assert figure.axes[0].get_yscale() == "log"


def test_under_one_condition_methods_stand_side_by_side():
    figure = plot_claims(study((claim(("",)),), conditions=("",)))
    b, a = (container[0] for container in figure.axes[0].containers)
    assert a.get_xdata() != b.get_xdata()
    assert not figure.axes[0].get_xticks().size


def test_without_claims_about_means_there_is_no_figure():
    assert plot_claims(study(())) is None
    spread = {"value": ("std", "a", "static", "p=2"), "at_most": 1.0}
    assert plot_claims(study(({"claim": "tight", "metric": "rmse", "tests": (spread,)},))) is None
