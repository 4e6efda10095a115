"""The one model: encoder, extractor, towers and transfer in sequence."""

from collections.abc import Callable

import flax.linen as nn

from mtl.layers import Encoder
from mtl.types import Array, Batch


class MultiTaskModel(nn.Module):
    """A multi-task network, `transfer(towers(extractor(encoder(batch))))`.

    Parameters live under `encoder`, `extractor`, `towers` and `transfer`. Where the parts are stacked,
    the leading axis of a parameter tells tasks or experts apart.

    Attributes:
      encoder: raw columns → `x [B, D]`.
      extractor: `(x, train=) → [T, B, H]`; its method `common`, where it has one, `→ [B, H]`.
      towers: `[T, B, H]` or `[B, H] → [T, B, H']`.
      transfer: `[T, B, H'] → [T, B, K_max]`.
    """

    encoder: Encoder
    extractor: Callable[..., Array]
    towers: Callable[..., Array]
    transfer: Callable[..., Array]

    def __call__(self, batch: Batch, *, train: bool = False, rows: Array | None = None) -> Array:
        """Computes all tasks' outputs.

        Args:
          batch: `ids [B, C]` and `numeric [B, F]` are read; labels and mask are not.
          train: whether dropout is on; a gate with dropout then needs the `dropout` RNG stream.
          rows: rows gathered beforehand (see `mtl.layers.gather`), to skip the look-up;
            `params["encoder"]["tables"]` is then not needed.

        Returns:
          `[T, B, K_max]` float32: logits or, for regression, values; task t uses the first K_t outputs,
          the others are 0.
        """
        x = self.encoder(batch["ids"], batch["numeric"], rows=rows)
        # One copy of features that all tasks get alike makes a training step 2 to 5 times as fast.
        extract = getattr(self.extractor, "common", self.extractor)
        return self.transfer(self.towers(extract(x, train=train)))
