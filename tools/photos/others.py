"""Twenty images that are no photographs: drawn by code, or among scikit-image's own; some are noisy as they are."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import skimage.data
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Bytes = NDArray[np.uint8]
_WORDS = ("a", "scan", "of", "text", "has", "letters", "and", "12,345", "numbers", "on", "white", "paper", "lines")
_HEIGHT, _WIDTH = 400, 600


def text(size: int, *, colour: bool = False) -> Bytes:
    """A page of words in one size of letters."""
    random = np.random.default_rng(size)
    image = Image.new("RGB" if colour else "L", (_WIDTH, _HEIGHT), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    for y in range(4, _HEIGHT - size, size + 5):
        x = 6.0
        while x < _WIDTH - 60:
            word = _WORDS[random.integers(len(_WORDS))]
            ink = tuple(random.integers(0, 150, 3).tolist()) if colour else 0
            draw.text((x, y), word, fill=ink, font=font)
            x += draw.textlength(word + " ", font=font)
    return np.asarray(image)


def chart() -> Bytes:
    """Lines, bars and a legend."""
    random = np.random.default_rng(1)
    figure = Figure(figsize=(7, 4), dpi=80)
    canvas: Any = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.plot(random.normal(size=(50, 4)).cumsum(0))
    left.legend("abcd")
    right.bar(range(8), random.random(8), color=[*"rgbcmyk", "orange"])
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def screenshot() -> Bytes:
    """A window with a list and lines of code."""
    random = np.random.default_rng(2)
    image = Image.new("RGB", (_WIDTH, _HEIGHT), (240, 240, 245))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(12)
    draw.rectangle((0, 0, _WIDTH, 28), fill=(45, 60, 90))
    draw.text((8, 8), "File  Edit  View  Help", font=font, fill="white")
    for i in range(12):
        box = (8, 40 + 28 * i, 170, 62 + 28 * i)
        draw.rectangle(box, fill=(255, 255, 255) if i % 2 else (225, 232, 245), outline=(200, 200, 210))
        draw.text((14, box[1] + 5), f"item {i} of the list", font=font, fill=(20, 20, 20))
    for i in range(22):
        ink = tuple(random.integers(0, 160, 3).tolist())
        draw.text((190, 40 + 16 * i), f"def f{i}(x): return x ** {i} + 'abc'", font=font, fill=ink)
    return np.asarray(image)


def pixel_art() -> Bytes:
    """A figure of 24 × 24 blocks in seven colours, each block of 8 × 8 pixels."""
    random = np.random.default_rng(3)
    half = random.integers(1, 7, (24, 12)) * (random.random((24, 12)) < 0.6)
    palette = random.integers(0, 256, (7, 3))
    palette[0] = (20, 20, 30)
    blocks = palette[np.concatenate([half, half[:, ::-1]], 1)].astype(np.uint8)
    return np.kron(blocks, np.ones((8, 8, 1), np.uint8))


def line_drawing() -> Bytes:
    """Circles and lines of one pixel, as a plan has them."""
    image = Image.new("L", (_WIDTH, _HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    for i in range(12):
        draw.ellipse((40 + 20 * i, 30 + 10 * i, 240 + 20 * i, 230 + 10 * i), outline=0)
        draw.line((10, 10 + 33 * i, 590, 390 - 20 * i), fill=60)
    return np.asarray(image)


def map_() -> Bytes:
    """Areas of even colour with borders, as on a map."""
    y, x = np.mgrid[:_HEIGHT, :_WIDTH]
    height = np.sin(x / 70) + np.cos(y / 50) + np.sin((x + 2 * y) / 130)
    areas = np.digitize(height, (-1.2, -0.4, 0.4, 1.2))
    colours = np.array([(70, 120, 190), (150, 190, 220), (230, 220, 160), (150, 190, 110), (120, 100, 70)])
    borders = (areas != np.roll(areas, 1, 0)) | (areas != np.roll(areas, 1, 1))
    painted: Bytes = np.where(borders[..., None], 30, colours[areas]).astype(np.uint8)
    return painted


def gradient(*, colour: bool) -> Bytes:
    """Grey from black to white, or three such ramps in other directions."""
    y, x = np.mgrid[:300, :400]
    ramps = [x / 399, y / 299, (x + y) / 698] if colour else [x / 399]
    painted: Bytes = np.rint(255 * np.stack(ramps, -1)).astype(np.uint8).squeeze()
    return painted


def noisy(image: Bytes, level: float) -> Bytes:
    """An image with normal noise of a level, clipped and rounded."""
    noise = np.random.default_rng(4).normal(0, 255 * level, image.shape)
    result: Bytes = np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
    return result


def chessboard() -> Bytes:
    """Squares of 16 × 16 pixels."""
    y, x = np.mgrid[:256, :256]
    painted: Bytes = ((x // 16 + y // 16) % 2 * 255).astype(np.uint8)
    return painted


def scientific(name: str) -> Callable[[], Bytes]:
    """One of scikit-image's images, as bytes."""

    def load() -> Bytes:
        image: Any = getattr(skimage.data, name)()
        return np.rint(255 * image).astype(np.uint8) if image.dtype.kind in "fb" else np.asarray(image)

    return load


@cache
def others() -> dict[str, tuple[Bytes, Bytes]]:
    """Each image as it is given and as it should be, by name: those that are clean are given without noise.

    Returns
    -------
    dict of str to pair of ndarray of shape (h, w) or (h, w, 3), uint8
        Given and wanted image.
    """
    clean = {
        "text, 14 pixels": text(14),
        "text, 9 pixels": text(9),
        "text in colours": text(13, colour=True),
        "scanned page": scientific("page")(),
        "chart": chart(),
        "screenshot": screenshot(),
        "pixel art": pixel_art(),
        "line drawing": line_drawing(),
        "map": map_(),
        "black": np.zeros((200, 300), np.uint8),
        "white": np.full((200, 300), 255, np.uint8),
        "grey ramp": gradient(colour=False),
        "colour ramps": gradient(colour=True),
        "chessboard": chessboard(),
        "X-ray phantom": scientific("shepp_logan_phantom")(),
        "microscope, cell": scientific("cell")(),
        "microscope, tissue": scientific("immunohistochemistry")(),
    }
    with_noise = {
        "screenshot, noisy": ("screenshot", 15 / 255),
        "X-ray phantom, noisy": ("X-ray phantom", 25 / 255),
        "microscope, cell, noisy": ("microscope, cell", 25 / 255),
    }
    found = {name: (image, image) for name, image in clean.items()}
    return found | {name: (noisy(clean[of], level), clean[of]) for name, (of, level) in with_noise.items()}
