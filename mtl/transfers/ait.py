"""AIT: adaptive information transfer, attention over a task's tower and what its parents pass on (AITM)."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.layers import RELU_GAIN, Heads, stacked_init
from mtl.tasks import topological_order
from mtl.types import Array, widened


class AIT(nn.Module):
    """Attention over a task's tower and its parents' features, along the task graph.

        p_j = g_t(z_j), j in parents(t),   q = h_t,   g_t one ReLU layer
        z_t = Σ_{u in {p_j, q}} w_u V_t u,   w = softmax_u(⟨K_t u, Q_t u⟩ / √H),   o_t = z_t W_t + b_t

    A task without parents has z_t = h_t. In training a calibrator is added to the losses, which punishes an
    event that is predicted oftener than one that it implies:

        L_t ← L_t + α Σ_{r required by t} mean_b max(σ(o_t) − σ(o_r), 0)

    Reference: Xi et al., Modeling the Sequential Dependence among Audience Multi-step Conversions with
      Multi-task Learning in Targeted Display Advertising, KDD 2021, https://arxiv.org/abs/2105.08489.

    Departures: any acyclic graph, not only a chain; the paper adds the calibrator to the sum of the losses,
    which is the same for equal weights.

    Attributes:
      num_outputs: K_t of each task.
      parents: positions of each task's parents.
      requires: positions of all tasks whose events each task's event implies.
      calibration: α, 0.6 in the paper.
      dtype: dtype of the attention; heads are computed in float32.
    """

    num_outputs: tuple[int, ...]
    parents: tuple[tuple[int, ...], ...]
    requires: tuple[tuple[int, ...], ...]
    calibration: float = 0.6
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, h: Array, *, train: bool = False) -> Array:
        """Computes the outputs.

        Args:
          h: `[T, B, H]`, the towers' outputs.
          train: whether the calibrator is sown in `penalties`.

        Returns:
          `[T, B, K_max]` float32; task t uses the first K_t, the others are 0.
        """
        outputs = Heads(self.num_outputs, name="heads")(self._transferred(h.astype(self.dtype)))
        if train and self.calibration and any(self.requires):
            chance = jax.nn.sigmoid(outputs[..., 0])
            excess = [
                sum((jnp.mean(nn.relu(chance[t] - chance[r])) for r in found), start=jnp.zeros(()))
                for t, found in enumerate(self.requires)
            ]
            self.sow("penalties", "calibrator", self.calibration * jnp.stack(excess))
        return outputs

    def _transferred(self, h: Array) -> Array:
        """The features z `[T, B, H]`."""
        num_tasks, _, width = h.shape
        if not any(self.parents):
            return h
        shape = (num_tasks, width, width)
        kernels = {
            name: self.param(f"{name}_kernel", stacked_init(1, gain), shape, jnp.float32).astype(self.dtype)
            for name, gain in (("pass", RELU_GAIN), ("value", 1.0), ("key", 1.0), ("query", 1.0))
        }
        bias = self.param("pass_bias", nn.initializers.zeros, (num_tasks, width), jnp.float32)
        features: dict[int, Array] = {}
        for t in topological_order(self.parents):
            if not self.parents[t]:
                features[t] = h[t]
                continue
            above = jnp.stack([features[p] for p in self.parents[t]])
            passed = nn.relu(above @ kernels["pass"][t] + bias[t].astype(self.dtype))
            units = jnp.concatenate([passed, h[t][None]])
            key, query, value = (units @ kernels[name][t] for name in ("key", "query", "value"))
            score = widened(jnp.sum(key * query, axis=-1)) / math.sqrt(width)
            weights = jax.nn.softmax(score, axis=0).astype(self.dtype)
            features[t] = jnp.sum(weights[..., None] * value, axis=0)
        return jnp.stack([features[t] for t in range(num_tasks)])
