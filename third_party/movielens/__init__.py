"""MovieLens: the columns, the raw files and the TFDS builder (import `builder` for it).

The builder is not imported here, so that the facts can be read without loading TFDS.
"""

from third_party.movielens.columns import GENRES
from third_party.movielens.raw import CITATION, FOLDERS, HOMEPAGE, LICENCE, SMALL, VERSION, find, read

__all__ = ["CITATION", "FOLDERS", "GENRES", "HOMEPAGE", "LICENCE", "SMALL", "VERSION", "find", "read"]
