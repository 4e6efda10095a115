"""Hillstrom's e-mail test: the columns, the raw file and the TFDS builder (import `builder` for it).

The builder is not imported here, so that the facts can be read without loading TFDS.
"""

from third_party.hillstrom.columns import COLUMNS
from third_party.hillstrom.raw import CITATION, FILES, FOLDER, HOMEPAGE, LICENCE, VERSION, find, read

__all__ = ["CITATION", "COLUMNS", "FILES", "FOLDER", "HOMEPAGE", "LICENCE", "VERSION", "find", "read"]
