"""Random crops of photographs: drawn by detail, at several scales, turned and mirrored, on any device."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

Pixels = NDArray[Any]
SCALES = (1.0, 0.84, 0.71, 0.59, 0.5)
GRID = 8  # one possible centre of a crop in each square of so many pixels
DETAIL_FLOOR = 0.01  # of the range: the weight of a flat region, beside its mean gradient
LUMINANCE = (0.299, 0.587, 0.114)


def read_photographs(folder: Path) -> dict[str, Pixels]:
    """Read every image below a folder as colour.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of JPEG and PNG files.

    Returns
    -------
    dict of str to numpy.ndarray of shape (h, w, 3) and dtype uint8
        Images by file name, in the order of the names.
    """
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png"})
    return {path.name: np.asarray(Image.open(path).convert("RGB")) for path in paths}


class Crops:
    """All images at several scales in one array of pixels, and crops of it by index.

    Parameters
    ----------
    groups : sequence of (float, sequence of numpy.ndarray)
        Groups of images ``(h, w, 3)`` of bytes, and the share of the crops that each group gets.
    channels : {1, 3}
        1 turns the images into grey ones.
    largest : int
        Largest side of a crop; an image whose shorter side is below it, at a scale, is left out at that scale.
    device : str or torch.device
        Where the pixels and the crops are.
    """

    def __init__(
        self,
        groups: Sequence[tuple[float, Sequence[Pixels]]],
        channels: int,
        largest: int,
        device: str | torch.device,
    ) -> None:
        self.device, self.channels = device, channels
        pixels: list[Pixels] = []
        sizes: list[tuple[int, int]] = []
        points: list[Pixels] = []
        weights: list[Pixels] = []
        for share, images in groups:
            of_group: list[Pixels] = []
            for scaled in (s for image in images for s in _pyramid(image, channels, largest)):
                rows, columns, detail = _detail(scaled)
                points.append(np.stack([np.full(rows.size, len(sizes)), rows, columns], 1))
                of_group.append(detail)
                sizes.append(scaled.shape[:2])
                pixels.append(scaled.reshape(-1, channels))
            joined = np.concatenate(of_group)
            weights.append(share * joined / joined.sum())
        lengths = [h * w for h, w in sizes]
        self.pixels = torch.from_numpy(np.concatenate(pixels)).to(device)
        self.first = torch.tensor(np.concatenate([[0], np.cumsum(lengths)[:-1]]), device=device)
        self.sizes = torch.tensor(sizes, device=device)
        self.points = torch.from_numpy(np.concatenate(points)).to(device)
        cumulated = np.cumsum(np.concatenate(weights))
        self.cumulated = torch.from_numpy((cumulated / cumulated[-1]).astype(np.float32)).to(device)

    def draw(self, count: int, side: int) -> Tensor:
        """Draw crops by chance, with torch's generator.

        Parameters
        ----------
        count : int
            How many crops.
        side : int
            Their height and width.

        Returns
        -------
        torch.Tensor of shape (count, channels, side, side) and dtype float32
            Crops in [0, 1], channels last in memory.
        """
        which = torch.searchsorted(self.cumulated, torch.rand(count, device=self.device)).clamp(
            max=len(self.points) - 1
        )
        image, row, column = self.points[which].unbind(1)
        height, width = self.sizes[image].unbind(1)
        shift = torch.randint(0, GRID, (2, count), device=self.device) - side // 2
        top = torch.minimum((row + shift[0]).clamp(min=0), height - side)
        left = torch.minimum((column + shift[1]).clamp(min=0), width - side)
        y, x = torch.meshgrid(*[torch.arange(side, device=self.device)] * 2, indexing="ij")
        upside_down, mirrored, transposed = (torch.rand(3, count, 1, 1, device=self.device) < 0.5).unbind(0)
        y, x = torch.where(transposed, x, y), torch.where(transposed, y, x)
        y, x = torch.where(upside_down, side - 1 - y, y), torch.where(mirrored, side - 1 - x, x)
        rows, columns = top.view(-1, 1, 1) + y, left.view(-1, 1, 1) + x
        index = self.first[image].view(-1, 1, 1) + rows * width.view(-1, 1, 1) + columns
        return self.pixels[index].permute(0, 3, 1, 2).float() / 255


def _pyramid(image: Pixels, channels: int, largest: int) -> list[Pixels]:
    picture = Image.fromarray(image)
    scaled = []
    for scale in SCALES:
        size = (round(picture.width * scale), round(picture.height * scale))
        if min(size) >= largest:
            pixels = np.asarray(picture.resize(size, Image.Resampling.LANCZOS) if scale < 1 else picture)
            if channels == 1:
                pixels = np.rint(pixels @ np.array(LUMINANCE)).astype(np.uint8)[..., None]
            scaled.append(pixels)
    return scaled


def _detail(image: Pixels) -> tuple[Pixels, Pixels, Pixels]:
    """Centres of possible crops, and by what weight each is drawn: the mean gradient around it, and a floor."""
    grey = image.astype(np.float32).mean(2) / 255
    gradient = np.abs(np.diff(grey, axis=0))[:, :-1] + np.abs(np.diff(grey, axis=1))[:-1]
    rows, columns = gradient.shape[0] // GRID, gradient.shape[1] // GRID
    blocks = gradient[: rows * GRID, : columns * GRID].reshape(rows, GRID, columns, GRID).mean((1, 3))
    padded = np.pad(blocks, 2, mode="edge")
    around = np.mean([padded[i : i + rows, j : j + columns] for i in range(5) for j in range(5)], 0)
    row, column = np.meshgrid(np.arange(rows) * GRID, np.arange(columns) * GRID, indexing="ij")
    return row.ravel(), column.ravel(), np.minimum(around, 0.15).ravel() + DETAIL_FLOOR
