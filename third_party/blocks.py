"""Tables as records of TFDS, a block of rows each.

TFDS spends about 75 µs on a record, however small: a row per record would take 100 minutes for a set of 80
million rows. A record of thousands of rows costs as much as one of a single row.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow_datasets as tfds

ROWS_PER_BLOCK = 8192


def features(schema: pa.Schema) -> tfds.features.FeaturesDict:
    """Returns the features of a block: one per column, `[rows]`, or `[rows, k]` for a list of k numbers."""
    return tfds.features.FeaturesDict({field.name: _feature(field.type) for field in schema})


def blocks(batches: Iterable[pa.RecordBatch | pa.Table]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Cuts tables into the numbered records of a part.

    Args:
      batches: the part's rows; columns without nulls.

    Yields:
      Number and columns of each block.
    """
    number = 0
    for batch in batches:
        for start in range(0, batch.num_rows, ROWS_PER_BLOCK):
            rows = batch.slice(start, ROWS_PER_BLOCK)
            yield number, {name: _array(rows.column(name)) for name in rows.schema.names}
            number += 1


def _feature(kind: pa.DataType) -> tfds.features.Tensor:
    if pa.types.is_fixed_size_list(kind):
        return tfds.features.Tensor(shape=(None, kind.list_size), dtype=kind.value_type.to_pandas_dtype())
    dtype = np.str_ if pa.types.is_string(kind) else kind.to_pandas_dtype()
    return tfds.features.Tensor(shape=(None,), dtype=dtype)


def _array(column: Any) -> np.ndarray:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_fixed_size_list(column.type):
        return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size)
    return column.to_numpy(zero_copy_only=False)
