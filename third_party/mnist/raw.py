"""The raw files of MNIST: where they lie, how to fetch them, how to read one."""

import gzip
import hashlib
import math
import shutil
import struct
import urllib.request
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mtl.errors import InputError

VERSION = "1.0.0"
HOMEPAGE = "http://yann.lecun.com/exdb/mnist/"
URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"
LICENCE = "CC BY-SA 3.0"
CITATION = (
    "LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document recognition, "
    "Proceedings of the IEEE 86(11), 1998"
)
TIMEOUT_SECONDS = 10.0
SIDE = 28
NUM_CLASSES = 10
UNREADABLE = (OSError, EOFError, zlib.error)
"""What a damaged or truncated file raises while it is decompressed."""


class RawFile(NamedTuple):
    """One published file.

    Attributes:
      name: file name without `.gz`.
      magic: first number of the header.
      shape: shape of an item.
      sha256: checksum of the decompressed content, which does not depend on the gzip wrapping.
    """

    name: str
    magic: int
    shape: tuple[int, ...]
    sha256: str


FILES = {
    "train_images": RawFile(
        "train-images-idx3-ubyte",
        2051,
        (SIDE, SIDE),
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "train_labels": RawFile(
        "train-labels-idx1-ubyte",
        2049,
        (),
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "test_images": RawFile(
        "t10k-images-idx3-ubyte",
        2051,
        (SIDE, SIDE),
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    "test_labels": RawFile(
        "t10k-labels-idx1-ubyte",
        2049,
        (),
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}


def find(folder: Path) -> dict[str, Path] | None:
    """Looks for the four raw files, gzipped or plain.

    Args:
      folder: a folder that holds them, directly or in `mnist/`.

    Returns:
      The path of each file by its key in `FILES`, or None where none of them exists.

    Raises:
      InputError: only some of the files are there.
    """
    for place in (folder / "mnist", folder):
        found = {
            key: path
            for key, file in FILES.items()
            for path in (place / file.name, place / f"{file.name}.gz")
            if path.is_file()
        }
        if len(found) == len(FILES):
            return found
        for key, file in FILES.items():
            if found and key not in found:
                raise InputError(
                    f"{place}: {file.name}.gz is missing beside {next(iter(found.values())).name}; "
                    f"all four files are needed, get it from {URL}"
                )
    return None


def fetch(folder: Path) -> dict[str, Path]:
    """Downloads the four raw files and checks them against the published checksums.

    Args:
      folder: an existing folder to write into.

    Returns:
      The path of each file by its key in `FILES`.

    Raises:
      OSError: the address does not answer within 10 s (of silence), or the disk is full.
      InputError: what came is not the published file.
    """
    paths = {key: folder / f"{file.name}.gz" for key, file in FILES.items()}
    for key, path in paths.items():
        with (
            urllib.request.urlopen(URL + path.name, timeout=TIMEOUT_SECONDS) as response,
            path.open("wb") as out,
        ):
            shutil.copyfileobj(response, out)
        _, found = read(key, path)
        if found != FILES[key].sha256:
            raise InputError(
                f"{URL}{path.name}: sha256 of the content is {found[:12]}…, expected "
                f"{FILES[key].sha256[:12]}…; get the file elsewhere and set manual_dir to its folder"
            )
    return paths


def read(key: str, path: Path) -> tuple[np.ndarray, str]:
    """Reads and checks a raw file.

    Args:
      key: which of `FILES` it is.
      path: the file; `.gz` is decompressed.

    Returns:
      Images `[N, 28, 28]` or labels `[N]`, uint8, and the SHA-256 of the decompressed content.

    Raises:
      InputError: the file is damaged, truncated or of another kind, or a label is not a digit.
    """
    file = FILES[key]
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as stream:
            content = stream.read()
    except UNREADABLE as error:
        raise _damaged(path, " ".join(str(error).split())) from error
    header = struct.Struct(f">{2 + len(file.shape)}I")
    if len(content) < header.size:
        raise _damaged(path, f"{len(content)} bytes, fewer than the header's {header.size}")
    magic, count, *shape = header.unpack_from(content)
    if (magic, tuple(shape)) != (file.magic, file.shape):
        raise _damaged(path, f"header {[magic, *shape]}, expected {[file.magic, *file.shape]}")
    size = header.size + count * math.prod(file.shape)
    if len(content) != size:
        raise _damaged(path, f"{len(content)} bytes, expected {size} for {count} items")
    values = np.frombuffer(content, np.uint8, offset=header.size).reshape(count, *file.shape)
    if not file.shape and count and values.max() >= NUM_CLASSES:
        row = int(np.argmax(values >= NUM_CLASSES))
        raise InputError(f"{path}: label {row} is {values[row]}, expected one of 0 … {NUM_CLASSES - 1}")
    return values, hashlib.sha256(content).hexdigest()


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path}: is not the raw file, or is damaged or truncated ({reason}); fetch it again from {URL}"
    )
