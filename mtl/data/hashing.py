"""Hashes of raw values that are the same on every machine, and ids made of them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtl.data import encode
from third_party.raw_files import hashes

MISSING = np.uint64(0)
"""Stands for a value that is missing; no value has this hash."""


def stable_hashes(values: pa.Array) -> np.ndarray:
    """Hashes values by the UTF-8 bytes of their text, so that 7 and "7" are the same.

    The hash is FNV-1a of 64 bits. Among n distinct values two collide with a probability of about n²/2⁶⁵,
    1 in 370,000 for ten million.

    Args:
      values: text, integers, booleans, dates or a dictionary of these `[N]`; also real numbers if all of
        them are whole, as integers with missing values are often stored.

    Returns:
      Hashes `[N]` uint64; `MISSING` for a null.

    Raises:
      TypeError: the values are of another type.
    """
    if pa.types.is_floating(values.type):
        try:
            values = pc.cast(values, pa.int64())  # refuses what is not whole
        except pa.ArrowInvalid:
            raise TypeError(f"{values.type} values that are not whole, expected text or integers") from None
    if isinstance(values, pa.DictionaryArray):
        coded = values
    else:
        kind = values.type
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        if not (text or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_temporal(kind)):
            raise TypeError(f"{kind} values, expected text or integers")
        coded = values.dictionary_encode()
    if not pa.types.is_string(coded.dictionary.type):
        return _of_codes(coded.indices, stable_hashes(pc.cast(coded.dictionary, pa.string())))
    found = hashes(coded.dictionary) if len(coded.dictionary) else np.zeros(0, np.uint64)
    return _of_codes(coded.indices, np.where(found == MISSING, np.uint64(1), found))


def bucket_ids(hashed: np.ndarray, buckets: int) -> np.ndarray:
    """Maps hashes to a fixed number of ids.

    Args:
      hashed: uint64, of any shape.
      buckets: n ≥ 1.

    Returns:
      Ids int32 in 1 … n; 0 for `MISSING`.
    """
    ids = encode.mixed(hashed) % np.uint64(buckets) + np.uint64(1)
    return np.where(hashed == MISSING, 0, ids.astype(np.int32)).astype(np.int32)


def vocabulary_ids(hashed: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Maps hashes to their places in a vocabulary.

    Args:
      hashed: uint64, of any shape.
      known: rising hashes `[V]`.

    Returns:
      Ids int32 in 1 … V; 0 for `MISSING` and for what is not in the vocabulary.
    """
    ids = encode.to_ids(hashed.reshape(-1), known).reshape(hashed.shape)
    return np.where(hashed == MISSING, 0, ids).astype(np.int32)


def _of_codes(codes: pa.Array, of_each: np.ndarray) -> np.ndarray:
    found = np.full(len(codes), MISSING)
    there = pc.is_valid(codes).to_numpy(zero_copy_only=False)
    found[there] = of_each[codes.drop_null().to_numpy()]
    return found
