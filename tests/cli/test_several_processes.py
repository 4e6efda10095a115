"""Several processes of one study with a search: the same bytes as one process, also when one is killed."""

import shlex
import socket

import processes
import pytest
from processes import finish, wait_for_changes

STUDY = """
from mtl.sweep import study_config

def get_config():
    return study_config(
        name="several",
        dataset=dict(name="mmoe_synthetic", dim=8, num_train=256, num_val=64, num_test=64),
        models=("shared_bottom",),
        weightings=("static", "mgda"),
        seeds=2,
        train=dict(batch_size=32, steps=80, eval_every=20, steps_per_call=5, checkpoint_seconds=0.0),
        sweep=dict(search=dict(trials=4, batch=2, train=dict(learning_rate=("log", 1e-3, 1e-1)))),
        report=dict(baseline=""),
    )
"""

pytestmark = pytest.mark.slow


def read(workdir):
    return {**processes.read(workdir), "search.json": (workdir / "search.json").read_bytes()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    (folder / "study.py").write_text(STUDY)
    return folder


@pytest.fixture(scope="module")
def alone(folder):
    """The results of one process."""
    code, _, said = finish(processes.start(folder, "--config=study.py", "--workdir=alone"))
    assert code == 0, said
    return read(folder / "alone")


@pytest.fixture
def start_two(folder):
    """Returns a function that starts both processes of a study."""
    started = []

    def start(*arguments):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        pair = [
            processes.start(
                folder,
                *arguments,
                f"--coordinator=127.0.0.1:{port}",
                "--num_processes=2",
                f"--process_id={i}",
            )
            for i in range(2)
        ]
        started.extend(pair)
        return pair

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_two_processes_equal_one(folder, start_two, alone):
    first, second = (finish(p) for p in start_two("--config=study.py", "--workdir=both"))
    assert (first[0], second[0]) == (0, 0), (first, second)
    assert "several: test split" in first[1]
    assert second[1] == ""  # only the first prints and writes the report
    assert read(folder / "both") == alone
    assert (folder / "both" / "report.html").is_file()


@pytest.mark.parametrize("victim, searching, resume_with", [(0, True, 1), (1, False, 2)])
def test_one_is_killed_and_the_study_is_continued(folder, start_two, alone, victim, searching, resume_with):
    workdir = folder / f"killed{victim}"
    pair = start_two("--config=study.py", f"--workdir={workdir}")
    while not searching and not (workdir / "results.csv").exists() and pair[victim].poll() is None:
        wait_for_changes(pair[victim], workdir, 1)
    wait_for_changes(pair[victim], workdir, 15)
    assert (workdir / "results.csv").exists() != searching
    assert pair[victim].poll() is None, "the study was over before it could be killed"
    pair[victim].kill()
    code, out, said = finish(pair[1 - victim])
    assert (code, out) == (3, "")
    assert len(said) == 1
    assert f"process {1 - victim} of 2 was ended by signal 6" in said[0]
    assert not (workdir / "summary.csv").exists()
    command = shlex.split(said[0].partition("continue with: ")[2])
    assert command == ["python", "run.py", f"--workdir={workdir}", "--resume"]
    again = start_two(*command[2:]) if resume_with == 2 else [processes.start(folder, *command[2:])]
    ended = [finish(p) for p in again]
    assert [code for code, _, _ in ended] == [0] * resume_with, ended
    assert read(workdir) == alone
