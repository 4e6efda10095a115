"""A study that is killed again and again ends with the same bytes as one that is left alone."""

import contextlib
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ("results.csv", "metrics.jsonl", "summary.csv")
KILLS = 10
STUDY = """
from mtl.sweep import study_config

def get_config():
    return study_config(
        name="resumed",
        dataset=dict(name="mmoe_synthetic", dim=8, num_train=512, num_val=64, num_test=64, resample=True),
        models=("shared_bottom", "mmoe"),
        weightings=("static", "mgda"),
        seeds=2,
        train=dict(batch_size=32, steps=40, eval_every=10, steps_per_call=5, checkpoint_seconds=0.0),
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
    # A cache of its own: a killed process may leave half an entry.
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }

    started = []

    def start_process(*arguments):
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "run.py"), *arguments],
            env=environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start_process
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def undisturbed(folder, start):
    process = start("--config=study.py", "--workdir=undisturbed")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return read(folder / "undisturbed")


def read(workdir):
    return {name: (workdir / name).read_bytes() for name in RESULTS}


def listing(workdir):
    """All files with their times; what vanishes meanwhile is left out."""
    found = set()
    for parent, _, files in os.walk(workdir):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                path = os.path.join(parent, name)
                found.add((path, os.stat(path).st_mtime_ns))
    return found


def wait_for_changes(process, workdir, count):
    """Waits until the workdir has changed so many times, or the process has ended."""
    seen = listing(workdir)
    while count and process.poll() is None:
        time.sleep(0.005)
        now = listing(workdir)
        count -= now != seen
        seen = now


def test_ten_kills_at_random_moments(folder, start, undisturbed):
    draw = random.Random(0)
    workdir = folder / "killed"
    arguments = ["--config=study.py", "--workdir=killed"]
    kills = 0
    for _ in range(KILLS):
        resume = ["--resume"] if (workdir / "config.json").is_file() else []
        process = start(*arguments, *resume)
        wait_for_changes(process, workdir, draw.randint(1, 30))
        time.sleep(draw.uniform(0, 0.1))
        kills += process.poll() is None
        process.kill()
        process.communicate()
    assert kills == KILLS, "the study was over before it had been killed often enough"
    assert not (workdir / "summary.csv").exists()
    process = start("--workdir=killed", "--resume")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert read(workdir) == undisturbed
    assert not [p for p in workdir.rglob("*") if p.name.endswith(".tmp") or "checkpoint-tmp" in p.name]


def test_a_polite_stop(folder, start, undisturbed):
    workdir = folder / "stopped"
    process = start("--config=study.py", f"--workdir={workdir}")
    wait_for_changes(process, workdir, 20)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 3, err
    assert out == ""
    said = [line for line in err.splitlines() if line.startswith("mtl: ")]
    assert said == [f"mtl: stopped; continue with: python run.py --workdir={workdir} --resume"]
    command = shlex.split(said[0].partition("continue with: ")[2])
    process = start(*command[2:])
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert read(workdir) == undisturbed
