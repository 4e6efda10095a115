"""From a config to groups of runs: counts, pairing, pooling, the baseline."""

import itertools
import json

import numpy as np
import pytest

import mtl.data
from mtl.data import mmoe_synthetic
from mtl.errors import InputError
from mtl.sweep import check_config, make_plan, plain, study_config
from mtl.sweep.engine import run_plan
from mtl.sweep.plan import group_tasks, numbers, weighting_label

DATASET = {"name": "mmoe_synthetic", "dim": 4, "num_train": 40, "num_val": 8, "num_test": 8}
TRAIN = {"batch_size": 10, "epochs": 2.0}


def plan(models=("shared_bottom",), weightings=("static",), dataset=None, **options):
    config = study_config(
        "s",
        {**DATASET, **(dataset or {})},
        models,
        weightings,
        **{"seeds": 2, "train": TRAIN, "report": {"baseline": ""}, **options},
    )
    return make_plan(check_config(plain(config)))


def methods(found):
    """The (model, weighting) labels of all runs, each once, in order."""
    labels = [(found.models[g.model][0], weighting_label(found, r)) for g in found.groups for r in g.runs]
    return list(dict.fromkeys(labels))


def who(group):
    """The swept arguments and seeds of a group's runs."""
    return [(run.hparams, run.seed) for run in group.runs]


def test_models_times_weightings_times_seeds():
    found = plan(("mmoe", "omoe"), ("static", "uwl", "mgda"), seeds=3)
    assert methods(found) == list(itertools.product(("mmoe", "omoe"), ("static", "uwl", "mgda")))
    for group in found.groups:
        assert who(group) == [("", 0), ("", 1), ("", 2)]
        assert group.budget.steps == 8
    assert len({g.id for g in found.groups}) == 6


def test_the_baseline_is_added_once_and_trained_with_the_plain_sum():
    found = plan(("mmoe",), ("uwl", "mgda"), report={"baseline": "single_task"})
    assert methods(found) == [("single_task", "static"), ("mmoe", "uwl"), ("mmoe", "mgda")]
    named = plan(("mmoe", "single_task"), ("static", "uwl"), report={"baseline": "single_task"})
    assert methods(named) == [("mmoe", "static"), ("mmoe", "uwl"), ("single_task", "static")]
    assert {run.weighting for run in named.groups[2].runs} == {None}


def test_single_task_extractors_with_a_transfer_do_share():
    found = plan(({"name": "single_task", "transfer": "bayesian", "label": "chain"},), ("static", "uwl"))
    assert methods(found) == [("chain", "static"), ("chain", "uwl")]


def test_numbers_of_the_train_grid_share_a_program_and_shapes_do_not():
    found = plan(sweep={"train": {"learning_rate": (0.1, 0.2), "batch_size": (10, 20)}})
    assert [(who(g), g.budget.steps) for g in found.groups] == [
        ([(f"batch_size=10;learning_rate={r}", seed) for seed in (0, 1) for r in (0.1, 0.2)], 8),
        ([(f"batch_size=20;learning_rate={r}", seed) for seed in (0, 1) for r in (0.1, 0.2)], 4),
    ]
    assert [run.settings.learning_rate for run in found.groups[0].runs] == [0.1, 0.2, 0.1, 0.2]
    assert [
        numbers(found, found.groups[0], run)["train"]["learning_rate"] for run in found.groups[0].runs
    ] == [0.1, 0.2] * 2


def test_weightings_that_differ_in_numbers_share_a_program():
    front = [{"name": "static", "weights": (w, 1 - w)} for w in (0.25, 0.5, 0.75)]
    found = plan(weightings=(*front, "mgda", {"name": "cagrad", "c": 0.2}, {"name": "cagrad", "c": 0.4}))
    assert [len(g.runs) for g in found.groups] == [6, 2, 4]
    static, _, cagrad = found.groups
    assert [numbers(found, static, r)["weighting"][0]["weights"] for r in static.runs[:3]] == [
        (0.25, 0.75),
        (0.5, 0.5),
        (0.75, 0.25),
    ]
    assert [numbers(found, cagrad, r)["weighting"] for r in cagrad.runs] == [[{"c": 0.2}], [{"c": 0.4}]] * 2
    assert len({weighting_label(found, r) for g in found.groups for r in g.runs}) == 6


def test_words_and_other_methods_make_programs_of_their_own():
    specs = (
        "mgda",
        {"name": "mgda", "normalizer": "l2"},
        {"name": "static", "weights": (1.0, 2.0)},
        "static",
    )
    found = plan(weightings=specs)
    assert [len(g.runs) for g in found.groups] == [2, 2, 2, 2]


def test_groups_are_cut_to_a_number_of_runs_and_to_memory():
    found = plan(seeds=7, train={**TRAIN, "group_runs": 3})
    assert [len(g.runs) for g in found.groups] == [3, 3, 1]
    assert [r.seed for g in found.groups for r in g.runs] == list(range(7))
    assert len({g.id for g in found.groups}) == 3
    tight = plan(seeds=3, train={**TRAIN, "group_gib": 0.0})
    assert [len(g.runs) for g in tight.groups] == [1, 1, 1]
    tight = {**TRAIN, "group_gib": 2e-3}
    drawn = plan(seeds=20, dataset={"resample": True, "num_train": 20_000}, train=tight)
    assert 1 < max(len(g.runs) for g in drawn.groups) < 20  # every draw brings its own rows
    assert len(plan(seeds=20, dataset={"num_train": 20_000}, train=tight).groups) == 1


def test_one_data_set_is_shared_by_all_groups():
    found = plan(weightings=("static", "uwl"), seeds=3)
    assert len(found.sources) == len(found.sample) == 1
    assert {g.sources for g in found.groups} == {(0,)}


def test_resampling_draws_a_data_set_for_every_seed():
    found = plan(dataset={"resample": True}, seeds=3)
    (group,) = found.groups
    assert [run.source for run in group.runs] == [run.seed for run in group.runs] == [0, 1, 2]
    for seed, source in enumerate(found.sources):
        drawn = found.load(source.arguments)
        alone = mmoe_synthetic(dim=4, num_train=40, num_val=8, num_test=8, seed=seed)
        np.testing.assert_array_equal(drawn.splits["train"]["numeric"], alone.splits["train"]["numeric"])
        np.testing.assert_array_equal(drawn.splits["test"]["labels"], alone.splits["test"]["labels"])


@pytest.mark.parametrize("resample", [True, False])
def test_data_sets_of_one_shape_are_pooled(resample):
    found = plan(
        dataset={"resample": resample, "correlation": 0.0},
        sweep={"dataset": {"correlation": (0.0, 1.0)}},
    )
    (group,) = found.groups
    assert who(group) == [
        ("correlation=0.0", 0),
        ("correlation=0.0", 1),
        ("correlation=1.0", 0),
        ("correlation=1.0", 1),
    ]
    assert [run.source for run in group.runs] == ([0, 1, 2, 3] if resample else [0, 0, 1, 1])
    told = [found.load(found.sources[i].arguments).provenance["arguments"] for i in group.sources]
    drawn = [(a["correlation"][0][1], a["seed"]) for a in told]
    assert drawn == ([(0, 0), (0, 1), (1, 0), (1, 1)] if resample else [(0, 0), (1, 0)])


def test_data_sets_of_different_sizes_are_not_pooled():
    found = plan(dataset={"resample": True}, sweep={"dataset": {"num_train": (40, 80)}})
    assert [(g.runs[0].hparams, g.budget.steps, len(g.runs)) for g in found.groups] == [
        ("num_train=40", 8, 2),
        ("num_train=80", 16, 2),
    ]


def test_dataset_and_train_grids_multiply():
    found = plan(
        weightings=("static", "uwl"),
        dataset={"correlation": 0.0},
        sweep={"dataset": {"correlation": (0.0, 1.0)}, "train": {"learning_rate": (0.1, 0.2, 0.3)}},
    )
    assert len(found.groups) == 2
    assert sum(len(g.runs) for g in found.groups) == 24
    runs = [(g.model, r.weighting, r.hparams, r.seed) for g in found.groups for r in g.runs]
    assert len(set(runs)) == 24
    assert len({r[:3] for r in runs}) == 12


def test_the_same_config_gives_the_same_groups():
    assert [g.id for g in plan().groups] == [g.id for g in plan().groups]


def test_arguments_for_all_models_reach_those_that_take_them():
    found = plan(
        ("shared_bottom", {"name": "mmoe", "label": "mmoe", "num_experts": 3}),
        model={"num_experts": 2, "tower_features": (5,)},
    )
    built = {name: module for name, _, module in found.models}
    assert built["mmoe"].extractor.num_experts == 3
    assert {m.towers.features for m in built.values()} == {(5,)}


@pytest.mark.parametrize(
    "options, message",
    [
        ({"models": ("mmoe", {"name": "mmoe"})}, "config.models names 'mmoe' twice"),
        ({"weightings": ("uwl", {"name": "static", "label": "uwl"})}, "config.weightings names 'uwl' twice"),
        ({"sweep": {"train": {"dtype": ("float32", "bfloat16")}}}, "dtype cannot be swept"),
        ({"sweep": {"train": {"batch_size": (10, 41)}}}, "batch_size is 41, but .* only 40 rows"),
        ({"sweep": {"train": {"optimizer": ("adam", "adan")}}}, "unknown train.optimizer 'adan'"),
        ({"sweep": {"dataset": {"num_tasks": (2,)}}}, "unknown config.sweep.dataset key 'num_tasks'"),
        ({"train": {**TRAIN, "select": "task_3"}}, "unknown train.select 'task_3'"),
        ({"model": {"num_expert": 2}}, "'num_expert'"),
        ({"dataset": {"resample": 1}}, "config.dataset.resample is 1, expected true or false"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(options, message):
    with pytest.raises(InputError, match=message):
        plan(**options)


def test_draws_of_different_shapes_cannot_be_stacked(monkeypatch):
    def growing(seed=0, **sizes):
        return mmoe_synthetic(dim=4, num_train=40 + seed, num_val=8, num_test=8, seed=seed)

    def loader(dim=4, num_train=40, num_val=8, num_test=8, seed=0):
        return growing(seed)

    monkeypatch.setitem(mtl.data.DATASETS, "mmoe_synthetic", loader)
    with pytest.raises(InputError, match="draws of different seeds have different shapes"):
        plan(dataset={"resample": True})


def test_shared_arguments_may_wait_for_a_model_that_is_left_out():
    found = plan(("mmoe",), model={"num_experts": 2, "bottom_features": (7,)})
    assert found.models[0][2].extractor.num_experts == 2
    with pytest.raises(InputError, match="which no model takes: 'botom_features'"):
        plan(("mmoe",), model={"botom_features": (7,)})


LOSSES = ({"task_1": "squared"}, {"task_1": {"name": "huber", "delta": 2.0}})


def test_losses_may_vary_between_the_points_of_a_grid():
    found = plan(
        dataset={"losses": LOSSES[0], "noise_std": 0.1},
        sweep={"dataset": {"losses": LOSSES, "noise_std": (0.1, 0.2)}},
    )
    assert [[t.loss for t in group_tasks(found, g)] for g in found.groups] == [["squared", ""], ["huber", ""]]
    assert group_tasks(found, found.groups[1])[0].loss_arguments == (("delta", 2.0),)
    named = [sorted({run.hparams for run in g.runs}) for g in found.groups]
    assert named == [
        ["losses=(task_1:squared);noise_std=0.1", "losses=(task_1:squared);noise_std=0.2"],
        [f"losses=(task_1:(name:huber,delta:2.0));noise_std={s}" for s in (0.1, 0.2)],
    ]


def test_each_group_trains_with_its_own_loss(tmp_path):
    """Three losses that at the first step differ by a factor, a constant or nothing."""
    losses = ({"task_1": "squared"}, {"task_1": "absolute"}, {"task_2": "squared"})
    found = plan(
        dataset={"losses": losses[0]},
        train={**TRAIN, "learning_rate": 1e-9, "steps_per_call": 1},
        seeds=1,
        sweep={"dataset": {"losses": losses}},
    )
    run_plan(found, tmp_path)
    first = {}
    for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        if record["kind"] == "train" and record["step"] == 1:
            first[record["hparams"]] = record["loss"]
    squared, absolute, usual = (first[f"losses=({t}:{n})"] for x in losses for t, n in x.items())
    assert squared == usual
    assert absolute["task_2"] == squared["task_2"]
    assert absolute["task_1"] < squared["task_1"]
    assert absolute["task_1"] ** 2 < squared["task_1"]  # Jensen: they are means over the same rows


@pytest.mark.parametrize("parents", [{"task_2": ()}, {"task_1": ("task_2",), "task_2": ()}])
def test_a_grid_may_not_change_the_task_graph(parents):
    with pytest.raises(
        InputError, match=r"changes the columns or tasks of the data set; .* only losses may vary"
    ):
        plan(
            dataset={"parents": {"task_2": ("task_1",)}},
            sweep={"dataset": {"parents": ({"task_2": ("task_1",)}, parents)}},
        )
