"""Sizes of the blocks in which a Zarr stores images."""

import math
from dataclasses import dataclass

# Bytes of a block. Each block is one shard, and each shard is one file or one object. This size is large enough for
# object stores, and small enough for many blocks in memory.
BLOCK_BYTES = 4 << 20
# Bytes of a chunk. Other programs can read one chunk of a shard alone.
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class BlockSize:
    """Number of images in a block and in each of its chunks.

    Parameters
    ----------
    block : int
        Images in a block, a multiple of ``chunk``.
    chunk : int
        Images in a chunk, from 1.
    """

    block: int
    chunk: int

    @classmethod
    def of(cls, image_bytes: int, count: int, block_bytes: int = BLOCK_BYTES) -> "BlockSize":
        """Choose the sizes for some images.

        Parameters
        ----------
        image_bytes : int
            Bytes of one image, from 1.
        count : int
            Number of all images, from 1.
        block_bytes : int, default=4194304
            Bytes of a block at most, unless one image has more.

        Returns
        -------
        BlockSize
            The sizes.
        """
        block = min(count, max(1, block_bytes // image_bytes))
        chunk = min(block, max(1, CHUNK_BYTES // image_bytes))
        return cls(block // chunk * chunk, chunk)

    def blocks(self, count: int) -> int:
        """Count the blocks of some images.

        Parameters
        ----------
        count : int
            Number of all images.

        Returns
        -------
        int
            Number of blocks; the last one may have fewer images than the others.
        """
        return math.ceil(count / self.block)
