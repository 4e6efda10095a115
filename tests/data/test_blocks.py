"""Blocks on disk and their order: what is written is read, every row once an epoch, by step or at once."""

import functools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl.data.blocks import BlockWriter, head, read_blocks
from mtl.data.windows import Stream, Windows, permutation, read_steps, windows_of
from mtl.errors import InputError

WIDTHS = (("ids", 2), ("numeric", 1), ("labels", 1), ("mask", 1))


def columns(rows, widths=WIDTHS, start=0):
    """Rows that tell their number in `ids[:, 0]`."""
    number = np.arange(start, start + rows)
    made = {
        "ids": np.stack([number, number % 7], axis=1).astype(np.int32),
        "numeric": (number[:, None] / 3).astype(np.float32),
        "labels": (number[:, None] % 2).astype(np.float32),
        "mask": number[:, None] % 3 == 0,
    }
    return {group: made[group][:, :width] for group, width in widths}


def write(folder, rows, rows_per_block=4, blocks_per_file=3, widths=WIDTHS, chunk=5):
    folder.mkdir(parents=True, exist_ok=True)
    writer = BlockWriter(folder, "train", widths, rows_per_block, blocks_per_file)
    for start in range(0, rows, chunk):
        writer.add(columns(min(chunk, rows - start), widths, start))
    return writer.close()


written = functools.cache(write)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("blocks")


def epoch_of(blocks, size, seed, batch, epoch=0, calls=1):
    """The numbers of the rows of an epoch, in the order in which they are read."""
    per_epoch = blocks.rows // batch
    stream = Stream(Windows(blocks, size), seed, batch, per_epoch)
    found = []
    for step in range(epoch * per_epoch, (epoch + 1) * per_epoch, calls):
        count = min(calls, (epoch + 1) * per_epoch - step)
        found.append(read_steps([stream], blocks, batch, step, count)["ids"][0, :, 0])
    return np.concatenate(found)


# ---- blocks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 4, 11, 12, 13, 30])
def test_what_is_written_is_read(tmp_path, rows):
    blocks = write(tmp_path, rows)
    assert blocks.rows == rows
    assert blocks.num_blocks == -(-rows // 4)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f.name for f in blocks.files]
    found, expected = head(blocks), columns(rows)
    for group in expected:
        assert found[group].dtype == expected[group].dtype
        np.testing.assert_array_equal(found[group], expected[group])
    np.testing.assert_array_equal(head(blocks, 3)["ids"], expected["ids"][:3])


def test_groups_without_columns_are_kept(tmp_path):
    widths = (("ids", 0), ("numeric", 1), ("labels", 1))
    found = head(write(tmp_path, 9, widths=widths))
    assert found["ids"].shape == (9, 0)
    assert found["ids"].dtype == np.int32
    np.testing.assert_array_equal(found["numeric"], columns(9, widths)["numeric"])


def test_blocks_are_read_in_any_order(tmp_path):
    blocks = write(tmp_path, 30)
    out = blocks.empty(12)
    assert read_blocks(blocks, [7, 0, 4], out) == 10  # the last one is short
    np.testing.assert_array_equal(out["ids"][:10, 0], [28, 29, 0, 1, 2, 3, 16, 17, 18, 19])


def test_a_damaged_block_is_named(tmp_path):
    blocks = write(tmp_path, 30)
    path = tmp_path / blocks.files[1].name
    content = bytearray(path.read_bytes())
    place = content.find(np.float32(14 / 3).tobytes())
    content[place] ^= 1
    path.write_bytes(content)
    head(blocks, 12)  # the file before it is sound
    with pytest.raises(
        InputError, match=r"train\.000001\.arrow: is damaged \(block 3 is not what was written"
    ):
        head(blocks)
    path.unlink()
    with pytest.raises(InputError, match=r"train\.000001\.arrow: is damaged .*delete the folder"):
        head(blocks)


# ---- order --------------------------------------------------------------------------------------------


@given(
    rows=st.integers(1, 60),
    per_block=st.integers(1, 9),
    size=st.integers(1, 5),
    batch=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 3),
    calls=st.integers(1, 4),
)
def test_an_epoch_reads_every_row_once_but_its_last_incomplete_batch(
    folder, rows, per_block, size, batch, seed, epoch, calls
):
    batch = min(batch, rows)
    blocks = written(folder / f"{rows}-{per_block}", rows, per_block, 2)
    found = epoch_of(blocks, size, seed, batch, epoch, calls)
    assert len(found) == rows // batch * batch
    assert len(np.unique(found)) == len(found)
    if rows % batch == 0:
        assert set(found) == set(range(rows))


@given(
    first=st.integers(0, 40),
    count=st.integers(1, 9),
    before=st.lists(st.integers(0, 40), max_size=3),
    size=st.integers(1, 4),
)
def test_steps_do_not_depend_on_what_was_read_before(folder, first, count, before, size):
    blocks = written(folder / "pure", 50, 6, 3)
    one_by_one = Stream(Windows(blocks, size), 3, 4, 12)
    expected = np.concatenate(
        [read_steps([one_by_one], blocks, 4, k, 1)["ids"][0] for k in range(first + count)][first:]
    )
    stream = Stream(Windows(blocks, size), 3, 4, 12)
    for step in before:
        read_steps([stream], blocks, 4, step, 2)
    found = read_steps([stream], blocks, 4, first, count)
    np.testing.assert_array_equal(found["ids"][0], expected)
    np.testing.assert_array_equal(found["numeric"][0, :, 0], (expected[:, 0] / 3).astype(np.float32))


def test_seeds_and_epochs_have_orders_of_their_own(folder):
    blocks = write(folder / "orders", 600, 8, 16)
    orders = [epoch_of(blocks, 4, seed, 20, epoch) for seed in (0, 1) for epoch in (0, 1)]
    orders.append(np.arange(600))
    for i, one in enumerate(orders):
        for other in orders[:i]:
            assert (one == other).mean() < 0.02


def test_rows_of_a_batch_come_from_all_over_the_split(folder):
    """20,000 rows in windows of a tenth: neither position nor neighbourhood tells where a row stood."""
    rows = 20_000
    blocks = write(folder / "mixed", rows, 50, 100, chunk=5_000)
    for seed in range(4):
        order = epoch_of(blocks, 40, seed, 100)
        # Rows of a block move together in windows: the correlation of 400 blocks, not of 20,000 rows.
        assert abs(np.corrcoef(order, np.arange(rows))[0, 1]) < 4 / np.sqrt(400)
        assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.2  # what ten window means leave
        window = order[:2000]
        assert abs(np.corrcoef(window, np.arange(2000))[0, 1]) < 4 / np.sqrt(2000)
        spread = [np.ptp(batch) / rows for batch in order.reshape(-1, 100)]
        assert np.mean(spread) > 0.9


def test_permutations_are_of_all_rows_and_depend_on_every_number():
    for rows in (1, 2, 3, 7, 1000, 1025):
        assert sorted(permutation(rows, 1, 2, 3)) == list(range(rows))
    orders = {tuple(permutation(50, *key)) for key in [(0, 0), (0, 1), (1, 0), (1, 1), (0,), (1,)]}
    assert len(orders) == 6


def test_permutations_are_about_equally_often():
    seen = [tuple(permutation(3, seed, 0, 1)) for seed in range(3000)]
    counts = [seen.count(order) for order in set(seen)]
    assert len(counts) == 6
    assert max(abs(count - 500) for count in counts) < 5 * np.sqrt(500)


def test_several_runs_read_orders_of_their_own(folder):
    blocks = write(folder / "several", 40, 4, 3)
    streams = [Stream(Windows(blocks, 2), seed, 5, 8) for seed in (0, 1)]
    both = read_steps(streams, blocks, 5, 3, 2)
    for i, seed in enumerate((0, 1)):
        alone = read_steps([Stream(Windows(blocks, 2), seed, 5, 8)], blocks, 5, 3, 2)
        for group in alone:
            np.testing.assert_array_equal(both[group][i], alone[group][0])


def test_too_many_steps_for_an_epoch_are_refused(folder):
    blocks = write(folder / "several", 40, 4, 3)
    with pytest.raises(InputError, match="9 steps of 5 rows are more than the 40"):
        Stream(Windows(blocks, 1), 0, 5, 9)


def test_memory_holds_a_window_whatever_the_number_of_rows(tmp_path):
    rows = 200_000
    blocks = write(tmp_path, rows, 1000, 50, chunk=50_000)
    windows = windows_of(blocks, 5_000)
    assert windows.size == 5
    assert windows_of(blocks, 1).size == 1
    stream = Stream(windows, 0, 500, rows // 500)
    read_steps([stream], blocks, 500, 0, 1)
    tracemalloc.start()
    for step in range(0, 400, 4):
        read_steps([stream], blocks, 500, step, 4)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    window = 5_000 * blocks.row_bytes
    assert peak < 3 * window < 0.1 * rows * blocks.row_bytes
