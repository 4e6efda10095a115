"""Side towers: what is added to the outputs beside the main path, `(x, ids, rows) → [T, B, K_max]`.

An entry of `SIDE_TOWERS` is a function `(schema, dtype, …) -> module` that checks whether the schema suits
the tower; its further arguments, all with defaults, can be set in a model's spec. The module is called with
`(x [B, D], ids [B, C], rows [B, C, E], train=)`: the encoder's features, the raw ids and their embeddings,
which it shares with the encoder.
"""

from collections.abc import Callable
from typing import Any

from mtl.side_towers.domain import domain

SIDE_TOWERS: dict[str, Callable[..., Any] | None] = {
    "none": None,
    "domain": domain,
}

__all__ = ["SIDE_TOWERS", "domain"]
