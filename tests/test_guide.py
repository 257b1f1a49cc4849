"""The user's guide does what it says: every walk, word for word, in an empty folder."""

import os
import re
import shlex
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hourglass.denoising import corrupt
from hourglass.denoising.corruption import CORRUPTIONS

GUIDE = (Path(__file__).parents[1] / "docs" / "guide.md").read_text(encoding="utf-8")
WALKS = dict(re.findall(r"^## (\d\. [^\n]+)\n(.*?)(?=^## |\Z)", GUIDE, re.DOTALL | re.MULTILINE))
LONG = "235"
"""Walks that are left to the slow tests."""
LEFT = {
    "1": {
        "photos",
        "restored-photos",
        "restored",
        "restored-by-mine",
        "restored-blind",
        "model",
        "model-from-python",
        "blind",
        "noisy",
    },
    "2": {"model", "code.png", "codes.csv", "decoded", "digits", "layers.png", "skips.png"},
    "3": set(),
    "4": {"digits.onnx", "in.png", "out.png"},
    "5": set(),
    "6": {"digits", "digits.zarr", "model", "runs"},
}


@pytest.mark.parametrize(
    "title", [pytest.param(title, marks=[pytest.mark.slow] if title[0] in LONG else []) for title in WALKS]
)
def test_a_walk(title, hourglass, tmp_path):
    # The commands of this environment, without Python's warnings as errors.
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    blocks = re.findall(r"```(python|sh)\n(.*?)```", WALKS[title], re.DOTALL)
    assert blocks
    for language, text in blocks:
        for ours, lines in groupby(text.splitlines(), lambda line: line.startswith("hourglass ")):
            if ours:  # in this process, which has loaded PyTorch already: 2 s less for each command
                for line in lines:
                    code, out, err = hourglass(*shlex.split(line, comments=True)[1:])
                    assert code == 0, f"{line}\n{out}\n{err}"
                continue
            words = [sys.executable, "-c"] if language == "python" else ["sh", "-e", "-c"]
            command = [*words, "\n".join(lines)]
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    assert {path.name for path in tmp_path.iterdir()} == LEFT[title[0]]
    if title[0] == "1":
        assert len(list((tmp_path / "restored").iterdir())) == 10


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_the_first_walk_works_with_every_corruption(kind, tmp_path, monkeypatch, sample):
    """Where somebody copies the first block and writes another corruption."""
    name = CORRUPTIONS[kind].__name__
    block = re.search(r"```python\n(.*?)```", WALKS[next(iter(WALKS))], re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    changed = block.replace("GaussianNoise(0.4)", f"{name}(0.4)")
    assert f"{name}(0.4)" in changed
    exec(changed, {})  # noqa: S102  # the guide's own text
    written = np.stack([np.asarray(Image.open(path)) for path in sorted(Path("noisy").iterdir())]) / 255
    expected = corrupt(sample.test.images[:10], CORRUPTIONS[kind](0.4))[..., 0]
    np.testing.assert_allclose(written, expected, atol=0.003)


def test_there_are_six():
    assert [title[0] for title in WALKS] == list("123456")
