"""ONNX files give what PyTorch gives, at any size, and need nothing of this package."""

import subprocess
import sys

import numpy as np
import onnxruntime
import pytest

import hourglass as hg
from hourglass.export import export_onnx

SIZES = [(28, 28), (17, 31), (64, 40), (1, 5), (101, 96)]


@pytest.fixture(
    scope="module",
    params=["plain", *(pytest.param(name, marks=pytest.mark.slow) for name in ("skip", "transposed")), "unclipped"],
)
def conv(request, few):
    more = {
        "plain": {"loss": "bce"},
        "skip": {"skip": True, "residual": True},
        "transposed": {"upsample": "transposed"},
        "unclipped": {"undo_clipping": 0.4, "loss": "bce", "self_supervised": True},
    }[request.param]
    return hg.ConvAutoencoder(channels=(8, 4, 4), n_steps=20, random_state=0, **more).fit(few.train.images)


def run(path, name, values):
    return onnxruntime.InferenceSession(path).run(None, {name: values})


def test_a_convolutional_file_takes_any_number_and_size(conv, tmp_path):
    said = export_onnx(conv, tmp_path / "a.onnx")
    assert said["parity"] <= 1e-5
    assert said["inputs"] == {"images": [["n", "h", "w", 1], "tensor(uint8)"]}
    for n, (height, width) in enumerate(SIZES, 1):
        images = np.random.default_rng(n).integers(0, 256, (n, height, width, 1), dtype=np.uint8)
        restored, as_bytes = run(tmp_path / "a.onnx", "images", images)
        expected = conv.reconstruct(images)
        np.testing.assert_allclose(restored, expected, atol=1e-5)
        assert as_bytes.dtype == np.uint8
        assert np.abs(as_bytes - np.clip(expected, 0, 1) * 255).max() < 0.51


@pytest.mark.parametrize("make", [hg.DenseAutoencoder, hg.ConvAutoencoder])
def test_encoder_and_decoder_alone(make, few, tmp_path):
    ae = make(loss="bce", n_steps=20, random_state=0).fit(few.train.images)
    for part in ("encoder", "decoder", "whole"):
        export_onnx(ae, tmp_path / f"{part}.onnx", part=part, takes="float")
    images = few.test.images
    [codes] = run(tmp_path / "encoder.onnx", "images", images)
    np.testing.assert_allclose(codes, ae.transform(images), rtol=1e-5, atol=1e-5)
    restored, _ = run(tmp_path / "decoder.onnx", "codes", codes)
    np.testing.assert_allclose(restored, ae.reconstruct(images), atol=1e-5)
    np.testing.assert_allclose(run(tmp_path / "whole.onnx", "images", images)[0], ae.reconstruct(images), atol=1e-5)


def test_a_classifier_gives_probabilities(few, tmp_path):
    clf = hg.ConvClassifier(n_steps=5, random_state=0).fit(few.train.images, few.train.labels)
    export_onnx(clf, tmp_path / "c.onnx", takes="float")
    [found] = run(tmp_path / "c.onnx", "images", few.test.images)
    np.testing.assert_allclose(found, clf.predict_proba(few.test.images), atol=1e-5)
    with pytest.raises(ValueError, match="a classifier has no encoder"):
        export_onnx(clf, tmp_path / "d.onnx", part="encoder")


def test_what_cannot_be_exported_is_refused(few, tmp_path):
    ae = hg.ConvAutoencoder(skip=True, n_steps=1, random_state=0).fit(few.train.images[:20])
    with pytest.raises(ValueError, match="cannot be divided"):
        export_onnx(ae, tmp_path / "a.onnx", part="encoder")
    with pytest.raises(ValueError, match="choose of whole, encoder, decoder"):
        export_onnx(ae, tmp_path / "a.onnx", part="middle")
    ae.set_params(undo_clipping="estimate")
    with pytest.raises(ValueError, match="cannot go into an ONNX file"):
        export_onnx(ae, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_bytes_are_refused_where_training_knew_another_scale(few, tmp_path):
    ae = hg.DenseAutoencoder(n_steps=3, random_state=0).fit(np.round(few.train.images * 255).astype(np.int64))
    with pytest.raises(ValueError, match="trained on pixels from 0 to 255"):
        export_onnx(ae, tmp_path / "a.onnx")
    export_onnx(ae, tmp_path / "a.onnx", takes="float")
    hg.save(ae, tmp_path / "m")
    assert hg.load_model(tmp_path / "m").pixel_range_ == (0, 255)


def test_without_the_extra_the_error_names_it(few, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    ae = hg.DenseAutoencoder(n_steps=1).fit(few.train.images[:20])
    with pytest.raises(ImportError, match=r"hourglass-lab\[onnx\]"):
        export_onnx(ae, tmp_path / "a.onnx")


def test_the_file_runs_where_only_onnxruntime_numpy_and_pillow_are(conv, few, tmp_path):
    """A process that may import nothing of ours, nor PyTorch."""
    from PIL import Image

    export_onnx(conv, tmp_path / "a.onnx")
    Image.fromarray(np.round(few.test.images[0, ..., 0] * 255).astype(np.uint8)).save(tmp_path / "in.png")
    script = """
import sys
sys.modules["torch"] = sys.modules["hourglass"] = sys.modules["onnx"] = None
import numpy as np, onnxruntime
from PIL import Image
pixels = np.asarray(Image.open("in.png"))[None, ..., None]
session = onnxruntime.InferenceSession("a.onnx")
Image.fromarray(session.run(["restored_bytes"], {"images": pixels})[0][0, ..., 0]).save("out.png")
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    with Image.open(tmp_path / "out.png") as out, Image.open(tmp_path / "in.png") as given:
        expected = conv.reconstruct(np.asarray(given)[None])[0]
        assert np.abs(np.asarray(out) - np.clip(expected, 0, 1) * 255).max() < 0.51
