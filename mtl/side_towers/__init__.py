"""Side towers: what is added to the outputs beside the main path, `(x, ids, numeric, rows) → [T, B, K_max]`.

An entry of `SIDE_TOWERS` is a function `(schema, dtype, …) -> module` that checks whether the schema suits
the tower; its further arguments, all with defaults, can be set in a model's spec. The module is called with
`(x [B, D], ids [B, C], numeric [B, F], rows [B, C, E], train=)`: the encoder's features, the raw columns and
the embeddings of the ids, which it shares with the encoder. Where tasks have embeddings of their own,
`[T, B, C, E]`, a tower has parameters of their own too. A loss that a tower adds in training it sows in
`penalties`, one number per task.
"""

from collections.abc import Callable
from typing import Any

from mtl.side_towers.channels import channels
from mtl.side_towers.domain import domain
from mtl.side_towers.match import match
from mtl.side_towers.refer import refer, rui

SIDE_TOWERS: dict[str, Callable[..., Any] | None] = {
    "none": None,
    "domain": domain,
    "match": match,
    "channels": channels,
    "refer": refer,
    "rui": rui,
}

__all__ = ["SIDE_TOWERS", "channels", "domain", "match", "refer", "rui"]
