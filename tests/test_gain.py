"""What is learnt, given back and scored depends on neither gain nor offset of the camera, nor on the type of number."""

import csv
import io

import numpy as np
import pytest
import tifffile

from hourglass.metrics import psnr

# Largest number, offset, type: 10, 12 and 14 bits in 16, all of 16, and floating point.
CAMERAS = {
    f"{name}{'+100' if offset else ''}": (largest, offset, dtype)
    for name, (largest, dtype) in {
        "10": (1023, "uint16"), "12": (4095, "uint16"), "14": (16383, "uint16"), "16": (65535, "uint16"),
        "float": (1.0, "float32"),
    }.items()
    for offset in (0, 100)
}  # fmt: skip
LEVEL = 0.1
QUICK = ("--crop", 24, "--n-crops", 64, "--set", "batch_size=8", "-q")
NETWORKS = {
    "conv": ("--network", "conv", "--set", "channels=(8,8)"),
    "denoiser": ("--from", "scratch", "--set", "widths=(8,8,8)", "--set", "n_blocks=(1,1,1)"),
}


def scene(seed):
    """Soft blobs and edges on [0.15, 0.85], so that noise stays within the file's numbers."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :96]
    image = np.zeros((96, 96))
    for _ in range(12):
        row, column, radius, height = random.uniform((0, 0, 6, -0.4), (96, 96, 22, 0.4))
        image += height * (np.hypot(y - row, x - column) < radius)
    return 0.15 + 0.7 * (image - image.min()) / np.ptp(image)


def exposed(image, camera):
    largest, offset, dtype = camera
    if dtype == "float32":
        return (image * largest + offset).astype(dtype)
    return np.rint(image * (largest - offset) + offset).astype(dtype)


def as_scene(values, camera):
    largest, offset, dtype = camera
    return (values.astype(float) - offset) / (largest if dtype == "float32" else largest - offset)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """By camera, folders of clean and of noisy files."""
    root = tmp_path_factory.mktemp("cameras")
    for name, camera in CAMERAS.items():
        for kind in ("clean", "noisy"):
            (root / name / kind).mkdir(parents=True)
        for seed in range(3):
            clean = scene(seed)
            noisy = clean + np.random.default_rng(seed + 10).normal(0, 0.05, clean.shape)
            tifffile.imwrite(root / name / "clean" / f"{seed}.tif", exposed(clean, camera))
            tifffile.imwrite(root / name / "noisy" / f"{seed}.tif", exposed(noisy, camera))
    return root


def restored_db(root, name, out):
    """PSNR against the clean scene, in units of the scene."""
    found = []
    for seed in range(3):
        values = tifffile.imread(out / f"{seed}.tif")
        assert values.dtype == CAMERAS[name][2]
        found.append(psnr(scene(seed)[None, ..., None], as_scene(values, CAMERAS[name])[None, ..., None]))
    return float(np.mean(found))


@pytest.mark.parametrize("way", ["self-supervised", "supervised"])
@pytest.mark.parametrize("steps", [60, pytest.param(1500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("network", NETWORKS)
def test_training_and_use(way, steps, network, folders, hourglass, tmp_path):
    gained, said = {}, {}
    cameras = ["16", "10+100", "float+100"] if steps < 1000 else list(CAMERAS)
    for name in cameras:
        learnt_from = folders / name / ("noisy" if way == "self-supervised" else "clean")
        how = ("--self-supervised",) if way == "self-supervised" else ("--noise", LEVEL)
        model, out = tmp_path / name / "model", tmp_path / name / "out"
        words = ("--out", model, *how, "--steps", steps, *NETWORKS[network], *QUICK)
        assert hourglass("train", learnt_from, *words) == (0, "", "")
        assert hourglass("denoise", folders / name / "noisy", out, "--model", model, "-q") == (0, "", "")
        gained[name] = restored_db(folders, name, out)
        words = ("evaluate", folders / name / "clean", "--model", model, "--noise", LEVEL, "--format", "csv", "-q")
        code, table, _ = hourglass(*words)
        assert code == 0
        rows = [row for row in csv.DictReader(io.StringIO(table)) if row["file"] == "mean"]
        said[name] = {row["method"]: float(row["psnr_db"]) for row in rows}
    noisy = 10 * np.log10(1 / 0.05**2)
    assert max(gained.values()) - min(gained.values()) < 0.2, gained
    if steps > 1000:
        assert min(gained.values()) > noisy + 3, gained
    for method in said["16"]:
        scores = [each[method] for each in said.values()]
        assert max(scores) - min(scores) < 0.2, (method, said)
