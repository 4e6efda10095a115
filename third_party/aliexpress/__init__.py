"""AliExpress search: the columns, the raw files and the TFDS builder (import `builder` for it).

The builder is not imported here, so that the facts can be read without loading TFDS.
"""

from third_party.aliexpress.columns import CATEGORICAL, COUNTRIES, LABELS, NUMERIC
from third_party.aliexpress.raw import (
    CITATION,
    FOLDER,
    HOMEPAGE,
    LICENCE,
    PARTS,
    SAMPLE_FILES,
    SAMPLE_FOLDER,
    VERSION,
    check_header,
    find,
    find_sample,
    read_rows,
)

__all__ = [
    "CATEGORICAL",
    "CITATION",
    "COUNTRIES",
    "FOLDER",
    "HOMEPAGE",
    "LABELS",
    "LICENCE",
    "NUMERIC",
    "PARTS",
    "SAMPLE_FILES",
    "SAMPLE_FOLDER",
    "VERSION",
    "check_header",
    "find",
    "find_sample",
    "read_rows",
]
