"""A study that is killed again and again ends with the same bytes as one that is left alone."""

import random
import shlex
import signal
import time

import processes
import pytest
from processes import finish, read, wait_for_changes

KILLS = 20
RUNS = 200
STUDY = """
from mtl.sweep import study_config

def get_config():
    return study_config(
        name="resumed",
        dataset=dict(name="mmoe_synthetic", dim=8, num_train=512, num_val=64, num_test=64),
        models=("shared_bottom", "mmoe"),
        weightings=("static", "mgda"),
        seeds=10,
        train=dict(batch_size=32, steps=40, eval_every=20, steps_per_call=10, checkpoint_seconds=0.0,
                   group_runs=20),
        sweep=dict(train=dict(learning_rate=(1e-3, 2e-3, 5e-3, 1e-2, 2e-2))),
        report=dict(baseline=""),
    )
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    (folder / "study.py").write_text(STUDY)
    return folder


@pytest.fixture(scope="module")
def start(folder):
    """Returns a function that starts a command line as a process of its own."""
    started = []

    def start_process(*arguments):
        started.append(processes.start(folder, *arguments))
        return started[-1]

    yield start_process
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def undisturbed(folder, start):
    code, _, said = finish(start("--config=study.py", "--workdir=undisturbed"))
    assert code == 0, said
    return read(folder / "undisturbed")


def test_two_hundred_runs_and_twenty_kills_at_random_moments(folder, start, undisturbed):
    runs = {tuple(line.split(",")[:6]) for line in undisturbed["results.csv"].decode().splitlines()[1:]}
    assert len(runs) == RUNS
    draw = random.Random(0)
    workdir = folder / "killed"
    kills = 0
    for _ in range(KILLS):
        resume = ["--resume"] if (workdir / "config.json").is_file() else []
        process = start("--config=study.py", "--workdir=killed", *resume)
        wait_for_changes(process, workdir, draw.randint(1, 20))
        time.sleep(draw.uniform(0, 0.1))
        kills += process.poll() is None
        process.kill()
        process.communicate()
    assert kills == KILLS, "the study was over before it had been killed often enough"
    assert not (workdir / "summary.csv").exists()
    assert list(workdir.glob("checkpoints/*/result.json")), "no group was finished between the kills"
    code, _, said = finish(start("--workdir=killed", "--resume"))
    assert code == 0, said
    assert read(workdir) == undisturbed
    assert not [p for p in workdir.rglob("*") if p.name.endswith(".tmp") or "checkpoint-tmp" in p.name]


def test_a_polite_stop(folder, start, undisturbed):
    workdir = folder / "stopped"
    process = start("--config=study.py", f"--workdir={workdir}")
    wait_for_changes(process, workdir, 20)
    process.send_signal(signal.SIGTERM)
    code, out, said = finish(process)
    assert (code, out) == (3, "")
    assert said == [f"mtl: stopped; continue with: python run.py --workdir={workdir} --resume"]
    command = shlex.split(said[0].partition("continue with: ")[2])
    code, _, said = finish(start(*command[2:]))
    assert code == 0, said
    assert read(workdir) == undisturbed
