"""Which rows of a split count towards a metric."""

import numpy as np
from numpy.typing import ArrayLike

from mtl.errors import InputError


def select_rows(
    outputs: ArrayLike, labels: ArrayLike, mask: ArrayLike | None, *, ndim: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Checks shapes and drops the rows outside the sample space.

    Args:
      outputs: `[N]`, or `[N,K]` when `ndim` is 2.
      labels: `[N]`.
      mask: `[N]` bool, true on the rows that count; None counts every row.
      ndim: number of axes that `outputs` must have.

    Returns:
      The outputs (float64) and the labels (float64) of the rows that count.

    Raises:
      InputError: the shapes do not fit one another.
    """
    out, lab = np.asarray(outputs, np.float64), np.asarray(labels, np.float64)
    if out.ndim != ndim or lab.shape != out.shape[:1]:
        expected = "[N]" if ndim == 1 else "[N,K]"
        raise InputError(
            f"outputs have shape {out.shape} and labels {lab.shape}; expected {expected} and [N] "
            "with the same number of rows"
        )
    if mask is None:
        return out, lab
    keep = np.asarray(mask, bool)
    if keep.shape != lab.shape:
        raise InputError(f"mask has shape {keep.shape}, expected {lab.shape}: one value per row")
    return out[keep], lab[keep]
