"""The table of embeddings inside a model, for steps that train the batch's rows alone."""

from typing import NamedTuple

from mtl.layers import Encoder, fused_ids
from mtl.models.model import MultiTaskModel
from mtl.types import Array


class FusedTable(NamedTuple):
    """Where a model keeps its embeddings.

    Attributes:
      path: of the parameter `[…, V, E]`.
      vocab_sizes: sizes of the C columns' vocabularies.
      owners: see `mtl.layers.fused_ids`.
      num_rows: V.
    """

    path: tuple[str, ...]
    vocab_sizes: tuple[int, ...]
    owners: tuple[int, ...]
    num_rows: int

    def rows(self, ids: Array) -> Array:
        """The rows of the table that columns' ids `[…, C]` mean."""
        return fused_ids(ids, self.vocab_sizes, self.owners)


def fused_table(model: MultiTaskModel) -> FusedTable | None:
    """Finds a model's table of embeddings.

    Args:
      model: the model.

    Returns:
      The table; None for a model without embeddings.
    """
    path: tuple[str, ...] = ("encoder", "tables")
    encoder = model.encoder
    if not isinstance(encoder, Encoder):
        encoder, path = getattr(encoder, "tables", None), (*path, "tables")
    if not isinstance(encoder, Encoder) or not encoder.vocab_sizes:
        return None
    owners = encoder.owners or tuple(range(len(encoder.vocab_sizes)))
    own = (size for c, size in enumerate(encoder.vocab_sizes) if owners[c] == c)
    return FusedTable(path, encoder.vocab_sizes, owners, sum(own))
