"""What a report warns of: too few seeds, methods that are one by theory, failures."""

import re

import numpy as np
import pytest
from study_files import runs, write_study

from mtl import metrics
from mtl.report import assess, tune, verdicts

BASE = np.array([0.50, 0.55, 0.52, 0.58, 0.51])


def cautions(folder, rows, **options):
    tuned = tune(write_study(folder, rows, **options))
    return verdicts(tuned, assess(tuned))[0].cautions


def test_too_few_seeds_says_what_they_find_and_how_many_it_takes(tmp_path):
    gains = np.array([0.02, -0.01, 0.03, 0.0, 0.02])
    rows = runs("single", "static", BASE) + runs("m", "uwl", BASE + gains)
    (line,) = cautions(tmp_path, rows, kinds=("binary",), baseline="single")
    detectable = metrics.detectable_difference(gains.std(ddof=1), 5, 0.8, 0.05)
    needed = metrics.seeds_needed(gains.std(ddof=1), gains.mean(), 0.8, 0.05)
    assert "80 % power, one comparison" in line
    assert f"AUC differs by 0.012, 5 seeds find {detectable:.2g}, about {needed:.0f} find that" in line


def test_enough_seeds_give_no_caution(tmp_path):
    rows = runs("single", "static", BASE) + runs("m", "uwl", BASE + np.array([0.1, 0.11, 0.1, 0.09, 0.1]))
    assert cautions(tmp_path, rows, kinds=("binary",), baseline="single") == ()


def test_seeds_without_a_result_are_counted(tmp_path):
    rows = runs("a", "x", [0.1, 0.2, 0.4]) + runs("b", "x", [0.1, 0.3])
    found = cautions(tmp_path, rows, kinds=("binary",), config={"seeds": 4})
    assert any("of 4: a × x has 3, b × x has 2." in line for line in found)


NORMALISED = {"name": "mgda", "label": "unit", "normalizer": "l2", "convention": "scaled"}


@pytest.mark.parametrize(
    ("weightings", "tasks", "same"),
    [
        (("nash_mtl", "imtl_g", "mgda"), 2, {"nash_mtl", "imtl_g"}),
        (("nash_mtl", "imtl_g"), 3, None),
        (("config", NORMALISED), 2, {"config", "unit"}),
        (("nash_mtl", "db_mtl"), 2, None),
        (("nash_mtl", {"name": "db_mtl", "beta": 0.0}), 2, {"nash_mtl", "db_mtl(beta=0.0)"}),
        (("fairgrad", {"name": "fairgrad", "alpha": 2.0}), 2, None),
        (("pcgrad", "upgrad"), 2, {"pcgrad", "upgrad"}),
        (("nash_mtl", {"name": "imtl_g", "tap": True}), 2, None),
    ],
)
def test_methods_that_are_one_for_two_tasks(tmp_path, weightings, tasks, same):
    labels = []
    for spec in weightings:
        own = dict(spec) if isinstance(spec, dict) else {"name": spec}
        rest = ", ".join(f"{k}={v}" for k, v in own.items() if k not in ("name", "label"))
        labels.append(own.get("label", f"{own['name']}({rest})" if rest else own["name"]))
    rows = [row for label in labels for row in runs("m", label, [0.1, 0.2])]
    config = {"weightings": list(weightings)}
    found = cautions(tmp_path, rows, kinds=("binary",) * tasks, config=config)
    lines = [line for line in found if line.startswith("By theory one direction")]
    if same is None:
        assert not lines
    else:
        (line,) = lines
        named = re.search(r": m × ([^;]*?)\. For each", line)[1]
        assert set(named.split(", ")) == same
