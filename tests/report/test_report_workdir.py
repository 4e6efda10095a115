"""Reading result files, and refusing those that are not what they should be."""

import json
import math

import pytest
from fake_workdir import make_workdir

from mtl.errors import InputError
from mtl.report import read_published, read_study
from mtl.report.published import FOLDER
from mtl.report.workdir import Group, Method, Place


@pytest.fixture
def workdir(tmp_path):
    return make_workdir(
        tmp_path / "study",
        models=("single_task", "mmoe"),
        weightings=("static",),
        hparams=("correlation=0.5",),
        seeds=2,
    )


def edit(path, line, old, new):
    """Replaces text in one line, counted from 1."""
    lines = path.read_text().splitlines(keepends=True)
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new, 1)
    path.write_text("".join(lines))


def test_reads_values_by_seed(workdir):
    study = read_study(workdir)
    assert [task.name for task in study.tasks] == ["click", "minutes"]
    assert study.tasks[1].parents == ("click",)
    assert (study.name, study.baseline) == ("fake study", "single_task")
    table = study.tables[Group("synthetic", "correlation=0.5")]
    assert set(table) == {Method("single_task", "static"), Method("mmoe", "static")}
    first = (workdir / "results.csv").read_text().splitlines()[1].split(",")
    places = table[Method(first[2], first[3])]
    assert places[Place(*first[6:9])][int(first[5])] == float(first[9])
    assert {record.kind for record in study.records} == {"train", "val", "gates"}


@pytest.mark.parametrize("text", ["", "nan"])
def test_a_missing_value_is_nan(workdir, text):
    value = (workdir / "results.csv").read_text().splitlines()[1].split(",")[9]
    edit(workdir / "results.csv", 2, value, text)
    (table,) = read_study(workdir).tables.values()
    values = [v for places in table.values() for seeds in places.values() for v in seeds.values()]
    assert sum(map(math.isnan, values)) == 1


def test_null_losses_are_accepted(workdir):
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines()
    record = json.loads(lines[0])
    record["loss"]["click"] = None
    path.write_text("\n".join([json.dumps(record), *lines[1:]]) + "\n")
    assert read_study(workdir).records[0].content["loss"]["click"] is None


MISTAKES = {
    "results: header": ("results.csv", 1, "study,", "name,", "results.csv line 1: .*header"),
    "results: value": ("results.csv", 3, ",val,click,logloss,", ",val,click,logloss,x", "line 3: value"),
    "results: seed": ("results.csv", 2, ",0,val", ",zero,val", "line 2: seed is 'zero'"),
    "results: split": ("results.csv", 2, ",val,", ",train,", "line 2: split 'train'"),
    "results: task": ("results.csv", 2, ",click,", ",clack,", "line 2: task 'clack'"),
    "results: cut": ("results.csv", 5, ",800", "", "line 5: 10 cells, expected 11"),
    "results: twice": ("results.csv", 3, "logloss", "auc", "line 3: second value"),
    "config: not JSON": ("config.json", 2, ":", "", "config.json line 2: not JSON"),
    "config: no tasks": ("config.json", -1, '"tasks"', '"task"', "tasks is missing"),
    "config: kind": ("config.json", -1, '"kind": "binary"', '"kind": "b"', "needs a name and a kind"),
    "metrics: not JSON": ("metrics.jsonl", 4, "{", "", "metrics.jsonl line 4: not a JSON object"),
    "metrics: no key": ("metrics.jsonl", 2, '"model"', '"mode"', "line 2: a key is missing"),
    "metrics: kind": ("metrics.jsonl", 1, '"train"', '"test"', "line 1: kind 'test'"),
    "metrics: no part": ("metrics.jsonl", 1, '"weight"', '"w"', "line 1: 'weight' is missing"),
    "metrics: task": ("metrics.jsonl", 1, '"click"', '"c"', "line 1: task 'c' is not"),
    "metrics: value": ("metrics.jsonl", 1, '"minutes": 1', '"minutes": [1], "x": 1', "line 1: "),
    "metrics: gate": ("metrics.jsonl", -1, '"utilisation_sd"', '"sd"', "gate 'gate' needs utilisation"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_malformed_file_is_named_with_its_line(workdir, mistake):
    name, line, old, new, message = MISTAKES[mistake]
    path = workdir / name
    if line < 0:  # wherever it stands
        lines = path.read_text().splitlines()
        line = next(i for i, text in enumerate(lines, start=1) if old in text)
    edit(path, line, old, new)
    with pytest.raises(InputError, match=message) as caught:
        read_study(workdir)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "results.csv", "metrics.jsonl"])
def test_missing_and_binary_files(workdir, name):
    (workdir / name).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=f"{name} is not UTF-8"):
        read_study(workdir)
    (workdir / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        read_study(workdir)


def test_a_study_without_a_finished_run(workdir):
    path = workdir / "results.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(InputError, match="holds no results"):
        read_study(workdir)


def test_published_census_figures():
    figures = read_published("census_income")
    mean = {
        (f.model, f.task): f.value
        for f in figures
        if f.source.startswith("Ma et al.") and f.statistic == "mean"
    }
    assert mean["mmoe", "income"] == 0.9359
    assert mean["cross_stitch", "income"] == 0.9361
    assert mean["mmoe", "never_married"] == 0.9927
    assert len(mean) == 14
    flagged = [f for f in figures if f.reliability == "inconsistent"]
    assert [(f.model, f.task, f.value) for f in flagged] == [("mmoe", "income", 0.9393)]
    assert {f.reliability for f in figures} == {"published", "inconsistent", "reproduction"}


def test_every_published_table_reads():
    tables = [path.stem for path in FOLDER.glob("*.csv")]
    assert "census_income" in tables
    for table in tables:
        assert all(0 < f.value < 1 for f in read_published(table) if f.metric == "auc")


def test_an_unknown_published_table_lists_the_known():
    with pytest.raises(InputError, match="did you mean 'census_income'"):
        read_published("census_incom")
