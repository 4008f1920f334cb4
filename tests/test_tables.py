"""Cost tables: every format gives the same costs, and every bad one is named by file, row and column."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from imle_opt import tables
from imle_opt.tables import csv_rows, open_costs, read_costs, read_table
from imle_opt_solvers.errors import InvalidInputError

NAMES = ("take_a", "take_b", "take_c")
VALUES = np.array([[1.5, -2.0, 3.0], [4.0, 5.25, 6e-3]])


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def read(path, names=NAMES, shape=(3,)):
    return read_costs(path, names=names, shape=shape)


@pytest.mark.parametrize("ending", ["csv", "parquet", "pq", "npy", "npz"])
def test_every_format_gives_the_same_costs(tmp_path, ending):
    path = tmp_path / f"costs.{ending}"
    frame = pd.DataFrame(VALUES, columns=NAMES)
    if ending == "csv":
        frame.to_csv(path, index=False)
    elif ending in ("parquet", "pq"):
        frame.to_parquet(path)
    elif ending == "npy":
        np.save(path, VALUES)
    else:
        np.savez(path, VALUES)
    costs = read(path)
    np.testing.assert_array_equal(costs, VALUES)
    assert costs.dtype == np.float64
    assert costs.flags.c_contiguous


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_columns_are_matched_by_name(tmp_path, ending):
    path = tmp_path / f"costs.{ending}"
    shuffled = pd.DataFrame(VALUES, columns=NAMES)[["take_c", "take_a", "take_b"]]
    shuffled.to_csv(path, index=False) if ending == "csv" else shuffled.to_parquet(path)
    np.testing.assert_array_equal(read(path), VALUES)
    np.testing.assert_array_equal(read(path, names=None), VALUES[:, [2, 0, 1]])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1.5,-2,3\n4,5.25,6e-3\n", NAMES),
        ("\ufeff1.5,-2,3\r\n\r\n4,5.25,6e-3\r\n", NAMES),
        ("0,1,2\n1.5,-2,3\n4,5.25,6e-3\n", None),
        ("0,1,2\n1.5,-2,3\n4,5.25,6e-3\n", NAMES),
        ("2024,2025,x\n1.5,-2,3\n4,5.25,6e-3\n", ("2024", "2025", "x")),
        ("7,8,9\n1.5,-2,3\n4,5.25,6e-3\n", ("7", "8", "9")),
        (' take_a , "take_b",take_c\n 1.5 ,-2,3\n4,5.25,6e-3\n', NAMES),
        ('"x_(0,_1)",b,c\n1.5,-2,3\n4,5.25,6e-3', ("x_(0,_1)", "b", "c")),
    ],
)
def test_headers_are_told_from_rows(tmp_path, text, names):
    np.testing.assert_array_equal(read(write(tmp_path / "t.csv", text), names=names), VALUES)


def test_a_row_of_whole_numbers_is_no_header(tmp_path):
    path = write(tmp_path / "t.csv", "3,1,2\n1,2,3\n")
    np.testing.assert_array_equal(read(path), [[3, 1, 2], [1, 2, 3]])


def test_shapes_are_row_major(tmp_path):
    grid = np.arange(24.0).reshape(2, 3, 4)
    np.save(tmp_path / "grid.npy", grid)
    np.save(tmp_path / "flat.npy", grid.reshape(2, 12))
    for name in ("grid.npy", "flat.npy"):
        np.testing.assert_array_equal(read(tmp_path / name, names=None, shape=(3, 4)), grid)


def test_the_array_called_costs_is_taken(tmp_path):
    np.savez(tmp_path / "t.npz", costs=VALUES, features=np.ones((2, 5)))
    np.testing.assert_array_equal(read(tmp_path / "t.npz"), VALUES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"t\.csv: the file is empty"),
        ("\n\n", r"t\.csv: the file is empty"),
        ("take_a,take_b,take_c\n", r"t\.csv: the file has a header and no rows"),
        ("take_a,take_b,take_c\n1,2,3\n4,,6\n", r"t\.csv, line 3, column 'take_b': the cell is missing"),
        ("take_a,take_b,take_c\n\n1,2,3\n4,NaN,6\n", r"line 4, column 'take_b': the cell is missing"),
        ("take_a,take_b,take_c\n1,2,NA\n", r"line 2, column 'take_c': the cell is missing"),
        ("take_a,take_b,take_c\n1,x2,3\n", r"line 2, column 'take_b': 'x2' is not a number"),
        ("take_a,take_b,take_c\n1,2,-inf\n", r"line 2, column 'take_c': '-inf' is not finite"),
        ("1,2,3\n4,five,6\n", r"line 2, column 2: 'five' is not a number"),
        ("1,two,3\n4,5,6\n", r"line 1, column 2: 'two' is not a number"),
        ("take_a,take_b,take_c\n1,2,3\n4,5\n", r"line 3: 2 cells, and 3 in the header"),
        ("1,2,3\n4,5,6,7\n", r"line 2: 4 cells, and 3 in the first line"),
        ("1,2\n3,4\n", r"the table has 2 columns and the model takes 3 costs"),
        ("take_a,take_b\n1,2\n", r"the header lacks 'take_c'\. The model's costs are 'take_a', 'take_b'"),
        ("take_a,take_b,take_c,day\n1,2,3,4\n", r"the header has unknown 'day'"),
        ("take_a,take_b,price\n1,2,3\n", r"lacks 'take_c' and has unknown 'price'"),
        ("take_a,take_b,take_b\n1,2,3\n", r"names 'take_b' more than once"),
        (",take_a,take_b,take_c\n0,1,2,3\n", r"without a name is an index.*index=False"),
        (",0,1,2\n0,1,2,3\n", r"without a name is an index"),
        ("take_a;take_b;take_c\n1;2;3\n", r"not separated by commas: 'take_a;take_b;take_c'"),
        ('take_a,take_b,take_c\n1,2,"3\n', r"cannot be read as CSV text: unexpected end"),
    ],
)
def test_bad_csv_is_named(tmp_path, text, message):
    with pytest.raises(InvalidInputError, match=message):
        read(write(tmp_path / "t.csv", text))


def test_an_index_column_by_position(tmp_path):
    with pytest.raises(InvalidInputError, match=r"has 4 columns and the model takes 3 costs.*index=False"):
        read(write(tmp_path / "t.csv", ",0,1,2\n0,1,2,3\n"), names=None)


def test_text_that_is_not_utf8(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"caf\xe9,b,c\n1,2,3\n")
    with pytest.raises(InvalidInputError, match=r"t\.csv: cannot be read as CSV text"):
        read(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"take_a": [1.0, None], "take_b": [1.0, 2], "take_c": [1.0, 2]}, r"row 1 \(.*\), column 'take_a'"),
        ({"take_a": [1.0, np.inf], "take_b": [1.0, 2], "take_c": [1.0, 2]}, r"row 1.*'inf' is not finite"),
        ({"take_a": ["1", "2"], "take_b": [1.0, 2], "take_c": [1.0, 2]}, r"column 'take_a': holds .*string"),
        ({"take_a": [1.0, 2], "take_b": [1.0, 2]}, r"lacks 'take_c'"),
        ({"take_a": [], "take_b": [], "take_c": []}, r"the table is empty"),
    ],
)  # fmt: skip
def test_bad_parquet_is_named(tmp_path, frame, message):
    pd.DataFrame(frame).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(InvalidInputError, match=message):
        read(tmp_path / "t.parquet")


def test_a_parquet_index_is_no_cost(tmp_path):
    pd.DataFrame(VALUES, columns=NAMES, index=[3, 9]).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(InvalidInputError, match="index=False"):
        read(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(3), r"shape \(3,\); it must be \(rows, columns\)"),
        (np.ones((0, 3)), r"not empty"),
        (np.array([["a", "b", "c"]]), r"must hold real numbers, not dtype <U1"),
        (np.ones((2, 3)) * 1j, r"not dtype complex128"),
        (np.array([[1.0, np.nan, 3.0]]), r"row 0 \(counted from 0\), column 2: the cell is missing"),
        (np.ones((2, 4)), r"has 4 columns and the model takes 3"),
    ],
)
def test_bad_arrays_are_named(tmp_path, array, message):
    for name, save in (("t.npy", np.save), ("t.npz", np.savez)):
        save(tmp_path / name, array)
        with pytest.raises(InvalidInputError, match=message):
            read(tmp_path / name)


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code ran while a table was read')",))


@pytest.mark.parametrize("name", ["t.npy", "t.npz"])
def test_no_code_runs_when_arrays_are_read(tmp_path, name):
    bomb = np.array([[Bomb()]], dtype=object)
    (np.save if name == "t.npy" else np.savez)(tmp_path / name, bomb)
    with pytest.raises(InvalidInputError, match="refused, because reading them can run code"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["t.npy", "t.npz", "t.parquet"])
def test_files_of_another_kind(tmp_path, name):
    for content in (b"", b"hello, this is not it", pickle.dumps({"a": 1})):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(
            InvalidInputError, match=r"t\.np.: cannot be read as|t\.parquet: cannot be read as"
        ):
            read(tmp_path / name)


def test_swapped_endings(tmp_path):
    np.savez(tmp_path / "t.npz", VALUES)
    (tmp_path / "t.npz").rename(tmp_path / "t.npy")
    with pytest.raises(InvalidInputError, match="not what the ending"):
        read(tmp_path / "t.npy")


def test_several_arrays_without_costs(tmp_path):
    np.savez(tmp_path / "t.npz", a=VALUES, b=VALUES)
    with pytest.raises(InvalidInputError, match="holds the arrays 'a', 'b'"):
        read(tmp_path / "t.npz")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.csv", r"missing\.csv: no such file"),
        ("folder.csv", r"is a directory"),
        ("t.xlsx", r"ending '\.xlsx'\. Use \.csv"),
        ("t", r"ending ''"),
    ],
)
def test_files_that_are_not_there(tmp_path, name, message):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InvalidInputError, match=message):
        read_table(tmp_path / name)


def test_reading_tables_loads_no_torch(tmp_path):
    write(tmp_path / "t.csv", "1,2,3\n")
    code = (
        "import sys; from pathlib import Path; from imle_opt.tables import read_costs\n"
        f"read_costs(Path({str(tmp_path / 't.csv')!r}), names=None, shape=(3,))\n"
        "assert not {'torch', 'pandas', 'pyarrow'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_numbered_columns_of_a_model_so_named_are_matched_by_name(tmp_path):
    path = write(tmp_path / "t.csv", "0,1,2\n1,2,3\n")
    np.testing.assert_array_equal(read(path, names=("2", "0", "1")), [[3, 1, 2]])


def blocks_of(path, *, names=NAMES, shape=(3,), label=None):
    blocks = list(open_costs(path, names=names, shape=shape, label=label).blocks())
    labels = [label for block in blocks for label in block.labels or ()]
    return np.concatenate([block.values for block in blocks]), labels


@pytest.fixture
def in_pieces(monkeypatch):
    """Read as large files are read: in pieces of a few lines, parsed at once; in blocks of a few rows."""
    monkeypatch.setattr(csv_rows, "_PIECE", 64)
    monkeypatch.setattr(csv_rows, "_LARGE", 0)
    monkeypatch.setattr(tables, "_BLOCK_BYTES", 8 * 3 * 4)


@pytest.mark.parametrize("ending", ["csv", "parquet", "npy", "npz"])
def test_large_files_are_read_in_pieces(tmp_path, in_pieces, ending):
    values = np.random.default_rng(0).normal(size=(37, 3)) * 10.0 ** np.arange(-5, 32)[:, None]
    path = tmp_path / f"t.{ending}"
    frame = pd.DataFrame(values, columns=NAMES)
    if ending == "csv":
        frame.to_csv(path, index=False)
    elif ending == "parquet":
        frame.to_parquet(path, row_group_size=10)
    else:
        (np.save if ending == "npy" else np.savez)(path, np.asfortranarray(values))
    costs, _ = blocks_of(path)
    np.testing.assert_array_equal(costs, values)
    sizes = [len(block.values) for block in open_costs(path, names=NAMES, shape=(3,)).blocks()]
    assert max(sizes) <= 4
    np.testing.assert_array_equal(read(path), values)


@pytest.mark.parametrize("large", [0, 2**20])
def test_the_column_of_labels_is_no_cost(tmp_path, monkeypatch, large):
    monkeypatch.setattr(csv_rows, "_LARGE", large)
    text = "take_c,seed,take_a,take_b\n3,b,1,2\n6, a1,4,5\n"
    costs, labels = blocks_of(write(tmp_path / "t.csv", text), label="seed")
    np.testing.assert_array_equal(costs, [[1, 2, 3], [4, 5, 6]])
    assert labels == ["b", "a1"]
    frame = pd.DataFrame({"seed": [7, 8], "take_a": [1, 4], "take_b": [2, 5], "take_c": [3, 6]})
    frame.to_parquet(tmp_path / "t.parquet")
    assert blocks_of(tmp_path / "t.parquet", label="seed")[1] == ["7", "8"]
    numbered = write(tmp_path / "n.csv", "seed,0,1,2\n7,1,2,3\n")
    np.testing.assert_array_equal(blocks_of(numbered, names=None, label="seed")[0], [[1, 2, 3]])
    with pytest.raises(InvalidInputError, match="has unknown 'seed'"):
        read(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("", r"line 31, column 'take_b': the cell is missing"),
        ("nan", r"line 31, column 'take_b': the cell is missing"),
        ("1e999", r"line 31, column 'take_b': '1e999' is not finite"),
        ("five", r"line 31, column 'take_b': 'five' is not a number"),
        ("5,6", r"line 31: 4 cells, and 3 in the header"),
    ],
)
def test_a_bad_cell_far_down_is_named(tmp_path, in_pieces, cell, message):
    lines = ["take_a,take_b,take_c", *["1,2,3"] * 28, "", f"1,{cell},3", "1,2,3"]
    with pytest.raises(InvalidInputError, match=message):
        blocks_of(write(tmp_path / "t.csv", "\n".join(lines)))


def test_what_arrow_does_not_take_is_read_all_the_same(tmp_path, in_pieces):
    path = write(tmp_path / "t.csv", 'take_a,take_b,take_c\n1,2,3\n"4", +5 ,6\n' + "7,8,9\n" * 30)
    costs, _ = blocks_of(path)
    np.testing.assert_array_equal(costs[:3], [[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    assert len(costs) == 32
