"""The token table of a static encoder in int8: one safetensors file, half of float16.

Tensors: ``rows``, int8 of shape (n_tokens, dim), and ``scales``, float32 of shape (n_tokens,);
a token's vector is ``scales[k] * rows[k]``. sentence-transformers reads floating-point tables
only, so the tensors have other names than its own: it refuses the file instead of misreading it,
and ``unpack`` writes the float32 layout that it loads.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from training.data_prepared import write_directory
from training.errors import RunError

_SMALLEST = np.finfo(np.float32).tiny
WEIGHTS_FILE = "model.safetensors"
ROWS, SCALES = "rows", "scales"
_FLOAT_TABLE = "embedding.weight"
"""What sentence-transformers calls the table."""


def quantize_rows(table: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return (int8 rows, one float scale per row) with ``rows * scale`` nearest to the table.

    Symmetric: zero stays zero. The largest error of an element is half its row's scale.

    Args:
        table: (n_rows, dim).
    """
    largest = np.abs(table).max(axis=1)
    # A row so small that its scale would be no normal number is as good as zero.
    scales = np.where(largest > 127 * _SMALLEST, largest / 127, 1).astype(np.float32)
    rows = np.clip(np.rint(table / scales[:, None]), -127, 127).astype(np.int8)
    return rows, scales


def write_table(path: Path, table: NDArray[np.float32]) -> None:
    """Write a table, float32 of shape (n_tokens, dim), as int8 rows with a scale each."""
    rows, scales = quantize_rows(table)
    save_file({ROWS: rows, SCALES: scales}, str(path))


def read_rows(path: Path) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return the rows and scales of a file that ``write_table`` wrote.

    Raises:
        RunError: The file is missing, damaged, or no int8 table.
    """
    try:
        tensors = load_file(str(path))
        return tensors[ROWS], tensors[SCALES]
    except (OSError, SafetensorError, KeyError) as error:
        raise RunError(
            f"{path} holds no int8 token table ({error}). Encoders exported with other weights "
            "are in sentence-transformers layout already."
        ) from error


def read_table(path: Path) -> NDArray[np.float32]:
    """Return the table of a file that ``write_table`` wrote, float32 of shape (n_tokens, dim).

    Raises:
        RunError: As ``read_rows``.
    """
    rows, scales = read_rows(path)
    table: NDArray[np.float32] = rows.astype(np.float32) * scales[:, None]
    return table


def unpack(encoder: Path, out: Path, *, force: bool = False) -> None:
    """Write the sentence-transformers layout of an encoder with an int8 table.

    Args:
        encoder: ``encoder/`` of an export or of a bundle.
        out: Directory to create.
        force: Replace ``out`` if it exists.

    Raises:
        RunError: The encoder has no int8 table.
        PreparedDataError: ``out`` exists and ``force`` is not set.
    """
    table = read_table(encoder / WEIGHTS_FILE)

    def fill(directory: Path) -> None:
        shutil.copytree(
            encoder,
            directory,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("*.onnx", WEIGHTS_FILE),
        )
        save_file({_FLOAT_TABLE: table}, str(directory / WEIGHTS_FILE))

    write_directory(out, fill, force=force)
