"""NTKMTL: weights from the spread of the tasks' neural tangent kernels, in its one-sample form.

Reference:
  "NTKMTL: Mitigating Task Imbalance in Multi-Task Learning from Neural Tangent Kernel Perspective",
  NeurIPS 2025, arXiv 2510.18258; Algorithm 1 with n = 1.
"""

import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared
from mtl.weightings.contract import check_num_tasks, gramian_weighting, known_false


def ntkmtl(
    num_tasks: int | None = None,
    *,
    exponent: float = 0.5,
    tap: bool = False,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Weighs every gradient by a power of its share in the trace of G.

        a_i = (tr G / G_ii)^e

    e = ½ adds up unit gradients (times √tr G); e = 0 is the plain sum. Tasks with a zero gradient get weight
    0. Cost: T backward passes; with a tap T through the heads and one full.

    Args:
      num_tasks: T; needed inside `scan`, where the state's shape must not change.
      exponent: e ≥ 0; .5 in the authors' code.
      tap: read the gradients at the tap of `task_jacobian`.
      shared: the leaves that are balanced; the others get their own task's gradient.

    Returns:
      A gradient transformation; see `mtl.weightings`.

    Raises:
      InputError: an argument is out of range.

    Departures from the paper: the forms with n > 1 parts of a batch (n T backward passes) and NTKMTL-SR
    are not included; the authors' code also multiplies by T and clips the shared gradient to norm 1.
    """
    check_num_tasks(num_tasks, required=False)
    if known_false(exponent >= 0):
        raise InputError(f"exponent is {exponent!r}, expected a number ≥ 0")

    def solve(gramian):
        squares = jnp.diagonal(gramian)
        live = squares > 0
        share = jnp.sum(squares) / jnp.where(live, squares, 1.0)
        weights = jnp.where(live, share**exponent, 0.0)
        return (jnp.where(jnp.all(jnp.isfinite(gramian)), weights, jnp.nan),)

    return gramian_weighting(solve, num_tasks, shared=shared, tap=tap, certified=False)
