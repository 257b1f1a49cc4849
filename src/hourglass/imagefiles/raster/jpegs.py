"""JPEG: new scans under the file's own quantisation tables and frame header; every other segment stays as it is."""

import io
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.imagefiles.image import Raw
from hourglass.imagefiles.raster.components import components, padded_size
from hourglass.imagefiles.raster.containers import Part, jpeg_parts
from hourglass.imagefiles.raster.frames import LAYOUT, Frame, decode, quantisation_tables

_buffer_lock = threading.Lock()


def encode(frame: Frame, values: Raw) -> list[Part]:
    """The parts of a frame with other pixels, which come as :func:`.frames.decode` gives them."""
    before = decode(frame).values
    if np.array_equal(values, before):
        return frame.parts
    scans = _scans(frame, components(frame, values, before))
    tables = [part for part in frame.parts if part.name == "DQT"]
    out: list[Part] = []
    coded = tabled = False
    for part in frame.parts:
        if part.name == "DQT":
            # Tables that stand between scans come before the first.
            out += [] if tabled else tables
            tabled = True
        elif part.name not in LAYOUT:
            out.append(part)
        elif part.name == "SOS" and not coded:
            out += [*([] if tabled else tables), *scans]
            coded = tabled = True
    return out


def _scans(frame: Frame, planes: Sequence[NDArray[np.uint8]]) -> list[Part]:
    """Scans of components, with their Huffman tables, for the frame's own header.

    Where Pillow has no such sampling, each component is encoded as a grey image, whose scans are those of one component
    in a file of several (ISO 10918-1, A.2).
    """
    factors = [(c.across, c.down) for c in frame.components]
    names = [c.name for c in frame.components]
    tables = [frame.tables[c.table] for c in frame.components]
    subsampling = {((1, 1),): 0, ((1, 1),) * 3: 0, ((1, 1),) * 4: 0, ((2, 1), (1, 1), (1, 1)): 1,
                   ((2, 2), (1, 1), (1, 1)): 2}.get(tuple(factors))  # fmt: skip
    if subsampling is None:
        found = []
        for component, plane in zip(frame.components, planes, strict=True):
            across, down = frame.ratio(component)
            # A scan of one component has the blocks that the image reaches into, and no more.
            height, width = -(-frame.height // down), -(-frame.width // across)
            plane = plane[: -(-height // 8) * 8, : -(-width // 8) * 8, None]
            found += _encoded(frame, plane, [frame.tables[component.table]], [component.name], 0)
        return found
    width, height = padded_size(frame)
    full = np.empty((height, width, len(names)), np.uint8)
    for i, (component, plane) in enumerate(zip(frame.components, planes, strict=True)):
        across, down = frame.ratio(component)
        # Pillow shrinks these copies again, to what they are copies of.
        full[..., i] = plane.repeat(down, axis=0)[:height].repeat(across, axis=1)[:, :width]
    return _encoded(frame, full, tables, names, subsampling)


def _encoded(
    frame: Frame, values: NDArray[np.uint8], tables: list[list[int]], names: list[int], subsampling: int
) -> list[Part]:
    """Scans that Pillow makes of components, with the names that the file gives to them."""
    from PIL import Image, ImageFile

    mode = {1: "L", 3: "YCbCr", 4: "CMYK"}[len(names)]
    image = Image.frombytes(mode, values.shape[1::-1], (255 - values if mode == "CMYK" else values).tobytes())
    out = io.BytesIO()
    options: dict[str, Any] = {"progressive": True} if frame.progressive else {"optimize": True}
    with _buffer_lock:
        # Pillow's buffer must have room for all of an image whose Huffman tables are optimised.
        usual, ImageFile.MAXBLOCK = ImageFile.MAXBLOCK, 4 * values.size + 65536
        try:
            image.save(
                out, "JPEG", qtables=tables, subsampling=subsampling, restart_marker_blocks=frame.restart, **options
            )
        finally:
            ImageFile.MAXBLOCK = usual
    parts = jpeg_parts(out.getvalue())
    header = next(part.body for part in parts if part.name.startswith("SOF"))
    written = quantisation_tables(parts)
    if [written[table] for table in header[8::3]] != tables:
        raise RuntimeError("Pillow encoded with other quantisation tables than it was given")
    renamed = dict(zip(header[6::3], names, strict=True))
    return [_renamed(part, renamed) for part in parts if part.name in LAYOUT]


def _renamed(part: Part, names: dict[int, int]) -> Part:
    if part.name != "SOS":
        return part
    raw = bytearray(part.raw)
    for i in range(part.body[0]):
        place = part.start + 1 + 2 * i
        raw[place] = names[raw[place]]
    return Part(part.name, bytes(raw), part.start, part.stop)
