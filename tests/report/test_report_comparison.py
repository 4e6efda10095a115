"""The numbers and sentences of a report, against independent calculations."""

import csv
import io
from types import SimpleNamespace

import numpy as np
import pytest
from fake_workdir import make_workdir
from scipy import stats
from study_files import runs, train_record
from study_files import write_study as write_any_study

from mtl import metrics
from mtl.report import assess, read_study, summarise, summary_csv, tune, verdicts
from mtl.report.summary import is_static
from mtl.report.terminal import terminal_text
from mtl.report.workdir import Method


def write_study(folder, rows, **options):
    return write_any_study(folder, rows, baseline="single_task", **options)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return read_study(make_workdir(tmp_path_factory.mktemp("fake") / "study"))


def judged(study):
    """The verdict on the first group."""
    tuned = tune(study)
    return verdicts(tuned, assess(tuned))[0]


def terminal(study):
    tuned = tune(study)
    assessments = assess(tuned)
    return terminal_text(tuned, assessments, (), verdicts(tuned, assessments))


def values(study, group, method, task, metric, split="test"):
    seeds = study.tables[group][method][split, task, metric]
    return np.array([seeds[s] for s in sorted(seeds)])


def test_gains_and_p_values_equal_scipy(study):
    for group in summarise(study):
        raw, entries = [], []
        for row in group.methods[1:]:
            for (task, metric), sign in zip(group.primary, (1, -1)):
                ours = values(study, group.group, row.method, task, metric)
                base = values(study, group.group, group.baseline, task, metric)
                expected = stats.ttest_rel(sign * ours, sign * base)
                comparison = row.versus_baseline[task, metric]
                assert comparison.gain.difference == pytest.approx(sign * (ours - base).mean())
                assert comparison.gain.p_value == pytest.approx(expected.pvalue, rel=1e-9)
                low = expected.confidence_interval(0.95).low
                assert comparison.gain.low == pytest.approx(low, rel=1e-8, abs=1e-12)
                raw.append(expected.pvalue)
                entries.append(comparison.p_adjusted)
        assert len(raw) == 18  # one family: 9 methods × 2 tasks
        np.testing.assert_allclose(entries, metrics.holm(raw), rtol=1e-9)


def test_delta_m_is_paired_by_seed(study):
    group = summarise(study)[0]
    row = group.methods[-1]
    auc, base_auc = (values(study, group.group, m, "click", "auc") for m in (row.method, group.baseline))
    rmse, base_rmse = (values(study, group.group, m, "minutes", "rmse") for m in (row.method, group.baseline))
    per_seed = 50 * (-(auc - base_auc) / base_auc + (rmse - base_rmse) / base_rmse)
    expected = stats.t.interval(0.95, 3, per_seed.mean(), stats.sem(per_seed))
    assert row.delta_m[:3] == pytest.approx((per_seed.mean(), *expected))
    assert group.methods[0].method == group.baseline
    assert group.methods[0].delta_m.n == 0


def test_known_effects_are_found(study):
    """Shared bottom trades click for minutes; PLE gains on both (see fake_workdir.EFFECT)."""
    rows = {row.method: row for row in summarise(study)[0].methods}
    assert rows[Method("shared_bottom", "static")].seesaw is True
    assert rows[Method("ple", "static")].seesaw is False
    assert rows[Method("ple", "static")].delta_m.high < 0
    assert rows[Method("single_task", "static")].seesaw is None
    sentences = "\n".join(judged(study).lines)
    assert "Worse than single_task on click" in sentences
    assert "Seesaw" in sentences


def test_only_common_seeds_are_paired(tmp_path):
    rows = runs("single_task", "static", [0.5, 0.6, 0.7])
    rows += runs("mmoe", "static", [0.6, 0.7, 0.85, 0.1])
    (group,) = summarise(write_study(tmp_path, rows, kinds=("binary",)))
    gain = group.methods[1].versus_baseline["t0", "auc"].gain
    assert gain.n == 3
    assert gain.difference == pytest.approx(0.35 / 3)
    assert group.methods[1].intervals["t0", "auc"].n == 4


def test_best_static_is_chosen_on_validation(tmp_path):
    rows = []
    for model, val, test in [("a", 0.9, 0.5), ("b", 0.6, 0.8)]:
        rows += runs(model, "static", [val, val + 0.01, val], split="val")
        rows += runs(model, "static", [test, test + 0.01, test + 0.02])
    rows += runs("a", "uwl", [0.99] * 3, split="val") + runs("a", "uwl", [0.7, 0.71, 0.73])
    (group,) = summarise(write_study(tmp_path, rows, kinds=("binary",)))
    assert group.best_static == Method("a", "static")
    assert group.baseline is None
    row = next(row for row in group.methods if row.method == Method("b", "static"))
    assert row.versus_static["t0", "auc"].gain.difference == pytest.approx(0.3)


def test_the_baseline_is_never_the_best_static(tmp_path):
    rows = runs("single_task", "static", [0.9] * 3, split="val") + runs("single_task", "static", [0.9] * 3)
    rows += runs("mmoe", "uwl", [0.8] * 3, split="val") + runs("mmoe", "uwl", [0.8] * 3)
    (group,) = summarise(write_study(tmp_path, rows, kinds=("binary",)))
    assert group.best_static is None


def test_mean_rank_and_order(tmp_path):
    rows = []
    for hparams in ("steps=1000", "steps=200"):
        for model, value in [("z", 0.9), ("single_task", 0.8), ("a", 0.7)]:
            rows += runs(model, "static", [value, value], hparams=hparams)
    groups = summarise(write_study(tmp_path, rows, kinds=("binary",)))
    assert [g.group.hparams for g in groups] == ["steps=200", "steps=1000"]
    assert [row.method.model for row in groups[0].methods] == ["single_task", "a", "z"]
    assert [row.mean_rank for row in groups[0].methods] == [2, 3, 1]


@pytest.mark.parametrize(("seeds", "text"), [(1, "1 seed is too few"), (2, "2 seeds is too few")])
def test_few_seeds_call_nothing(tmp_path, seeds, text):
    rows = runs("single_task", "static", [0.1, 0.11][:seeds]) + runs("mmoe", "uwl", [0.9, 0.95][:seeds])
    study = write_study(tmp_path, rows, kinds=("binary",))
    lines = "\n".join(judged(study).lines)
    assert text in lines
    assert "Better" not in lines


def test_noise_is_not_called_a_difference(tmp_path):
    rows = runs("single_task", "static", [0.5, 0.6, 0.7, 0.8])
    rows += runs("mmoe", "static", [0.6, 0.5, 0.8, 0.75])
    study = write_study(tmp_path, rows, kinds=("binary",))
    (line,) = judged(study).lines
    assert line == "Not shown to differ from single_task on any task: mmoe × static."


def test_an_undefined_metric_is_told(tmp_path):
    rows = runs("single_task", "static", [0.5, 0.6, 0.7]) + runs("mmoe", "uwl", [0.6, "nan", 0.8])
    study = write_study(tmp_path, rows, kinds=("binary",))
    assert "Without a value (undefined metric or failed seed): mmoe × uwl on t0." in judged(study).cautions
    assert "–" in terminal(study)


def test_a_bad_solver_residual_is_told(tmp_path):
    record = train_record("mmoe", "mgda", 0, 1, residual=0.02)
    rows = runs("mmoe", "mgda", [0.5, 0.6, 0.7])
    records = [record, {**record, "step": 2, "residual": 1e-6}, {**record, "step": 3, "residual": None}]
    study = write_study(tmp_path, rows, kinds=("binary",), records=records)
    lines = "\n".join(judged(study).cautions)
    assert "solver of mmoe × mgda missed its optimum, residual up to 2.0e-02" in lines


def test_summary_csv(study):
    groups, found = summarise(study), assess(tune(study))
    text = summary_csv(found)
    assert text == summary_csv(assess(tune(study)))
    rows = list(csv.DictReader(io.StringIO(text)))
    key = ("correlation=0.5", "ple", "uwl")
    mine = [r for r in rows if (r["hparams"], r["model"], r["weighting"]) == key]
    assert [(r["task"], r["metric"]) for r in mine] == [
        ("click", "auc"),
        ("click", "accuracy"),
        ("click", "logloss"),
        ("minutes", "rmse"),
        ("minutes", "mae"),
        ("", "delta_m"),
        ("", "mean_rank"),
        ("", "seesaw"),
        ("", "rank_over_seeds"),
        ("click", "rank_over_seeds"),
        ("minutes", "rank_over_seeds"),
        ("", "probability_of_improvement"),
        ("", "pareto"),
        ("", "pareto_share"),
        ("", "hypervolume"),
        ("", "steps"),
        ("", "examples"),
        ("", "settings"),
    ]
    summary = next(r for r in groups[0].methods if r.method == Method("ple", "uwl"))
    assert float(mine[0]["mean"]) == pytest.approx(summary.intervals["click", "auc"].mean)
    assert float(mine[0]["p_adjusted"]) == pytest.approx(summary.versus_baseline["click", "auc"].p_adjusted)
    assert mine[1]["p_value"] == ""  # only the primary metric is tested
    assert float(mine[5]["high"]) == pytest.approx(summary.delta_m.high)
    assert mine[7]["mean"] == "0"
    assert all(r["split"] == "test" for r in rows)


def test_terminal_text_is_aligned_and_marks_the_best(study):
    groups = summarise(study)
    text = terminal(study)
    lines = text.splitlines()
    head = next(line for line in lines if "click AUC ↑" in line)
    table = lines[lines.index(head) + 1 :][:10]
    column = head.index("Δm")
    assert all(line[column - 2 : column] == "  " for line in table)
    best = min(groups[0].methods[1:], key=lambda row: row.delta_m.mean)
    marked = [line for line in table if f"{best.delta_m.mean:.2f} ±" in line]
    assert any("*" in line[column:] for line in marked)
    assert max(map(len, lines)) <= 110


def test_a_labelled_static_weighting_counts_as_static():
    config = {"config": {"weightings": ["uwl", {"name": "static", "label": "w=0.3", "weights": [3, 7]}]}}
    study = SimpleNamespace(config=config)
    names = {"w=0.3": True, "static": True, "static(weights=(1,2))": True, "uwl": False, "statics": False}
    for name, expected in names.items():
        assert is_static(Method("mmoe", name), study) is expected
