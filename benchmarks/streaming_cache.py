"""How fast Ali-CCP's published layout streams into the cache, and how much memory that takes.

    python -m benchmarks.streaming_cache                    # 200,000 rows, under a minute
    python -m benchmarks.streaming_cache --rows=10_000_000  # 3 GB of text, 3 GB of disk besides

Writes a synthetic set of the four published files (the fields, several features of some of them, a user for
50 rows, nine tenths of the rows in `train`), prepares it in a process of its own and maps it in another one.
The peak is what the kernel counts as resident, pages of mapped files included.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from absl import app, flags

from third_party.ali_ccp import ROW_FIELDS, USER_FIELDS

FLAGS = flags.FLAGS
flags.DEFINE_integer("rows", 200_000, "Rows of both parts together.")
flags.DEFINE_string("folder", None, "Where the files are written; default: a temporary folder.")

ROWS_PER_USER = 50
ROWS_PER_BLOCK = 100_000
TEST_ONE_IN = 10
CLICK_RATE, PURCHASE_RATE = 0.04, 0.05
SIZES = {"101": 0, "205": 1_000_000, "206": 6_000, "207": 200_000, "210": 50_000, "216": 80_000, "301": 3}
OTHER_SIZE = 3_000
REPEATED = {"210": 3, "109_14": 15, "110_14": 15, "127_14": 10, "150_14": 10}
PRESENT = {"508": 0.4, "509": 0.3, "702": 0.3, "853": 0.4}
RUN = """
import json, resource, sys, time
from mtl.data import load
start = time.perf_counter()
if sys.argv[3] == "prepare":
    from mtl.data.ali_ccp import ali_ccp
    dataset = ali_ccp(data_dir=sys.argv[1], manual_dir=sys.argv[2])
else:
    dataset = load("ali_ccp", data_dir=sys.argv[1], max_rows=int(sys.argv[3]) or None)
print(json.dumps({
    "seconds": time.perf_counter() - start,
    "rows": sum(dataset.provenance["rows_loaded"].values()),
    "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
}))
"""


def features(
    fields: tuple[str, ...], owner: np.ndarray, rng: np.random.Generator
) -> tuple[pa.Array, np.ndarray]:
    """The feature strings of some lines, and how many features each has."""
    parts, count = [], np.zeros(len(owner), np.int64)
    for place, field in enumerate(fields):
        for _ in range(REPEATED.get(field, 1)):
            size = SIZES.get(field, OTHER_SIZE)
            number = owner if size == 0 else (size * rng.random(len(owner)) ** 3).astype(np.int64)
            value = np.round(rng.gamma(2, 0.5, len(owner)), 4) if field not in SIZES else np.ones(len(owner))
            text = pc.binary_join_element_wise(
                pa.scalar(field), pc.cast(10_000_000 * place + number, "string"), "\x02"
            )
            text = pc.binary_join_element_wise(text, pc.cast(value, "string"), "\x03")
            if field in PRESENT:
                text = pc.if_else(rng.random(len(owner)) < PRESENT[field], text, pa.scalar(None, pa.string()))
            parts.append(text)
            count += pc.is_valid(text).to_numpy(zero_copy_only=False)
    return pc.binary_join_element_wise(*parts, "\x01", null_handling="skip"), count


def blocks(rows: int) -> Iterator[np.ndarray]:
    for start in range(0, rows, ROWS_PER_BLOCK):
        yield np.arange(start, min(start + ROWS_PER_BLOCK, rows))


def write_lines(file: IO[bytes], columns: list[pa.Array]) -> None:
    lines = pc.binary_join_element_wise(*(pc.cast(column, "string") for column in columns), ",")
    file.write("\n".join(lines.to_pylist()).encode() + b"\n")


def write_part(folder: Path, part: str, rows: int, seed: int) -> int:
    """Writes both files of a part; returns their bytes."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    users = -(-rows // ROWS_PER_USER)
    common, skeleton = folder / f"common_features_{part}.csv", folder / f"sample_skeleton_{part}.csv"
    with common.open("wb") as file:
        for owner in blocks(users):
            text, count = features(USER_FIELDS, owner, rng)
            index = pa.array([f"{user * 2654435761 + seed:016x}" for user in owner.tolist()])
            write_lines(file, [index, pa.array(count), text])
    with skeleton.open("wb") as file:
        for row in blocks(rows):
            text, count = features(ROW_FIELDS, row, rng)
            index = pa.array([f"{user * 2654435761 + seed:016x}" for user in (row // ROWS_PER_USER).tolist()])
            click = rng.random(len(row)) < CLICK_RATE
            bought = click & (rng.random(len(row)) < PURCHASE_RATE)
            labels = [pa.array(label.astype(np.int8)) for label in (click, bought)]
            write_lines(file, [pa.array(row), *labels, index, pa.array(count), text])
    return common.stat().st_size + skeleton.stat().st_size


def measured(data_dir: Path, manual_dir: Path, what: str) -> dict[str, float]:
    """Runs one step in a process of its own."""
    arguments = [sys.executable, "-c", RUN, str(data_dir), str(manual_dir), what]
    return json.loads(subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main(argv: list[str]) -> None:
    """Writes, prepares, maps, and prints the table."""
    del argv
    rows = FLAGS.rows
    with tempfile.TemporaryDirectory(dir=FLAGS.folder) as temporary:
        manual, data = Path(temporary) / "manual", Path(temporary) / "prepared"
        start = time.perf_counter()
        size = write_part(manual / "ali_ccp", "train", rows - rows // TEST_ONE_IN, 1)
        size += write_part(manual / "ali_ccp", "test", rows // TEST_ONE_IN, 2)
        print(f"{rows:,} rows, {size / 1e9:.2f} GB of text, written in {time.perf_counter() - start:.0f} s\n")
        print("| step | rows | seconds | rows/s | peak resident, GiB |")
        print("|---|---:|---:|---:|---:|")
        steps = (
            ("prepare", "prepare"),
            ("load 1,000,000 rows of each split", "1000000"),
            ("load and check all", "0"),
        )
        for label, what in steps:
            found = measured(data, manual, what)
            print(
                f"| {label} | {found['rows']:,} | {found['seconds']:.1f} | "
                f"{found['rows'] / found['seconds']:,.0f} | {found['gib']:.2f} |",
                flush=True,
            )
        stored = sum(path.stat().st_size for path in data.rglob("*") if path.is_file())
        print(f"\n{stored / 1e9:.2f} GB on disk when prepared.")


if __name__ == "__main__":
    app.run(main)
