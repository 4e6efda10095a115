"""One run over several processes, started by one command, is the run in one process."""

import csv
import json
import shlex
import signal
import subprocess

import processes
import pytest
from processes import finish, wait_for_changes

from mtl.train import read_best

STUDY = """
from mtl.sweep import study_config

def get_config():
    return study_config(
        name="together",
        dataset=dict(
            name="funnel_synthetic", num_users=36, num_items=13, dim=3,
            click_rate=0.5, conversion_rate=0.4, num_train=256, num_val=64, num_test=64,
        ),
        models=("shared_bottom",),
        model=dict(embedding_dim=4),
        weightings=("mgda",),
        seeds=2,
        train=dict(
            batch_size=32, steps=20, eval_every=10, steps_per_call=2, checkpoint_seconds=0.0,
            sparse_rows=True,
        ),
        report=dict(baseline=""),
    )
"""
STREAM = "num_train=20_000, in_memory=False, window_rows=16_384"
TABLE_ROWS = 51
FOUR = ("--processes=4", "--config.train.data_parallel=2", "--config.train.table_shards=2")
TWO = ("--processes=2", "--config.train.data_parallel=2")

pytestmark = pytest.mark.slow


def values(workdir):
    """Every result by what it is of."""
    with (workdir / "results.csv").open() as file:
        return {tuple(r[k] for k in r if k != "value"): float(r["value"]) for r in csv.DictReader(file)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    (folder / "study.py").write_text(STUDY)
    return folder


@pytest.fixture(scope="module")
def alone(folder):
    """The results of one process with one device per run."""
    code, _, said = finish(processes.start(folder, "--config=study.py", "--workdir=alone"))
    assert code == 0, said
    return values(folder / "alone")


@pytest.fixture
def start(folder):
    """Returns a function that starts a study over several processes."""
    started = []

    def start(*arguments):
        started.append(processes.start(folder, *arguments))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def children(process):
    done = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    return [int(pid) for pid in done.stdout.split()]


def running(pids):
    """Those of some processes that have not ended; who has no parent to wait for it is a zombie."""
    done = subprocess.run(
        ["ps", "-o", "pid=,stat=", "-p", ",".join(map(str, pids))], capture_output=True, text=True
    )
    return [line for line in done.stdout.splitlines() if line.split()[1][0] != "Z"]


@pytest.mark.parametrize("number, asked", [(2, TWO), (4, FOUR)])
def test_several_processes_equal_one(folder, start, alone, number, asked):
    workdir = folder / f"by{number}"
    code, out, said = finish(start("--config=study.py", f"--workdir={workdir}", *asked))
    assert (code, said) == (0, [])
    assert out.count("together: test split") == 1  # only the first prints
    assert values(workdir) == pytest.approx(alone, rel=1e-6)
    assert (workdir / "report.html").is_file()
    (group,) = (workdir / "checkpoints").iterdir()
    tables = read_best(group / "last")["params"]["encoder"]["tables"]
    assert tables.shape == (2, TABLE_ROWS, 4)  # an odd number, divided over two devices by FOUR


def test_a_stream_over_several_processes_is_that_of_one(folder, start):
    """The processes want the set at the same moment: one prepares it."""
    streamed = STUDY.replace("funnel_synthetic", "funnel_shards").replace("num_train=256", STREAM)
    (folder / "streamed.py").write_text(streamed)
    study = ("--config=streamed.py", "--data_dir=shards")
    two = ("--processes=2", "--config.train.table_shards=2")
    code, _, said = finish(start(*study, "--workdir=streamed2", *two))
    assert (code, said) == (0, [])
    (prepared,) = (folder / "shards" / "funnel_shards").iterdir()
    assert (prepared / "meta.json").is_file()
    code, _, said = finish(start(*study, "--workdir=streamed1"))
    assert (code, said) == (0, [])
    assert values(folder / "streamed2") == pytest.approx(values(folder / "streamed1"), rel=1e-6)
    (told,) = (folder / "streamed2").glob("checkpoints/*/input.json")
    assert json.loads(told.read_text())["examples"] == 2 * 20 * 32


@pytest.mark.parametrize("victim, number, asked, then", [(0, 2, TWO, ()), (3, 4, FOUR, TWO)])
def test_one_that_dies_takes_the_others_along_and_the_study_goes_on(
    folder, start, alone, victim, number, asked, then
):
    workdir = folder / f"killed{victim}"
    launcher = start("--config=study.py", f"--workdir={workdir}", *asked)
    wait_for_changes(launcher, workdir, 25)
    assert launcher.poll() is None, "the study was over before it could be killed"
    pids = children(launcher)
    assert len(pids) == number
    subprocess.run(["kill", "-9", str(pids[victim])], check=True)
    code, out, said = finish(launcher)
    assert code == 3, said
    assert "test split" not in out
    assert f"process {victim} of {number} was ended by signal 9, and the others with it" in said[-1]
    assert not running(pids)
    command = shlex.split(said[-1].partition("continue with: ")[2])
    assert command == ["python", "run.py", f"--workdir={workdir}", f"--processes={number}", "--resume"]
    # On another number of processes and devices.
    again = start("--config=study.py", f"--workdir={workdir}", "--resume", *then)
    code, _, said = finish(again)
    assert code == 0, said
    assert values(workdir) == pytest.approx(alone, rel=1e-6)


def test_a_stop_is_passed_on(folder, start, alone):
    workdir = folder / "stopped"
    launcher = start("--config=study.py", f"--workdir={workdir}", *TWO)
    wait_for_changes(launcher, workdir, 25)
    launcher.send_signal(signal.SIGINT)
    code, _, said = finish(launcher)
    assert code == 3, said
    command = f"python run.py --workdir={workdir} --processes=2 --resume"
    assert said == [f"mtl: stopped; continue with: {command}"]
    code, _, said = finish(start(*shlex.split(command)[2:]))
    assert code == 0, said
    assert values(workdir) == pytest.approx(alone, rel=1e-6)


def test_killing_the_launcher_leaves_no_orphans(folder, start):
    launcher = start("--config=study.py", f"--workdir={folder / 'orphans'}", *TWO)
    wait_for_changes(launcher, folder / "orphans", 25)
    pids = children(launcher)
    launcher.kill()
    launcher.wait()
    subprocess.run(["tail", *(f"--pid={pid}" for pid in pids), "-f", "/dev/null"], timeout=60, check=True)
    assert not running(pids)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--processes=0",), "--processes is 0, expected at least 1"),
        (("--together",), "--together is for several processes"),
        (
            ("--processes=2", "--coordinator=127.0.0.1:1", "--num_processes=2", "--process_id=0"),
            "--processes starts all processes on this machine; leave --coordinator away",
        ),
        (
            ("--processes=2",),
            "train.data_parallel x train.table_shards is 1 x 1, expected a multiple of the 2",
        ),
        (
            ("--config.train.data_parallel=5000",),
            "train.data_parallel x train.table_shards is 5000 x 1 devices for a run, but there are",
        ),
    ],
)
def test_what_cannot_be(folder, start, arguments, message, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    code, _, said = finish(start("--config=study.py", "--workdir=never", *arguments))
    assert code == 2
    assert len(said) == 1
    assert message in said[0]
    assert not (folder / "never").exists()
