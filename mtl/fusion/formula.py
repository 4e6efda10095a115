"""What a formula is: a function of scores and parameters, and the parameters it takes."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np


class Parameter(NamedTuple):
    """A vector of numbers, one per score.

    Attributes:
      default: its value everywhere when nothing is chosen.
      low: lower end of the range that a search tries.
      high: upper end.
      fewer: scores that have none, such as the click of `click_first`.
    """

    default: float
    low: float
    high: float
    fewer: int = 0


class Formula(NamedTuple):
    """A way to make one score of several.

    Attributes:
      function: `(scores [N, K], groups [N], **parameters) -> [N]`; a higher value ranks first.
      parameters: name → parameter.
      positive: whether scores have to be at least 0.
    """

    function: Callable[..., np.ndarray]
    parameters: Mapping[str, Parameter]
    positive: bool = True
