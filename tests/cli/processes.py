"""Command lines as processes of their own, to be killed: their results, and the moments at which to do it."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ("results.csv", "metrics.jsonl", "summary.csv")


def start(folder, *arguments):
    """Starts a command line in a folder."""
    # A cache of its own: a killed process may leave half an entry.
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), *arguments],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, timeout=300):
    """Waits for a process; returns its exit code, output and the lines of its errors that are ours."""
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, [line for line in err.splitlines() if line.startswith("mtl: ")]


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
