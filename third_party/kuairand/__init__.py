"""KuaiRand: the columns, the raw files and the TFDS builder (import `builder` for it).

The builder is not imported here, so that the facts can be read without loading TFDS.
"""

from third_party.kuairand.columns import EVENTS, ONE_HOT
from third_party.kuairand.raw import (
    CITATION,
    FOLDER,
    HOMEPAGE,
    LICENCE,
    POLICIES,
    SAMPLE_FILES,
    SAMPLE_FOLDER,
    VERSION,
    Files,
    find,
    read_log,
    read_users,
    read_videos,
)

__all__ = [
    "CITATION",
    "EVENTS",
    "FOLDER",
    "HOMEPAGE",
    "LICENCE",
    "ONE_HOT",
    "POLICIES",
    "SAMPLE_FILES",
    "SAMPLE_FOLDER",
    "VERSION",
    "Files",
    "find",
    "read_log",
    "read_users",
    "read_videos",
]
