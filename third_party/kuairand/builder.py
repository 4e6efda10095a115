"""TFDS builder of KuaiRand, free of TensorFlow."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import tensorflow_datasets as tfds

from mtl.errors import InputError
from third_party.blocks import blocks, features
from third_party.kuairand.columns import LOG, SAMPLE_LOG, USERS, VIDEOS
from third_party.kuairand.raw import (
    CITATION,
    FOLDER,
    HOMEPAGE,
    LICENCE,
    VERSION,
    Files,
    find,
    read_log,
    read_users,
    read_videos,
)
from third_party.raw_files import not_found

BOTH_SIGNS = {"is_like": pa.int64(), "is_hate": pa.int64()}
Reader = Callable[[Path], pa.Table]
TABLES = {"log": LOG, "sample_log": {**SAMPLE_LOG, **BOTH_SIGNS}, "users": USERS, "videos": VIDEOS}


class Kuairand(tfds.core.GeneratorBasedBuilder):
    """The tables of an edition, or of the sample, in file order; a record is a block of rows, by column.

    A configuration per table: `log` (parts `standard` and `random`, by the policy under which videos were
    shown), `sample_log` (`standard`), `users` and `videos` (`train`). `mtl.data.kuairand` reads the raw files
    instead, in a second for the sample.
    """

    VERSION = tfds.core.Version(VERSION)
    BUILDER_CONFIGS = tuple(tfds.core.BuilderConfig(name=name) for name in TABLES)
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"Put the unpacked files of {HOMEPAGE} into the folder."

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=features(pa.schema(list(TABLES[self.builder_config.name].items()))),
            description="KuaiRand: feedback of users on short videos.",
            homepage=HOMEPAGE,
            citation=CITATION,
            license=LICENCE,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        files = find(Path(dl_manager.manual_dir))
        if files is None:
            raise not_found("kuairand", ["the logs and features of an edition"], FOLDER, HOMEPAGE)
        tables = _tables(files)
        table = self.builder_config.name
        if table not in tables:
            raise InputError(
                f"kuairand: {files.users.parent} has no table {table!r}; expected one of: {', '.join(tables)}"
            )
        return {part: self._generate_examples(*given) for part, given in tables[table].items()}

    def _generate_examples(self, read: Reader, paths: list[Path]) -> Iterator[Any]:
        return blocks(read(path) for path in paths)


def _tables(files: Files) -> dict[str, dict[str, tuple[Reader, list[Path]]]]:
    """The parts of each table that the files hold: how to read them, and where they lie."""
    log: dict[str, tuple[Reader, list[Path]]] = {
        policy: (read_log, paths) for policy, paths in files.logs.items() if paths
    }
    return {
        "sample_log" if files.edition == "sample" else "log": log,
        "users": {"train": (read_users, [files.users])},
        "videos": {"train": (read_videos, [files.videos])},
    }
