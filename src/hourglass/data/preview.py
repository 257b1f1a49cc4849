"""Rows of images as HTML that holds its images itself, for notebooks."""

import base64
import html
import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

SHOWN = 8
# Pixels on the screen; larger images are reduced before they are embedded.
HEIGHT = 64
STYLE = f"height: {HEIGHT}px; max-width: {4 * HEIGHT}px; object-fit: contain; image-rendering: pixelated"


def preview(
    rows: Mapping[str, tuple[NDArray[np.float32], NDArray[np.int64] | None]], *, title: str | None = None
) -> str:
    """First images of each stack in a row, above their labels.

    Parameters
    ----------
    rows : mapping of str to pair
        Heading to images of shape (n, height, width, channels) with pixels in [0, 1], and their labels or None. Images
        with one or three channels are shown as they are, of others the mean over the channels.
    title : str, optional
        Line above the rows.

    Returns
    -------
    str
        HTML that loads nothing.
    """
    parts = [] if title is None else [f"<p><code>{html.escape(title)}</code></p>"]
    for heading, (images, labels) in rows.items():
        first = images[:SHOWN]
        captions = [""] * len(first) if labels is None else [str(label) for label in labels[:SHOWN]]
        shown = [_figure(image, caption) for image, caption in zip(first, captions, strict=True)]
        parts.append(f"<p>{html.escape(heading)}</p><div style='display: flex; flex-wrap: wrap'>{''.join(shown)}</div>")
    return "".join(parts)


def _figure(image: NDArray[np.float32], caption: str) -> str:
    source = "data:image/png;base64," + base64.b64encode(_png(image)).decode()
    return (
        "<figure style='margin: 0 6px 6px 0; text-align: center'>"
        f"<img style='{STYLE}' alt='{caption or 'image'}' src='{source}'>"
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _png(image: NDArray[np.float32]) -> bytes:
    from PIL import Image

    pixels = image if image.shape[2] == 3 else image.mean(2)
    picture = Image.fromarray(np.rint(pixels * 255).astype(np.uint8))
    picture.thumbnail((4 * HEIGHT, 2 * HEIGHT))
    with io.BytesIO() as file:
        picture.save(file, format="png")
        return file.getvalue()
