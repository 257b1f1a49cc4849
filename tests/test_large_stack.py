"""A stack of 4 GB through `hourglass denoise`: memory, interruption and resumption."""

import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
import torch

import hourglass as hg

pytestmark = pytest.mark.slow
PLANES, HEIGHT, WIDTH = 1000, 1000, 2000
GIGABYTE = 10**9


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """A BigTIFF of 1,000 planes of 16 bits, 4 GB, and a model that changes nothing."""
    root = tmp_path_factory.mktemp("stack")
    plane = np.random.default_rng(0).integers(100, 4000, (HEIGHT, WIDTH), dtype=np.uint16)
    with tifffile.TiffWriter(root / "stack.tif", bigtiff=True) as file:
        for i in range(PLANES):
            file.write(np.roll(plane, i, axis=0), metadata=None, contiguous=False)
    assert (root / "stack.tif").stat().st_size > 4 * GIGABYTE
    flat = np.random.default_rng(0).random((4, 16, 16), dtype=np.float32)
    model = hg.ConvAutoencoder(channels=(4,), skip=True, residual=True, n_steps=1, random_state=0).fit(flat)
    with torch.no_grad():
        for weight in model.network_.parameters():
            weight.zero_()
    hg.save(model, root / "identity")
    yield root
    (root / "stack.tif").unlink()


def start(root, *words):
    """The command in a process of its own, which prints its peak memory (MB) at its end."""
    script = (  # whoever runs the tests may have SIGINT ignored, as nohup does
        "import re, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from hourglass.cli import main; code = main(sys.argv[1:]);"
        "print(int(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1]) // 1024); sys.exit(code)"
    )
    command = [sys.executable, "-c", script, "denoise", root / "stack.tif", root / "out", "--model", root / "identity"]
    return subprocess.Popen(
        [str(word) for word in (*command, *words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_memory_interruption_and_resumption(stack):
    process = start(stack)
    deadline = time.monotonic() + 1800
    while not list((stack / "out").glob("*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=1800)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert not list((stack / "out").iterdir())
    process = start(stack, "--resume")
    out, err = process.communicate(timeout=3600)
    assert process.returncode == 0, err
    assert re.search(r"denoise: 1 done; range 10\d to 39\d\d|denoise: 1 done; range 10\d to 3,9\d\d", err), err
    peak = int(out)
    print(f"peak memory: {peak} MB for 4 GB")
    assert peak * 2**20 < GIGABYTE
    with tifffile.TiffFile(stack / "stack.tif") as one, tifffile.TiffFile(stack / "out" / "stack.tif") as other:
        assert other.is_bigtiff
        assert len(other.pages) == PLANES
        for i in range(0, PLANES, 37):
            np.testing.assert_array_equal(other.pages[i].asarray(), one.pages[i].asarray())
    assert start(stack, "--resume").communicate(timeout=1800)[1] == "denoise: 0 done, 1 there already\n"
    (stack / "out" / "stack.tif").unlink()
