"""TFDS builder of MovieLens, free of TensorFlow."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import tensorflow_datasets as tfds

from mtl.errors import InputError
from third_party.blocks import blocks, features
from third_party.movielens.raw import CITATION, FOLDERS, HOMEPAGE, LICENCE, TABLES, VERSION, find, read
from third_party.raw_files import not_found


class MovieLens(tfds.core.GeneratorBasedBuilder):
    """The tables of an edition in file order, in the part `train`; a record is a block of rows, by column.

    A configuration per table. TFDS's own `movielens` is not used: its builder reads the same files with
    TensorFlow, which this project does without, and has no tags. `mtl.data.movielens` reads the raw files, in
    a tenth of a second for ml-latest-small.
    """

    VERSION = tfds.core.Version(VERSION)
    BUILDER_CONFIGS = tuple(tfds.core.BuilderConfig(name=name) for name in TABLES)
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"Put the unpacked files of an edition of {HOMEPAGE} into the folder."

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=features(pa.schema(list(TABLES[self.builder_config.name].items()))),
            description="MovieLens: ratings and tags of films.",
            homepage=HOMEPAGE,
            citation=CITATION,
            license=LICENCE,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        found = find(Path(dl_manager.manual_dir))
        if not found:
            raise not_found("movielens", ["an edition, such as ml-latest-small,"], FOLDERS[0], HOMEPAGE)
        name = self.builder_config.name
        if name not in found:
            raise InputError(
                f"movielens: {found['ratings'].parent} has no {name}; expected one of: {', '.join(found)}"
            )
        return {"train": self._generate_examples(found[name])}

    def _generate_examples(self, path: Path) -> Iterator[Any]:
        return blocks([read(self.builder_config.name, path)])
