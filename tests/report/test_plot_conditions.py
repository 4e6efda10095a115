"""When the figure of conditions is drawn, and of what it consists."""

import numpy as np
import pytest

from mtl.report.plot_conditions import plot_conditions
from mtl.report.summary import summarise
from mtl.report.workdir import Group, Method, Place, Record, Study
from mtl.tasks import Task

TASKS = (Task("left", "regression"), Task("right", "regression"))


def study(conditions=("p=0.5", "p=1.0"), seeds=20, weightings=("static",), models=("a", "b", "c")):
    rng = np.random.default_rng(0)
    tables, records = {}, []
    for condition in conditions:
        group = Group("d", condition)
        for method in (Method(m, w) for m in models for w in weightings):
            tables.setdefault(group, {})[method] = {
                Place(split, task.name, "rmse"): dict(enumerate(rng.uniform(1, 2, seeds)))
                for split in ("val", "test")
                for task in TASKS
            }
            for seed in range(seeds):
                for step in (10, 20):
                    losses = {"left": 10.0 / step, "right": 20.0 / step}
                    content = {"loss": losses, "weight": losses}
                    records.append(Record(group, method, seed, step, "train", content))
    config = {"config": {"weightings": list(weightings)}}
    return Study("s", config, TASKS, "", "", tables, tuple(records))


def draw(found):
    return plot_conditions(found, summarise(found))


def test_a_panel_per_model_and_one_per_condition():
    figure = draw(study())
    top, bottom = figure.axes[:3], figure.axes[3:]
    assert [axis.get_title() for axis in top] == ["a", "b", "c"]
    assert [axis.get_title() for axis in bottom if axis.get_visible()] == ["p=0.5", "p=1.0"]
    for axis in top:
        assert len(axis.lines) == 2
        np.testing.assert_allclose(axis.lines[0].get_ydata(), [1.5, 0.75])  # the mean over tasks
    # Every run is in a bar: three filled histograms of twenty runs.
    heights = [sum(patch.get_height() for patch in container) for container in bottom[0].containers]
    assert heights == [20, 20, 20]


@pytest.mark.parametrize(
    "options", [{"seeds": 19}, {"conditions": ("p=1.0",)}, {"weightings": ("static", "mgda")}]
)
def test_nothing_is_drawn_where_it_would_say_nothing(options):
    assert draw(study(**options)) is None
