"""What an interval says about a claim."""

import math
from typing import NamedTuple, Protocol

from mtl.errors import InputError

REPRODUCED = "reproduced"
NOT_REPRODUCED = "not reproduced"
UNDECIDED = "undecided"


class Verdict(NamedTuple):
    """The judgement of a claim.

    Attributes:
      verdict: "reproduced", "not reproduced" or "undecided".
      reason: where the interval lies, in words.
    """

    verdict: str
    reason: str


class HasEnds(Protocol):
    """An interval: `Interval`, `PairedTest`, or an `Estimate` of one column."""

    @property
    def low(self) -> float:
        """Lower end."""

    @property
    def high(self) -> float:
        """Upper end."""


def judge(
    interval: HasEnds,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    between: tuple[float, float] | None = None,
) -> Verdict:
    """Judges a claim about an effect by the interval of the effect.

    Reproduced when the whole interval satisfies the claim, not reproduced when the whole interval
    violates it, undecided otherwise: a wide interval never counts for or against.

    Args:
      interval: the effect's interval. With 95 % intervals a claim that is false by a hair is called
        reproduced with probability 2.5 %; choose the confidence accordingly for many claims.
      at_least: the effect is claimed to be no smaller than this.
      at_most: the effect is claimed to be no larger than this.
      between: the effect is claimed to lie in this range, ends included. Give exactly one of the three.

    Returns:
      The verdict; undecided for an interval with a NaN end (too few seeds, or one that failed).

    Raises:
      InputError: not exactly one claim, a claim that is NaN or an empty range, or low above high.
    """
    claims = {
        "at_least": None if at_least is None else (at_least, math.inf),
        "at_most": None if at_most is None else (-math.inf, at_most),
        "between": between,
    }
    given = [claim for claim in claims.values() if claim is not None]
    if len(given) != 1:
        raise InputError("a claim needs exactly one of at_least, at_most and between")
    lowest, highest = given[0]
    if not lowest <= highest:
        raise InputError(f"the claimed range is ({lowest}, {highest}), expected two numbers in order")
    low, high = float(interval.low), float(interval.high)
    if math.isnan(low) or math.isnan(high):
        return Verdict(UNDECIDED, "there is no interval: too few seeds, or one of them failed")
    if low > high:
        raise InputError(f"the interval is ({low}, {high}), expected low ≤ high")
    text = f"the interval [{low:.4g}, {high:.4g}]"
    if lowest <= low and high <= highest:
        return Verdict(REPRODUCED, f"{text} lies within the claim")
    if high < lowest or low > highest:
        return Verdict(NOT_REPRODUCED, f"{text} lies outside the claim")
    return Verdict(UNDECIDED, f"{text} lies partly within the claim")
