"""What a loss is: a function of outputs and labels, its arguments, its labels, and what is served."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mtl.types import Array


class Argument(NamedTuple):
    """A number that a loss takes.

    Attributes:
      default: its value when the task does not give one.
      low: the smallest value accepted.
      high: the largest one.
    """

    default: float
    low: float = 0.0
    high: float = math.inf


class Loss(NamedTuple):
    """A loss of one kind of task.

    Attributes:
      function: `(outputs [..., K], labels [...], **arguments) -> loss [...]`, in `jax.numpy`.
      serve: from outputs `[..., K]` to what is served `[...]`, see `mtl.tasks.losses.links`.
      arguments: argument's name → default and range.
      labels: smallest and largest label; None for those of the task's kind. On a binary task it holds for
        training only, since its metrics need labels of 0 and 1.
    """

    function: Callable[..., Array]
    serve: Callable[[Any], Any]
    arguments: Mapping[str, Argument] = {}
    labels: tuple[float, float] | None = None
