"""TFDS builder of Ali-CCP, free of TensorFlow."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import tensorflow_datasets as tfds

from third_party.ali_ccp.columns import (
    FIELDS,
    LABELS,
    NUMERIC,
    ROW_FIELDS,
    ROW_VALUES,
    USER_FIELDS,
    USER_VALUES,
)
from third_party.ali_ccp.raw import (
    CITATION,
    FOLDER,
    HOMEPAGE,
    LICENCE,
    SAMPLE_FILES,
    SAMPLE_FOLDER,
    VERSION,
    find,
    find_sample,
    read_common,
    read_sample,
    read_skeleton,
)
from third_party.blocks import blocks, features
from third_party.raw_files import cut, not_found

BYTES_PER_PIECE = 16 << 20


def _columns(fields: tuple[str, ...], values: tuple[str, ...]) -> dict[str, pa.DataType]:
    return {"ids": pa.list_(pa.int32(), len(fields)), "values": pa.list_(pa.float32(), len(values))}


_LABELS = {"labels": pa.list_(pa.float32(), len(LABELS))}
_INDEX = {"common_feature_index": pa.string()}
TABLES = {
    "sample": {**_LABELS, **_columns(FIELDS, NUMERIC)},
    "skeleton": {"sample_id": pa.int64(), **_INDEX, **_LABELS, **_columns(ROW_FIELDS, ROW_VALUES)},
    "common": {**_INDEX, **_columns(USER_FIELDS, USER_VALUES)},
}


class AliCcp(tfds.core.GeneratorBasedBuilder):
    """The published files, or the sample, in file order; a record is a block of rows, by column.

    A configuration per table: `skeleton` (rows), `common` (features of users, which rows name by
    `common_feature_index`), `sample`. The published files are read piece by piece. `mtl.data.ali_ccp` does
    not read these records: it parses the files into chunks that a later call can resume, which TFDS cannot.
    """

    VERSION = tfds.core.Version(VERSION)
    BUILDER_CONFIGS = tuple(tfds.core.BuilderConfig(name=name) for name in TABLES)
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"Put the unpacked files of {HOMEPAGE} into the folder."

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=features(pa.schema(list(TABLES[self.builder_config.name].items()))),
            description="Ali-CCP: impressions, clicks and purchases.",
            homepage=HOMEPAGE,
            citation=CITATION,
            license=LICENCE,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        folder = Path(dl_manager.manual_dir)
        if self.builder_config.name == "sample":
            sample = find_sample(folder)
            if not sample:
                names = [file.name for file in SAMPLE_FILES.values()]
                raise not_found("ali_ccp", names, SAMPLE_FOLDER, HOMEPAGE)
            return {part: self._generate_examples(path, part) for part, path in sample.items()}
        found = find(folder)
        if not found:
            raise not_found("ali_ccp", ["the four files"], FOLDER, HOMEPAGE)
        skeleton = self.builder_config.name == "skeleton"
        return {
            part: self._generate_examples(pair.skeleton if skeleton else pair.common, part)
            for part, pair in found.items()
        }

    def _generate_examples(self, path: Path, part: str) -> Iterator[Any]:
        if self.builder_config.name == "sample":
            return blocks([read_sample(path)])
        read = read_skeleton if self.builder_config.name == "skeleton" else read_common
        return blocks(read(piece) for piece in cut(path, part, BYTES_PER_PIECE, header=False))
