"""Census-Income (KDD): the columns, the raw files and the TFDS builder (import `builder` for it).

The builder is not imported here, so that the facts can be read without loading TFDS.
"""

from third_party.census_income_kdd.columns import CATEGORICAL, COLUMNS, NUMERIC
from third_party.census_income_kdd.raw import (
    CITATION,
    FILES,
    HOMEPAGE,
    LICENCE,
    URL,
    VERSION,
    RawFile,
    fetch,
    find,
    rows,
    sha256,
)

__all__ = [
    "CATEGORICAL",
    "CITATION",
    "COLUMNS",
    "FILES",
    "HOMEPAGE",
    "LICENCE",
    "NUMERIC",
    "URL",
    "VERSION",
    "RawFile",
    "fetch",
    "find",
    "rows",
    "sha256",
]
