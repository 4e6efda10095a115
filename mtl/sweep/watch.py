"""A process that watches over others: JAX aborts a process whose peer has died, and somebody must say so."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, NoReturn

WATCHED = "MTL_WATCHED"
"""Environment variable of a watched process: the pipe that closes when its watcher is gone."""

STOPPED = 3
"""Exit code of a process that has stopped with something to continue."""

STOP_SECONDS = 20.0
"""How long the others may take to stop then."""

POLL_SECONDS = 0.02


def is_watched() -> bool:
    """Says whether this process was started by `watch`."""
    return WATCHED in os.environ


def watch(arguments: Sequence[str]) -> int:
    """Runs a Python command line, passing SIGINT and SIGTERM on to it.

    Args:
      arguments: what follows `python`.

    Returns:
      Its exit code; −n if signal n ended it.
    """
    return watch_all([arguments])[1]


def watch_all(commands: Sequence[Sequence[str]]) -> tuple[int, int]:
    """Runs Python command lines side by side, passing SIGINT and SIGTERM on; when one fails, all end.

    Args:
      commands: for each what follows `python`; only the first is heard on stdout.

    Returns:
      Which one failed first, and its exit code, −n if signal n ended it; 0 and 0 if none did. One that exits
      with `STOPPED` leaves the others time to do so too.
    """
    theirs, ours = os.pipe()
    processes: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, frame: Any) -> None:
        del frame
        for process in processes:
            process.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    try:
        for i, arguments in enumerate(commands):
            process = subprocess.Popen(
                [sys.executable, *arguments],
                env={**os.environ, WATCHED: str(theirs)},
                pass_fds=(theirs,),
                start_new_session=True,
                stdout=subprocess.DEVNULL if i else None,
            )
            processes.append(process)
        os.close(theirs)
        return _first_failure(processes)
    finally:
        for process in reversed(processes):  # the first last: where it dies, JAX has the others complain
            process.kill()
            process.wait()
        os.close(ours)


def _first_failure(processes: Sequence[subprocess.Popen[bytes]]) -> tuple[int, int]:
    failure, until = (0, 0), float("inf")
    while time.monotonic() < until:
        codes = [process.poll() for process in processes]
        failed = [(i, code) for i, code in enumerate(codes) if code]
        if failed and failure == (0, 0):
            failure = min(failed, key=lambda found: found[1])  # a signal rather than what it led to
            until = time.monotonic() + (STOP_SECONDS if failure[1] == STOPPED else 0)
        if None not in codes:
            break
        time.sleep(POLL_SECONDS)
    return failure


def end_with_watcher() -> None:
    """Ends this process at once when its watcher is gone, so that killing the one kills the other."""
    pipe = int(os.environ[WATCHED])

    def wait() -> None:
        os.read(pipe, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def leave(code: int) -> NoReturn:
    """Ends a watched process without the farewells of libraries, which wait for peers that may be gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
