"""Ali-CCP: the fields, the raw files and the TFDS builder (import `builder` for it).

The builder is not imported here, so that the facts can be read without loading TFDS.
"""

from third_party.ali_ccp.columns import (
    FIELDS,
    LABELS,
    NUMERIC,
    ROLES,
    ROW_FIELDS,
    ROW_VALUES,
    USER_FIELDS,
    USER_VALUES,
)
from third_party.ali_ccp.raw import (
    ABSENT,
    CITATION,
    FOLDER,
    HOMEPAGE,
    LICENCE,
    PARTS,
    SAMPLE_FILES,
    SAMPLE_FOLDER,
    VERSION,
    Files,
    find,
    find_sample,
    read_common,
    read_sample,
    read_skeleton,
)

__all__ = [
    "ABSENT",
    "CITATION",
    "FIELDS",
    "FOLDER",
    "HOMEPAGE",
    "LABELS",
    "LICENCE",
    "NUMERIC",
    "PARTS",
    "ROLES",
    "ROW_FIELDS",
    "ROW_VALUES",
    "SAMPLE_FILES",
    "SAMPLE_FOLDER",
    "USER_FIELDS",
    "USER_VALUES",
    "VERSION",
    "Files",
    "find",
    "find_sample",
    "read_common",
    "read_sample",
    "read_skeleton",
]
