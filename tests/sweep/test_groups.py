"""Groups as they train: one program for many numbers, and the same results however a study is cut."""

import csv

import pytest

from mtl.sweep import check_config, make_plan, plain, run_plan, study_config
from mtl.sweep.merge import merge
from mtl.sweep.programs import Programs

FRONT = tuple({"name": "static", "weights": (w, 1 - w)} for w in (0.2, 0.5, 0.8))


NUMBERS = (*FRONT, {"name": "cagrad", "c": 0.2}, {"name": "cagrad", "c": 0.7})


def plan(weightings=NUMBERS, **train):
    config = study_config(
        "s",
        {"name": "mmoe_synthetic", "dim": 4, "num_train": 40, "num_val": 8, "num_test": 8, "resample": True},
        ({"name": "shared_bottom", "bottom_features": (4,), "tower_features": (3,)},),
        weightings,
        seeds=2,
        train={"batch_size": 10, "steps": 8, "eval_every": 4, **train},
        sweep={"train": {"learning_rate": (0.1, 0.01)}},
        report={"baseline": ""},
    )
    return make_plan(check_config(plain(config)))


def values(workdir):
    """Every result by its key."""
    with (workdir / "results.csv").open(newline="") as file:
        return {tuple(row[:9]): float(row[9]) for row in list(csv.reader(file))[1:]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    found = plan()
    assert [len(g.runs) for g in found.groups] == [12, 8]
    assert run_plan(found, folder) == []
    return values(folder)


def test_results_do_not_depend_on_the_cut(whole, tmp_path):
    cut = plan(group_runs=5)
    assert [len(g.runs) for g in cut.groups] == [5, 5, 2, 5, 3]
    run_plan(cut, tmp_path)
    assert values(tmp_path) == pytest.approx(whole, rel=1e-4)


def test_every_number_has_an_effect(whole):
    mse = {k: v for k, v in whole.items() if k[6:9] == ("test", "task_1", "mse")}
    assert len(mse) == 2 * 2 * 5  # seeds, learning rates, weightings
    assert len(set(mse.values())) == len(mse)


def test_groups_of_one_size_share_a_compilation():
    cut = plan(group_runs=4)
    programs = Programs(cut)
    sizes = [len(g.runs) for g in cut.groups]
    assert sizes == [4, 4, 4, 4, 4]
    trains = [programs.compile(group).train for group in cut.groups]
    assert programs.count == len({id(t) for t in trains})
    assert programs.count <= 4  # per weighting: four runs on one data set or on two


MIXED = ("mgda", "pcgrad", {"name": "cagrad", "c": 0.2}, {"name": "cagrad", "c": 0.7}, "uwl", *FRONT, "famo")


def test_weightings_that_read_the_same_share_a_program_if_asked(tmp_path):
    alone = plan(MIXED)
    assert len(alone.groups) == 6  # the two CAGrads and the three static ones are one program each
    shared = plan(MIXED, share_programs=True)
    assert [(len(g.runs), len(g.branches)) for g in shared.groups] == [(16, 3), (16, 2), (4, 1)]
    for found, name in ((alone, "alone"), (shared, "shared")):
        (tmp_path / name).mkdir()
        assert run_plan(found, tmp_path / name) == []
    assert values(tmp_path / "shared") == pytest.approx(values(tmp_path / "alone"), rel=1e-3)


def test_parts_of_a_shared_group_have_one_program():
    cut = plan(MIXED, share_programs=True, group_runs=4)
    assert [(len(g.runs), len(g.branches)) for g in cut.groups] == [(4, 3)] * 4 + [(4, 2)] * 4 + [(4, 1)]
    by_losses = cut.groups[4:8]
    assert len({g.branches for g in by_losses}) == 1
    programs = Programs(cut)
    assert programs.compile(by_losses[0]).train is programs.compile(by_losses[1]).train


def test_a_search_has_a_program_per_weighting():
    merged = merge([plan(MIXED, share_programs=True)])
    assert all(len(g.branches) == 1 for g in merged.groups)
