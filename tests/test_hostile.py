"""Broken and hostile files: a clear error, at the command line one line, and nothing lost."""

import contextlib
import json
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

import hourglass as hg
from hourglass.persistence import METADATA, TENSORS

# What reading one hostile file may take at most, in bytes, over what the libraries take.
BOUND = 500 << 20


@pytest.fixture(scope="module")
def model(few, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    hg.save(hg.ConvAutoencoder(channels=(4,), n_steps=2, random_state=0).fit(few.train.images), folder)
    return folder


@pytest.fixture
def copy(model, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in (METADATA, TENSORS):
        (folder / name).write_bytes((model / name).read_bytes())
    return folder


def rewrite(folder, *, tensors=None, **changes):
    """Change a model's files and make the checksum right, as somebody who means harm would."""
    import hashlib

    if tensors is not None:
        save_file(tensors, folder / TENSORS)
    document = json.loads((folder / METADATA).read_text()) | changes
    document["sha256"] = hashlib.sha256((folder / TENSORS).read_bytes()).hexdigest()
    (folder / METADATA).write_text(json.dumps(document))


def truncate_tensors(folder):
    content = (folder / TENSORS).read_bytes()
    (folder / TENSORS).write_bytes(content[: len(content) // 2])


def truncate_document(folder):
    content = (folder / METADATA).read_bytes()
    (folder / METADATA).write_bytes(content[: len(content) // 2])


def empty(folder):
    (folder / TENSORS).write_bytes(b"")
    rewrite(folder)


def swap(folder):
    (folder / TENSORS).rename(folder / "x")
    (folder / METADATA).rename(folder / TENSORS)
    (folder / "x").rename(folder / METADATA)


def another_models_tensors(folder):
    tensors = load_file(folder / TENSORS)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, folder / TENSORS)


def wrong_shapes(folder):
    tensors = load_file(folder / TENSORS)
    rewrite(folder, tensors={name: tensor[..., :1].clone() for name, tensor in tensors.items()})


def nan_weights(folder):
    tensors = load_file(folder / TENSORS)
    next(iter(tensors.values())).view(-1)[0] = torch.nan
    rewrite(folder, tensors=tensors)


def absurd_header(folder):
    header = json.dumps({"a": {"dtype": "F32", "shape": [1 << 40, 1 << 20], "data_offsets": [0, 4]}}).encode()
    (folder / TENSORS).write_bytes(struct.pack("<Q", len(header)) + header + b"\0\0\0\0")
    rewrite(folder)


def absurd_header_length(folder):
    (folder / TENSORS).write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    rewrite(folder)


def absurd_images(folder):
    fitted = json.loads((folder / METADATA).read_text())["fitted"]
    rewrite(folder, fitted=fitted | {"image_shape": [10**9, 10**9, 1]})


def absurd_layers(folder):
    parameters = json.loads((folder / METADATA).read_text())["parameters"]
    rewrite(folder, parameters=parameters | {"channels": [1] * 100_000})


def odd_images(folder):
    fitted = json.loads((folder / METADATA).read_text())["fitted"]
    rewrite(folder, fitted=fitted | {"image_shape": ["28", None, -1]})


def later_format(folder):
    rewrite(folder, format=99)


def extra_parameter(folder):
    parameters = json.loads((folder / METADATA).read_text())["parameters"]
    rewrite(folder, parameters=parameters | {"__class__": "os.system"})


def extra_tensor(folder):
    rewrite(folder, tensors=load_file(folder / TENSORS) | {"more": torch.zeros(3)})


def a_folder_to_write_into(folder):
    parameters = json.loads((folder / METADATA).read_text())["parameters"]
    rewrite(folder, parameters=parameters | {"checkpoint_dir": "/", "random_state": 0})


def path_for_a_class(folder):
    rewrite(folder, estimator="../../../etc/passwd")


def deep_document(folder):
    (folder / METADATA).write_text("[" * 100_000)


def no_document(folder):
    (folder / METADATA).write_text("[]")


def folder_for_a_file(folder):
    (folder / TENSORS).unlink()
    (folder / TENSORS).mkdir()


MODELS = [
    truncate_tensors, truncate_document, empty, swap, another_models_tensors, wrong_shapes, nan_weights, absurd_header,
    absurd_header_length, absurd_images, absurd_layers, odd_images, later_format, extra_parameter, extra_tensor,
    path_for_a_class, a_folder_to_write_into, deep_document, no_document, folder_for_a_file,
]  # fmt: skip


@pytest.mark.parametrize("harm", MODELS)
def test_a_broken_model_is_one_line_for_every_command(harm, copy, hourglass, tmp_path):
    harm(copy)
    Image.new("L", (8, 8), 9).save(tmp_path / "a.png")
    for words in (
        ("denoise", "--model", copy, tmp_path / "a.png", tmp_path / "out"),
        ("reconstruct", "--model", copy, tmp_path / "a.png", tmp_path / "out"),
        ("encode", "--model", copy, tmp_path / "a.png", tmp_path / "codes.npy"),
        ("decode", "--model", copy, tmp_path / "none.npy", tmp_path / "out"),
        ("evaluate", "--model", copy, tmp_path),
        ("export", "--model", copy, tmp_path / "a.onnx"),
        ("info", "--model", copy),
    ):
        code, out, err = hourglass(*words)
        assert (code, out, err.count("\n")) == (1, "", 1), words
        assert str(copy) in err
        assert "--debug" not in err  # foreseen
    assert not (tmp_path / "out").exists()


def test_nothing_is_allocated_for_absurd_sizes(copy):
    for harm in (absurd_header, absurd_images, absurd_layers):
        harm(copy)
        script = (
            "import resource, sys, hourglass as hg\n"
            "hg.ConvAutoencoder; import hourglass.models\n"
            f"limit = int(open('/proc/self/statm').read().split()[0]) * 4096 + {BOUND}\n"
            "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
            "try: hg.load_model(sys.argv[1], device='cpu')\n"
            "except ValueError as error: print('refused', error)\n"
        )
        done = subprocess.run([sys.executable, "-c", script, copy], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("refused"), done.stderr


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_a_model_is_an_error_or_a_working_model(data, model, tmp_path_factory, few):
    folder = tmp_path_factory.mktemp("changed")
    for name in (METADATA, TENSORS):
        content = bytearray((model / name).read_bytes())
        for place, value in data.draw(
            st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=3)
        ):
            content[place] = value
        (folder / name).write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    with contextlib.suppress(ValueError, AttributeError, TypeError):  # no JSON any more
        rewrite(folder)
    try:
        found = hg.load_model(folder)
    except (ValueError, FileNotFoundError):
        return
    assert np.isfinite(found.reconstruct(few.test.images[:2])).all()


@pytest.mark.parametrize("name", ["../evil.png", "/evil/evil.png", "a/../../evil.png"])
def test_names_in_a_table_of_codes_lead_nowhere_else(name, model, hourglass, tmp_path):
    codes = np.zeros((1, hg.load_model(model).network_.code_size), np.float32)
    header = "file," + ",".join(f"code_{i}" for i in range(codes.shape[1]))
    (tmp_path / "c.csv").write_text(header + "\n" + name + "," + ",".join("0" for _ in codes[0]) + "\n")
    code, _, err = hourglass("decode", tmp_path / "c.csv", tmp_path / "out" / "deep", "--model", model)
    assert (code, err.count("\n")) == (1, 1)
    assert "leads out of" in err
    assert not list(tmp_path.rglob("evil*"))


def test_a_table_of_codes_is_never_unpickled(model, hourglass, tmp_path):
    np.save(tmp_path / "c.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    code, _, err = hourglass("decode", tmp_path / "c.npy", tmp_path / "out", "--model", model)
    assert (code, err.count("\n")) == (1, 1)
    assert "not a table of codes" in err
