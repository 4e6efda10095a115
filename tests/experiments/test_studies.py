"""Every study in experiments/ plans as a whole, and a two-step run of it leaves a report."""

import csv
import os
import runpy
from pathlib import Path

import pytest

import run
from mtl.sweep import check_config, make_plan, plain

FOLDER = Path(run.__file__).parent / "experiments"
STUDIES = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem != "__init__")
NEEDS_FILES = {"census"}


def needs_data(study):
    if study in NEEDS_FILES and not os.environ.get("MTL_MANUAL_DIR"):
        pytest.skip(f"{study} needs raw files; set MTL_MANUAL_DIR to their folder")


@pytest.mark.parametrize("study", STUDIES)
def test_the_docstring_says_how_to_run_it_and_what_to_expect(study):
    text = runpy.run_path(str(FOLDER / f"{study}.py"))["__doc__"]
    for heading in ("Command:", "Time:", "Data:", "Expected:"):
        assert heading in text


@pytest.mark.parametrize("study", STUDIES)
def test_the_whole_study_plans(study):
    needs_data(study)
    config = runpy.run_path(str(FOLDER / f"{study}.py"))["get_config"]()
    plan = make_plan(check_config(plain(config)))
    assert plan.name == study
    labels = {name for name, _, _ in plan.models}
    assert config.report.baseline in labels
    runs = sum(len(g.runs) for g in plan.groups)
    points = len(config.sweep.dataset.get("correlation", (None,)))
    sharing = len(labels) - 1  # all but the baseline meet every weighting
    assert runs == (sharing * len(config.weightings) + 1) * config.seeds * points


@pytest.mark.parametrize("study", STUDIES)
def test_two_steps_of_it_leave_results_and_a_report(study, tmp_path, capsys):
    needs_data(study)
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
        ]
    )
    assert code == 0, capsys.readouterr().err
    with (tmp_path / "out" / "results.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert {r["model"] for r in rows} == {"single_task", "shared_bottom"}
    assert {r["step"] for r in rows} <= {"1", "2"}
    for name in ("summary.csv", "metrics.jsonl", "config.json", "report.html", "plots/tasks.png"):
        assert (tmp_path / "out" / name).stat().st_size > 0
