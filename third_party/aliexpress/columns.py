"""The columns of AliExpress's search logs, in file order."""

import pyarrow as pa

CATEGORICAL = tuple(f"categorical_{i}" for i in range(1, 17))
NUMERIC = tuple(f"numerical_{i}" for i in range(1, 64))
LABELS = ("click", "conversion")
COUNTRIES = ("ES", "FR", "NL", "RU", "US")
"""Countries of the published set."""

COLUMNS = {
    "search_id": pa.string(),
    **dict.fromkeys(CATEGORICAL, pa.int32()),
    **dict.fromkeys(NUMERIC, pa.float32()),
    **dict.fromkeys(LABELS, pa.float32()),
}
