"""Every study in experiments/ plans as a whole, and a two-step run of it leaves a report."""

import csv
import math
import os
import runpy
from pathlib import Path

import pytest

import run
from mtl import problems
from mtl.report.claim_tests import cells, check_claims
from mtl.sweep import check_config, make_plan, plain
from mtl.sweep.config import hparams
from mtl.sweep.grid import grid
from mtl.weightings import WEIGHTINGS

FOLDER = Path(run.__file__).parent / "experiments"
STUDIES = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem != "__init__")
OF_PROBLEMS = {"toy2d"}
OF_DATA = [study for study in STUDIES if study not in OF_PROBLEMS]
NEEDS_FILES = {"census", "hillstrom", "kuairand", "multimnist"}
SMALLER = {
    "funnel": {"num_train": 20_000, "num_val": 8_000, "num_test": 8_000},
    "multimnist": {"num_train": 2_000, "num_val": 1_000},
    "scenarios": {"num_train": 2_000, "num_val": 1_000, "num_test": 1_000},
    "watch_time": {"num_train": 2_000, "num_val": 1_000, "num_test": 1_000},
    "weighting": {"num_train": 2_000},
}
"""Sizes for the two-step runs, where nothing else would be read of most rows."""


def config_of(study):
    return runpy.run_path(str(FOLDER / f"{study}.py"))["get_config"]()


def needs_data(study):
    if study in NEEDS_FILES and not os.environ.get("MTL_MANUAL_DIR"):
        pytest.skip(f"{study} needs raw files; set MTL_MANUAL_DIR to their folder")


@pytest.mark.parametrize("study", STUDIES)
def test_the_docstring_says_how_to_run_it_and_what_to_expect(study):
    text = runpy.run_path(str(FOLDER / f"{study}.py"))["__doc__"]
    for heading in ("Command:", "Time:", "Data:", "Expected:"):
        assert heading in text


@pytest.mark.parametrize("study", OF_DATA)
def test_the_whole_study_plans(study):
    needs_data(study)
    config = config_of(study)
    plan = make_plan(check_config(plain(config)))
    assert plan.name == study
    labels = {name for name, _, _ in plan.models}
    baseline = config.report.baseline
    assert baseline in labels or not baseline
    runs = sum(len(g.runs) for g in plan.groups)
    grids = (*config.sweep.dataset.values(), *config.sweep.train.values())
    points = math.prod(len(values) for values in grids)
    sharing = len(labels - {baseline})  # all but the baseline meet every weighting
    assert runs == (sharing * len(config.weightings) + bool(baseline)) * config.seeds * points


@pytest.mark.parametrize("study", OF_DATA)
def test_its_claims_are_about_its_own_cells(study):
    config = plain(config_of(study))
    check_claims(config["report"]["claims"])
    models = {spec if isinstance(spec, str) else spec.get("label", spec["name"]) for spec in config["models"]}
    models.add(config["report"]["baseline"])
    kept = config["report"]["conditions"]
    conditions = {
        hparams({**values, **{key: more[key] for key in kept}})
        for values in grid(config, "dataset")
        for more in grid(config, "train")
    }
    for claim in config["report"]["claims"]:
        for test in claim["tests"]:
            for cell in cells(test["value"]):
                assert cell[1] in models
                assert cell[3] in conditions


@pytest.mark.parametrize("study", OF_DATA)
def test_two_steps_of_it_leave_results_and_a_report(study, tmp_path, capsys):
    needs_data(study)
    swept = config_of(study).sweep.train
    code = run.main(
        [
            "run.py",
            f"--config={FOLDER / study}.py",
            f"--workdir={tmp_path / 'out'}",
            "--config.models=('shared_bottom',)",
            "--config.weightings=('static','mgda')",
            "--config.seeds=1",
            "--config.train.steps=2",
            "--config.train.steps_per_call=1",
            "--config.train.eval_every=1",
            *(f"--config.dataset.{key}={value}" for key, value in SMALLER.get(study, {}).items()),
            *(["--config.sweep.train.learning_rate=(0.01,)"] if "learning_rate" in swept else []),
            *(["--config.sweep.dataset.conversion_rate=(0.1,)"] if study == "funnel" else []),
        ]
    )
    assert code == 0, capsys.readouterr().err
    with (tmp_path / "out" / "results.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert {r["model"] for r in rows} == {"shared_bottom", config_of(study).report.baseline} - {""}
    assert {r["step"] for r in rows} <= {"1", "2"}
    for name in ("summary.csv", "metrics.jsonl", "config.json", "report.html", "plots/tasks.png"):
        assert (tmp_path / "out" / name).stat().st_size > 0


@pytest.mark.parametrize("study", sorted(OF_PROBLEMS))
def test_a_study_of_a_problem_plans_every_weighting(study):
    config = config_of(study)
    plan = problems.make_plan(check_config(plain(config)))
    assert plan.name == study
    names = [spec if isinstance(spec, str) else spec["name"] for spec in config.weightings]
    assert set(names) == set(WEIGHTINGS)
    assert [len(group.runs) for group in plan.groups] == [config.seeds] * len(names)


@pytest.mark.parametrize("study", sorted(OF_PROBLEMS))
def test_two_steps_on_a_problem_leave_results_and_a_report(study, tmp_path, capsys):
    workdir = tmp_path / "out"
    arguments = ["--config.weightings=('static','mgda')", "--config.seeds=1", "--config.train.steps=2"]
    code = run.main(["run.py", f"--config={FOLDER / study}.py", f"--workdir={workdir}", *arguments])
    assert code == 0, capsys.readouterr().err
    with (workdir / "results.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert {(r["weighting"], r["step"]) for r in rows} == {("static", "2"), ("mgda", "2")}
    assert all(
        (workdir / name).stat().st_size for name in ("summary.csv", "report.html", f"plots/{study}.png")
    )
