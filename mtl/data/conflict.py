"""Quadratic tasks that conflict by a chosen angle and scale, with a Pareto set in closed form."""

import math
from typing import NamedTuple

import jax.numpy as jnp

from mtl.data import arguments
from mtl.errors import InputError
from mtl.types import Array


class ConflictProblem(NamedTuple):
    """T quadratics L_i(θ) = ½ s_i ‖θ − c_i‖².

    Their Pareto set is the convex hull of the centres.

    Attributes:
      start: θ_0 [D], where optimisation begins.
      centres: c [T, D], the minimiser of each loss.
      scales: s [T], all positive.
    """

    start: Array
    centres: Array
    scales: Array

    def loss_fn(self, params: Array) -> Array:
        """Returns the losses [T] at θ = `params` [D]; the gradient of loss i is s_i (θ − c_i)."""
        return 0.5 * self.scales * jnp.sum((params - self.centres) ** 2, axis=-1)

    def pareto_point(self, preference: Array) -> Array:
        """Returns the minimiser of Σ p_i L_i, which is θ(p) = Σ p_i s_i c_i / Σ p_i s_i.

        Args:
          preference: p [T], non-negative and not all zero.

        Returns:
          θ(p) [D]. Over all p these points are the Pareto set.
        """
        weights = jnp.asarray(preference) * self.scales
        return weights @ self.centres / jnp.sum(weights)

    def distance_to_pareto_set(self, params: Array) -> Array:
        """Returns the Euclidean distance [] of θ = `params` [D] to the Pareto set.

        For T = 2 that set is the segment between the centres. More tasks would need the projection
        onto a polytope and are not offered.

        Raises:
          InputError: the problem does not have two tasks.
        """
        if self.centres.shape[0] != 2:
            raise InputError(
                f"distance_to_pareto_set needs T = 2 tasks, this problem has {self.centres.shape[0]}"
            )
        first, second = self.centres
        along = second - first
        length = jnp.sum(along**2)
        # Equal centres: the segment is a point and every position on it is the same.
        position = jnp.sum((params - first) * along) / jnp.where(length > 0, length, 1.0)
        nearest = first + jnp.clip(position, 0.0, 1.0) * along
        return jnp.sqrt(jnp.sum((params - nearest) ** 2))


def conflict_quadratics(
    angle_degrees: float, scale_ratio: float = 1.0, distance: float = 1.0, dim: int = 2
) -> ConflictProblem:
    """Makes two quadratics whose gradients at the start have a chosen angle and ratio of lengths.

    The start is the origin; c_1 = r (1, 0, …), c_2 = r (cos φ, sin φ, 0, …), s = (1, ratio), so that
    the gradients there are −s_i c_i. At 180° the start lies between the centres, hence in the Pareto
    set: opposite gradients leave no direction in which both losses fall.

    Args:
      angle_degrees: φ in [0, 180], between the two gradients at the start.
      scale_ratio: ‖∇L_2‖ / ‖∇L_1‖ at the start, positive.
      distance: r > 0, from the start to each centre.
      dim: D >= 2; the directions beyond the first two do not matter to either loss's conflict.

    Returns:
      The problem, in JAX's default float type.

    Raises:
      InputError: an argument is out of range.
    """
    angle = math.radians(arguments.real("angle_degrees", angle_degrees, 0.0, 180.0))
    for name, value in (("scale_ratio", scale_ratio), ("distance", distance)):
        if arguments.real(name, value, 0.0) == 0.0:
            raise InputError(f"{name} is 0, expected a number > 0")
    dim = arguments.integer("dim", dim, 2)
    rest = [0.0] * (dim - 2)
    return ConflictProblem(
        start=jnp.zeros(dim),
        centres=distance * jnp.array([[1.0, 0.0, *rest], [math.cos(angle), math.sin(angle), *rest]]),
        scales=jnp.array([1.0, scale_ratio]),
    )
