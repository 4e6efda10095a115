"""Checks of loaders' arguments: each names the argument, its value, and what was expected."""

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
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


def parents(value: Any, tasks: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Checks the edges of a task graph, but not whether it has a cycle.

    Args:
      value: a dict of task name to the names of the tasks that it depends on.
      tasks: the names of the tasks.

    Returns:
      The edges, with tuples as values.

    Raises:
      InputError: it is not such a dict, or a child is unknown.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"parents is {value!r}, expected a dict of task name to tuple of names")
    for child, above in value.items():
        if child not in tasks:
            raise unknown_name("task in parents", child, tasks)
        if isinstance(above, str) or not isinstance(above, Sequence):
            raise InputError(f"parents[{child!r}] is {above!r}, expected a tuple of task names")
    return {child: tuple(above) for child, above in value.items()}


def shares(val_share: Any, test_share: Any) -> tuple[float, float]:
    """Checks the shares of the rows that go to `val` and to `test`.

    Args:
      val_share: what was given for `val`.
      test_share: what was given for `test`.

    Returns:
      Both as Python floats.

    Raises:
      InputError: one is not in [0, 1], or they leave nothing for `train`.
    """
    val_share, test_share = real("val_share", val_share, 0, 1), real("test_share", test_share, 0, 1)
    if val_share + test_share >= 1:
        raise InputError(
            f"val_share + test_share is {val_share:g} + {test_share:g}, expected less than 1, so that train "
            "has rows"
        )
    return val_share, test_share
