"""Privileged-feature distillation: a student learns from a teacher that sees what serving lacks.

Reference: C. Xu et al., "Privileged Features Distillation at Taobao Recommendations", KDD 2020.
"""

import jax

from mtl.tasks.losses.cross_entropy import binary_loss
from mtl.types import Array


def distillation_loss(outputs: Array, labels: Array, teacher: Array, *, weight: float) -> Array:
    """(1 − λ) CE(y, z) + λ CE(σ(z_teacher), z); no gradient reaches the teacher.

    The cross-entropy is linear in its label, so this is CE((1 − λ) y + λ σ(z_teacher), z):
    `mtl.data.with_teacher` puts that label into a data set.

    Args:
      outputs: the student's logits `[…, 1]`.
      labels: `[…]` in {0, 1}.
      teacher: the teacher's logits `[…]`.
      weight: λ in [0, 1].

    Returns:
      `[…]` in nats.
    """
    taught = jax.nn.sigmoid(jax.lax.stop_gradient(teacher))
    return binary_loss(outputs, (1.0 - weight) * labels + weight * taught)
