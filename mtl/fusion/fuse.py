"""One score of several, by a formula."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mtl.errors import InputError, unknown_name
from mtl.fusion.click_first import click_first
from mtl.fusion.commerce import commerce
from mtl.fusion.formula import Formula, Parameter
from mtl.fusion.power_product import power_product
from mtl.fusion.rank_sum import rank_sum
from mtl.fusion.weighted_sum import weighted_sum

FUSIONS: dict[str, Formula] = {
    "weighted_sum": Formula(weighted_sum, {"weights": Parameter(1.0, 0.0, 10.0)}, positive=False),
    "click_first": Formula(click_first, {"weights": Parameter(1.0, 0.0, 10.0, fewer=1)}),
    "power_product": Formula(
        power_product, {"weights": Parameter(1.0, 0.0, 10.0), "exponents": Parameter(1.0, 0.0, 3.0)}
    ),
    "commerce": Formula(commerce, {"exponents": Parameter(1.0, 0.0, 3.0)}),
    "rank_sum": Formula(
        rank_sum,
        {
            "weights": Parameter(1.0, 0.0, 10.0),
            "exponents": Parameter(1.0, 0.0, 3.0),
            "offsets": Parameter(1.0, 0.0, 100.0),
        },
        positive=False,
    ),
}
"""Name → formula."""


def fuse(
    formula: str,
    scores: Sequence[ArrayLike] | np.ndarray,
    groups: ArrayLike | None = None,
    **parameters: Any,
) -> np.ndarray:
    """Makes one score of several, for ranking within requests.

    Args:
      formula: a key of `FUSIONS`.
      scores: `[N, K]`, or K columns `[N]`: probabilities, times, a price. Calibrate them first.
      groups: id of every row's request `[N]`, which `rank_sum` needs; None for one request.
      **parameters: those of the formula, numbers or `[K]` each; the others take their defaults.

    Returns:
      `[N]` float64, of which the order counts: products are given as logarithms.

    Raises:
      InputError: the formula or a parameter is unknown, a shape does not fit, or a number is not finite.
    """
    chosen = find(formula)
    matrix, ids = checked(chosen, formula, scores, groups)
    for name in parameters:
        if name not in chosen.parameters:
            raise unknown_name(f"parameter of {formula}:", name, chosen.parameters)
    full = {}
    for name, parameter in chosen.parameters.items():
        size = matrix.shape[1] - parameter.fewer
        values = np.asarray(parameters.get(name, parameter.default), np.float64)
        if values.shape not in ((), (size,)) or not np.isfinite(values).all():
            raise InputError(f"{formula}: {name} is {values.tolist()}, expected {size} finite numbers or one")
        full[name] = np.broadcast_to(values, (size,))
    return chosen.function(matrix, ids, **full)


def find(formula: str) -> Formula:
    """The formula of a name; an `InputError` names those there are."""
    if formula not in FUSIONS:
        raise unknown_name("fusion", formula, FUSIONS)
    return FUSIONS[formula]


def checked(
    formula: Formula, name: str, scores: Sequence[ArrayLike] | np.ndarray, groups: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray]:
    """Brings scores to `[N, K]` float64 and groups to integers `[N]`.

    Raises:
      InputError: a shape does not fit, or a score is not finite or negative where it may not be.
    """
    try:
        whole = isinstance(scores, np.ndarray)
        matrix = np.asarray(scores if whole else np.stack([*map(np.asarray, scores)], axis=-1), np.float64)
    except ValueError as error:
        raise InputError(f"{name}: scores cannot be stacked to [N, K]: {error}") from None
    if matrix.ndim != 2:
        raise InputError(f"{name}: scores have shape {matrix.shape}, expected [N, K]")
    bad = ~np.isfinite(matrix) | (formula.positive & (matrix < 0))
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        wanted = "a finite number >= 0" if formula.positive else "a finite number"
        raise InputError(f"{name}: row {row}, score {column} is {matrix[row, column]}, expected {wanted}")
    ids = np.zeros(len(matrix), np.int64) if groups is None else np.asarray(groups)
    if ids.shape != (len(matrix),):
        raise InputError(f"{name}: groups have shape {ids.shape}, expected ({len(matrix)},): one id per row")
    return matrix, np.unique(ids, return_inverse=True)[1]
