"""MNIST: the published files, where they lie, how to fetch and read them."""

from third_party.mnist.raw import (
    CITATION,
    FILES,
    HOMEPAGE,
    LICENCE,
    NUM_CLASSES,
    SIDE,
    URL,
    VERSION,
    RawFile,
    fetch,
    find,
    read,
)

__all__ = [
    "CITATION",
    "FILES",
    "HOMEPAGE",
    "LICENCE",
    "NUM_CLASSES",
    "SIDE",
    "URL",
    "VERSION",
    "RawFile",
    "fetch",
    "find",
    "read",
]
