"""Cascade: the output of one stage is half of the next one's (NMTR)."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.nn import initializers

from mtl.layers import Heads
from mtl.tasks import topological_order
from mtl.types import Array


class Cascade(nn.Module):
    """Logits that accumulate along the stages, `o_t = ½ (h_t W_t + mean_p o_p) + b_t`, p the binary parents.

    A task without binary parents, or of another kind, has `o_t = h_t W_t + b_t`. With the encoder `ncf`,
    which gives the interaction of user and item (GMF, MLP or NeuMF), this is NMTR.

    Reference: Gao et al., Neural Multi-Task Recommendation from Multi-Behavior Data, ICDE 2019,
      https://arxiv.org/abs/1809.08161.

    Departures: the paper's stages are a chain; with several parents the mean of their logits enters.

    Attributes:
      num_outputs: K_t of each task.
      parents: positions of each task's parents.
      kinds: each task's kind.
    """

    num_outputs: tuple[int, ...]
    parents: tuple[tuple[int, ...], ...]
    kinds: tuple[str, ...]

    @nn.compact
    def __call__(self, h: Array, *, train: bool = False) -> Array:
        """Computes the outputs.

        Args:
          h: `[T, B, H]`, the towers' outputs.
          train: not read.

        Returns:
          `[T, B, K_max]` float32; task t uses the first K_t, the others are 0.
        """
        heads = Heads(self.num_outputs, use_bias=False, name="heads")(h)
        widest = max(self.num_outputs)
        bias = self.param("bias", initializers.zeros, (len(self.parents), widest), jnp.float32)
        outputs: dict[int, Array] = {}
        for t in topological_order(self.parents):
            above = [p for p in self.parents[t] if self.kinds[p] == self.kinds[t] == "binary"]
            output = heads[t]
            if above:
                output = 0.5 * (output + jnp.mean(jnp.stack([outputs[p] for p in above]), axis=0))
            outputs[t] = output + jnp.where(np.arange(widest) < self.num_outputs[t], bias[t], 0.0)
        return jnp.stack([outputs[t] for t in range(len(self.parents))])
