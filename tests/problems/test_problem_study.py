"""Studies of a problem from the command line: files, resuming, reports, and what is refused."""

import csv
import json
import shlex
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

import run
from mtl import problems, sweep
from mtl.files import RESULT_COLUMNS

STUDY = Path(run.__file__).parent / "experiments" / "toy2d.py"
SMALL = [
    f"--config={STUDY}",
    "--config.weightings=('static', 'mgda')",
    "--config.train.eval_every=12000",
]
FILES = ("config.json", "problem.json", "results.csv", "summary.csv", "report.html", "plots/toy2d.png")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True, scope="module")
def _handlers():
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("toy2d") / "workdir"
    assert run.main(["run.py", *SMALL, f"--workdir={workdir}"]) == 0
    return workdir


def read(workdir):
    return {path.relative_to(workdir): path.read_bytes() for path in workdir.rglob("*") if path.is_file()}


def rows(workdir):
    with (workdir / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_study_leaves_results_trajectories_and_a_report(finished, capsys):
    for name in FILES:
        assert (finished / name).stat().st_size > 0
    found = rows(finished)
    assert tuple(found[0]) == RESULT_COLUMNS
    assert {r["weighting"] for r in found} == {"static", "mgda"}
    assert {r["seed"] for r in found} == set("01234")
    assert {(r["model"], r["split"], r["step"]) for r in found} == {("point", "test", "100000")}
    assert {(r["task"], r["metric"]) for r in found} == {
        *(("l1", "loss"), ("l2", "loss")),
        *(("both", m) for m in ("distance_to_front", "reached", "balance", "steps_to_front", "residual")),
    }
    page = (finished / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")  # a name, not an address


def test_results_are_those_of_the_last_point(finished):
    problem = problems.toy2d(0.1)
    values = {(r["weighting"], r["seed"], r["task"], r["metric"]): float(r["value"]) for r in rows(finished)}
    for path in (finished / "trajectories").iterdir():
        content = json.loads(path.read_text())
        assert content["steps"] == [*range(0, 100_000, 12_000), 100_000]
        for i, recorded in enumerate(content["runs"]):
            points, losses = np.array(recorded["points"]), np.array(recorded["losses"])
            assert points.shape == losses.shape == (10, 2)
            assert tuple(points[0]) == problems.STARTS[i]
            np.testing.assert_allclose(losses[-1], problem.loss_fn(points[-1]), rtol=1e-5, atol=1e-5)
            run_ = (content["weighting"], str(i))
            distance, place = problem.place(losses[-1])
            reached = bool(values[(*run_, "both", "reached")])
            assert reached == (distance < problems.REACHED)
            assert values[(*run_, "both", "distance_to_front")] == pytest.approx(distance, rel=1e-3, abs=1e-6)
            assert ((*run_, "both", "balance") in values) == reached
            if reached:
                assert values[(*run_, "both", "balance")] == pytest.approx(place, abs=1e-4)
                steps = content["steps"].index(values[(*run_, "both", "steps_to_front")])
                near = problem.place(losses)[0] < problems.REACHED
                assert near[steps:].all()
                assert not near[steps - 1]


def test_some_runs_reach_the_front_and_one_does_not(finished):
    """Adam on the mean loss misses the front from one of the five starts, as FAMO's README says."""
    found = [r for r in rows(finished) if r["metric"] == "reached" and r["weighting"] == "static"]
    assert {r["seed"]: float(r["value"]) for r in found} == {"0": 1, "1": 1, "2": 0, "3": 1, "4": 1}


def test_a_study_stopped_between_weightings_continues_to_the_same_results(
    finished, tmp_path, capsys, monkeypatch
):
    workdir = tmp_path / "out"
    asked = []

    def at_the_second():
        asked.append(None)
        return len(asked) == 2

    with monkeypatch.context() as patch:
        patch.setattr(sweep, "StopRequest", lambda: at_the_second)
        assert run.main(["run.py", *SMALL, f"--workdir={workdir}"]) == 3
    assert {r["weighting"] for r in rows(workdir)} == {"static"}
    said = capsys.readouterr().err.splitlines()[-1]
    command = shlex.split(said.partition("continue with: ")[2])
    assert run.main(["run.py", f"--workdir={workdir}", "--report"]) == 0
    assert "mgda" not in capsys.readouterr().out
    static = next((workdir / "trajectories").glob("static-*")).stat().st_mtime_ns
    assert run.main(command[1:]) == 0
    assert next((workdir / "trajectories").glob("static-*")).stat().st_mtime_ns == static
    assert read(workdir) == read(finished)


def test_a_finished_study_is_only_reported_again(finished, capsys):
    before = read(finished)
    assert run.main(["run.py", f"--workdir={finished}", "--resume"]) == 0
    assert "mgda" in capsys.readouterr().out
    assert read(finished) == before


def test_the_report_is_rebuilt_from_the_files(finished, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    for name in ("summary.csv", "report.html", "plots/toy2d.png"):
        (copy / name).unlink()
    assert run.main(["run.py", f"--workdir={copy}", "--report"]) == 0
    assert read(copy) == read(finished)


DAMAGE = {
    "results.csv": ("both,", "both", "results.csv line"),
    "problem.json": ('"front"', '"fornt"', "problem.json is damaged"),
    "config.json": ("{", "[", "config.json is damaged"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_named(finished, tmp_path, capsys, name):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    old, new, expected = DAMAGE[name]
    (copy / name).write_text((copy / name).read_text().replace(old, new, 1))
    assert run.main(["run.py", f"--workdir={copy}", "--report"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert expected in said[0]


def test_a_damaged_trajectory_says_what_to_delete(finished, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    path = next((copy / "trajectories").glob("mgda-*"))
    path.write_text(path.read_text()[:100])
    assert run.main(["run.py", f"--workdir={copy}", "--resume"]) == 2
    assert f"{path} is damaged" in capsys.readouterr().err
    path.unlink()
    assert run.main(["run.py", f"--workdir={copy}", "--resume"]) == 0
    assert read(copy) == read(finished)


REFUSED = {
    "scale": ("--config.dataset.scale=0.0", "scale is 0.0, expected a finite number above 0"),
    "model": ("--config.models=('mmoe',)", "config.models is ['mmoe']"),
    "starts": ("--config.seeds=7", "config.seeds is 7, expected at most 6"),
    "no steps": ("--config.train.steps=0", "train.steps is 0, but 'toy2d' has no epochs"),
    "batches": ("--config.train.batch_size=8", "train.batch_size is 8, which means nothing"),
    "rate": ("--config.train.learning_rate=-1.0", "train.learning_rate is -1.0, expected above 0"),
    "draws": ("--config.dataset.resample=True", "config.dataset.resample is true"),
    "baseline": ("--config.report.baseline=ple", "config.report.baseline is 'ple'"),
    "weighting": ("--config.weightings=('mdga',)", "unknown weighting 'mdga' (did you mean 'mgda'?)"),
    "twice": ("--config.weightings=('mgda', 'mgda')", "config.weightings names 'mgda' twice"),
    "argument": (
        "--config.weightings=({'name': 'mgda', 'norm': 'l2'},)",
        "unknown argument of weighting 'mgda': 'norm'",
    ),
}


@pytest.mark.parametrize("argument, expected", REFUSED.values(), ids=REFUSED)
def test_a_wrong_argument_is_one_line_and_leaves_nothing(tmp_path, capsys, argument, expected):
    assert run.main(["run.py", *SMALL, argument, f"--workdir={tmp_path / 'out'}"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert expected in said.err
    assert not (tmp_path / "out").exists()


def test_an_unknown_argument_of_the_problem():
    config = sweep.study_config("toy", {"name": "toy2d", "scala": 1.0}, ("point",), ("static",))
    with pytest.raises(run.InputError, match="unknown argument of problem 'toy2d': 'scala'"):
        problems.make_plan(sweep.check_config(sweep.plain(config)))


def test_runs_that_diverge_are_named_and_have_no_results(tmp_path, capsys):
    workdir = tmp_path / "out"
    rate = ("--config.train.optimizer=sgd", "--config.train.learning_rate=1e30", "--config.train.steps=20")
    assert run.main(["run.py", *SMALL, *rate, "--config.seeds=2", f"--workdir={workdir}"]) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mtl: ")]
    assert len(said) == 4
    assert "static from start 0: a loss or weight was not finite at step 1;" in said[0]
    assert rows(workdir) == []
    assert run.main(["run.py", f"--workdir={workdir}", "--report"]) == 0
    assert "0/2" in capsys.readouterr().out


def test_problems_are_listed(capsys):
    assert run.main(["run.py", "--list"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("problems:"))
    assert line.split()[1:] == list(problems.PROBLEMS)
