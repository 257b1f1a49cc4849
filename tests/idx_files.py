"""Content of IDX files, for several tests."""

import struct

import numpy as np


def idx(values):
    values = np.asarray(values, dtype=np.uint8)
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


def write(path, content):
    path.write_bytes(content)
    return path
