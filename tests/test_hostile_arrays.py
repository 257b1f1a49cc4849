"""Broken and hostile arrays, and the files that arrays of digits come in."""

import re
import struct

import numpy as np
import pytest

import hourglass as hg

GOOD = np.linspace(0, 1, 6 * 81, dtype=np.float32).reshape(6, 9, 9)
ARRAYS = [
    (np.full((6, 9, 9), np.nan), "NaN"),
    (np.where(GOOD > 0.5, np.inf, GOOD), "infinity"),
    (np.zeros((0, 9, 9)), r"holds no pixels|0 sample|minimum of 1"),
    (np.zeros((6, 0, 9)), "holds no pixels|0 feature"),
    (np.array([["a"] * 81] * 6, dtype=object), "could not convert|real numbers|dtype"),
    (GOOD.astype(np.complex64).reshape(6, 81), "[Cc]omplex"),
    (np.zeros(9), "Expected 2D|expected images|Reshape"),
    (np.zeros((2, 3, 4, 5, 6)), "expected images"),
    (GOOD * 2, r"spans \[0, 2\], but loss='bce' needs \[0, 1\]"),
    (GOOD - 1, "needs"),
]


@pytest.mark.parametrize(("array", "said"), ARRAYS)
@pytest.mark.parametrize("make", [hg.DenseAutoencoder, hg.ConvAutoencoder])
def test_arrays_that_nothing_can_be_learnt_from_are_refused(make, array, said):
    estimator = make(loss="bce", n_steps=1, random_state=0)
    with pytest.raises((ValueError, TypeError), match=said):
        estimator.fit(array)
    assert not hasattr(estimator, "network_")


@pytest.mark.parametrize(("array", "said"), [*ARRAYS[:8], (np.zeros((6, 9, 10)), "shape")])
@pytest.mark.parametrize("method", ["transform", "reconstruct", "score"])
def test_arrays_that_do_not_fit_are_refused_after_training(method, array, said):
    dense = hg.DenseAutoencoder(n_steps=1, random_state=0).fit(GOOD)
    with pytest.raises((ValueError, TypeError), match=f"{said}|shape"):
        getattr(dense, method)(array)


def test_no_codes_give_no_images():
    dense = hg.DenseAutoencoder(code_size=3, n_steps=1, random_state=0).fit(GOOD)
    assert dense.inverse_transform(np.zeros((0, 3), np.float32)).shape == (0, 9, 9, 1)


def test_one_image_is_enough_for_an_autoencoder_and_one_class_not_for_a_classifier():
    one = hg.ConvAutoencoder(n_steps=2, random_state=0).fit(GOOD[:1])
    assert one.reconstruct(GOOD[:1]).shape == (1, 9, 9)
    with pytest.raises(ValueError, match="one class only"):
        hg.ConvClassifier(n_steps=1).fit(GOOD, np.zeros(6))
    with pytest.raises(ValueError, match=r"features|shape"):
        hg.DenseAutoencoder(n_steps=1).fit(GOOD.reshape(6, 81)).transform(np.zeros((2, 90)))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda content: content[: len(content) // 2], "short|cut|truncated|holds"),
        (lambda content: b"", "0 bytes are no IDX file"),
        (lambda content: b"\x89PNG" + content[4:], "wrong magic number"),
        (lambda content: content[:4] + b"\xff" * 12 + content[16:], "promises|more|short|holds|header"),
    ],
)
def test_broken_idx_files_are_one_line(harm, said, hourglass, tmp_path, sample):
    folder = tmp_path / "mnist"
    folder.mkdir()
    pixels = np.round(sample.test.images[:20, ..., 0] * 255).astype(np.uint8)
    labels = np.asarray(sample.test.labels[:20], dtype=np.uint8)
    for part in ("train", "t10k"):
        images = struct.pack(">HBB3I", 0, 8, 3, *pixels.shape) + pixels.tobytes()
        (folder / f"{part}-images-idx3-ubyte").write_bytes(harm(images) if part == "train" else images)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">HBBI", 0, 8, 1, 20) + labels.tobytes())
    code, _, err = hourglass("run", "dense", "--dataset", "mnist", "--data-dir", tmp_path, "--out", tmp_path / "out")
    assert (code, err.count("\n")) == (1, 1)
    assert re.search(said, err), err
    assert not (tmp_path / "out").exists()
