"""Claims and their verdicts, as a study leaves them in `verdicts.json`."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from mtl.errors import InputError
from mtl.metrics.verdict import NOT_REPRODUCED, REPRODUCED, UNDECIDED

VERDICTS = (REPRODUCED, NOT_REPRODUCED, UNDECIDED)


class Claim(NamedTuple):
    """A claim that was judged by an interval.

    Attributes:
      claim: what is claimed, a sentence.
      verdict: one of `VERDICTS`.
      value: the estimate; NaN without one.
      low: lower end of its interval; NaN without one.
      high: upper end.
      detail: what was measured, and on what; may be empty.
    """

    claim: str
    verdict: str
    value: float
    low: float
    high: float
    detail: str


def read_claims(path: Path) -> tuple[Claim, ...]:
    """Reads `verdicts.json`.

    Args:
      path: the file; it may be absent.

    Returns:
      The claims in the order of the file; none without one.

    Raises:
      InputError: the file is malformed.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); write it again or remove it") from error
    if not isinstance(content, list):
        raise InputError(f"{path}: expected a list of claims")
    return tuple(_claim(f"{path}: claim {i}", entry) for i, entry in enumerate(content, start=1))


def _claim(where: str, entry: Any) -> Claim:
    try:
        estimate = entry.get("estimate") or {}
        numbers = (estimate.get(key) for key in ("value", "low", "high"))
        value, low, high = (math.nan if number is None else float(number) for number in numbers)
        claim, verdict = str(entry["claim"]), str(entry["verdict"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{where} needs claim, verdict and, if any, estimate with value, low and high ({error})"
        ) from error
    if verdict not in VERDICTS:
        raise InputError(f"{where} has the verdict {verdict!r}, expected one of {', '.join(VERDICTS)}")
    return Claim(claim, verdict, value, low, high, str(entry.get("detail") or ""))
