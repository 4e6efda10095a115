"""What happens during and after a study: a full disk, runs that diverge, a workdir that is used again."""

import csv
import errno
import json
import os
import shlex
import shutil

import pytest

import mtl.files
import mtl.report.write
import mtl.sweep.store
import mtl.train.checkpoint
import run

RESULTS = ("results.csv", "metrics.jsonl", "summary.csv")


def read(workdir):
    return {name: (workdir / name).read_bytes() for name in RESULTS}


def rows(workdir):
    with (workdir / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The workdir of a finished study of two groups."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "study.py").write_text(
        "from mtl.sweep import study_config\n\ndef get_config():\n"
        "    dataset = dict(name='mmoe_synthetic', dim=4, num_train=64, num_val=16, num_test=16)\n"
        "    train = dict(batch_size=16, steps=4, eval_every=2)\n"
        "    return study_config('small', dataset, ('shared_bottom',), ('static', 'uwl'), seeds=2,\n"
        "                        train=train, report=dict(baseline=''))\n"
    )
    workdir = folder / "workdir"
    assert run.main(["run.py", f"--config={folder / 'study.py'}", f"--workdir={workdir}"]) == 0
    return workdir


@pytest.fixture
def study(finished):
    return finished.parent / "study.py"


def no_room(*names):
    """Stands in for `write_atomic`: there is no room for files of these names."""
    write = mtl.files.write_atomic

    def write_or_fail(path, content):
        if path.name in names:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, content)

    return write_or_fail


def test_a_finished_study_leaves_no_temporary_file(finished):
    assert not [p for p in finished.rglob("*") if p.name.endswith(".tmp") or "orbax-checkpoint-tmp" in p.name]
    stored = json.loads((finished / "config.json").read_text())
    assert set(stored) == {"config", "provenance", "tasks", "costs"}
    assert stored["config"]["train"]["steps"] == 4


def test_resuming_a_finished_study_changes_nothing(cli, finished):
    before = read(finished)
    outcome = cli(f"--workdir={finished}", "--resume")
    assert outcome.code == 0
    assert "shared_bottom" in outcome.out
    assert read(finished) == before


def test_resuming_with_the_same_config_is_accepted(cli, finished, study):
    assert cli(f"--config={study}", f"--workdir={finished}", "--resume").code == 0


def test_resuming_with_another_config_is_refused(cli, finished, study):
    before = read(finished)
    outcome = cli(
        f"--config={study}", f"--workdir={finished}", "--config.train.learning_rate=0.5", "--resume"
    )
    assert outcome.code == 2
    assert len(outcome.lines) == 1
    assert "config.train.learning_rate was 0.001, now 0.5" in outcome.err
    assert read(finished) == before


def test_a_finished_workdir_is_not_overwritten(cli, finished, study):
    before = read(finished)
    outcome = cli(f"--config={study}", f"--workdir={finished}")
    assert outcome.code == 2
    assert "is not empty and is never overwritten" in outcome.err
    assert read(finished) == before


def test_the_report_is_rebuilt_from_the_files(cli, finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    for name in ("summary.csv", "report.html"):
        (copy / name).unlink()
    shutil.rmtree(copy / "plots")
    outcome = cli(f"--workdir={copy}", "--report")
    assert outcome.code == 0
    assert outcome.err == ""
    assert read(copy) == read(finished)
    assert (copy / "plots" / "tasks.png").is_file()


@pytest.mark.parametrize(
    "damage, expected",
    [
        (lambda text: text[: text.index(",", len(text) // 2)], "results.csv line "),
        (lambda text: text.replace("study,", "", 1), "results.csv line 1: expected the header"),
        (lambda text: text.replace(",rmse,", ",rmse,x", 1), "expected a number"),
    ],
    ids=["cut", "header", "number"],
)
def test_damaged_results_are_named(cli, finished, tmp_path, damage, expected):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    (copy / "results.csv").write_text(damage((copy / "results.csv").read_text()))
    outcome = cli(f"--workdir={copy}", "--report")
    assert outcome.code == 2
    assert len(outcome.lines) == 1
    assert expected in outcome.err
    assert outcome.out == ""


def test_a_damaged_group_says_what_to_delete_and_is_trained_again(cli, finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    broken = next(copy.glob("checkpoints/*/result.json"))
    broken.write_text('{"runs": [')
    outcome = cli(f"--workdir={copy}", "--resume")
    assert outcome.code == 2
    assert len(outcome.lines) == 1
    assert f"{broken} is damaged" in outcome.err
    shutil.rmtree(broken.parent)
    assert cli(f"--workdir={copy}", "--resume").code == 0
    assert read(copy) == read(finished)


def test_a_damaged_checkpoint_says_what_to_delete(cli, finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    group = next(copy.glob("checkpoints/*/result.json")).parent
    (group / "result.json").unlink()
    for state in (group / "last").glob("*/state"):
        shutil.rmtree(state)
    outcome = cli(f"--workdir={copy}", "--resume")
    assert outcome.code == 2
    assert len(outcome.lines) == 1
    assert "cannot be read" in outcome.err
    assert "delete that folder" in outcome.err


def test_no_room_for_the_config_leaves_nothing(cli, study, tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(mtl.files.os, "fsync", full)
    outcome = cli(f"--config={study}", f"--workdir={tmp_path / 'a' / 'b'}")
    assert outcome.code == 2
    assert len(outcome.lines) == 1
    assert "No space left on device; make room" in outcome.err
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("name", ["results.csv", "metrics.jsonl", "result.json"])
def test_no_room_during_a_study_can_be_resumed(cli, study, finished, tmp_path, monkeypatch, name):
    workdir = tmp_path / "work dir"
    with monkeypatch.context() as patch:
        patch.setattr(mtl.sweep.store, "write_atomic", no_room(name))
        outcome = cli(f"--config={study}", f"--workdir={workdir}")
    assert outcome.code == 3
    last = outcome.lines[-1]
    assert last.startswith("mtl: cannot read or write")
    assert "No space left on device; make room; continue with: " in last
    assert "Traceback" not in outcome.err
    command = shlex.split(last.partition("continue with: ")[2])
    assert command[:2] == ["python", "run.py"]
    assert cli(*command[2:]).code == 0
    assert read(workdir) == read(finished)


def test_no_room_for_a_checkpoint_can_be_resumed(cli, study, finished, tmp_path, monkeypatch):
    workdir = tmp_path / "workdir"
    with monkeypatch.context() as patch:
        full = shutil.disk_usage(tmp_path)._replace(free=1000)
        patch.setattr(mtl.train.checkpoint.shutil, "disk_usage", lambda folder: full)
        outcome = cli(f"--config={study}", f"--workdir={workdir}")
    assert outcome.code == 3
    assert "No space left on device" in outcome.lines[-1]
    assert (workdir / "results.csv").read_text().startswith("study,dataset,model,")
    assert cli(f"--workdir={workdir}", "--resume").code == 0
    assert read(workdir) == read(finished)


def test_no_room_for_the_report_keeps_the_results(cli, study, finished, tmp_path, monkeypatch):
    workdir = tmp_path / "workdir"

    def full(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(mtl.report.write, "write_atomic", full)
        outcome = cli(f"--config={study}", f"--workdir={workdir}")
    assert outcome.code == 3
    assert "cannot write" in outcome.lines[-1]
    assert (workdir / "results.csv").read_bytes() == (finished / "results.csv").read_bytes()
    assert cli(f"--workdir={workdir}", "--resume").code == 0
    assert read(workdir) == read(finished)


# ---- runs that diverge --------------------------------------------------------------------------------


def test_a_diverging_run_is_named_and_the_others_are_kept(cli, write_study, tmp_path):
    study = write_study(
        seeds=2,
        train={"optimizer": "sgd", "steps": 6, "eval_every": 2},
        sweep={"train": {"learning_rate": (1e-3, 1e30)}},
    )
    workdir = tmp_path / "workdir"
    outcome = cli(f"--config={study}", f"--workdir={workdir}")
    assert outcome.code == 1
    failed = [line for line in outcome.lines if line.startswith("mtl: ")]
    assert len(failed) == 2
    for seed, line in enumerate(failed):
        assert f"shared_bottom x static [learning_rate=1e+30] seed {seed}: " in line
        assert "not finite at step" in line
        assert "lower train.learning_rate" in line
    assert {(r["hparams"], r["seed"]) for r in rows(workdir)} == {
        ("learning_rate=0.001", "0"),
        ("learning_rate=0.001", "1"),
    }
    assert "small: test split" in outcome.out
    assert (workdir / "report.html").is_file()
    assert cli(f"--workdir={workdir}", "--report").code == 0
    again = cli(f"--workdir={workdir}", "--resume")
    assert again.code == 1
    assert [line for line in again.lines if line.startswith("mtl: ")] == failed


def test_a_study_in_which_every_run_diverges(cli, write_study, tmp_path):
    study = write_study(train={"optimizer": "sgd", "steps": 6, "learning_rate": 1e30})
    workdir = tmp_path / "workdir"
    outcome = cli(f"--config={study}", f"--workdir={workdir}")
    assert outcome.code == 1
    assert outcome.out == ""
    assert [line.split(":")[1] for line in outcome.lines if line.startswith("mtl: ")] == [
        " shared_bottom x static seed 0"
    ]
    assert rows(workdir) == []
    report = cli(f"--workdir={workdir}", "--report")
    assert report.code == 2
    assert "holds no results" in report.err
