"""The auxiliary network of STAR: a logit from the scenario."""

from typing import TYPE_CHECKING

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.errors import InputError
from mtl.layers import Heads, StackedMLP
from mtl.types import Array

if TYPE_CHECKING:  # Only for the annotation: models run without the data sets' dependencies.
    from mtl.data import Schema


def domain(schema: "Schema", dtype: DTypeLike, auxiliary_features: tuple[int, ...] = (8,)) -> nn.Module:
    """Makes a network of scenario and features for every task, whose output is added to the logit.

        o_t = s_main + s_aux,   s_aux = MLP_t([e_domain ; x])

    The scenario indicator thus reaches the prediction on a short path of its own.

    Args:
      schema: the columns, one of them with the role `domain`.
      dtype: dtype of the hidden layers.
      auxiliary_features: units of each hidden layer.

    Returns:
      The module.

    Raises:
      InputError: the data set has no scenarios.

    Reference: Sheng et al., One Model to Serve All: Star Topology Adaptive Recommender for Multi-Domain CTR
      Prediction, CIKM 2021, https://arxiv.org/abs/2101.11427, the auxiliary network.
    """
    columns = [c for c, column in enumerate(schema.id_columns) if column.role == "domain"]
    if not columns or schema.id_columns[columns[0]].vocab_size < 2:
        raise InputError(
            "side_tower 'domain' reads scenarios, but the data set has no id column with role 'domain'; "
            "use side_tower='none'"
        )
    outputs = tuple(task.num_outputs for task in schema.tasks)
    return DomainTower(columns[0], outputs, auxiliary_features, dtype)


class DomainTower(nn.Module):
    """See `domain`.

    Attributes:
      column: position of the scenario among the id columns.
      num_outputs: K_t of each task.
      features: units of each hidden layer.
      dtype: dtype of the hidden layers; parameters are float32.
    """

    column: int
    num_outputs: tuple[int, ...]
    features: tuple[int, ...]
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, ids: Array, numeric: Array, rows: Array, *, train: bool = False) -> Array:
        """Computes what is added.

        Args:
          x: `[B, D]`, or `[T, B, D]` where each task has its own encoder.
          ids: `[B, C]`, not read.
          numeric: not read.
          rows: embeddings `[B, C, E]` or `[T, B, C, E]`.
          train: not read.

        Returns:
          `[T, B, K_max]` float32.
        """
        inputs = jnp.concatenate([rows[..., self.column, :].astype(self.dtype), x], axis=-1)
        hidden = StackedMLP((len(self.num_outputs),), self.features, self.dtype, name="mlp")(inputs)
        return Heads(self.num_outputs, name="heads")(hidden)
