"""Progress of long work: a bar with rate and ETA on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def track(items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
    """Passes items on and shows how many have passed; silent when that takes a few seconds only.

    Args:
      items: what to pass on.
      total: the number expected.
      label: what is being done.

    Yields:
      The items.
    """
    with Progress(total, "items", quiet=True) as progress:
        progress.label(label)
        for item in items:
            yield item
            progress.advance(1)


class Progress:
    """Counts units of work and shows rate and ETA on stderr.

    On a terminal this is a tqdm bar. Elsewhere it prints one plain line at most every
    `every_seconds`, and one at the end, so that logs stay readable.
    """

    def __init__(self, total: int, unit: str, done: int = 0, every_seconds: float = 5.0, quiet: bool = False):
        """Starts the display.

        Args:
          total: units of work in all.
          unit: plural noun of the unit, such as "steps".
          done: units that were finished before (a resumed study); they do not count in the rate.
          every_seconds: shortest time between plain lines.
          quiet: print no plain line at the end.
        """
        self._quiet = quiet
        self.total, self.unit, self.done = total, unit, done
        self._first = done
        self._every = every_seconds
        self._start = self._last = time.monotonic()
        self._label = ""
        self._bar = tqdm(total=total, initial=done, unit=f" {unit}") if sys.stderr.isatty() else None

    def label(self, text: str) -> None:
        """Sets what is being worked on."""
        self._label = text
        if self._bar is not None:
            self._bar.set_description(text)

    def advance(self, units: int) -> None:
        """Adds finished units, and shows them when it is time."""
        self.done += units
        if self._bar is not None:
            self._bar.update(units)
        elif time.monotonic() - self._last >= self._every:
            self._line()

    def note(self, text: str) -> None:
        """Prints a line without disturbing the bar."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)

    def _line(self) -> None:
        self._last = now = time.monotonic()
        rate = (self.done - self._first) / max(now - self._start, 1e-9)
        eta = f"{(self.total - self.done) / rate:.0f} s" if rate > 0 else "?"
        share = 100 * self.done / max(self.total, 1)
        print(
            f"{share:5.1f} %  {self.done}/{self.total} {self.unit}  {rate:,.0f} {self.unit}/s  "
            f"ETA {eta}  {self._label}",
            file=sys.stderr,
            flush=True,
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif kind is None and not self._quiet:
            self._line()
