"""The relation units of DBMTL: hidden layers along the edges of the task graph."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike

from mtl.layers.stacked_dense import RELU_GAIN, stacked_init, stacked_matmul
from mtl.tasks import topological_order
from mtl.types import Array


def relation_groups(parents: Sequence[Sequence[int]]) -> list[list[int]]:
    """Splits the tasks into groups that can be computed together, parents' groups first.

    Args:
      parents: positions of each task's parents.

    Returns:
      Lists of tasks that have the same depth in the graph and the same number of parents.

    Raises:
      InputError: the graph has a cycle.
    """
    depth: dict[int, int] = {}
    groups: dict[tuple[int, int], list[int]] = {}
    for t in topological_order(parents):
        depth[t] = max((depth[p] + 1 for p in parents[t]), default=0)
        groups.setdefault((depth[t], len(parents[t])), []).append(t)
    return [groups[key] for key in sorted(groups)]


class RelationUnits(nn.Module):
    """Relation vectors along the task graph, `r_t = MLP_t([h_t ; r_j for j in parents(t)])`.

    Parents contribute their relation vectors, neither their towers' outputs nor their probabilities.
    The MLPs have a ReLU after every layer. The first layer's kernel is kept in two parts, `own_kernel
    [T, H, R]` and `parent_kernel [T, P, R', R]` (P the largest number of parents), so that all
    parameters have a leading task axis; slots beyond a task's own parents are never read. Both parts
    start at the fan-in of the concatenation, H + R'·|parents(t)|.

    Reference: Wang et al., Deep Bayesian Multi-Target Learning for Recommender Systems, 2019,
    https://arxiv.org/abs/1902.09154; the form of the unit follows EasyRec's `dbmtl.py`.

    Attributes:
      parents: positions of each task's parents, any acyclic graph.
      features: units of each layer of an MLP; the last is the relation vector's size R'.
      stop_gradient: whether a task's loss is kept from its parents' relation vectors.
      dtype: dtype of the computation; parameters are float32.
    """

    parents: tuple[tuple[int, ...], ...]
    features: tuple[int, ...]
    stop_gradient: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, h: Array) -> Array:
        """Computes the relation vectors.

        Args:
          h: `[T, B, H]`, the towers' outputs.

        Returns:
          `[T, B, features[-1]]` in `dtype`.

        Raises:
          InputError: the graph has a cycle.
        """
        num_tasks, _, width = h.shape
        fan_in = width + self.features[-1] * np.array([len(p) for p in self.parents], np.float32)
        most_parents = max(len(p) for p in self.parents)
        first, size = self.features[0], self.features[-1]

        own_kernel = self._kernel("own_kernel", _rescaled(1, width / fan_in), (num_tasks, width, first))
        if most_parents:
            shape = (num_tasks, most_parents, size, first)
            parent_kernel = self._kernel("parent_kernel", _rescaled(2, size / fan_in), shape)
        biases = [
            self._kernel(f"bias{i}", nn.initializers.zeros, (num_tasks, units))
            for i, units in enumerate(self.features)
        ]
        kernels = [
            self._kernel(f"kernel{i}", stacked_init(1, RELU_GAIN), (num_tasks, *shape))
            for i, shape in enumerate(zip(self.features[:-1], self.features[1:], strict=True), 1)
        ]

        own = stacked_matmul(h.astype(self.dtype), own_kernel)
        relation: dict[int, Array] = {}
        for group in relation_groups(self.parents):
            tasks = np.array(group)
            z = own[tasks]
            if num_parents := len(self.parents[group[0]]):
                inputs = jnp.stack([relation[p] for t in group for p in self.parents[t]])
                if self.stop_gradient:
                    inputs = jax.lax.stop_gradient(inputs)
                inputs = inputs.reshape(len(group), num_parents, *inputs.shape[1:])
                z = z + jnp.einsum("tpbi,tpio->tbo", inputs, parent_kernel[tasks, :num_parents])
            r = nn.relu(z + biases[0][tasks, None])
            for kernel, bias in zip(kernels, biases[1:], strict=True):
                r = nn.relu(stacked_matmul(r, kernel[tasks]) + bias[tasks, None])
            relation.update(zip(group, r, strict=True))
        return jnp.stack([relation[t] for t in range(num_tasks)])

    def _kernel(self, name: str, init: Initializer, shape: tuple[int, ...]) -> Array:
        return self.param(name, init, shape, jnp.float32).astype(self.dtype)


def _rescaled(num_stack_axes: int, share: np.ndarray) -> Initializer:
    """Initialises part of a concatenated kernel: `share [T]` is its share of the whole fan-in."""
    part = stacked_init(num_stack_axes, RELU_GAIN)

    def init(key: Array, shape: Sequence[Any], dtype: Any = jnp.float32, out_sharding: Any = None) -> Array:
        scale = np.sqrt(share).reshape(-1, *(1,) * (len(shape) - 1))
        return part(key, shape, dtype, out_sharding) * scale.astype(dtype)

    return init
