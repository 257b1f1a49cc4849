"""Shapes of images, maps and rows: checks, and the order in which TensorFlow lays them out."""

from numbers import Integral

from torch import Tensor

from hourglass.runtime.internals import has_values, shape_of


def check_channels(x: Tensor, channels: int | None = None) -> tuple[int, int]:
    """Height and width of maps ``(n, channels, h, w)``; ValueError for another shape, as of one image alone."""
    shape = shape_of(x)
    if has_values(x) and (len(shape) != 4 or channels not in (None, shape[1])):
        wanted = "channels" if channels is None else channels
        raise ValueError(f"x has shape {tuple(shape)}; expected (n, {wanted}, height, width)")
    return shape[2], shape[3]


def check_images(images: Tensor, image_shape: tuple[int, int, int]) -> None:
    """Raise ValueError unless images are ``(n, c, h, w)`` for ``image_shape = (h, w, c)``."""
    if not has_values(images):
        return
    height, width, channels = image_shape
    shape = shape_of(images)
    if len(shape) != 4 or tuple(shape[1:]) != (channels, height, width):
        hint = "; channels come before height and width" if tuple(shape[1:]) == tuple(image_shape) else ""
        raise ValueError(f"images have shape {tuple(shape)}; expected (n, {channels}, {height}, {width}){hint}")


def check_counts(**counts: int) -> None:
    """Raise ValueError unless each argument is a whole number, 1 or more."""
    for name, count in counts.items():
        if not isinstance(count, Integral) or isinstance(count, bool) or count < 1:
            raise ValueError(f"{name}={count!r}; expected a whole number, 1 or more")


def to_height_width_channel(x: Tensor) -> Tensor:
    """Flatten ``(n, c, h, w)`` to ``(n, h·w·c)``, channels varying fastest, as TensorFlow lays images out."""
    return x.permute(0, 2, 3, 1).flatten(1)


def from_height_width_channel(x: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Undo :func:`to_height_width_channel`: ``(n, h·w·c)`` to ``(n, c, h, w)`` for ``shape = (h, w, c)``."""
    return x.reshape(-1, *shape).permute(0, 3, 1, 2)
