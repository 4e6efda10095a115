"""Hyper-parameters are chosen on validation, by one rule for every method."""

import math

import pytest
from study_files import runs, train_record, write_study

from mtl.report import assess, build, tune, verdicts
from mtl.report.result_tables import settings_table
from mtl.report.tuned import at_the_end
from mtl.report.workdir import Group, Method, Place

SWEEP = {"sweep": {"dataset": {"p": [1, 2]}, "train": {"learning_rate": [0.1, 0.2, 0.3]}}}
A, B = Method("a", "static"), Method("b", "static")


def both(model, hparams, val, test, **options):
    """Validation and test rows of one setting."""
    return runs(model, "static", val, hparams=hparams, split="val", **options) + runs(
        model, "static", test, hparams=hparams, **options
    )


def two_methods():
    """At p=1 validation prefers 0.2 for a and 0.1 for b; the test split would prefer the opposite."""
    rows = both("a", "learning_rate=0.1;p=1", [0.7, 0.7], [0.9, 0.9])
    rows += both("a", "learning_rate=0.2;p=1", [0.8, 0.9], [0.5, 0.6])
    rows += both("b", "learning_rate=0.1;p=1", [0.75, 0.75], [0.3, 0.4])
    rows += both("b", "learning_rate=0.2;p=1", [0.7, 0.7], [0.8, 0.8])
    rows += both("a", "learning_rate=0.3;p=2", [0.6, 0.6], [0.7, 0.7])
    return rows


def test_validation_chooses_and_data_hyper_parameters_stay_apart(tmp_path):
    records = [train_record("a", "static", 0, 5, hparams=f"learning_rate={x};p=1") for x in (0.1, 0.2)]
    tuned = tune(write_study(tmp_path, two_methods(), kinds=("binary",), config=SWEEP, records=records))
    first, second = Group("d", "p=1"), Group("d", "p=2")
    assert set(tuned.study.tables) == {first, second}
    assert tuned.chosen == {
        (first, A): "learning_rate=0.2",
        (first, B): "learning_rate=0.1",
        (second, A): "learning_rate=0.3",
    }
    assert tuned.score[first, A] == pytest.approx({"learning_rate=0.1": 0.7, "learning_rate=0.2": 0.85})
    assert tuned.study.tables[first][A][Place("test", "t0", "auc")] == {0: 0.5, 1: 0.6}
    (record,) = tuned.study.records
    assert (record.group, record.content["hparams"]) == (first, "learning_rate=0.2;p=1")


def test_a_train_key_that_is_a_condition_is_compared_and_not_tuned(tmp_path):
    config = {**SWEEP, "report": {"conditions": ["learning_rate"]}}
    study = write_study(tmp_path, two_methods(), kinds=("binary",), config=config)
    assert tune(study) == (study, {}, {}, {})
    assert Group("d", "learning_rate=0.2;p=1") in tune(study).study.tables


def test_without_a_swept_train_key_nothing_is_tuned(tmp_path):
    study = write_study(tmp_path, two_methods(), kinds=("binary",), config={"sweep": {"dataset": {"p": [1]}}})
    tuned = tune(study)
    assert tuned == (study, {}, {}, {})


def test_swept_keys_that_the_results_do_not_name_are_not_tuned(tmp_path):
    study = write_study(tmp_path, runs("a", "static", [0.1, 0.2]), kinds=("binary",), config=SWEEP)
    assert tune(study).chosen == {}


def test_the_selected_task_decides_and_errors_count_negatively(tmp_path):
    rows = []
    for rate, auc, rmse in ((0.1, 0.9, 3.0), (0.2, 0.8, 1.0)):
        rows += both("a", f"learning_rate={rate}", [auc], [auc])
        rows += both("a", f"learning_rate={rate}", [rmse], [rmse], task="t1", metric="rmse")
    for select, chosen in (("mean", 0.2), ("t0", 0.1), ("t1", 0.2)):
        study = write_study(tmp_path, rows, config={**SWEEP, "train": {"select": select}})
        assert tune(study).chosen == {(Group("d", ""), A): f"learning_rate={chosen}"}


def test_a_setting_with_a_failed_or_missing_seed_is_not_chosen(tmp_path):
    rows = both("a", "learning_rate=0.1", [0.5, 0.5, 0.5], [0.5] * 3)
    rows += both("a", "learning_rate=0.2", [0.9, "nan", 0.9], [0.9] * 3)
    rows += both("a", "learning_rate=0.3", [0.9, 0.9], [0.9] * 2)
    tuned = tune(write_study(tmp_path, rows, kinds=("binary",), config=SWEEP))
    (score,) = tuned.score.values()
    assert list(tuned.chosen.values()) == ["learning_rate=0.1"]
    assert math.isnan(score["learning_rate=0.2"])
    assert math.isnan(score["learning_rate=0.3"])


def test_a_choice_at_the_end_of_the_range_is_told(tmp_path):
    rows = []
    for i, rate in enumerate((0.1, 0.2, 0.3)):
        rows += both("a", f"learning_rate={rate}", [0.5 + i / 10] * 3, [0.5, 0.6, 0.7])
        rows += both("b", f"learning_rate={rate}", [0.5 + (i == 1)] * 3, [0.5, 0.6, 0.8])
    tuned = tune(write_study(tmp_path, rows, kinds=("binary",), config=SWEEP))
    assert at_the_end(tuned) == {"learning_rate": [(Group("d", ""), A)]}
    (verdict,) = verdicts(tuned, assess(tuned))
    assert any("learning_rate lies at the end" in line and "a × static." in line for line in verdict.cautions)


def test_all_settings_stay_in_a_table_and_the_report_shows_the_choice(tmp_path):
    tuned = tune(write_study(tmp_path, two_methods(), kinds=("binary",), config=SWEEP))
    table = settings_table(tuned, assess(tuned)[0])
    texts = [[cell.text for cell in row] for row in table.rows]
    assert [row[2:4] for row in texts] == [
        ["learning_rate=0.1", ""],
        ["learning_rate=0.2", "chosen"],
        ["learning_rate=0.1", "chosen"],
        ["learning_rate=0.2", ""],
    ]
    assert [row[4].value for row in table.rows] == pytest.approx([0.7, 0.85, 0.75, 0.7])
    text = build(tmp_path)
    assert "learning_rate=0.2" in text
    assert "a,static,test,t0,auc,0.55" in (tmp_path / "summary.csv").read_text()
    assert "learning\\_rate=0.2" in (tmp_path / "tables" / "settings.tex").read_text()
    page = (tmp_path / "report.html").read_text()
    assert "All settings that were tried" in page
    assert "Tuned for every method alike (learning_rate)" in page
