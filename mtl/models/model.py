"""The one model: encoder, extractor, towers and transfer in sequence, with a side tower if wanted."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn

from mtl.layers import gather
from mtl.types import Array, Batch

RUNNING = ("batch_stats",)
"""Collections that training carries from step to step and serving reads."""


class MultiTaskModel(nn.Module):
    """A multi-task network, `transfer(towers(extractor(encoder(batch)))) + side_tower(batch)`.

    Parameters live under `encoder`, `extractor`, `towers`, `transfer` and `side_tower`. Where the parts are
    stacked, the leading axis of a parameter tells tasks or experts apart.

    Attributes:
      encoder: `(ids, numeric, rows=)`, raw columns → `x [B, D]`, or `[T, B, D]` where each task has its own.
      extractor: `(x, train=) → [T, B, H]`; its method `common`, where it has one, `→ [B, H]`. One with a
        field `num_domains` is also given `domain=`, the rows' scenarios `[B]`.
      towers: `[T, B, H]` or `[B, H] → [T, B, H']`.
      transfer: `(h [T, B, H'], train=) → [T, B, K_max]`.
      side_tower: `(x, ids, numeric, rows, train=) → [T, B, K_max]`, what is added to the outputs; None for
        nothing.
      domain_column: position of the scenarios among the id columns; None where there are none.
      encoder_dropout: share of the encoder's features that training sets to 0; the others grow to make up.
      tower_dropout: likewise of the towers' outputs.
    """

    encoder: Any
    extractor: Callable[..., Array]
    towers: Callable[..., Array]
    transfer: Any
    side_tower: Callable[..., Array] | None = None
    domain_column: int | None = None
    encoder_dropout: float = 0.0
    tower_dropout: float = 0.0

    @nn.compact
    def __call__(self, batch: Batch, *, train: bool = False, rows: Array | None = None) -> Array:
        """Computes all tasks' outputs.

        Args:
          batch: `ids [B, C]` and `numeric [B, F]` are read; labels and mask are not. With `positions [B, C]`
            the parameter of embeddings holds the rows `[…, U, E]` of this batch alone, and these say which
            row is whose.
          train: whether dropout is on; a model with dropout then needs the `dropout` RNG stream.
          rows: rows gathered beforehand (see `mtl.layers.gather`), to skip the look-up;
            `params["encoder"]["tables"]` is then not needed.

        Returns:
          `[T, B, K_max]`, float32 or wider: logits or, for regression, values; task t uses the first K_t
          outputs, the others are 0.
        """
        if rows is None and "positions" in batch:
            rows = gather(_tables(self.variables["params"]["encoder"]), batch["positions"])
        elif rows is None and self.side_tower is not None:
            rows = self.encoder.look_up(batch["ids"])
        x = self.encoder(batch["ids"], batch["numeric"], rows=rows)
        x = nn.Dropout(self.encoder_dropout)(x, deterministic=not train)
        # One copy of features that all tasks get alike makes a training step 2 to 5 times as fast; gradients
        # of single tasks are faster from a copy for each, see `tap_mixture`.
        apart = "task_perturbations" in self.variables or self.is_mutable_collection("mixture")
        extract = self.extractor if apart else getattr(self.extractor, "common", self.extractor)
        scenario: dict[str, Any] = {}
        if hasattr(self.extractor, "num_domains"):
            scenario["domain"] = batch["ids"][:, self.domain_column]
        h = self.towers(extract(x, train=train, **scenario))
        outputs = self.transfer(nn.Dropout(self.tower_dropout)(h, deterministic=not train), train=train)
        if self.side_tower is None:
            return outputs
        return outputs + self.side_tower(x, batch["ids"], batch["numeric"], rows, train=train)


def _tables(encoder: Any) -> Array:
    """The embeddings among an encoder's parameters; an encoder may hold them in a module of its own."""
    tables = encoder["tables"]
    return tables["tables"] if isinstance(tables, Mapping) else tables


def initial_variables(model: MultiTaskModel, keys: Any, batch: Batch) -> dict[str, Any]:
    """Draws a model's parameters.

    Args:
      model: the model.
      keys: a key, or keys by stream, as `model.init` takes them.
      batch: rows, of which the shapes matter.

    Returns:
      `params`, and the collections of running statistics where the model has any.
    """
    variables = model.init(keys, batch)
    return {name: variables[name] for name in ("params", *RUNNING) if name in variables}
