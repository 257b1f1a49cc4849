"""Files of every structure and field, by public writers, through `hourglass denoise` with the identity as model."""

import contextlib
import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import hourglass as hg
from hourglass import cli

TOOLS = Path(__file__).parents[1] / "tools"
sys.path.insert(0, str(TOOLS))
from image_corpus import CORPUS  # noqa: E402 - found by the line above
from image_fields import fields, pixels  # noqa: E402

pytest.importorskip("pillow_heif", reason="needs the extra heif")
# Of lossy formats, in each channel.
SMALLEST_DB = 45


@pytest.fixture(scope="module")
def gone_through(tmp_path_factory):
    """The corpus, what became of it, and what was said."""
    root = tmp_path_factory.mktemp("corpus")
    (root / "in").mkdir()
    for entry in CORPUS:
        entry.make(root / "in" / entry.name)
    flat = np.random.default_rng(0).random((4, 16, 16), dtype=np.float32)
    model = hg.ConvAutoencoder(channels=(4,), skip=True, residual=True, n_steps=1, random_state=0).fit(flat)
    with torch.no_grad():
        for weight in model.network_.parameters():
            weight.zero_()
    hg.save(model, root / "identity")
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = cli.main(["denoise", str(root / "in"), str(root / "out"), "--model", str(root / "identity")])
    return root, code, said.getvalue()


def test_the_corpus_has_sixty_files_and_more():
    assert len({entry.name for entry in CORPUS}) == len(CORPUS) >= 60


def test_every_file_is_done_or_refused(gone_through):
    _, code, said = gone_through
    refused = [entry for entry in CORPUS if entry.refused]
    assert code == 1
    assert f"denoise: {len(CORPUS) - len(refused)} done, {len(refused)} failed" in said
    assert len([line for line in said.splitlines() if line.startswith("hourglass: ")]) == len(refused)


@pytest.mark.parametrize("entry", CORPUS, ids=lambda entry: entry.name)
def test_what_comes_back(entry, gone_through):
    root, _, said = gone_through
    before, after = root / "in" / entry.name, root / "out" / entry.name
    if entry.refused is not None:
        [line] = [line for line in said.splitlines() if f"/{entry.name}" in line]
        assert re.search(entry.refused, line, re.IGNORECASE), line
        assert not after.exists()
        return
    assert after.exists(), said
    planes, again = pixels(before), pixels(after)
    assert [(plane.shape, plane.dtype) for plane in again] == [(plane.shape, plane.dtype) for plane in planes]
    for one, other in zip(planes, again, strict=True):
        if not entry.lossy:
            np.testing.assert_array_equal(other, one)
            continue
        axes = (0, 1) if one.ndim == 3 else None
        error = np.square(one.astype(float) - other).mean(axes)
        assert np.all(10 * np.log10(255**2 / np.maximum(error, 1e-9)) >= SMALLEST_DB), error
    assert fields(after) == fields(before)
