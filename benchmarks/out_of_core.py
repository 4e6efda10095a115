"""Training from disk: how long it waits for rows, how much memory it takes, and whether a kill changes a bit.

    python -m benchmarks.out_of_core                     # 500,000 rows, about two minutes
    python -m benchmarks.out_of_core --rows=20_000_000   # 1 GB of disk

Draws the funnel into shards, trains ESMM on them end to end through `run.py`, and then a shorter study three
times: left alone, ended by SIGTERM, and by SIGKILL, each of the latter resumed. Every step is a process of
its own. Memory is what the kernel counts as resident at the peak, pages of mapped files included.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from absl import app, flags

FLAGS = flags.FLAGS
flags.DEFINE_integer("rows", 500_000, "Training rows.")
flags.DEFINE_integer("steps", 500, "Steps that are measured.")
flags.DEFINE_integer("batch", 4096, "Rows per step.")
flags.DEFINE_string("model", "esmm", "A preset.")
flags.DEFINE_integer("users", 10_000, "Users of the funnel; a tenth as many items.")
flags.DEFINE_string("folder", None, "Where the files are written; default: a temporary folder.")

ROOT = Path(__file__).parents[1]
WAIT_TARGET, GIB_TARGET = 0.05, 2.0
SHORT_STEPS, CALL = 120, 20
PREPARE = """
import json, resource, sys, time
from mtl.data import load
start = time.perf_counter()
load(**json.loads(sys.argv[1]), data_dir=sys.argv[2])
gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"seconds": time.perf_counter() - start, "gib": gib}))
"""
TRAIN = """
import json, resource, sys
import run
code = run.main(["run.py", *sys.argv[1:]])
gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"code": code, "gib": gib}))
"""
STUDY = """
from mtl.sweep import study_config

def get_config():
    return study_config(**{content!r})
"""
RESULTS = ("results.csv", "metrics.jsonl", "summary.csv")


def dataset() -> dict[str, Any]:
    """The arguments of the data set."""
    return {
        "name": "funnel_shards",
        "num_train": FLAGS.rows,
        "num_users": FLAGS.users,
        "num_items": max(FLAGS.users // 10, 1),
        "in_memory": False,
    }


def write_study(folder: Path, steps: int, checkpoint_seconds: float) -> Path:
    """Writes a study of one run."""
    content = {
        "name": "out_of_core",
        "dataset": dataset(),
        "models": (FLAGS.model,),
        "weightings": ("static",),
        "seeds": 1,
        "train": {
            "batch_size": FLAGS.batch,
            "steps": steps,
            "eval_every": max(steps // CALL // 2, 1) * CALL,
            "steps_per_call": CALL,
            "checkpoint_seconds": checkpoint_seconds,
        },
        "report": {"baseline": ""},
    }
    path = folder / f"study-{steps}.py"
    path.write_text(STUDY.format(content=content))
    return path


def child(script: str, *arguments: object) -> dict[str, Any]:
    """Runs a script in a process of its own; the last line that it prints is JSON."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def ended(arguments: list[str], workdir: Path, how: signal.Signals, saves: int) -> int:
    """Starts a study, ends it after some checkpoints and returns its exit code."""
    command = [sys.executable, str(ROOT / "run.py"), *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seen: set[str] = set()
    while process.poll() is None and len(seen) < saves:
        seen |= {path.name for path in workdir.glob("checkpoints/*/last/*") if path.name.isdigit()}
        time.sleep(0.005)
    process.send_signal(how)
    return process.wait()


def resumed(study: Path, workdir: Path, data: Path, how: signal.Signals) -> tuple[int, dict[str, bytes]]:
    """Ends a study by a signal, continues it, and returns the code of its end and the files it leaves."""
    folders = [f"--workdir={workdir}", f"--data_dir={data}"]
    code = ended([f"--config={study}", *folders], workdir, how, saves=2)
    child(TRAIN, *folders, "--resume")
    return code, results(workdir)


def results(workdir: Path) -> dict[str, bytes]:
    return {name: (workdir / name).read_bytes() for name in RESULTS}


def main(argv: list[str]) -> None:
    """Prepares, trains, kills, resumes, and prints what came of it."""
    del argv
    with tempfile.TemporaryDirectory(dir=FLAGS.folder) as temporary:
        folder = Path(temporary)
        data = folder / "data"
        made = child(PREPARE, json.dumps(dataset()), data)
        size = sum(path.stat().st_size for path in data.rglob("*") if path.is_file())
        print(
            f"prepared {FLAGS.rows:,} rows, {size / 1e9:.2f} GB, in {made['seconds']:.0f} s "
            f"({FLAGS.rows / made['seconds']:,.0f} rows/s); peak resident {made['gib']:.2f} GiB\n",
            flush=True,
        )
        long = write_study(folder, FLAGS.steps, 15.0)
        found = child(TRAIN, f"--config={long}", f"--workdir={folder / 'long'}", f"--data_dir={data}")
        (path,) = (folder / "long").glob("checkpoints/*/input.json")
        told = json.loads(path.read_text())
        steps = told["examples"] / FLAGS.batch
        print("| steps | ms/step | examples/s | input wait | peak resident, GiB |")
        print("|---:|---:|---:|---:|---:|")
        print(
            f"| {steps:,.0f} | {1e3 * told['seconds'] / steps:.1f} | {told['examples_per_second']:,.0f} | "
            f"{told['wait_share']:.2%} | {found['gib']:.2f} |\n"
        )
        for name, value, target in (
            ("input wait", told["wait_share"], WAIT_TARGET),
            ("peak resident", found["gib"], GIB_TARGET),
        ):
            print(f"{name}: target at most {target:g}, {'met' if value <= target else 'missed'}")
        print(f"the first call waited {told['first_seconds']:.2f} s\n", flush=True)

        short = write_study(folder, SHORT_STEPS, 0.0)
        child(TRAIN, f"--config={short}", f"--workdir={folder / 'alone'}", f"--data_dir={data}")
        expected = results(folder / "alone")
        for how, wanted in ((signal.SIGTERM, 3), (signal.SIGKILL, -9)):
            code, left = resumed(short, folder / how.name, data, how)
            same = "bit-identical" if left == expected else "DIFFERENT"
            early = "" if code == wanted else f" (exit code {code}: it was over before)"
            print(f"{how.name} and resume, {SHORT_STEPS} steps: {same}{early}", flush=True)


if __name__ == "__main__":
    app.run(main)
