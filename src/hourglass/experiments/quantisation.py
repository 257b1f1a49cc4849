"""Quantised codes: whole numbers of a few bits in place of floating-point numbers, and their bytes."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Levels = NDArray[np.uint8]


@dataclass(frozen=True)
class CodeQuantiser:
    """Uniform quantiser: whole numbers of a few bits for the numbers of a code.

    Use :meth:`fit` to make one from the codes of training images.

    Parameters
    ----------
    low, high : ndarray of shape (k,), float32
        Values of the lowest and of the highest level. Number ``i`` of a code uses entry ``i % k``: ``k`` is the
        number of feature maps, or the length of a code.
    bits : int from 1 to 8
        Bits of a number, which has ``2 ** bits`` levels.

    Raises
    ------
    ValueError
        When ``bits`` is not a whole number from 1 to 8.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    bits: int

    def __post_init__(self) -> None:
        if self.bits not in range(1, 9):
            raise ValueError(f"bits={self.bits!r}; expected a whole number from 1 to 8")

    @classmethod
    def fit(cls, codes: NDArray[Any], bits: int = 8, *, maps: int | None = None) -> Self:
        """Find the range of each number of a code, or of each feature map.

        Parameters
        ----------
        codes : ndarray of shape (n, code_size)
            Codes of training images; those of a convolutional autoencoder are flattened in the order height, width,
            channel, as its ``transform`` returns them.
        bits : int from 1 to 8, default=8
            Bits of a quantised number.
        maps : int, optional
            Number of feature maps. All numbers of a map then share one range, so that codes of images of another size
            can be quantised too. By default each number has its own range.

        Returns
        -------
        CodeQuantiser
            Quantiser from the smallest to the largest value of each range.

        Raises
        ------
        ValueError
            When ``bits`` is not a whole number from 1 to 8, there are no codes, or the length of a code is no multiple
            of ``maps``.
        """
        codes = np.asarray(codes, dtype=np.float32)
        if codes.ndim != 2 or not codes.size:
            raise ValueError(f"codes have shape {codes.shape}; expected one row of numbers for each training image")
        rows = _rows(codes, codes.shape[1] if maps is None else maps)
        return cls(rows.min(0), rows.max(0), bits)

    @property
    def step(self) -> NDArray[np.float32]:
        """Distance between neighbouring levels, of shape (k,); 1 for a range of one value."""
        width = self.high - self.low
        return np.where(width > 0, width / np.float32(2**self.bits - 1), np.float32(1))

    def quantise(self, codes: NDArray[Any]) -> Levels:
        """Round each number of a code to the nearest level.

        Parameters
        ----------
        codes : ndarray of shape (n, code_size)
            Codes. Values outside the range become its lowest or highest level.

        Returns
        -------
        ndarray of shape (n, code_size), uint8
            Levels, from 0 to ``2 ** bits - 1``.

        Raises
        ------
        ValueError
            When the length of a code is no multiple of the number of ranges.
        """
        codes = np.asarray(codes, dtype=np.float32)
        levels = np.rint((_rows(codes, len(self.low)) - self.low) / self.step)
        rounded: Levels = levels.clip(0, 2**self.bits - 1).astype(np.uint8).reshape(codes.shape)
        return rounded

    def restore(self, levels: Levels) -> NDArray[np.float32]:
        """Return the values of levels.

        Parameters
        ----------
        levels : ndarray of shape (n, code_size), uint8
            Levels, as :meth:`quantise` returns them.

        Returns
        -------
        ndarray of shape (n, code_size), float32
            Codes. Within its range, a number differs from the original by at most half a step.

        Raises
        ------
        ValueError
            When the length of a code is no multiple of the number of ranges.
        """
        values = self.low + _rows(levels, len(self.low)) * self.step
        return values.astype(np.float32).reshape(levels.shape)


def pack(levels: Levels, bits: int) -> bytes:
    """Write levels one behind the other, without gaps between their bits.

    Parameters
    ----------
    levels : ndarray of any shape, uint8
        Levels below ``2 ** bits``.
    bits : int from 1 to 8
        Bits of a level.

    Returns
    -------
    bytes
        ``ceil(levels.size * bits / 8)`` bytes; the last one is filled up with zeros.
    """
    return np.packbits(np.unpackbits(levels.reshape(-1, 1), axis=1)[:, 8 - bits :]).tobytes()


def unpack(packed: bytes, bits: int, count: int) -> Levels:
    """Read levels that :func:`pack` wrote.

    Parameters
    ----------
    packed : bytes
        Bytes of at least ``count`` levels.
    bits : int from 1 to 8
        Bits of a level.
    count : int
        Number of levels.

    Returns
    -------
    ndarray of shape (count,), uint8
        The levels.
    """
    planes = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=count * bits).reshape(count, bits)
    return np.packbits(np.pad(planes, ((0, 0), (8 - bits, 0))), axis=1)[:, 0]


def _rows(codes: NDArray[Any], ranges: int) -> NDArray[Any]:
    """Numbers of codes in rows of one number for each range."""
    if codes.shape[-1] % ranges:
        raise ValueError(f"codes have {codes.shape[-1]} numbers, which is no multiple of {ranges} ranges")
    return codes.reshape(-1, ranges)
