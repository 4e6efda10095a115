"""Trade-offs between tasks: the Pareto front, hypervolume, distance to a front."""

import math

import numpy as np
from numpy.typing import ArrayLike

from mtl.errors import InputError


def pareto_mask(points: ArrayLike, higher_is_better: ArrayLike) -> np.ndarray:
    """Which points no other point dominates.

    q dominates p if it is nowhere worse and somewhere better; equal points stay together.

    Args:
      points: `[P, M]`, one row per model and one column per objective.
      higher_is_better: bool, or `[M]` bools.

    Returns:
      `[P]` bool; False for a point with a NaN, which dominates nothing either.

    Raises:
      InputError: `points` has not two axes.
    """
    cost = _costs(points, higher_is_better)
    return ~np.isnan(cost).any(axis=1) & ~_dominated(cost)


def hypervolume(points: ArrayLike, reference: ArrayLike, higher_is_better: ArrayLike) -> float:
    """Volume that the points dominate within the box that the reference point closes; exact.

    `HV = λ(∪_p {z : p ⪯ z ⪯ r})`, in the product of the objectives' units: bring them to one scale first.

    Args:
      points: `[P, M]`, dominated ones included or not.
      reference: `[M]`, worse than what counts; a point that is not better than it everywhere adds
        nothing. It decides what the volume means: give it with every number.
      higher_is_better: bool, or `[M]` bools.

    Returns:
      The volume; 0 without points, NaN if a point or the reference has a value that is not finite.

    Raises:
      InputError: shapes do not fit.

    Reference:
      Zitzler & Thiele, "Multiobjective Optimization Using Evolutionary Algorithms", PPSN 1998. Computed as
      exclusive volumes in order of one objective, as in While, Bradstreet & Barone, "A Fast Way of
      Calculating Exact Hypervolumes", IEEE TEC 16 (2012).
    """
    cost = _costs(points, higher_is_better)
    corner = _costs(np.atleast_2d(np.asarray(reference, np.float64)), higher_is_better)
    if corner.shape != (1, cost.shape[1]):
        raise InputError(f"reference has shape {np.shape(reference)}, expected ({cost.shape[1]},)")
    extent = corner - cost
    if not np.isfinite(extent).all():
        return math.nan
    return _union(extent[(extent > 0).all(axis=1)])


def distance_to_front(
    points: ArrayLike, front: ArrayLike, higher_is_better: ArrayLike, scale: ArrayLike = 1.0
) -> np.ndarray:
    """How far each point must improve to be as good as some point of a front.

    `d⁺(p) = min_f ‖max(cost(p) − cost(f), 0) / scale‖₂`: 0 for a point that matches or beats a point of the
    front in every objective.

    Args:
      points: `[P, M]`.
      front: `[F, M]`; its dominated points change nothing.
      higher_is_better: bool, or `[M]` bools.
      scale: `[M]` unit of each objective, such as the standard deviation over seeds or the range of the
        front. Without it objectives of different size are added as they are.

    Returns:
      `[P]` distances in units of `scale`; NaN for a point with a NaN, for all if the front has one or is
      empty.

    Raises:
      InputError: shapes do not fit or a scale is not positive.

    Reference:
      Ishibuchi et al., "Modified Distance Calculation in Generational Distance and Inverted Generational
      Distance", EMO 2015, equation 18 (the distance of GD⁺ for one point).
    """
    cost, target = _costs(points, higher_is_better), _costs(front, higher_is_better)
    if cost.shape[1] != target.shape[1]:
        raise InputError(f"points have {cost.shape[1]} objectives and the front {target.shape[1]}")
    unit = np.broadcast_to(np.asarray(scale, np.float64), cost.shape[1])
    if not (unit > 0).all():
        raise InputError(f"scale is {unit}, expected positive numbers, one per objective")
    if not len(target):
        return np.full(len(cost), np.nan)
    worse = np.maximum((cost[:, None] - target[None]) / unit, 0)
    return np.min(np.linalg.norm(worse, axis=-1), axis=1)


def _costs(points: ArrayLike, higher_is_better: ArrayLike) -> np.ndarray:
    """Points `[P, M]` with every objective turned so that lower is better."""
    array = np.asarray(points, np.float64)
    higher = np.asarray(higher_is_better, bool)
    if array.ndim != 2 or higher.shape not in ((), array.shape[1:]):
        raise InputError(
            f"points have shape {array.shape} and higher_is_better {higher.shape}, expected [P, M] and [M]"
        )
    return np.where(higher, -array, array)


def _dominated(cost: np.ndarray) -> np.ndarray:
    """Which rows another row dominates `[P]`."""
    nowhere_worse, better = np.full((2, len(cost), len(cost)), [[[True]], [[False]]])
    for column in cost.T:
        nowhere_worse &= column[:, None] <= column
        better |= column[:, None] < column
    return np.any(nowhere_worse & better, axis=0)


def _union(boxes: np.ndarray) -> float:
    """Volume of the union of boxes `[P, M]` that span from the origin."""
    if len(boxes) == 0:
        return 0.0
    if boxes.shape[1] == 1:
        return float(boxes.max())
    if boxes.shape[1] == 2:
        width, height = boxes[np.argsort(-boxes[:, 0], kind="stable")].T
        return float(np.sum(width * np.diff(np.maximum.accumulate(height), prepend=0.0)))
    boxes = boxes[~_dominated(-boxes)]
    # In increasing order of the last side, what a box shares with later ones is as tall as the box
    # itself, so that its exclusive volume is its height times an area of one dimension less.
    boxes = boxes[np.argsort(boxes[:, -1], kind="stable")]
    sides, last = boxes[:, :-1], boxes[:, -1]
    return sum(
        float(last[i] * (np.prod(sides[i]) - _union(np.minimum(sides[i + 1 :], sides[i]))))
        for i in range(len(boxes))
    )
