"""What the committed results hold, and, on demand, the same trained again on full MNIST."""

import json
import re
from pathlib import Path

import pytest

import hourglass as hg
from hourglass.experiments import find

CLASSIFIERS = ("bn-none", "bn-layer", "bn-manual")


def committed(name, recipe):
    folders = (Path(__file__).parents[1] / "docs" / "results" / f"{name}-{recipe}").glob("seed-*/result.json")
    return [json.loads(path.read_text()) for path in sorted(folders)]


def mean_of(runs, *keys):
    values = [run[keys[0]][keys[1]] for run in runs]
    return sum(values) / len(values)


@pytest.mark.parametrize(("name", "best"), [("dense", 0.0925), ("conv", 0.1025)])
def test_the_committed_results_hold_what_the_readme_says(name, best):
    classic, fast = committed(name, "classic"), committed(name, "fast")
    assert len(classic) >= 3
    assert {run["dataset"] for run in classic + fast} == {"mnist"}
    assert mean_of(classic, "metrics", "test_bce") <= best
    assert mean_of(fast, "metrics", "test_bce") <= mean_of(classic, "metrics", "test_bce")
    assert mean_of(fast, "timing", "train_seconds") <= 0.3 * mean_of(classic, "timing", "train_seconds")


def test_the_committed_better_experiments():
    """Each keeps more than what it is compared with."""
    [dense, conv, denoise] = (committed(f"{name}-better", "classic") for name in ("dense", "conv", "denoise"))
    assert {len(runs) for runs in (dense, conv, denoise)} == {3}
    assert mean_of(dense, "metrics", "test_bce") <= 0.0898
    for name in ("test_bce", "test_mse"):
        assert mean_of(conv, "metrics", name) < conv[0]["baselines"]["pca"][name]
    assert conv[0]["baselines"]["pca"]["test_bce"] == pytest.approx(0.0799, abs=0.0001)
    assert mean_of(denoise, "metrics", "test_psnr_db") >= 20.9


def test_the_committed_denoiser_and_classifiers():
    denoise = committed("denoise", "fast")
    assert mean_of(denoise, "metrics", "test_psnr_db") >= 18.8
    assert mean_of(denoise, "timing", "train_seconds") <= 240
    for name, low, high in (("bn-none", 0, 0.5), ("bn-layer", 0.93, 1), ("bn-manual", 0.93, 1)):
        runs = committed(name, "classic")
        assert len(runs) >= 5
        assert low <= mean_of(runs, "metrics", "test_accuracy") <= high
        assert all(run["metrics"]["single_image_agreement"] == 1 for run in runs)
    assert mean_of(committed("bn-layer", "fast"), "metrics", "test_accuracy") >= 0.985


PAGE = (Path(__file__).parents[1] / "docs" / "results.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "printed", "published"),
    [
        ("dense", set(), {"0.0934"}),
        ("conv", set(), {"0.096", "0.105"}),
        ("denoise", set(), {"0.096", "0.103"}),
        ("bn-none", {"0.2949"}, {"0.1219"}),
        ("bn-layer", {"0.8833"}, {"0.9745"}),
        ("bn-manual", {"0.8924"}, {"0.9605"}),
    ],
)
def test_every_figure_of_the_notebooks_stands_under_its_source(name, printed, published):
    """The text of the notebooks prints three figures; all others are of another published run."""
    tables = re.findall(r"^\| experiment \| measure \|.*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert all("| the notebooks | another published run of the same notebooks |" in table for table in tables)
    [row] = [line for table in tables for line in table.splitlines() if line.startswith(f"| `{name}` |")]
    _, _, _, notebooks, other, _ = row.split("|")
    assert set(re.findall(r"0\.\d+", notebooks)) == printed
    assert set(re.findall(r"0\.\d+", other)) == published
    outside = PAGE
    for table in tables:
        outside = outside.replace(table, "")
    assert not re.search(r"notebooks? reports?", outside)


@pytest.mark.parametrize("said", ["FrameworkBatchNorm, ε = 0.001", "ManualBatchNorm, ε = 0.001", "Adam, β₁ = 0.9"])
def test_the_results_page_names_the_constants(said):
    assert said in PAGE


@pytest.mark.slow
@pytest.mark.parametrize(("name", "metric", "best"), [("dense", "test_bce", 0.0925), ("conv", "test_bce", 0.1025)])
def test_fast_reaches_the_classics_quality_on_full_mnist(name, metric, best, mnist_folder):
    found = hg.run(name, dataset="mnist", data_dir=mnist_folder, recipe="fast")
    assert found.mean(metric) <= best


@pytest.mark.slow
def test_fast_denoises_full_mnist(mnist_folder):
    found = hg.run("denoise", dataset="mnist", data_dir=mnist_folder, recipe="fast")
    assert found.mean("test_psnr_db") >= 18.8


@pytest.mark.slow
def test_normalised_networks_train_and_the_other_does_not(mnist_folder):
    accuracy = {
        name: hg.run(name, dataset="mnist", data_dir=mnist_folder, seeds=range(5)).mean("test_accuracy")
        for name in CLASSIFIERS
    }
    assert accuracy["bn-none"] < 0.5
    assert accuracy["bn-layer"] > 0.93
    assert accuracy["bn-manual"] > 0.93


@pytest.mark.slow
def test_fast_normalised_network_in_the_same_batches(mnist_folder):
    found = hg.run("bn-layer", dataset="mnist", data_dir=mnist_folder, recipe="fast", seeds=range(5))
    assert find("bn-layer").configure("fast").n_steps == find("bn-layer").configure("classic").n_steps == 800
    assert found.mean("test_accuracy") >= 0.985
