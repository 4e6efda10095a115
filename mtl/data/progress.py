"""Progress of a slow preparation: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
SECONDS_BETWEEN_LINES = 5.0


def progress(items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
    """Passes items on and reports how many have passed.

    Args:
      items: what to pass on.
      total: the number expected.
      label: what is being done, for the report.

    Yields:
      The items.
    """
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=label, leave=False)
        return
    last = time.monotonic()
    for count, item in enumerate(items):
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            print(f"{label}: {count:,} of about {total:,}", file=sys.stderr, flush=True)
            last = now
        yield item
