"""Aligned-MTL: gradients made orthogonal and of equal length, then combined.

Reference:
  D. Senushkin et al., "Independent Component Alignment for Multi-Task Learning", CVPR 2023, eqs. (10)–(12)
  and Algorithm 1.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import optax

from mtl.errors import InputError, unknown_name
from mtl.jacobian import Shared
from mtl.weightings.contract import gramian_weighting, infer_num_tasks, known_false, per_task

SCALES = ("min", "median", "mean")


def aligned_mtl(
    num_tasks: int | None = None,
    *,
    preference: float | Sequence[float] | None = None,
    scale: str = "min",
    tap: bool = False,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Replaces J by the nearest matrix with orthogonal rows of one length σ, and combines its rows by p.

        G = V Λ Vᵀ,    a = σ V Λ^(−½) Vᵀ p,    σ² = λ_min | median λ | mean λ

    Eigenvalues up to T ε λ_max (ε the precision of G's dtype) count as zero and are dropped; σ is taken
    over the others. a jumps where an eigenvalue crosses that line. With all gradients zero a = p. Cost:
    T backward passes; with a tap T through the heads and one full.

    Args:
      num_tasks: T; needed inside `scan` unless `preference` tells it.
      preference: p, one number or T; None for 1/T. The authors' code has p = 1.
      scale: σ² above; `mean` is the authors' "rmse", `median` the lower of the two middle ones.
      tap: read the gradients at the tap of `task_jacobian`.
      shared: the leaves that are balanced; the others get their own task's gradient.

    Returns:
      A gradient transformation; see `mtl.weightings`.

    Raises:
      InputError: an argument is out of range.
    """
    num_tasks = infer_num_tasks(num_tasks, preference)
    if scale not in SCALES:
        raise unknown_name("Aligned-MTL scale", scale, SCALES)

    def preferred(size):
        p = per_task("preference", 1.0 / size if preference is None else preference, size)
        if known_false((p >= 0).all()):
            raise InputError(f"preference is {preference!r}, expected numbers ≥ 0")
        return jnp.asarray(p, jnp.float32)

    preferred(num_tasks or 1)

    def solve(gramian):
        size = len(gramian)
        p = preferred(size).astype(gramian.dtype)
        finite = jnp.all(jnp.isfinite(gramian))
        top = jnp.max(jnp.diagonal(gramian))
        # G in units of its largest entry; σ Λ^(−½) does not depend on the unit.
        unit = jnp.where(finite & (top > 0), top, 1.0)
        safe = jnp.where(finite, gramian / unit, jnp.eye(size, dtype=gramian.dtype))
        values, vectors = jnp.linalg.eigh(safe)  # ascending
        keep = values > jnp.max(values) * size * jnp.finfo(gramian.dtype).eps
        rank = jnp.sum(keep)
        if scale == "mean":
            level = jnp.sum(jnp.where(keep, values, 0.0)) / jnp.maximum(rank, 1)
        else:
            middle = 0 if scale == "min" else (jnp.maximum(rank, 1) - 1) // 2
            level = values[jnp.minimum(size - rank + middle, size - 1)]
        factor = jnp.where(keep, jnp.sqrt(level / jnp.where(keep, values, 1.0)), 0.0)
        weights = jnp.where(rank > 0, vectors @ (factor * (vectors.T @ p)), p)
        return (jnp.where(finite, weights, jnp.nan),)

    return gramian_weighting(solve, num_tasks, shared=shared, tap=tap, certified=False)
