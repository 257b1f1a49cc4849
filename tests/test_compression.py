"""Quantised codes against their definition, and files against what Pillow itself writes."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA

import hourglass as hg
from hourglass.experiments.compression import FORMATS, LOSSLESS, compress_codes, compress_files
from hourglass.experiments.quantisation import CodeQuantiser, pack, unpack

RNG = np.random.default_rng(0)
TRAIN, TEST = (images[:300] for images in (hg.load("sample").train.images, hg.load("sample").test.images))


class Pixels:
    """A coder whose code is the image."""

    def transform(self, X):
        return X

    def inverse_transform(self, X):
        return X


@pytest.mark.parametrize("bits", range(1, 9))
def test_levels_are_packed_without_gaps(bits):
    levels = RNG.integers(0, 2**bits, 77).astype(np.uint8)
    packed = pack(levels, bits)
    assert len(packed) == -(-77 * bits // 8)
    digits = "".join(f"{level:0{bits}b}" for level in levels)
    assert "".join(f"{byte:08b}" for byte in packed).startswith(digits)
    np.testing.assert_array_equal(unpack(packed, bits, 77), levels)


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_a_quantised_number_is_wrong_by_at_most_half_a_step(bits):
    codes = RNG.normal(size=(50, 6)).astype(np.float32)
    quantiser = CodeQuantiser.fit(codes, bits)
    levels = quantiser.quantise(codes)
    assert levels.dtype == np.uint8
    assert levels.min() == 0
    assert levels.max() == 2**bits - 1
    np.testing.assert_allclose(quantiser.step, (codes.max(0) - codes.min(0)) / (2**bits - 1), rtol=1e-5)
    assert (np.abs(quantiser.restore(levels) - codes) <= quantiser.step / 2 + 1e-5).all()


def test_values_outside_the_range_become_its_ends():
    quantiser = CodeQuantiser.fit(np.array([[0.0, 5.0], [2.0, 5.0]]), 4)
    levels = quantiser.quantise(np.array([[-7.0, 5.0], [9.0, 5.0]]))
    np.testing.assert_array_equal(levels, [[0, 0], [15, 0]])
    np.testing.assert_allclose(quantiser.restore(levels), [[0, 5], [2, 5]])


def test_a_zero_of_a_code_stays_zero():
    codes = np.maximum(RNG.normal(size=(40, 8)), 0).astype(np.float32)
    quantiser = CodeQuantiser.fit(codes, 3)
    assert (quantiser.restore(quantiser.quantise(codes))[codes == 0] == 0).all()


def test_numbers_of_a_map_share_a_range_whatever_the_size():
    codes = RNG.random((10, 3, 3, 2)).astype(np.float32) * [1, 100]
    quantiser = CodeQuantiser.fit(codes.reshape(10, -1), 8, maps=2)
    np.testing.assert_allclose(quantiser.high, codes.max((0, 1, 2)), rtol=1e-6)
    larger = RNG.random((2, 5, 7, 2)).astype(np.float32).clip(0.1, 0.9) * [1, 100]
    restored = quantiser.restore(quantiser.quantise(larger.reshape(2, -1))).reshape(larger.shape)
    assert (np.abs(restored - larger).max((0, 1, 2)) <= [1 / 400, 1 / 4]).all()
    with pytest.raises(ValueError, match="no multiple of 2"):
        quantiser.quantise(np.zeros((1, 3)))


@pytest.mark.parametrize("bits", [0, 9, 4.5])
def test_other_numbers_of_bits_are_refused(bits):
    with pytest.raises(ValueError, match="from 1 to 8"):
        CodeQuantiser.fit(np.zeros((2, 2)), bits)


def test_codes_of_another_form_are_refused():
    with pytest.raises(ValueError, match="one row of numbers"):
        CodeQuantiser.fit(np.zeros((0, 4)))
    with pytest.raises(ValueError, match="no multiple of 3"):
        CodeQuantiser.fit(np.zeros((2, 4)), maps=3)


def test_codes_are_decoded_from_the_bytes_that_are_counted():
    flat = TEST.reshape(len(TEST), -1)
    quantiser = CodeQuantiser(np.zeros(784, np.float32), np.ones(784, np.float32), 4)
    single = compress_codes(Pixels(), TEST, quantiser)
    levels = np.rint(flat * 15).astype(np.uint8)
    nibbles = levels[:, ::2] * 16 + levels[:, 1::2]
    sizes = [len(zlib.compress(row.tobytes(), 9)) for row in nibbles]
    assert single.bytes_per_image == pytest.approx(np.mean(sizes))
    assert single.bytes_per_image - single.payload_per_image == pytest.approx(6)
    np.testing.assert_allclose(single.decoded, (levels / 15).reshape(TEST.shape), atol=1e-6)
    assert single.psnr_db == pytest.approx(hg.metrics.psnr(TEST, single.decoded))
    assert single.ssim == pytest.approx(hg.metrics.ssim(TEST, single.decoded))
    together = compress_codes(Pixels(), TEST, quantiser, images_per_stream=100)
    assert together.bytes_per_image == pytest.approx(
        sum(len(zlib.compress(nibbles[i : i + 100].tobytes(), 9)) for i in (0, 100, 200)) / 300
    )
    np.testing.assert_array_equal(together.decoded, single.decoded)


def test_more_bits_are_larger_and_closer():
    pca = PCA(16).fit(TRAIN.reshape(len(TRAIN), -1))
    codes = pca.transform(TRAIN.reshape(len(TRAIN), -1))
    rows = [compress_codes(pca, TEST, CodeQuantiser.fit(codes, bits), images_per_stream=300) for bits in (2, 4, 8)]
    assert [row.bytes_per_image for row in rows] == sorted(row.bytes_per_image for row in rows)
    assert rows[0].psnr_db < rows[1].psnr_db < rows[2].psnr_db
    exact = pca.inverse_transform(pca.transform(TEST.reshape(300, -1))).reshape(TEST.shape).clip(0, 1)
    assert rows[2].psnr_db == pytest.approx(hg.metrics.psnr(TEST, exact), abs=0.1)
    assert rows[2].bytes_per_image < 16 + 1


def test_a_convolutional_autoencoder_is_a_coder():
    network = hg.ConvAutoencoder(channels=(4, 2), loss="bce", n_steps=5, random_state=0).fit(TRAIN)
    quantiser = CodeQuantiser.fit(network.transform(TRAIN), 8, maps=2)
    row = compress_codes(network, TEST[:20], quantiser)
    assert row.decoded.shape == (20, 28, 28, 1)
    assert np.abs(row.decoded - network.reconstruct(TEST[:20])).max() < 0.05


@pytest.mark.parametrize("image_format", LOSSLESS)
@pytest.mark.parametrize("together", [1, 4, 7, 16])
def test_lossless_files_give_the_images_back(image_format, together):
    row = compress_files(TEST[:7], image_format, images_per_file=together)
    np.testing.assert_array_equal(row.decoded, TEST[:7])
    assert row.psnr_db == np.inf
    assert row.ssim == pytest.approx(1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("image_format", FORMATS)
def test_sizes_are_those_of_pillows_files(image_format, channels):
    images = np.repeat(TEST[:5], channels, axis=3)
    quality = {} if image_format in LOSSLESS else {"quality": 40}
    row = compress_files(images, image_format, **quality)
    sizes = []
    for image in images:
        with io.BytesIO() as file:
            picture = Image.fromarray(np.rint(image * 255).astype(np.uint8).squeeze())
            picture.save(file, image_format, **quality, **FORMATS[image_format])
            sizes.append(len(file.getvalue()))
    assert row.bytes_per_image == pytest.approx(np.mean(sizes))
    assert 0 < row.payload_per_image < row.bytes_per_image
    assert row.decoded.shape == images.shape
    assert row.psnr_db > 15


@pytest.mark.parametrize("image_format", sorted(set(FORMATS) - set(LOSSLESS)))
def test_a_higher_quality_is_larger_and_closer(image_format):
    rows = [compress_files(TEST[:100], image_format, quality, images_per_file=100) for quality in (10, 50, 90)]
    assert rows[0].bytes_per_image < rows[1].bytes_per_image < rows[2].bytes_per_image
    assert rows[0].psnr_db < rows[1].psnr_db < rows[2].psnr_db
    alone = compress_files(TEST[:100], image_format, 50)
    assert alone.bytes_per_image > 1.5 * rows[1].bytes_per_image  # headers


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_constant_image_is_all_header(image_format):
    row = compress_files(np.full((1, 16, 16, 1), 128 / 255, np.float32), image_format)
    assert row.payload_per_image < 8


def test_wrong_calls_are_refused():
    with pytest.raises(ValueError, match="choose one of JPEG, WebP, PNG"):
        compress_files(TEST[:2], "TIFF")
    with pytest.raises(ValueError, match="lossless"):
        compress_files(TEST[:2], "PNG", 50)
    for images, together in ((TEST[:2], 0), (TEST[:0], 1)):
        with pytest.raises(ValueError, match="at least one"):
            compress_codes(Pixels(), images, CodeQuantiser.fit(np.zeros((2, 784))), images_per_stream=together)
        with pytest.raises(ValueError, match="at least one"):
            compress_files(images, "PNG", images_per_file=together)
