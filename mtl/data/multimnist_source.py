"""The images and labels of MNIST, from raw files that the user has or that are fetched once."""

import http.client
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mtl.data.cache import Facts, data_folder, manual_folder
from mtl.errors import InputError
from third_party import mnist as source


class Digits(NamedTuple):
    """Images `[N, 28, 28]` uint8 and their labels `[N]` uint8."""

    images: np.ndarray
    labels: np.ndarray


def mnist_digits(
    data_dir: str | os.PathLike[str] | None, manual_dir: str | os.PathLike[str] | None
) -> tuple[dict[str, Digits], Facts]:
    """Reads both parts of MNIST, in about half a second; fetches them where there are no raw files.

    Args:
      data_dir: where fetched files are kept, in `mnist/<version>/`.
      manual_dir: where raw files lie.

    Returns:
      The parts `train` and `test`, and for each file
      `{"file": name, "items": count, "sha256": of the content, "checksum": whether it is the published one}`.

    Raises:
      InputError: the raw files cannot be found or fetched, or are damaged.
    """
    manual = manual_folder(manual_dir)
    raw = source.find(manual) if manual else None
    arrays, facts = {}, {}
    for key, path in (raw or _fetched(data_folder(data_dir) / "mnist" / source.VERSION)).items():
        arrays[key], sha256 = source.read(key, path)
        published = sha256 == source.FILES[key].sha256
        facts[key] = {
            "file": path.name,
            "items": len(arrays[key]),
            "sha256": sha256,
            "checksum": "published" if published else "differs from the published file",
        }
    parts = {p: Digits(arrays[f"{p}_images"], arrays[f"{p}_labels"]) for p in ("train", "test")}
    for part, digits in parts.items():
        if len(digits.images) != len(digits.labels):
            raise InputError(
                f"multimnist: the {part} files hold {len(digits.images)} images and {len(digits.labels)} "
                f"labels, expected as many of both; fetch them again from {source.URL}"
            )
    return parts, facts


def _fetched(folder: Path) -> dict[str, Path]:
    """The files in a folder, which appears under its name only when all of them are there."""
    if not folder.exists():
        incomplete = folder.with_name(f"{folder.name}.incomplete-{os.getpid()}")
        try:
            incomplete.mkdir(parents=True)
        except OSError as error:
            raise InputError(
                f"{folder}: cannot be written ({error.strerror or error}); set data_dir (or MTL_DATA_DIR) "
                "to a folder with room that you may write to"
            ) from error
        try:
            source.fetch(incomplete)
            # Another process may have fetched the same files meanwhile: its copy is as good as ours.
            if not folder.exists():
                incomplete.replace(folder)
        except (OSError, http.client.HTTPException) as error:
            *names, last = (f"{file.name}.gz" for file in source.FILES.values())
            reason = " ".join(str(error).split())
            raise InputError(
                f"multimnist: no raw files, and {source.URL} could not be fetched ({reason}); get "
                f"{', '.join(names)} and {last} from {source.HOMEPAGE}, put them into a folder and set "
                "manual_dir (--manual_dir or MTL_MANUAL_DIR) to it"
            ) from error
        finally:
            shutil.rmtree(incomplete, ignore_errors=True)
    found = source.find(folder)
    if found is None:
        raise InputError(f"{folder}: holds none of MNIST's files; delete it and run again")
    return found
