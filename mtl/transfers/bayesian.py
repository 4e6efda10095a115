"""Bayesian: tasks feed one another along the edges of the task graph (DBMTL)."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.layers import Heads, RelationUnits
from mtl.types import Array


class Bayesian(nn.Module):
    """Outputs from relation vectors, `r_t = MLP_t([h_t ; r_j, j in parents(t)])`, `o_t = r_t W_t + b_t`.

    The joint density is Π_t P(y_t | y_parents(t), x), and its negative log-likelihood the sum of the
    tasks' losses. Without parents a task keeps its relation unit, one more private layer.

    Reference: Wang et al., Deep Bayesian Multi-Target Learning for Recommender Systems, 2019,
    https://arxiv.org/abs/1902.09154. As in EasyRec's `dbmtl.py` the relation vector is as wide as the
    last layer of the tower in its example, and gradients flow to parents by default.

    Attributes:
      parents: positions of each task's parents, any acyclic graph.
      num_outputs: K_t of each task.
      relation_features: units of each layer of a relation unit.
      stop_gradient: whether a task's loss is kept from its parents' relation vectors.
      dtype: dtype of the relation units; heads are computed in float32.
    """

    parents: tuple[tuple[int, ...], ...]
    num_outputs: tuple[int, ...]
    relation_features: tuple[int, ...] = (8,)
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

        Raises:
          InputError: the graph has a cycle.
        """
        relations = RelationUnits(
            self.parents, self.relation_features, self.stop_gradient, self.dtype, name="relations"
        )
        return Heads(self.num_outputs, name="heads")(relations(h))
