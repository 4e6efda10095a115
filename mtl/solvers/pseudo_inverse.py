"""Pseudo-inverse of a cosine matrix with a relative cut-off."""

import jax.numpy as jnp

from mtl.types import Array


def pseudo_inverse(cosine: Array) -> Array:
    """Returns C⁺ of a symmetric positive semi-definite matrix.

    Eigenvalues up to 4 T ε λ_max count as zero, ε being the precision of the dtype: below that, rounding
    of C decides about them.

    Args:
      cosine: C `[T, T]`, finite.

    Returns:
      C⁺ `[T, T]`.
    """
    values, vectors = jnp.linalg.eigh(cosine)
    cut = 4 * cosine.shape[-1] * jnp.finfo(cosine.dtype).eps * jnp.max(values)
    keep = values > cut
    inverse = jnp.where(keep, 1.0 / jnp.where(keep, values, 1.0), 0.0)
    return (vectors * inverse) @ vectors.T
