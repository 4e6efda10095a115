"""TFDS builder of Hillstrom's e-mail test, free of TensorFlow."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import tensorflow_datasets as tfds

from third_party.blocks import blocks, features
from third_party.hillstrom.columns import COLUMNS
from third_party.hillstrom.raw import CITATION, FILES, FOLDER, HOMEPAGE, LICENCE, VERSION, find, read
from third_party.raw_files import not_found


class Hillstrom(tfds.core.GeneratorBasedBuilder):
    """The 64,000 customers in file order, in the part `train`; a record is a block of rows, column by column.

    `mtl.data.hillstrom` reads the raw file instead, which takes a tenth of a second.
    """

    VERSION = tfds.core.Version(VERSION)
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"Put hillstrom.csv.gz of {HOMEPAGE} into the folder."

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=features(pa.schema(list(COLUMNS.items()))),
            description="Hillstrom's e-mail test: visit, conversion and spend after an e-mail.",
            homepage=HOMEPAGE,
            citation=CITATION,
            license=LICENCE,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        path = find(Path(dl_manager.manual_dir))
        if path is None:
            raise not_found("hillstrom", [f"{FILES['customers'].name}.gz"], FOLDER, HOMEPAGE)
        return {"train": self._generate_examples(path)}

    def _generate_examples(self, path: Path) -> Any:
        return blocks([read(path)])
