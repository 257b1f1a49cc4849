"""One way through a network for images of any size: blocks equal the whole and are bounded, tiles fade."""

import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import hourglass as hg
from hourglass.estimators import pieces
from hourglass.estimators.pieces import apply_in_pieces, apply_in_tiles
from hourglass.imagefiles import ImageRestorer
from hourglass.runtime import tricks
from hourglass.runtime.hardware import give_memory_back, keep_freed_memory


def pyramid(stride, radius):
    """A function with this stride and radius: each grid cell's mean, doubled back, and sums over neighbours.

    Like a convolution it sees zeros beyond the image, and like pooling a grid that begins at the image's corner.
    """

    def apply(images):
        height, width = images.shape[2:]
        below, right = -height % stride, -width % stride
        cells = F.avg_pool2d(F.pad(images, (0, right, 0, below)), stride)
        cells = cells.repeat_interleave(stride, 2).repeat_interleave(stride, 3)[..., :height, :width]
        reach = radius - (stride - 1)  # a cell reaches as far as its farthest pixel
        kernel = torch.arange(1.0, (2 * reach + 1) ** 2 + 1, dtype=images.dtype).view(1, 1, 2 * reach + 1, -1)
        return F.conv2d(cells + images, kernel / kernel.sum(), padding=reach)

    return apply


@settings(deadline=None, max_examples=150)
@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(1, 2), st.integers(1, 5), st.integers(0, 6),
    st.integers(1, 3000), st.booleans(),
)  # fmt: skip
def test_blocks_equal_the_whole_whatever_the_sizes(height, width, n, stride, reach, block, logistic):
    radius = stride - 1 + reach
    images = torch.rand(n, 1, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    function = pyramid(stride, radius)
    activation = torch.sigmoid if logistic else None
    found = apply_in_pieces(
        function, images, (height, width), activation=activation, halo=(stride, radius), block=block
    )
    whole = function(images).sigmoid() if logistic else function(images)
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=150)
@given(st.integers(1, 400), st.integers(1, 9000), st.integers(1, 8), st.integers(0, 30), st.integers(1, 20_000))
def test_blocks_are_bounded_whatever_the_width(height, width, stride, radius, block):
    if width % 2:  # tall ones too
        height, width = width, height
    seen, lock = [], threading.Lock()

    def function(images):
        with lock:
            seen.append(tuple(images.shape))
        return images

    images = torch.zeros(1, 1, height, width)
    apply_in_pieces(function, images, (height, width), halo=(stride, radius), block=block)
    margin = -(-radius // stride) * stride
    most = max(block, (6 * margin) ** 2, (3 * stride) ** 2)
    assert all(shape[:2] == (1, 1) and shape[2] * shape[3] <= most for shape in seen)


@pytest.mark.parametrize(
    ("tell_allocator", "most"), [(keep_freed_memory, pieces.BLOCK), (give_memory_back, pieces.SMALL_BLOCK)]
)
def test_a_network_has_bounded_blocks_in_both_directions(tell_allocator, most, few):
    ae = hg.ConvAutoencoder(channels=(2, 2), n_steps=2, random_state=0).fit(few.train.images)
    tell_allocator()
    seen = []
    ae.network_.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    ae.reconstruct(np.zeros((1, 60, 40_000), np.float32))
    ae.reconstruct(np.zeros((1, 3000, 3000), np.float32))
    assert max(height * width for _, _, height, width in seen) <= most
    assert max(width for *_, width in seen) < 40_000
    assert max(height for _, _, height, _ in seen) < 3000


def test_blocks_are_computed_by_as_many_threads_as_pytorch_has(monkeypatch):
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    meeting = threading.Barrier(3, timeout=30)  # passed only if three blocks are computed at once
    met = set()

    def function(images):
        if threading.get_ident() not in met:
            met.add(threading.get_ident())
            meeting.wait()
        return images * 2

    try:
        images = torch.rand(1, 1, 64, 200)
        found = apply_in_pieces(function, images, (64, 200), halo=(4, 3), block=600)
        assert torch.equal(found, images * 2)
        assert len(met) == 3
    finally:
        torch.set_num_threads(threads)


def test_without_the_trick_an_image_is_one_piece():
    seen = []

    def function(images):
        seen.append(tuple(images.shape))
        return images

    with tricks.without("pieces"):
        apply_in_pieces(function, torch.zeros(1, 1, 64, 200), (64, 200), halo=(4, 3), block=600)
    assert seen == [(1, 1, 64, 200)]


@pytest.mark.parametrize("skip", [False, True])
def test_the_size_of_blocks_does_not_change_a_result(few, skip, monkeypatch):
    ae = hg.ConvAutoencoder(channels=(4, 8), skip=skip, n_steps=20, random_state=0).fit(few.train.images)
    pixels = np.random.default_rng(0).random((301, 214, 1), dtype=np.float32)
    whole = ImageRestorer(ae)(pixels)
    for block in (1, 10_000, 30_000):
        monkeypatch.setattr(apply_in_pieces, "__kwdefaults__", apply_in_pieces.__kwdefaults__ | {"block": block})
        np.testing.assert_allclose(ImageRestorer(ae)(pixels), whole, rtol=0, atol=2e-6)


@settings(deadline=None, max_examples=100)
@given(
    st.integers(1, 60), st.integers(1, 60), st.integers(1, 3), st.integers(1, 20), st.integers(1, 20),
    st.floats(0, 1), st.floats(0, 1),
)  # fmt: skip
def test_tiles_of_a_function_of_single_pixels_equal_the_whole(height, width, channels, tall, wide, down, across):
    image = np.random.default_rng(0).random((height, width, channels), dtype=np.float32)
    shapes = set()

    def function(tiles):
        shapes.add(tiles.shape[1:])
        return tiles * 3 + 1

    overlap = round(down * -(-tall // 2)), round(across * -(-wide // 2))
    found = apply_in_tiles(function, image, (tall, wide), overlap)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, image * 3 + 1, rtol=0, atol=2e-6)
    assert shapes == {(tall, wide, channels)}


def test_tiles_go_through_the_network_together(monkeypatch):
    monkeypatch.setattr(pieces, "_TILES", 5 * 8 * 8)
    counts = []

    def function(tiles):
        counts.append(len(tiles))
        return tiles

    apply_in_tiles(function, np.zeros((32, 24, 1), np.float32), (8, 8), (4, 4))
    assert counts == [5] * 7  # 7 × 5 tiles


def test_a_tile_fades_into_the_next():
    brightness = iter([0.0, 1.0])

    def function(tiles):
        return np.stack([np.full_like(tile, next(brightness)) for tile in tiles])

    row = apply_in_tiles(function, np.zeros((1, 15, 1), np.float32), (1, 10), (0, 5))[0, :, 0]
    np.testing.assert_allclose(row, [0] * 5 + [i / 6 for i in range(1, 6)] + [1] * 5, atol=1e-6)


def test_normalisation_by_image_sees_tiles_of_large_images(few):
    ae = hg.ConvAutoencoder(channels=(4,), norm="layer", n_steps=3, random_state=0).fit(few.train.images)
    image = np.random.default_rng(0).random((20, 700, 1), dtype=np.float32)
    seen = []
    ae.network_.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[2:]))
    found = ImageRestorer(ae)(image)
    assert set(seen) == {(20, 512)}
    np.testing.assert_allclose(found[:, :150], ae.reconstruct(image[None, :, :512])[0, :, :150], atol=1e-6)
    np.testing.assert_array_equal(found, ae.reconstruct(image[None])[0])
    finer = ae.reconstruct(image[None].astype(np.float64))
    assert finer.dtype == np.float64
    np.testing.assert_allclose(found, finer[0], atol=1e-5)
    seen.clear()
    ImageRestorer(ae)(image[:, :512])
    assert seen == [(20, 512)]
