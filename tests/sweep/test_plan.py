"""From a config to groups of runs: counts, pairing, pooling, the baseline."""

import itertools

import numpy as np
import pytest

import mtl.data
from mtl.data import mmoe_synthetic
from mtl.errors import InputError
from mtl.sweep import check_config, make_plan, plain, study_config

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
    """The (model, weighting) labels of all groups, in order."""
    return [
        (found.models[g.model][0], "static" if g.weighting is None else found.weightings[g.weighting][0])
        for g in found.groups
    ]


def test_models_times_weightings_times_seeds():
    found = plan(("mmoe", "omoe"), ("static", "uwl", "mgda"), seeds=3)
    assert methods(found) == list(itertools.product(("mmoe", "omoe"), ("static", "uwl", "mgda")))
    for group in found.groups:
        assert group.runs == (("", 0), ("", 1), ("", 2))
        assert group.budget.steps == 8
    assert len({g.id for g in found.groups}) == 6


def test_the_baseline_is_added_once_and_trained_with_the_plain_sum():
    found = plan(("mmoe",), ("uwl", "mgda"), report={"baseline": "single_task"})
    assert methods(found) == [("single_task", "static"), ("mmoe", "uwl"), ("mmoe", "mgda")]
    named = plan(("mmoe", "single_task"), ("static", "uwl"), report={"baseline": "single_task"})
    assert methods(named) == [("mmoe", "static"), ("mmoe", "uwl"), ("single_task", "static")]
    assert named.groups[2].weighting is None


def test_single_task_extractors_with_a_transfer_do_share():
    found = plan(({"name": "single_task", "transfer": "bayesian", "label": "chain"},), ("static", "uwl"))
    assert methods(found) == [("chain", "static"), ("chain", "uwl")]


def test_a_train_grid_makes_groups_and_names_them():
    found = plan(sweep={"train": {"learning_rate": (0.1, 0.2), "batch_size": (10, 20)}})
    assert [g.runs[0].hparams for g in found.groups] == [
        "batch_size=10;learning_rate=0.1",
        "batch_size=10;learning_rate=0.2",
        "batch_size=20;learning_rate=0.1",
        "batch_size=20;learning_rate=0.2",
    ]
    assert [(g.settings.learning_rate, g.budget.steps) for g in found.groups] == [
        (0.1, 8),
        (0.2, 8),
        (0.1, 4),
        (0.2, 4),
    ]
    assert len({g.id for g in found.groups}) == 4


def test_one_data_set_is_loaded_once_and_shared():
    found = plan(weightings=("static", "uwl"), seeds=3)
    assert len(found.data) == 1
    assert len(found.data[0]) == 1
    assert {g.data for g in found.groups} == {0}


def test_resampling_draws_a_data_set_for_every_seed():
    found = plan(dataset={"resample": True}, seeds=3)
    (sets,) = found.data
    assert len(sets) == 3
    for seed, drawn in enumerate(sets):
        alone = mmoe_synthetic(dim=4, num_train=40, num_val=8, num_test=8, seed=seed)
        np.testing.assert_array_equal(drawn.splits["train"]["numeric"], alone.splits["train"]["numeric"])
        np.testing.assert_array_equal(drawn.splits["test"]["labels"], alone.splits["test"]["labels"])


def test_resampled_data_sets_of_one_shape_are_pooled_in_the_order_of_their_runs():
    found = plan(
        dataset={"resample": True, "correlation": 0.0}, sweep={"dataset": {"correlation": (0.0, 1.0)}}
    )
    (group,) = found.groups
    assert group.runs == (
        ("correlation=0.0", 0),
        ("correlation=0.0", 1),
        ("correlation=1.0", 0),
        ("correlation=1.0", 1),
    )
    drawn = [d.provenance["arguments"] for d in found.data[group.data]]
    assert [(a["correlation"][0][1], a["seed"]) for a in drawn] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_fixed_data_sets_are_not_pooled():
    found = plan(dataset={"correlation": 0.0}, sweep={"dataset": {"correlation": (0.0, 1.0)}})
    assert [(g.data, g.runs[0].hparams, len(g.runs)) for g in found.groups] == [
        (0, "correlation=0.0", 2),
        (1, "correlation=1.0", 2),
    ]


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
    assert len(found.groups) == 2 * 3 * 2
    assert sum(len(g.runs) for g in found.groups) == 24
    names = {(m, w, g.runs[0].hparams) for (m, w), g in zip(methods(found), found.groups)}
    assert len(names) == 12


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
