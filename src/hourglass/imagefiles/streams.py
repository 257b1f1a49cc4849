"""One image from standard input or to standard output, in a chosen format."""

import io
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from hourglass.atomic import write_whole
from hourglass.imagefiles.delivery import check_deliverable, delivered
from hourglass.imagefiles.files import open_image
from hourglass.imagefiles.image import COLOURS, Plane, Raw
from hourglass.imagefiles.named_errors import naming
from hourglass.imagefiles.processing import Outcome, Restore
from hourglass.imagefiles.ranges import FileRanges, Ranges
from hourglass.imagefiles.remote import fetched, place

# Name of standard input and output on the command line.
STREAM = Path("-")
_STANDARD_INPUT = "standard input"
_BYTE = 8


def restore_stream(
    source: Path, target: Path, restore: Restore, ranges: Ranges, style: str, *, overwrite: bool = False
) -> Outcome:
    """Restore one image from standard input or to standard output.

    Parameters
    ----------
    source : Path
        Path of the input file, or ``STREAM`` for standard input.
    target : Path
        Path of the output file, which has the format of the input, or ``STREAM`` for standard output.
    restore : callable
        Function that takes a :class:`Plane` and its :class:`ValueRange`. It returns an array of the shape and dtype of
        the plane's ``values``, and the levels of the noise that it removed, as :meth:`ImageRestorer.restore` does.
    ranges : Ranges
        Rule by which the range of the image's numbers is found.
    style : {"png", "tiff", "jpeg", "webp"}
        Format of standard output.
    overwrite : bool, default=False
        Whether an existing target is replaced.

    Returns
    -------
    Outcome
        What was done: ranges, and levels of the noise.

    Raises
    ------
    OSError
        When the input is not an image, or the output cannot be written. ``FileExistsError`` when the target exists
        and ``overwrite`` is False; ``IsADirectoryError`` when it is a folder.
    ValueError
        When the format cannot store the image, or standard output is a terminal.
    """
    source, target = place(source), place(target)
    if target == STREAM and sys.stdout.isatty():
        raise ValueError("standard output is a terminal; redirect it, as > denoised.png")
    if target != STREAM:
        if target.is_dir():
            raise IsADirectoryError(f"{target} is a folder, and the image from standard input has no name; name a file")
        if target.exists() and not overwrite:
            raise FileExistsError(f"{target} exists; overwrite (--overwrite) replaces it")
        check_deliverable(target.parent)
    with tempfile.TemporaryDirectory(prefix="hourglass-") as folder, naming(_STANDARD_INPUT, _standard_input(folder)):
        if source == STREAM:
            source = _standard_input(folder)
            with source.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
        with fetched(source) as path, closing(open_image(path)) as image:
            if target == STREAM and image.format.lower() != style:
                encode([(plane, plane.values) for plane in image.planes()], style)  # an early error
            found = FileRanges(ranges, image.planes, source.name)
            levels: list[float] = []
            restored = (_noting(levels, *restore(plane, found.of_plane(plane))) for plane in image.planes())
            content = b""
            if target != STREAM:
                with delivered(target) as written:
                    image.write(written, restored)
            elif image.format.lower() == style:
                output = Path(folder) / f"output.{style}"
                image.write(output, restored)
                content = output.read_bytes()
            else:
                content = encode(list(zip(image.planes(), restored, strict=True)), style)
    if target == STREAM:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    return Outcome(source, ranges=tuple(found.found), noise_levels=tuple(levels))


def _standard_input(folder: str) -> Path:
    return Path(folder) / _STANDARD_INPUT


def _noting(levels: list[float], values: Raw, found: tuple[float, ...]) -> Raw:
    levels.extend(found)
    return values


def encode(planes: Sequence[tuple[Plane, Raw]], style: str) -> bytes:
    """Encode an image in another format.

    Parameters
    ----------
    planes : sequence of tuple of (Plane, ndarray)
        Each plane of the input, and the numbers to write, with the shape and dtype of the plane's ``values``.
    style : {"png", "tiff", "jpeg", "webp"}
        The format. Only TIFF can store several planes.

    Returns
    -------
    bytes
        Content of the file.

    Raises
    ------
    ValueError
        When the format cannot store the image.
    """
    if style == "tiff":
        return _tiff(planes)
    if len(planes) > 1:
        raise ValueError(f"the input holds {len(planes)} images, and {style} one; give --format tiff")
    [(plane, values)] = planes
    values, alpha = _straight(plane, values)
    bits = plane.numbers.bits
    if values.shape[2] not in (1, 3) or plane.numbers.dtype.kind != "u" or "ink" in plane.roles:
        raise ValueError(f"{style} cannot hold {plane.numbers.kind} bands {', '.join(plane.roles)}; give --format tiff")
    if bits < _BYTE:
        values = np.rint(values * (255 / (2**bits - 1))).astype(np.uint8)
    elif bits > _BYTE and (style != "png" or bits != 16):
        raise ValueError(f"{style} cannot hold numbers of {bits} bits; give --format tiff")
    if alpha is not None:
        if style == "jpeg":
            raise ValueError("jpeg cannot hold transparency; give --format png")
        values = np.concatenate([values, alpha], axis=2)
    return _png(values) if style == "png" else _pillow(values, style)


def _straight(plane: Plane, values: Raw) -> tuple[Raw, Raw | None]:
    """Colours that are not multiplied by alpha, and alpha, or None if there is none."""
    colours = [band for band, role in enumerate(plane.roles) if role not in ("alpha", "premultiplied")]
    alphas = [band for band, role in enumerate(plane.roles) if role in ("alpha", "premultiplied")]
    if len(alphas) > 1:
        raise ValueError(f"the input has {len(alphas)} bands of alpha; give --format tiff")
    if not alphas:
        return values, None
    colour, alpha = values[..., colours], values[..., alphas]
    if "premultiplied" in plane.roles and plane.numbers.limits is not None:
        largest = plane.numbers.limits[1]
        share = np.where(alpha > 0, alpha, 1) / largest
        colour = np.clip(np.rint(colour / share), 0, largest).astype(values.dtype)
    return colour, alpha


def _png(values: Raw) -> bytes:
    from imagecodecs import png_encode

    return bytes(png_encode(np.ascontiguousarray(values)))


def _pillow(values: Raw, style: str) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    image = Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
    image.save(content, style, quality=95, **({"subsampling": 0} if style == "jpeg" else {}))
    return content.getvalue()


def _tiff(planes: Sequence[tuple[Plane, Raw]]) -> bytes:
    import tifffile

    content = io.BytesIO()
    with tifffile.TiffWriter(content) as file:
        for plane, values in planes:
            roles = plane.roles
            colour = roles[:3] == COLOURS
            photometric = "rgb" if colour else "separated" if "ink" in roles else "minisblack"
            base = 3 if colour else sum(role == "ink" for role in roles) or 1
            kinds = {"alpha": "unassalpha", "premultiplied": "assocalpha"}
            extra = [kinds.get(role, "unspecified") for role in roles[base:]]
            array = values[..., 0] if values.shape[2] == 1 else values
            file.write(array, photometric=photometric, extrasamples=extra or None, metadata=None, planarconfig=None
                       if array.ndim == 2 else "contig")  # fmt: skip
    return content.getvalue()


def write_png(path: Path, values: Raw) -> None:
    """Write an image as a PNG file, completely or not at all.

    Parameters
    ----------
    path : Path
        Path of the file. Its folder is made if it does not exist.
    values : ndarray of shape (h, w, 1) or (h, w, 3), uint8
        The image, grey or RGB.

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, _png(values))
