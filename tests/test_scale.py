"""Many images and large ones: minutes long, so that they are run on demand."""

import os
import subprocess
import sys
import venv
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import hourglass as hg
from hourglass.imagefiles import ImageRestorer, find_images, open_image
from hourglass.runtime import tricks

pytestmark = pytest.mark.slow


def make_images(folder):
    """Two hundred: grey and RGB, 8 and 16 bits, 17×31 to 1500×1100, generated and real; two are broken."""
    import imagecodecs
    import skimage

    random = np.random.default_rng(0)
    real = sorted((Path(skimage.__file__).parent / "data").glob("c*.png"))
    sizes = [(17, 31), (1100, 1500), (1500, 1100), *(tuple(random.integers(20, 300, 2)) for _ in range(195))]
    for i, (height, width) in enumerate(sizes):
        name = folder / f"set{i % 3}" / f"{i:03}"
        name.parent.mkdir(parents=True, exist_ok=True)
        if i % 9 == 8:
            with Image.open(real[i % len(real)]) as image:
                image.resize((int(width), int(height))).save(name.with_suffix(".png"))
            continue
        deep, colour = i % 4 == 3, i % 2 == 1
        shape = (height, width, 3) if colour else (height, width)
        array = random.integers(0, 65536 if deep else 256, shape).astype(np.uint16 if deep else np.uint8)
        if deep and colour and i % 8 == 3:
            name.with_suffix(".png").write_bytes(imagecodecs.png_encode(array))
        elif deep:
            tifffile.imwrite(name.with_suffix(".tif"), array, photometric="rgb" if colour else "minisblack")
        else:
            Image.fromarray(array).save(
                name.with_suffix((".png", ".jpg", ".bmp", ".webp")[i // 4 % 4 if colour else 0])
            )
    Image.fromarray(random.integers(0, 256, (200, 200, 3)).astype(np.uint8)).save(folder / "cut.jpg")
    content = (folder / "cut.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(content[: len(content) // 2])
    (folder / "text.png").write_text("a text")


def denoise(source, target):
    """Exit code, standard error and peak memory (MB) of the command in a process of its own."""
    script = (
        "import re, sys; from hourglass.cli import main; code = main(sys.argv[1:]);"
        # getrusage would count the memory that this process held when it began the other.
        "print(int(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1]) // 1024); sys.exit(code)"
    )
    command = [sys.executable, "-c", script, "denoise", str(source), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr, int(done.stdout)


def test_a_folder_of_200_and_the_memory_of_2000(tmp_path):
    few, many = tmp_path / "few", tmp_path / "many"
    make_images(few)
    assert len(find_images(few).paths) == 200
    code, err, peak = denoise(few, tmp_path / "out")
    assert code == 1
    assert "198 done, 2 failed" in err
    assert "cut.jpg is damaged" in err
    assert "text.png is a text file and not an image" in err
    for path in find_images(few).paths:
        out = tmp_path / "out" / path.relative_to(few)
        if path.name in ("cut.jpg", "text.png"):
            assert not out.exists()
            continue
        with closing(open_image(path)) as before, closing(open_image(out)) as after:
            assert before.format == after.format
            [one], [other] = list(before.planes()), list(after.planes())
        assert (one.values.shape, one.roles, one.numbers) == (other.values.shape, other.roles, other.numbers)
    assert len([path for path in (tmp_path / "out").rglob("*") if path.is_file()]) == 198
    for i in range(10):
        for path in find_images(few).paths:
            link = many / str(i) / path.relative_to(few)
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, link)
    _, err, larger = denoise(many, tmp_path / "out-many")
    assert "1980 done, 20 failed" in err
    print(f"peak memory: {peak} MB for 200 images, {larger} MB for 2,000")
    assert larger <= 1.1 * peak


def test_blocks_of_an_image_of_six_million_pixels_equal_the_whole():
    ae = hg.load_pretrained("digits")
    pixels = np.random.default_rng(0).random((2000, 3000, 1), dtype=np.float32)
    pixels[500:1500, 800:2200] = np.linspace(0, 1, 1400, dtype=np.float32)[None, :, None]
    with tricks.without("pieces"):
        whole = ae.reconstruct(pixels[None])[0]
    difference = np.abs(ImageRestorer(ae)(pixels) - whole)
    print(f"largest difference: {difference.max():.2g}")
    assert difference.max() <= 1e-5


@pytest.mark.parametrize("name", ["colour.png", "grey.tif"])
def test_a_wide_image_takes_little_memory(name, tmp_path):
    shape = (3000, 20_000, 3) if name == "colour.png" else (3000, 20_000)
    values = np.random.default_rng(0).integers(90, 110, shape).astype(np.uint8)
    if name == "colour.png":
        import imagecodecs

        (tmp_path / name).write_bytes(imagecodecs.png_encode(values, level=1))
    else:
        tifffile.imwrite(tmp_path / name, values)
    code, err, peak = denoise(tmp_path / name, tmp_path / "out")
    assert code == 0, err
    print(f"peak memory: {peak} MB")
    # Two threads; each further one computes a block of its own.
    assert peak <= 1500 + 130 * max(torch.get_num_threads() - 2, 0)


def test_an_exported_file_runs_where_nothing_else_is_installed(tmp_path):
    """A virtual environment with ONNX Runtime, NumPy and Pillow; pip needs the package index."""
    from hourglass.export import export_onnx

    export_onnx(hg.load_pretrained("digits"), tmp_path / "digits.onnx")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (33, 47), dtype=np.uint8)).save(tmp_path / "in.png")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    constraints = Path(__file__).parents[1] / "constraints.txt"
    packages = ["onnxruntime", "numpy", "pillow"]
    subprocess.run([python, "-m", "pip", "install", "-q", "-c", constraints, *packages], check=True)
    script = """
import importlib.util
import numpy as np, onnxruntime
from PIL import Image
assert not any(importlib.util.find_spec(name) for name in ("torch", "hourglass", "onnx"))
pixels = np.asarray(Image.open("in.png"))[None, :, :, None]
restored, as_bytes = onnxruntime.InferenceSession("digits.onnx").run(None, {"images": pixels})
Image.fromarray(as_bytes[0, :, :, 0]).save("out.png")
"""
    subprocess.run([python, "-I", "-c", script], cwd=tmp_path, check=True)
    with Image.open(tmp_path / "in.png") as given, Image.open(tmp_path / "out.png") as out:
        expected = np.clip(hg.load_pretrained("digits").reconstruct(np.asarray(given)[None])[0], 0, 1) * 255
        assert np.abs(np.asarray(out) - expected).max() < 0.51
