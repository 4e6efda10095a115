"""TFDS builder of AliExpress's search logs, free of TensorFlow."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import tensorflow_datasets as tfds

from third_party.aliexpress.columns import CATEGORICAL, COUNTRIES, LABELS, NUMERIC
from third_party.aliexpress.raw import (
    CITATION,
    FOLDER,
    HOMEPAGE,
    LICENCE,
    VERSION,
    check_header,
    find,
    find_sample,
    read_rows,
)
from third_party.blocks import blocks, features
from third_party.raw_files import cut, not_found

BYTES_PER_PIECE = 16 << 20
SCHEMA = pa.schema(
    {
        "search_id": pa.string(),
        "ids": pa.list_(pa.int32(), len(CATEGORICAL)),
        "values": pa.list_(pa.float32(), len(NUMERIC)),
        "labels": pa.list_(pa.float32(), len(LABELS)),
    }
)


class AliExpress(tfds.core.GeneratorBasedBuilder):
    """The files of a country, or the sample, in file order; a record is a block of rows, by column.

    A configuration per country, and `sample`. The files are read piece by piece. `mtl.data.aliexpress` does
    not read these records: it parses the files into chunks that a later call can resume, which TFDS cannot.
    """

    VERSION = tfds.core.Version(VERSION)
    BUILDER_CONFIGS = tuple(tfds.core.BuilderConfig(name=name) for name in (*COUNTRIES, "sample"))
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"Put the unpacked folders of {HOMEPAGE} into the folder."

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=features(SCHEMA),
            description="AliExpress search: products shown, clicks and conversions.",
            homepage=HOMEPAGE,
            citation=CITATION,
            license=LICENCE,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        folder, name = Path(dl_manager.manual_dir), self.builder_config.name
        paths = find_sample(folder) if name == "sample" else find(folder).get(name, {})
        if not paths:
            raise not_found("aliexpress", [f"AliExpress_{name}"], FOLDER, HOMEPAGE)
        return {part: self._generate_examples(path, part) for part, path in paths.items()}

    def _generate_examples(self, path: Path, part: str) -> Iterator[Any]:
        check_header(path)
        return blocks(read_rows(piece) for piece in cut(path, part, BYTES_PER_PIECE, header=True))
