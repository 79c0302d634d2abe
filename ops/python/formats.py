"""The files that vitrine reads, safetensors and .npy, written. Needs NumPy alone."""
from __future__ import annotations

import contextlib
import json
import os
import struct
from typing import BinaryIO, Iterator

import numpy as np

from command import Refused

NPY_HEADER_BYTES = 128  # of every file here, so that the number of rows can be put in at the end


@contextlib.contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """A file to write, called PATH.partial until the block ends well."""
    partial = path + ".partial"
    try:
        with open(partial, "wb") as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise


def write_safetensors(path: str, metadata: dict[str, object],
                      tensors: dict[str, np.ndarray]) -> None:
    """All tensors as F32, in their order; metadata becomes text, as the format wants it."""
    header: dict[str, object] = {"__metadata__": {k: str(v) for k, v in metadata.items()}}
    offset = 0
    for name, tensor in tensors.items():
        end = offset + 4 * tensor.size
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            f.write(tensor.astype("<f4").tobytes())


def read_safetensors(path: str) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Metadata and tensors of a file that is all F32."""
    try:
        with open(path, "rb") as f:
            header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
            data = f.read()
        metadata = header.pop("__metadata__", {})
        tensors = {}
        for name, entry in header.items():
            if entry["dtype"] != "F32":
                raise Refused(f"{path}: tensor '{name}' is {entry['dtype']}, not F32")
            begin, end = entry["data_offsets"]
            tensors[name] = np.frombuffer(data[begin:end], "<f4").reshape(entry["shape"]).copy()
        return metadata, tensors
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, OverflowError,
            MemoryError) as e:
        raise Refused(f"{path}: no safetensors file ({type(e).__name__}: {e})") from None


class NpyRows:
    """A .npy file written row by row; a row is what `row_shape` says. Holds nothing in memory."""

    def __init__(self, path: str, row_shape: tuple[int, ...], dtype: str):
        self.row_shape, self.dtype, self.rows = row_shape, np.dtype(dtype).newbyteorder("<"), 0
        self.file = open(path, "wb")
        self.file.write(self.header())

    def header(self) -> bytes:
        text = repr({"descr": self.dtype.str, "fortran_order": False,
                     "shape": (self.rows, *self.row_shape)})
        start = b"\x93NUMPY\x01\x00" + struct.pack("<H", NPY_HEADER_BYTES - 10)
        return start + text.ljust(NPY_HEADER_BYTES - 11).encode() + b"\n"

    def append(self, rows: np.ndarray) -> None:
        if rows.shape[1:] != self.row_shape or rows.dtype != self.dtype:
            raise ValueError(f"{rows.shape} {rows.dtype} are no rows of {self.row_shape}")
        self.file.write(np.ascontiguousarray(rows).data)
        self.rows += len(rows)

    def __enter__(self) -> NpyRows:
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        """Says in the header how many rows there are, and waits until all is on the disk."""
        with self.file as f:
            if not failed:
                f.seek(0)
                f.write(self.header())
                f.flush()
                os.fsync(f.fileno())
