"""Feed output: what one task predicts is an input of the next."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from mtl.layers import RELU_GAIN, stacked_init
from mtl.tasks import topological_order
from mtl.types import Array, widened


class FeedOutput(nn.Module):
    """Predictions of the parents enter one more layer, in front of each task's outputs.

        r_t = ReLU(h_t A_t + Σ_{p in parents(t)} s_p C_tp + a_t),   o_t = r_t W_t + b_t

    s_p is what parent p predicts: the probability of a binary task, the probabilities of a multiclass task,
    the value of a regression task. `bayesian` passes hidden vectors on instead.

    Attributes:
      num_outputs: K_t of each task.
      parents: positions of each task's parents, any acyclic graph.
      kinds: each task's kind.
      features: units of the layer.
      stop_gradient: whether a task's loss is kept from its parents' predictions.
      dtype: dtype of the layer; heads are computed in float32.
    """

    num_outputs: tuple[int, ...]
    parents: tuple[tuple[int, ...], ...]
    kinds: tuple[str, ...]
    features: int = 8
    stop_gradient: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, h: Array, *, train: bool = False) -> Array:
        """Computes the outputs.

        Args:
          h: `[T, B, H]`, the towers' outputs.
          train: not read.

        Returns:
          `[T, B, K_max]` float32; task t uses the first K_t, the others are 0.
        """
        num_tasks, _, width = h.shape
        widest, most = max(self.num_outputs), max(len(p) for p in self.parents)
        own = self._param("own_kernel", stacked_init(1, RELU_GAIN), (num_tasks, width, self.features))
        bias = self._param("bias", nn.initializers.zeros, (num_tasks, self.features))
        if most:
            shape = (num_tasks, most, widest, self.features)
            fed = self._param("parent_kernel", stacked_init(2, RELU_GAIN), shape)
        head = self.param("head_kernel", stacked_init(1), (num_tasks, self.features, widest), jnp.float32)
        head_bias = self.param("head_bias", nn.initializers.zeros, (num_tasks, widest), jnp.float32)
        outputs: dict[int, Array] = {}
        for t in topological_order(self.parents):
            z = h[t].astype(self.dtype) @ own[t] + bias[t]
            for slot, p in enumerate(self.parents[t]):
                prediction = self._prediction(p, outputs[p]).astype(self.dtype)
                z = z + prediction @ fed[t, slot, : self.num_outputs[p]]
            used = np.arange(widest) < self.num_outputs[t]
            outputs[t] = jnp.where(used, widened(nn.relu(z)) @ head[t] + head_bias[t], 0.0)
        return jnp.stack([outputs[t] for t in range(num_tasks)])

    def _prediction(self, task: int, output: Array) -> Array:
        used = output[:, : self.num_outputs[task]]
        if self.stop_gradient:
            used = jax.lax.stop_gradient(used)
        if self.kinds[task] == "regression":
            return used
        return nn.softmax(used) if self.kinds[task] == "multiclass" else nn.sigmoid(used)

    def _param(self, name: str, init: nn.initializers.Initializer, shape: tuple[int, ...]) -> Array:
        return self.param(name, init, shape, jnp.float32).astype(self.dtype)
