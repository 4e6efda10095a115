"""Search: equal trials, one program per batch, no look at the test split, the same after any stop."""

import csv
import importlib
import json
import sys

import numpy as np
import pytest

import mtl.data
from mtl.data import mmoe_synthetic
from mtl.errors import InputError
from mtl.sweep import check_config, make_plan, plain, run_plan, study_config
from mtl.sweep.plan import weighting_label
from mtl.sweep.programs import Programs
from mtl.train import Stopped

optuna = pytest.importorskip("optuna")

from mtl.sweep.optuna_study import ask, open_study, prune_by, tell  # noqa: E402
from mtl.sweep.search import check_search, describe_search, run_search  # noqa: E402
from mtl.sweep.space import axes, check_space  # noqa: E402

RATE = {"learning_rate": ("log", 1e-3, 1e-1)}
SEARCH = {"trials": 5, "batch": 2, "train": RATE, "weightings": {"static": {"weights": ("simplex",)}}}


def study(weightings=("static",), models=("shared_bottom",), search=None, **options):
    config = study_config(
        "s",
        {
            "name": "mmoe_synthetic",
            "dim": 4,
            "num_train": 64,
            "num_val": 32,
            "num_test": 32,
            **options.pop("dataset", {}),
        },
        models,
        weightings,
        seeds=2,
        model={"bottom_features": (4,), "tower_features": (4,)},
        train={"batch_size": 16, "steps": 8, "eval_every": 4},
        report={"baseline": ""},
        sweep={"search": {**SEARCH, **(search or {})}},
    )
    config = check_config(plain(config))
    plan = make_plan(config)
    return check_search(config, plan)


def searched(folder, search, stop=lambda: False):
    folder.mkdir(exist_ok=True)
    plan = run_search(search, folder, stop)
    return plan, json.loads((folder / "search.json").read_text())


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A search of one method, with how often it compiled a training program."""
    folder = tmp_path_factory.mktemp("found")
    made = []
    with pytest.MonkeyPatch.context() as patch:
        make = Programs._make_train
        patch.setattr(Programs, "_make_train", lambda *a: made.append(a) or make(*a))
        plan, told = searched(folder, study())
    return folder, plan, told["shared_bottom x static"], len(made)


def test_every_trial_is_told_and_the_best_is_chosen(found):
    _, plan, told, _ = found
    assert [t["number"] for t in told["trials"]] == [0, 1, 2, 3, 4]
    assert {t["state"] for t in told["trials"]} == {"complete"}
    values = [t["values"][0] for t in told["trials"]]
    assert told["chosen"] == [int(np.argmax(values))]
    assert told["examples"] == 5 * 8 * 16
    (group,) = plan.groups
    assert [(run.seed, run.hparams) for run in group.runs] == [(0, ""), (1, "")]
    best = told["trials"][told["chosen"][0]]["arguments"]
    assert group.runs[0].settings.learning_rate == best["train"]["learning_rate"]
    assert list(plan.weightings[0][1]["weights"]) == best["weighting"]["weights"]
    assert weighting_label(plan, group.runs[0]) == "static"


def test_batches_share_a_program(found):
    # Two batches of two, one of one.
    assert found[3] == 2


def test_a_trial_is_the_run_that_it_stands_for(found):
    """The chosen trial, trained again with the study's seeds, has the same validation value at its seed."""
    folder, plan, told, _ = found
    assert run_plan(plan, folder) == []
    with (folder / "results.csv").open() as f:
        rows = [r for r in csv.DictReader(f) if r["seed"] == "0" and r["split"] == "val"]
    rmse = [float(r["value"]) for r in rows if r["metric"] == "rmse"]
    assert len(rmse) == 2
    assert told["trials"][told["chosen"][0]]["values"] == [pytest.approx(-np.mean(rmse), rel=1e-12)]


def test_a_search_does_not_see_the_test_split(found, tmp_path, monkeypatch):
    def other_test(**arguments):
        dataset = mmoe_synthetic(**arguments)
        test = {k: v + 7 if k == "labels" else v for k, v in dataset.splits["test"].items()}
        return dataset._replace(splits={**dataset.splits, "test": test})

    def loader(dim=4, num_train=64, num_val=32, num_test=32, seed=0):
        return other_test(dim=dim, num_train=num_train, num_val=num_val, num_test=num_test, seed=seed)

    monkeypatch.setitem(mtl.data.DATASETS, "mmoe_synthetic", loader)
    _, told = searched(tmp_path / "other", study())
    assert told["shared_bottom x static"] == found[2]
    groups = list((tmp_path / "other" / "search").glob("**/result.json"))
    assert groups
    assert all(run["metrics"]["test"] == {} for p in groups for run in json.loads(p.read_text())["runs"])


@pytest.mark.parametrize("calls", [1, 3, 5])
def test_a_stopped_search_goes_on_as_if_nothing_had_happened(found, tmp_path, calls):
    left = [calls]

    def stop():
        left[0] -= 1
        return left[0] == 0

    with pytest.raises(Stopped):
        searched(tmp_path / "stopped", study(), stop)
    assert not (tmp_path / "stopped" / "search.json").exists()
    plan, told = searched(tmp_path / "stopped", study())
    assert told["shared_bottom x static"] == found[2]
    assert [g.id for g in plan.groups] == [g.id for g in found[1].groups]


def test_a_finished_search_trains_nothing(found, monkeypatch):
    folder, plan, _, _ = found
    before = (folder / "search.json").read_bytes()
    monkeypatch.setattr("mtl.sweep.trials.train_group", None)
    assert [g.id for g in run_search(study(), folder).groups] == [g.id for g in plan.groups]
    assert (folder / "search.json").read_bytes() == before


def test_a_database_in_the_place_of_the_journal_gives_the_same(found, tmp_path):
    _, told = searched(tmp_path / "w", study(search={"storage": f"sqlite:///{tmp_path}/search.db"}))
    assert told["shared_bottom x static"] == found[2]
    assert (tmp_path / "search.db").is_file()
    assert not (tmp_path / "w" / "search" / "journal.log").exists()


def test_without_optuna_one_line_says_what_to_install(monkeypatch):
    for name in ("optuna_study", "search", "trials"):
        monkeypatch.delitem(sys.modules, f"mtl.sweep.{name}")
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(
        InputError, match=r"needs Optuna, which is not installed; pip install 'mtl\[search\]'"
    ):
        importlib.import_module("mtl.sweep.search")


def test_methods_have_the_same_trials_and_one_journal(tmp_path):
    options = {"trials": 2, "batch": 2, "sampler": "random", "objective": "tasks", "weightings": {}}
    plan, told = searched(tmp_path / "w", study(("static", "ew"), ("shared_bottom", "single_task"), options))
    assert list(told) == ["shared_bottom x ew", "shared_bottom x static", "single_task x static"]
    drawn = [[t["arguments"]["train"] for t in method["trials"]] for method in told.values()]
    assert drawn[0] == drawn[1] == drawn[2]  # paired, as seeds are
    assert (tmp_path / "w" / "search" / "journal.log").is_file()
    for name, method in told.items():
        values = np.array([t["values"] for t in method["trials"]])
        worse = [((values >= v).all(1) & (values > v).any(1)).any() for v in values]
        assert method["chosen"] == [n for n, bad in enumerate(worse) if not bad]
        model, weighting = name.split(" x ")
        labels = {
            weighting_label(plan, run)
            for g in plan.groups
            for run in g.runs
            if plan.models[g.model][0] == model and weighting_label(plan, run).startswith(weighting)
        }
        expected = {f"{weighting} #{n}" for n in method["chosen"]}
        assert labels == (expected if model == "shared_bottom" else {"static"})


def test_shapes_and_data_can_be_searched_too(tmp_path):
    options = {
        "trials": 2,
        "batch": 2,
        "sampler": "random",
        "train": {"batch_size": ("choice", 8, 16)},
        "models": {"shared_bottom": {"bottom_features": ("choice", (3,), (5,))}},
        "dataset": {"correlation": ("uniform", 0.1, 0.9)},
        "weightings": {},
    }
    plan, told = searched(tmp_path / "w", study(search=options, dataset={"correlation": 0.5}))
    told = told["shared_bottom x static"]
    best = told["trials"][told["chosen"][0]]["arguments"]
    (group,) = plan.groups
    assert plan.models[group.model][2].extractor.bottom_features == tuple(best["model"]["bottom_features"])
    assert plan.sources[0].arguments["correlation"] == best["dataset"]["correlation"]
    assert group.runs[0].settings.batch_size == best["train"]["batch_size"]


def test_what_a_search_takes_is_said():
    assert describe_search(study()) == (
        "before it a search of 5 runs: 1 methods x 5 trials x 1 seeds, in batches of 2 trials"
    )


@pytest.mark.parametrize(
    "search, message",
    [
        ({"train": {"lr": ("log", 1e-3, 1.0)}}, "unknown key in config.train: 'lr'"),
        ({"train": {"learning_rate": ("uniform", -1.0, 1.0)}}, "learning_rate is -1.0, expected above 0"),
        ({"weightings": {"static": {"weight": ("simplex",)}}}, "weighting 'static': 'weight'"),
        ({"models": {"shared_bottom": {"depth": ("int", 1, 2)}}}, "model 'shared_bottom': 'depth'"),
        ({"dataset": {"num_tasks": ("int", 2, 3)}, "weightings": {}}, "changes the columns or tasks"),
        ({"train": {"batch_size": ("choice", 16, 100)}}, "batch_size is 100, but .* only 64 rows"),
    ],
)
def test_the_ends_of_ranges_are_checked_before_anything_is_trained(search, message):
    with pytest.raises(InputError, match=message):
        study(search={**SEARCH, **search})


def test_a_search_in_which_nothing_is_finite_says_so(tmp_path):
    options = {"trials": 2, "batch": 2, "train": {"learning_rate": ("log", 1e30, 1e32)}}
    with pytest.raises(InputError, match="no trial of shared_bottom x static has a finite value"):
        searched(tmp_path / "w", study(search=options))


# ---- pruning ------------------------------------------------------------------------------------------


def opened(folder, pruner="median", objectives=1):
    own = axes(check_space({"train": RATE}, [], []), "m", None, 2)
    return open_study(folder, "", "s", objectives, pruner), own


def test_runs_below_the_median_of_finished_trials_are_pruned_and_answers_are_kept(tmp_path):
    optuna_study, own = opened(tmp_path)
    for trial, height in zip(ask(optuna_study, own, range(5), "random"), range(5), strict=True):
        prune = prune_by(optuna_study, [trial.number])
        assert prune(10, [float(height)]) == [False]  # too few finished ones to judge by
        tell(optuna_study, trial, [float(height)], 20, 4)
    asked = ask(optuna_study, own, range(5, 8), "random")
    numbers = [t.number for t in asked]
    # The median of 0 … 4 at step 10 is 2; the third run is over already.
    assert prune_by(optuna_study, numbers)(10, [1.0, 3.0, None]) == [True, False, False]
    # After a stop the same look is taken again, whatever the values say now.
    again = prune_by(opened(tmp_path)[0], numbers)
    assert again(5, [9.0, 9.0, 9.0]) == [False, False, False]
    assert again(10, [9.0, 0.0, None]) == [True, False, False]
    for trial in asked:
        tell(optuna_study, trial, [1.0], 20, 4)
    states = [t.state.name for t in optuna_study.trials[5:]]
    assert states == ["PRUNED", "COMPLETE", "COMPLETE"]
    assert [t.user_attrs["examples"] for t in optuna_study.trials[5:]] == [10 * 4, 20 * 4, 20 * 4]


def test_a_pruned_search_chooses_among_the_complete(tmp_path):
    options = {"trials": 12, "batch": 4, "pruner": "median", "sampler": "random", "weightings": {}}
    _, told = searched(
        tmp_path / "w", study(search={**options, "train": {"learning_rate": ("log", 1e-6, 1e-1)}})
    )
    told = told["shared_bottom x static"]
    states = [t["state"] for t in told["trials"]]
    assert "pruned" in states
    assert all(t["examples"] == (4 if t["state"] == "pruned" else 8) * 16 for t in told["trials"])
    complete = {t["number"]: t["values"][0] for t in told["trials"] if t["state"] == "complete"}
    assert told["chosen"] == [max(complete, key=complete.get)]


def test_a_half_line_in_the_journal_is_cut_off(tmp_path):
    from mtl.sweep.optuna_study import mend_journal

    optuna_study, own = opened(tmp_path)
    ask(optuna_study, own, range(2), "random")
    with (tmp_path / "journal.log").open("ab") as f:
        f.write(b'{"op_code": 4, "wor')
    mend_journal(tmp_path)
    again, _ = opened(tmp_path)
    assert len(ask(again, own, range(3), "random")) == 3
    assert len(opened(tmp_path)[0].trials) == 3
