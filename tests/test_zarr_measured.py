"""Memory of a training on a Zarr: it does not grow with the data. `tools/measure_zarr.py` measures more of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
TOOL = Path(__file__).parents[1] / "tools" / "measure_zarr.py"


def test_a_pass_of_dense_reads_each_block_once_and_stays_below_a_gigabyte(tmp_path):
    """Of 0.8 GB of numbers, which as float32 take 3.2 GB."""
    out = tmp_path / "zarr.json"
    words = ["--gigabytes", "0.8", "--seconds", "10", "--pairs", "1", "--folder", tmp_path, "--out", out]
    subprocess.run([sys.executable, TOOL, *words], check=True, timeout=1800)
    measured = json.loads(out.read_text(encoding="utf-8"))
    assert measured["bytes"] >= 0.8e9
    for dense in (measured["dense"], measured["s3"]["dense"]):
        assert dense["reads"] == {"1": dense["blocks"]}
        assert dense["peak_pss_mb"] < 1000
    for denoise in (measured["denoise"], measured["s3"]["denoise"]):
        assert denoise["peak_pss_mb"] < 1000
