"""Images drawn by code, of what photographs of landscapes lack: text, line drawings, charts, regular textures."""

from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

SIDE = 512
LETTERS = "etaoinshrdlucmfwypvbgkjqxzETAOINSHRDLUCMFWYPVBGKJQXZ0123456789"
MARKS = ".,;:!?()-+=%&/'\""


def drawn_images(count: int, seed: int) -> list[NDArray[Any]]:
    """Draw images, each kind in turn.

    Parameters
    ----------
    count : int
        How many images.
    seed : int
        Seed of everything that is drawn by chance.

    Returns
    -------
    list of numpy.ndarray of shape (512, 512, 3) and dtype uint8
        The images.
    """
    rng = np.random.default_rng(seed)
    kinds = (page_of_text, line_drawing, shapes, stripes, weave, chart, blocks_of_pixels, halftone)
    return [_finish(kinds[i % len(kinds)](rng), i, rng) for i in range(count)]


def page_of_text(rng: np.random.Generator) -> Image.Image:
    """Lines of text of several sizes and fonts, on a page or on a dark screen."""
    image, draw, ink = _canvas(rng)
    y = 4
    while y < image.height:
        size = int(rng.choice([10, 12, 14, 18, 24, 36, 64]) * image.width / SIDE)
        font = _font(str(rng.choice(_fonts())), size)
        for _ in range(int(rng.integers(1, 6))):
            draw.text((int(rng.integers(0, 40)), y), _words(rng, image.width // max(1, size // 3)), fill=ink, font=font)
            y += int(size * 1.25)
    return image.rotate(float(rng.normal(0, 2)), Image.Resampling.BICUBIC, fillcolor=image.getpixel((0, 0)))


def line_drawing(rng: np.random.Generator) -> Image.Image:
    """Straight lines, arcs and curves of one to a few pixels."""
    image, draw, ink = _canvas(rng)
    for _ in range(int(rng.integers(30, 120))):
        width = int(rng.integers(1, 8))
        box = _box(rng, image.width)
        match rng.integers(4):
            case 0:
                draw.line(box, fill=ink, width=width)
            case 1:
                start, end = sorted(rng.uniform(0, 360, 2))
                draw.arc(box, start, end, fill=ink, width=width)
            case 2:
                draw.rectangle(box, outline=_colour(rng), width=width)
            case _:
                points = np.cumsum(rng.normal(0, 18, (40, 2)), 0) + rng.uniform(0, image.width, 2)
                draw.line([tuple(p) for p in points], fill=ink, width=width, joint="curve")
    return image


def shapes(rng: np.random.Generator) -> Image.Image:
    """Filled polygons and ellipses, some with a gradient."""
    image, draw, _ = _canvas(rng)
    for _ in range(int(rng.integers(10, 60))):
        match rng.integers(4):
            case 0:
                draw.ellipse(_box(rng, image.width), fill=_colour(rng))
            case 1:
                draw.rectangle(_box(rng, image.width), fill=_colour(rng))
            case 2:
                mask = Image.new("L", image.size)
                ImageDraw.Draw(mask).ellipse(_box(rng, image.width), fill=255)
                image.paste(_gradient(rng, image.width), mask=mask)
            case _:
                centre, points = (
                    rng.uniform(0, image.width, 2),
                    rng.normal(0, image.width / 8, (int(rng.integers(3, 8)), 2)),
                )
                draw.polygon([tuple(centre + p) for p in points], fill=_colour(rng))
    return image


def stripes(rng: np.random.Generator) -> Image.Image:
    """Patches of stripes and chequers, whose period changes slowly, as of cloth seen in perspective."""
    side = SIDE
    y, x = np.mgrid[:side, :side].astype(np.float64)
    picture = np.asarray(_gradient(rng, side), dtype=np.float64)
    for _ in range(int(rng.integers(4, 12))):
        angle, period = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(2.5), np.log(24)))
        bend = rng.normal(0, 12) * np.sin(2 * np.pi * (x * rng.normal() + y * rng.normal()) / side)
        wave = np.cos(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle) + bend) / period)
        if rng.random() < 0.3:
            wave = wave * np.cos(2 * np.pi * (y * np.cos(angle) - x * np.sin(angle) + bend) / period)
        wave = np.tanh(wave * rng.uniform(0.5, 4))[..., None]
        blend = 0.5 + 0.5 * wave
        cloth = blend * np.array(_colour(rng)) + (1 - blend) * np.array(_colour(rng))
        x0, y0, x1, y1 = _box(rng, side)
        picture[y0:y1, x0:x1] = cloth[y0:y1, x0:x1]
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def weave(rng: np.random.Generator) -> Image.Image:
    """A small random tile repeated, as of bricks, nets and cloth, under changing light."""
    side, tile = SIDE, int(rng.integers(4, 40))
    motif = (
        rng.integers(0, 256, (tile, tile, 3))
        if rng.random() < 0.5
        else np.repeat(rng.integers(0, 256, (tile, tile, 1)), 3, 2)
    )
    patch = Image.fromarray(motif.astype(np.uint8)).resize((tile * 4, tile * 4), Image.Resampling.BICUBIC)
    patch = patch.resize((tile, tile), Image.Resampling.LANCZOS)
    repeated = np.tile(np.asarray(patch), (2 * side // tile + 1, 2 * side // tile + 1, 1))[: 2 * side, : 2 * side]
    light = 0.3 + 0.7 * np.asarray(_gradient(rng, side).convert("L"), dtype=np.float64)[..., None] / 255
    turned = _turn(Image.fromarray(repeated), float(rng.uniform(0, 90)))
    return Image.fromarray((np.asarray(turned) * light).astype(np.uint8))


def chart(rng: np.random.Generator) -> Image.Image:
    """Bars, a curve, axes and labels."""
    image, draw, ink = _canvas(rng)
    side, font = image.width, _font(str(rng.choice(_fonts())), int(14 * image.width / SIDE))
    draw.line((40, 10, 40, side - 40, side - 10, side - 40), fill=ink, width=2)
    for i, x in enumerate(range(60, side - 60, side // 12)):
        top = int(rng.uniform(20, side - 60))
        draw.rectangle((x, top, x + side // 20, side - 41), fill=_colour(rng), outline=ink)
        draw.text((x, side - 34), str(i * 10), fill=ink, font=font)
    curve = [(x, side / 2 + side / 4 * np.sin(x / 40 + rng.normal(0, 0.1))) for x in range(40, side, 12)]
    draw.line(curve, fill=_colour(rng), width=3)
    return image


def blocks_of_pixels(rng: np.random.Generator) -> Image.Image:
    """Pixel art: a few colours in squares of whole pixels."""
    cells, palette = int(rng.choice([32, 64, 128])), np.array([_colour(rng) for _ in range(8)], dtype=np.uint8)
    coarse = rng.integers(0, 8, (cells // 4, cells // 4)).repeat(4, 0).repeat(4, 1)
    change = rng.random((cells, cells)) < 0.3
    numbers = np.where(change, rng.integers(0, 8, (cells, cells)), coarse)
    return Image.fromarray(palette[numbers]).resize((SIDE, SIDE), Image.Resampling.NEAREST)


def halftone(rng: np.random.Generator) -> Image.Image:
    """Dots on a grid whose size follows a gradient, as in print."""
    side, period = SIDE * 2, int(rng.integers(3, 16))
    tone = np.asarray(_gradient(rng, side).convert("L"), dtype=np.float64) / 255
    y, x = np.mgrid[:side, :side]
    screen = 0.25 * (2 + np.cos(2 * np.pi * x / period) + np.cos(2 * np.pi * y / period))
    dots = (tone > screen)[..., None]
    return _turn(
        Image.fromarray(np.where(dots, _colour(rng), _colour(rng)).astype(np.uint8)), float(rng.uniform(0, 45))
    )


def _finish(image: Image.Image, number: int, rng: np.random.Generator) -> NDArray[Any]:
    """Bring an image to its size, and most of them to colours as pale as those of photographs."""
    resized = image.convert("RGB").resize(
        (SIDE, SIDE), Image.Resampling.LANCZOS if number % 4 else Image.Resampling.BOX
    )
    grey = resized.convert("L").convert("RGB")
    return np.asarray(Image.blend(grey, resized, float(rng.choice([0.0, 0.2, 0.4, 1.0]))))


@cache
def _fonts() -> tuple[str, ...]:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return tuple(
        str(p) for p in sorted(folder.glob("*.ttf")) if "Sym" not in p.name and not p.name.startswith(("cm", "Last"))
    )


@cache
def _font(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


def _canvas(rng: np.random.Generator) -> tuple[Image.Image, ImageDraw.ImageDraw, tuple[int, int, int]]:
    """A page twice as large as the image, or as large; ink that differs from it."""
    side = SIDE * int(rng.choice([1, 2]))
    if rng.random() < 0.3:
        image, ink = _gradient(rng, side), _colour(rng)
    else:
        dark = rng.random() < 0.4
        low, high = ((0, 60), (150, 256)) if dark else ((200, 256), (0, 110))
        image = Image.new("RGB", (side, side), tuple(int(v) for v in rng.integers(*low, 3)))
        red, green, blue = (int(v) for v in rng.integers(*high, 3))
        ink = red, green, blue
    return image, ImageDraw.Draw(image), ink


def _gradient(rng: np.random.Generator, side: int) -> Image.Image:
    corners = rng.integers(0, 256, (2, 2, 3)).astype(np.uint8)
    return (
        Image.fromarray(corners)
        .resize((side * 2, side * 2), Image.Resampling.BICUBIC)
        .crop((side // 2, side // 2, side // 2 + side, side // 2 + side))
    )


def _turn(image: Image.Image, angle: float) -> Image.Image:
    """Turn an image, in degrees, and take the middle, which has no empty corners."""
    quarter = image.width // 4
    turned = image.rotate(angle, Image.Resampling.BICUBIC)
    return turned.crop((quarter, quarter, image.width - quarter, image.height - quarter))


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(v) for v in rng.integers(0, 256, 3))
    return red, green, blue


def _box(rng: np.random.Generator, side: int) -> tuple[int, int, int, int]:
    (x0, x1), (y0, y1) = np.sort(rng.integers(0, side, 2)), np.sort(rng.integers(0, side, 2))
    return int(x0), int(y0), int(max(x1, x0 + 8)), int(max(y1, y0 + 8))


def _words(rng: np.random.Generator, length: int) -> str:
    letters = rng.choice(list(LETTERS + " " * 12 + MARKS[:4]), max(4, length))
    return "".join(letters)
