"""What the training calls of a group read: assembled and moved to the devices while they compute."""

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple

from mtl.types import Batch


class InputTime(NamedTuple):
    """How long training waited for its rows, of one process.

    Attributes:
      examples: rows that all runs together were trained on.
      seconds: wall time of the training loop from the first call on, looks at validation included.
      wait_seconds: of these, how long a call waited for its rows.
      first_seconds: how long the first call waited before that, with nothing prepared ahead.
    """

    examples: int
    seconds: float
    wait_seconds: float
    first_seconds: float

    @property
    def wait_share(self) -> float:
        """Share of the time that was spent waiting."""
        return self.wait_seconds / max(self.seconds, 1e-9)

    @property
    def examples_per_second(self) -> float:
        """Rows per second, waiting included."""
        return self.examples / max(self.seconds, 1e-9)


class Feed:
    """Loads what each call reads, some calls ahead, in a thread of its own.

    An error while loading is raised by the `take` whose rows it concerns. Leaving the context ends the thread
    once the load that it is at is over.
    """

    def __init__(self, load: Callable[[int], Batch], starts: Iterable[int], depth: int):
        """Begins to load.

        Args:
          load: from the first step of a call to its columns on the devices.
          starts: the first steps of all calls, in order.
          depth: calls that are loaded ahead of the one that trains; 0 loads when asked, without a thread.
        """
        self._load, self._starts = load, iter(starts)
        self._pool = ThreadPoolExecutor(1, "input") if depth else None
        self._ahead: deque[Future[Batch]] = deque()
        self._waited: list[float] = []
        self._began = 0.0
        if self._pool is not None:
            for start in itertools.islice(self._starts, depth):
                self._ahead.append(self._pool.submit(load, start))

    def take(self) -> Batch:
        """Returns the columns of the next call, and waits for them if it must."""
        asked = time.monotonic()
        if self._pool is None:
            columns = self._load(next(self._starts))
        else:
            columns = self._ahead.popleft().result()
            for start in itertools.islice(self._starts, 1):
                self._ahead.append(self._pool.submit(self._load, start))
        self._began = self._began or time.monotonic()
        self._waited.append(time.monotonic() - asked)
        return columns

    def time(self, examples_per_call: int) -> InputTime | None:
        """Says how long the calls so far have waited; None before the first.

        Args:
          examples_per_call: rows of a call, of all runs together.
        """
        if not self._waited:
            return None
        first, *others = self._waited
        seconds = time.monotonic() - self._began
        return InputTime(examples_per_call * len(self._waited), seconds, sum(others), first)

    def __enter__(self) -> "Feed":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._ahead.clear()
