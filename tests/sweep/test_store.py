"""The result files: exact header, sorted rows, failed runs, only what is finished."""

import csv
import json
import math
from pathlib import Path

import pytest

from mtl.errors import InputError
from mtl.sweep import check_config, make_plan, plain, study_config, write_results
from mtl.sweep.folder import prepare_folder
from mtl.sweep.plan import weighting_label
from mtl.sweep.store import clean, group_folder, load_group, save_group
from mtl.train import RunResult

HEADER = "study,dataset,model,weighting,hparams,seed,split,task,metric,value,step"


@pytest.fixture(scope="module")
def plan():
    config = study_config(
        "s",
        {"name": "mmoe_synthetic", "dim": 4, "num_train": 40, "num_val": 8, "num_test": 8},
        ("shared_bottom", "mmoe"),
        ({"name": "static", "label": "zero, one"}, "mgda"),
        seeds=2,
        train={"batch_size": 10, "steps": 4},
        report={"baseline": ""},
        sweep={"train": {"batch_size": (10, 20)}},
    )
    return make_plan(check_config(plain(config)))


def result(seed, value=0.5, failed=None):
    metrics = {t: {"rmse": value, "mae": value / 2, "r2": math.nan} for t in ("task_2", "task_1")}
    curve = [{"kind": "train", "step": 4, "loss": {"task_1": value}, "residual": math.inf}]
    if failed is not None:
        return RunResult(seed, 0, {}, {}, {}, [], failed)
    return RunResult(seed, 4, metrics, metrics, {}, curve, None)


@pytest.mark.parametrize(
    "gates, entropies, shares",
    [
        ({"gate": {"entropy": [0.5], "polarised": [0.25]}}, (0.5, 0.5), (0.25, 0.25)),
        ({"gate": {"entropy": [0.5, 1.5], "polarised": [0.0, 1.0]}}, (0.5, 1.5), (0.0, 1.0)),
        (
            {
                "level1/task_gate": {"entropy": [0.5, 1.5], "polarised": [0.0, 1.0]},
                "level1/shared_gate": {"entropy": [9.0], "polarised": [9.0]},
                "level2/task_gate": {"entropy": [1.0, 0.5], "polarised": [0.5, 0.0]},
            },
            (0.75, 1.0),
            (0.25, 0.5),
        ),
    ],
    ids=["one for all", "one per task", "levels"],
)
def test_gates_are_metrics_of_their_tasks_on_the_test_split(plan, tmp_path, gates, entropies, shares):
    found = [result(seed)._replace(gates=gates) for seed in (0, 1)]
    save_group(tmp_path, plan, plan.groups[0], found)
    write_results(tmp_path, plan)
    values = {(r[6], r[7], r[8]): float(r[9]) for r in rows(tmp_path)[1:]}
    for task, entropy, share in zip(("task_2", "task_1"), entropies, shares, strict=True):
        assert values["test", task, "gate_entropy"] == entropy
        assert values["test", task, "gate_polarised"] == share
    assert not any(split == "val" and metric.startswith("gate_") for split, _, metric in values)


def rows(workdir):
    with (workdir / "results.csv").open(newline="") as file:
        return list(csv.reader(file))


def save_all(workdir, plan, order):
    for i in order:
        save_group(workdir, plan, plan.groups[i], [result(0, i + 0.1), result(1, 1 / 3)])
        write_results(workdir, plan)


def test_an_unfinished_study_has_a_header_only(plan, tmp_path):
    assert write_results(tmp_path, plan) == []
    assert (tmp_path / "results.csv").read_text() == HEADER + "\n"
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_rows_are_sorted_and_complete(plan, tmp_path):
    save_all(tmp_path, plan, range(len(plan.groups)))
    header, *found = rows(tmp_path)
    assert ",".join(header) == HEADER
    assert found == sorted(found)
    assert (
        len(found) == 2 * 2 * 2 * 2 * 2 * 2 * 2
    )  # models, weightings, batches, seeds, splits, tasks, metrics
    assert [r[:9] for r in found] == sorted({tuple(r[:9]): r[:9] for r in found}.values())
    assert {r[3] for r in found} == {"zero, one", "mgda"}
    assert {r[4] for r in found} == {"batch_size=10", "batch_size=20"}
    assert {r[8] for r in found} == {"rmse", "mae"}, "a metric without meaning has no row"


def test_values_are_exact(plan, tmp_path):
    save_all(tmp_path, plan, [0])
    assert {float(r[9]) for r in rows(tmp_path)[1:]} == {0.1, 0.05, 1 / 3, 1 / 6}


def test_the_files_do_not_depend_on_the_order_of_the_groups(plan, tmp_path):
    for name, order in (("one", range(8)), ("two", reversed(range(8)))):
        save_all(tmp_path / name, plan, order)
    for file in ("results.csv", "metrics.jsonl"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_curves_are_strict_json_with_the_run_named(plan, tmp_path):
    save_all(tmp_path, plan, [3])
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 2
    first = json.loads(lines[0])
    assert first["residual"] is None
    assert (first["study"], first["dataset"], first["seed"]) == ("s", "mmoe_synthetic", 0)
    assert "Infinity" not in lines[0]


def test_a_failed_run_has_a_line_and_no_rows(plan, tmp_path):
    group = plan.groups[1]
    save_group(tmp_path, plan, group, [result(0, failed=3), result(1)])
    (line,) = write_results(tmp_path, plan)
    model, weighting = plan.models[group.model][0], weighting_label(plan, group.runs[0])
    assert line.startswith(f"{model} x {weighting} [{group.runs[0].hparams}] seed 0: ")
    assert "not finite at step 3" in line
    assert {r[5] for r in rows(tmp_path)[1:]} == {"1"}


def test_a_finished_group_is_read_back(plan, tmp_path):
    assert load_group(tmp_path, plan.groups[0]) is None
    save_all(tmp_path, plan, [0])
    assert [r["key"]["seed"] for r in load_group(tmp_path, plan.groups[0])["runs"]] == [0, 1]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"runs": []}', '{"runs": 3}', '{"runs": [{}, {}]}'])
def test_a_damaged_result_is_named(plan, tmp_path, content):
    save_all(tmp_path, plan, [0])
    path = group_folder(tmp_path, plan.groups[0]) / "result.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"is damaged .*delete it to train its group again"):
        write_results(tmp_path, plan)


def test_clean_removes_what_an_interrupted_write_leaves(plan, tmp_path):
    save_all(tmp_path, plan, [0])
    kept = sorted(p for p in tmp_path.rglob("*"))
    folder = group_folder(tmp_path, plan.groups[0])
    (tmp_path / ".results.csv.ab12.tmp").write_text("half")
    (folder / ".result.json.cd34.tmp").write_text("half")
    (folder / "last" / "4.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
    clean(tmp_path)
    assert sorted(p for p in tmp_path.rglob("*") if p != folder / "last") == kept


def test_a_folder_may_be_cleaned_while_another_process_tries_it(tmp_path, monkeypatch):
    """Process 0 removes what interrupted writes have left, the others' trial of the folder included."""
    touch = Path.touch

    def touched_and_cleaned(path, *arguments):
        touch(path, *arguments)
        clean(tmp_path)

    monkeypatch.setattr(Path, "touch", touched_and_cleaned)
    assert prepare_folder(tmp_path, resume=True) == []
    assert list(tmp_path.iterdir()) == []
