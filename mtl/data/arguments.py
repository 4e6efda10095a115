"""Checks of loaders' arguments: each names the argument, its value, and what was expected."""

import math
import numbers
from collections.abc import Iterable, Sequence
from typing import Any

from mtl.errors import InputError, unknown_name


def integer(name: str, value: Any, minimum: int) -> int:
    """Checks an integer.

    Args:
      name: the argument's name, for the message.
      value: what was given; a bool is not an integer here.
      minimum: the smallest value accepted.

    Returns:
      The value as a Python int.

    Raises:
      InputError: it is not an integer, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < minimum:
        raise InputError(f"{name} is {value!r}, expected an integer >= {minimum}")
    return int(value)


def real(name: str, value: Any, low: float, high: float = math.inf) -> float:
    """Checks a finite number in [low, high].

    Args:
      name: the argument's name, for the message.
      value: what was given; a bool is not a number here.
      low: the smallest value accepted.
      high: the largest value accepted.

    Returns:
      The value as a Python float.

    Raises:
      InputError: it is not a number, not finite, or out of range.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, numbers.Real)
        or not math.isfinite(value)
        or not low <= float(value) <= high
    ):
        expected = f"in [{low:g}, {high:g}]" if high < math.inf else f">= {low:g}"
        raise InputError(f"{name} is {value!r}, expected a number {expected}")
    return float(value)


def choice(name: str, value: Any, options: Iterable[str]) -> str:
    """Checks a name against a list of options.

    Args:
      name: the argument's name, for the message.
      value: what was given.
      options: the accepted values.

    Returns:
      The value.

    Raises:
      InputError: it is not one of them.
    """
    accepted = tuple(options)
    if value not in accepted:
        raise InputError(f"{name} is {value!r}, expected one of: {', '.join(accepted)}")
    return value


def boolean(name: str, value: Any) -> bool:
    """Checks a bool.

    Args:
      name: the argument's name, for the message.
      value: what was given.

    Returns:
      The value.

    Raises:
      InputError: it is not True or False.
    """
    if not isinstance(value, bool):
        raise InputError(f"{name} is {value!r}, expected True or False")
    return value


def names(name: str, value: Any, options: Iterable[str]) -> tuple[str, ...]:
    """Checks a list of distinct names against a list of options.

    Args:
      name: the argument's name, for the message.
      value: what was given.
      options: the accepted values.

    Returns:
      The value as a tuple.

    Raises:
      InputError: it is not a non-empty list of names, one is unknown, or one appears twice.
    """
    accepted = tuple(options)
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise InputError(f"{name} is {value!r}, expected a tuple of names: {', '.join(accepted)}")
    for given in value:
        if given not in accepted:
            raise unknown_name(f"name in {name}", given, accepted)
        if list(value).count(given) > 1:
            raise InputError(f"{name} has {given!r} twice")
    return tuple(value)
