"""A process that watches over another: JAX aborts a process whose peer has died, and somebody must say so."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

WATCHED = "MTL_WATCHED"
"""Environment variable of a watched process: the pipe that closes when its watcher is gone."""


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
    theirs, ours = os.pipe()
    with subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, WATCHED: str(theirs)},
        pass_fds=(theirs,),
        start_new_session=True,
    ) as process:
        os.close(theirs)

        def pass_on(number: int, frame: Any) -> None:
            del frame
            process.send_signal(number)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, pass_on)
        code = process.wait()
    os.close(ours)
    return code


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
