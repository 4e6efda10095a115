"""The one model: encoder, extractor, towers and transfer in sequence."""

from collections.abc import Callable

import flax.linen as nn

from mtl.types import Array, Batch


class MultiTaskModel(nn.Module):
    """A multi-task network, `transfer(towers(extractor(encoder(batch))))`.

    Parameters live under `encoder`, `extractor`, `towers` and `transfer`. Where the parts are stacked,
    the leading axis of a parameter tells tasks or experts apart.

    Attributes:
      encoder: `(ids, numeric, rows=)`, raw columns → `x [B, D]`, or `[T, B, D]` where each task has its own.
      extractor: `(x, train=) → [T, B, H]`; its method `common`, where it has one, `→ [B, H]`.
      towers: `[T, B, H]` or `[B, H] → [T, B, H']`.
      transfer: `[T, B, H'] → [T, B, K_max]`.
      encoder_dropout: share of the encoder's features that training sets to 0; the others grow to make up.
      tower_dropout: likewise of the towers' outputs.
    """

    encoder: Callable[..., Array]
    extractor: Callable[..., Array]
    towers: Callable[..., Array]
    transfer: Callable[..., Array]
    encoder_dropout: float = 0.0
    tower_dropout: float = 0.0

    @nn.compact
    def __call__(self, batch: Batch, *, train: bool = False, rows: Array | None = None) -> Array:
        """Computes all tasks' outputs.

        Args:
          batch: `ids [B, C]` and `numeric [B, F]` are read; labels and mask are not.
          train: whether dropout is on; a model with dropout then needs the `dropout` RNG stream.
          rows: rows gathered beforehand (see `mtl.layers.gather`), to skip the look-up;
            `params["encoder"]["tables"]` is then not needed.

        Returns:
          `[T, B, K_max]` float32: logits or, for regression, values; task t uses the first K_t outputs,
          the others are 0.
        """
        x = self.encoder(batch["ids"], batch["numeric"], rows=rows)
        x = nn.Dropout(self.encoder_dropout)(x, deterministic=not train)
        # One copy of features that all tasks get alike makes a training step 2 to 5 times as fast.
        extract = getattr(self.extractor, "common", self.extractor)
        h = self.towers(extract(x, train=train))
        return self.transfer(nn.Dropout(self.tower_dropout)(h, deterministic=not train))
