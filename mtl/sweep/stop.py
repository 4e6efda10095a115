"""A request to stop, by signal."""

import signal
import sys
from typing import Any


class StopRequest:
    """Becomes true on SIGINT or SIGTERM; a second signal ends the process at once."""

    def __init__(self) -> None:
        """Takes over both signals."""
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        del number, frame
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("stopping at the next checkpoint; once more to stop now", file=sys.stderr, flush=True)

    def __call__(self) -> bool:
        """Says whether a signal has come."""
        return self.asked
