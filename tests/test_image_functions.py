"""What the commands on image files call, as Python users call it."""

import numpy as np
import pytest
from PIL import Image

import hourglass as hg
from hourglass.errors import OptionError
from hourglass.imagefiles.codes import decode_images, encode_images
from hourglass.imagefiles.comparison import evaluate_images


@pytest.fixture
def digits(tmp_path, few):
    """Five digits as files."""
    folder = tmp_path / "digits"
    folder.mkdir()
    for i, image in enumerate(few.test.images[:5, ..., 0]):
        Image.fromarray(np.round(image * 255).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def compressing(few):
    return hg.DenseAutoencoder(code_size=3, n_steps=3, random_state=0).fit(few.train.images)


@pytest.fixture(scope="module")
def denoising(few):
    return hg.ConvAutoencoder(channels=(4,), noise=0.3, n_steps=3, random_state=0).fit(few.train.images)


def test_scores_by_method_and_image(digits, compressing, denoising):
    found = []
    scores = evaluate_images(compressing, digits, on_found=found.append)
    assert [len(each) for each in found] == [5]
    assert scores.keys() == {"model", "PCA (3)"}
    assert evaluate_images(compressing, digits, known=digits / "0.png").keys() == {"model"}
    noisy = {}
    for noise in (0.3, "0.3", hg.denoising.GaussianNoise(0.3), None):
        scores = evaluate_images(denoising, digits, noise=noise)
        assert list(scores)[:2] == ["noisy", "model"]
        noisy[str(noise)] = scores["noisy"]
    assert all(each == noisy["0.3"] for each in noisy.values())


def test_what_contradicts_is_refused_before_files_are_looked_for(compressing, denoising, tmp_path):
    with pytest.raises(OptionError, match="for models that compress"):
        evaluate_images(denoising, tmp_path / "nowhere", resizing=True)
    with pytest.raises(OptionError, match="'fog' is unknown"):
        evaluate_images(denoising, tmp_path / "nowhere", noise="fog:1")
    with pytest.raises(FileNotFoundError):
        evaluate_images(compressing, tmp_path / "nowhere")
    blind = hg.ConvAutoencoder(self_supervised=True)
    with pytest.raises(OptionError, match="unknown level"):
        evaluate_images(blind, tmp_path / "nowhere")


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_codes_to_a_table_and_back(suffix, digits, compressing, tmp_path):
    table, done = tmp_path / f"codes{suffix}", []
    encode_images(compressing, digits, table, on_outcome=done.append)
    assert len(done) == 5
    with pytest.raises(FileExistsError, match="--overwrite"):
        encode_images(compressing, digits, table)
    encode_images(compressing, digits, table, overwrite=True)
    decode_images(compressing, table, tmp_path / "again")
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == [f"{i}.png" for i in range(5)]
    with pytest.raises(FileExistsError, match="5 outputs exist"):
        decode_images(compressing, table, tmp_path / "again")
    decode_images(compressing, table, tmp_path / "again", overwrite=True)
    with pytest.raises(OptionError, match=r"\.npy, \.csv"):
        encode_images(compressing, digits, tmp_path / "codes.txt")
