"""Two objectives of two parameters with flat stretches, a cliff and a curved Pareto front in closed form.

    f1 = log max(|½(−x1 − 7) − tanh(−x2)|, 5e−6) + 6       g1 = ((7 − x1)² + 0.1 (x2 + 8)²) / 10 − 20
    f2 = log max(|½(−x1 + 3) + tanh(−x2) + 2|, 5e−6) + 6   g2 = ((7 + x1)² + 0.1 (x2 + 8)²) / 10 − 20
    c1 = max(tanh(x2 / 2), 0),   c2 = max(tanh(−x2 / 2), 0),   L_i = s_i (c1 f_i + c2 g_i)

References:
  B. Liu et al., "Conflict-Averse Gradient Descent for Multi-task Learning", NeurIPS 2021 (CAGrad); s = 1, 1.
  A. Navon et al., "Multi-Task Learning as a Bargaining Game" (Nash-MTL), ICML 2022, App. B; s = 0.1, 1.
  B. Liu et al., "FAMO: Fast Adaptive Multitask Optimization", NeurIPS 2023, whose code has the lower bound.

Departure from a paper: Nash-MTL prints −tanh(−x2) in f2; the code of all three has +. With the printed sign
the start (9, 9) lies in the logarithm's singularity.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from mtl.errors import InputError
from mtl.tasks import Task
from mtl.types import Array

STARTS = ((-8.5, 7.5), (0.0, 0.0), (9.0, 9.0), (-7.5, -0.5), (9.0, -1.0), (-8.5, -5.0))
"""Published starts: the five of Nash-MTL and FAMO, then the one of CAGrad that is not among them."""

LOWER_BOUND = -21.0
"""Of both unscaled losses, with a margin of 1; FAMO's code passes it to its method."""

FLOOR = 5e-6
"""Below it the logarithm is cut off."""

FRONT_POINTS = 2001


@dataclass(frozen=True)
class Toy2D:
    """The problem at one scale of its first loss.

    Its Pareto set is a slightly bent line in the lower half-plane. There L_i = s_i h(x2) g_i with
    h = tanh(−x2 / 2), and the stationary point of a L1 / s_1 + (1 − a) L2 / s_2 has x1 = 7(2a − 1), one for
    every a in [0, 1], and the x2 below −8 at which

        ½ sech²(x2 / 2) (−ḡ) + 0.02 h (x2 + 8) = 0,   ḡ = (49 − x1² + 0.1 (x2 + 8)²) / 10 − 20.

    The left side rises in x2, so there is one root: −8.3552 in the middle, which published plots use for the
    whole set, and −8.4345 at both ends. Nothing else is Pareto-optimal: for x1 outside [−7, 7] the nearer end
    of that interval is better in both losses, and in the upper half-plane no loss is below −6.21 s_i, where a
    point of the set is better in both.

    Attributes:
      scales: s, factors of the two losses.
    """

    scales: tuple[float, float]

    name: ClassVar[str] = "toy2d"
    tasks: ClassVar[tuple[Task, ...]] = (Task("l1", "regression"), Task("l2", "regression"))
    starts: ClassVar[tuple[tuple[float, float], ...]] = STARTS
    box: ClassVar[tuple[tuple[float, float], ...]] = ((-10.0, 10.0), (-10.5, 10.5))
    """Where to look at the problem: ranges of x1 and x2."""

    @property
    def lower_bound(self) -> np.ndarray:
        """Numbers `[2]` that no loss ever reaches."""
        return LOWER_BOUND * np.asarray(self.scales)

    @property
    def provenance(self) -> dict[str, Any]:
        """What `config.json` says of the problem."""
        return {"problem": self.name, "scales": list(self.scales), "starts": [list(s) for s in STARTS]}

    def loss_fn(self, point: Array) -> Array:
        """Returns the losses `[2]` at `point [2]`.

        Where a maximum is cut off exactly, as at x2 = 0, the gradient passes, as in the published code.
        """
        x1, x2 = point
        wave = jnp.tanh(-x2)
        upper = jnp.stack([0.5 * (-x1 - 7) - wave, 0.5 * (-x1 + 3) + wave + 2])
        f = jnp.log(_at_least(jnp.abs(upper), FLOOR)) + 6
        g = (jnp.stack([(7 - x1) ** 2, (7 + x1) ** 2]) + 0.1 * (x2 + 8) ** 2) / 10 - 20
        c1, c2 = _at_least(jnp.tanh(0.5 * x2), 0.0), _at_least(jnp.tanh(-0.5 * x2), 0.0)
        return jnp.asarray(self.scales, f.dtype) * (c1 * f + c2 * g)

    def pareto_set(self, num_points: int = FRONT_POINTS) -> np.ndarray:
        """Returns points `[n, 2]` of the Pareto set, a evenly spaced from 0 (best for l2) to 1, float64."""
        x1 = 7 * (2 * np.linspace(0, 1, num_points) - 1)
        low, high = np.full(num_points, -9.0), np.full(num_points, -8.0)
        for _ in range(60):  # bisection
            x2 = 0.5 * (low + high)
            rising = _slope(x1, x2) > 0
            low, high = np.where(rising, low, x2), np.where(rising, x2, high)
        return np.stack([x1, 0.5 * (low + high)], axis=1)

    def front(self, num_points: int = FRONT_POINTS) -> np.ndarray:
        """Returns the losses `[n, 2]` of `pareto_set`, float64."""
        x1, x2 = self.pareto_set(num_points).T
        g = (np.stack([(7 - x1) ** 2, (7 + x1) ** 2], axis=1) + 0.1 * (x2[:, None] + 8) ** 2) / 10 - 20
        return np.asarray(self.scales) * np.tanh(-0.5 * x2)[:, None] * g

    def place(self, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Finds the nearest point of the front.

        Both losses are divided by their range on the front (from the best value to the worst), so that
        neither the distance nor the place depends on the scales.

        Args:
          losses: `[…, 2]`.

        Returns:
          The Euclidean distance `[…]` to the front, in units of that range, and the place `[…]` of the
          nearest point: the weight a of the class's docstring, 1 at the best l1, 0 at the best l2, ½ halfway.
        """
        front = self.front()
        unit = np.ptp(front, axis=0)
        start, step = front[:-1] / unit, np.diff(front, axis=0) / unit
        offset = np.asarray(losses, np.float64)[..., None, :] / unit - start
        along = np.clip((offset * step).sum(-1) / (step**2).sum(-1), 0, 1)
        distances = np.linalg.norm(offset - along[..., None] * step, axis=-1)
        nearest = distances.argmin(-1)[..., None]
        segment = nearest + np.take_along_axis(along, nearest, -1)
        return np.take_along_axis(distances, nearest, -1)[..., 0], segment[..., 0] / len(step)


def toy2d(scale: float = 0.1) -> Toy2D:
    """Makes the problem.

    Args:
      scale: factor of the first loss: 0.1 as Nash-MTL and FAMO have it, 1 as CAGrad.

    Returns:
      The problem.

    Raises:
      InputError: the scale is not a finite number above 0.
    """
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < np.inf:
        raise InputError(f"scale is {scale!r}, expected a finite number above 0")
    return Toy2D((float(scale), 1.0))


def _at_least(x: Array, low: float) -> Array:
    return jnp.where(x >= low, x, low)


def _slope(x1: np.ndarray, x2: np.ndarray) -> np.ndarray:
    """∂/∂x2 of h ḡ."""
    g = (49 - x1**2 + 0.1 * (x2 + 8) ** 2) / 10 - 20
    return -0.5 * g / np.cosh(0.5 * x2) ** 2 + 0.02 * np.tanh(-0.5 * x2) * (x2 + 8)
