"""The words of the page and of the documents: true for the recipe, the data and the parameters that ran."""

import json
import pathlib
import re

import numpy as np
import pytest

import hourglass as hg
from hourglass import plots, report
from hourglass.experiments import EXPERIMENTS, StoredRun, captions, find, runs
from hourglass.experiments.groups import Group
from hourglass.training import History

CLASSIFIERS = ("bn-none", "bn-layer", "bn-manual")


def stored(experiment, recipe="classic", dataset="few", seeds=(0,), **changes):
    """A group of runs as their folders hold them, with no file beside."""
    estimator = find(experiment).configure(recipe, **changes)
    metrics = ["test_accuracy"] if experiment in CLASSIFIERS else ["test_bce"]
    document = {
        "experiment": experiment, "recipe": recipe, "dataset": dataset, "baselines": {},
        "parameters": json.loads(json.dumps(runs._parameters(estimator))), "metrics": dict.fromkeys(metrics, 0.5),
    }  # fmt: skip
    return Group([StoredRun(pathlib.Path("none"), document | {"seed": seed}) for seed in seeds])


@pytest.mark.parametrize(
    ("groups", "said", "unsaid"),
    [
        (
            [stored("bn-none"), stored("bn-layer"), stored("bn-manual")],
            ["classic recipe on few, 800 steps with batches of 64", "20-layer", "momentum 0.01, at most 1% of this "
             "start is left after 459 steps", "bn-manual: 20-layer classifier with batch normalisation written out, "
             "kernel_init=truncated-normal", "bn-none: 20-layer classifier without normalisation"],
            ["fast"],
        ),
        (
            [stored("bn-layer", "fast", "fashion-mnist", n_steps=60), stored("bn-manual", "fast", n_steps=60)],
            ["fast recipe on fashion-mnist, 60 steps with batches of 64", "bn-layer: ",
             "momentum 0.1, at most 1% of this start is left after 44 steps"],
            ["classic", "n_steps=60", "without normalisation", "bn-none", "0.01", "digit"],
        ),
        (
            [stored("bn-none", depth=4, epochs=2), stored("bn-none", depth=4, epochs=2, width=8)],
            ["classic recipe (depth=4) on few, 2 epochs in batches of 64", "5-layer", "bn-none width=8: "],
            ["20-layer", "moving statistics", "batch normalisation", "kernel_init"],
        ),
        (
            [stored("bn-layer", norm="group"), stored("bn-none")],
            ["with group normalisation", "inference mode"],
            ["moving statistics", "PyTorch"],
        ),
        (
            [stored("bn-layer", norm_momentum=1), stored("bn-manual", norm_momentum=0.5)],
            ["momentum 1, at most 1% of this start is left after 1 step.", "momentum 0.5, at most 1% of this start is "
             "left after 7 steps."],
            [],
        ),
    ],
)  # fmt: skip
def test_the_comparisons_caption_is_about_what_ran(groups, said, unsaid):
    caption = report.describe_comparison(groups)
    for each in said:
        assert each in caption
    for each in unsaid:
        assert each not in caption


@pytest.mark.parametrize(
    ("group", "title"),
    [
        (stored("dense"), "Dense autoencoder, code of 32 numbers"),
        (stored("dense", code_size=8), "Dense autoencoder, code of 8 numbers"),
        (stored("dense", noise=0.1), "Denoising dense autoencoder, code of 32 numbers, noise 0.1"),
        (stored("conv"), "Convolutional autoencoder, 16-8-8 feature maps"),
        (stored("conv", channels=(4,), norm="batch-manual"), "Convolutional autoencoder, 4 feature maps, with batch "
         "normalisation written out"),
        (stored("denoise"), "Denoising convolutional autoencoder, 32-32-16 feature maps, noise 0.5"),
        (stored("denoise", noise=None), "Convolutional autoencoder, 32-32-16 feature maps"),
        (stored("bn-none"), "20-layer classifier without normalisation"),
        (stored("bn-layer"), "20-layer classifier with PyTorch's batch normalisation"),
        (stored("bn-layer", depth=2, norm="ghost"), "3-layer classifier with ghost batch normalisation"),
    ],
)  # fmt: skip
def test_a_sections_title_is_what_was_trained(group, title):
    assert group.title == title


@pytest.mark.parametrize(
    ("group", "changed"),
    [
        (stored("dense"), ""),
        (stored("dense", "fast"), ""),
        (stored("dense", "fast", epochs=3), "epochs=3"),
        (stored("denoise", n_steps=7), "n_steps=7"),
        (stored("denoise", noise=None), "noise=None"),
        (stored("bn-layer", validate_every=None, width=8), "width=8, validate_every=None"),
        (stored("conv", channels=(4, 8)), "channels=[4, 8]"),
    ],
)
def test_a_group_names_all_that_was_changed(group, changed):
    assert group.changed == changed


@pytest.mark.parametrize(
    ("groups", "studies", "subject"),
    [
        ([stored("dense")], False, "Autoencoders trained on few."),
        ([stored("bn-layer", dataset="fashion-mnist")], False, "Classifiers trained on fashion-mnist."),
        (
            [stored("dense"), stored("conv", dataset="mnist"), stored("bn-none")],
            True,
            "Autoencoders trained on few and mnist, classifiers trained on few and studies of batch normalisation.",
        ),
        ([], True, "Studies of batch normalisation."),
    ],
)
def test_the_pages_subtitle_is_about_what_ran(groups, studies, subject):
    assert report.subject(groups, studies=studies) == subject


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_captions_are_about_the_run(name):
    plain, patient = find(name).configure(), find(name).configure(patience=3)
    for figure in captions.CAPTIONS:
        assert captions.caption(figure, plain)
        assert "digit" not in captions.caption(figure, plain)
        assert "validations in a row" not in captions.caption(figure, plain)
    figure = "curves" if name in CLASSIFIERS else "curve"
    assert "after 3 validations in a row" in captions.caption(figure, patient)
    assert ("noise of level 0.5" in captions.caption("curve", plain)) == name.startswith("denoise")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_question_assumes_nothing_that_may_be_changed(name):
    """No size of the code, the images or the network, and no kind of image."""
    assert not re.search(r"digit|784|\b32\b|4 × 4|20|same again", find(name).question)


def test_the_page_says_nothing_of_what_did_not_run(few, tmp_path):
    from hourglass.data import Dataset

    clothes = Dataset("clothes", few.train, few.test, validation_size=50)
    hg.run("bn-layer", dataset=clothes, recipe="fast", out=tmp_path, n_steps=2)
    text = report.write_report(tmp_path).read_text(encoding="utf-8")
    text = re.sub(r"base64,[^\"]*", "", text)
    for unsaid in ("digit", "SSIM", "PCA", "classic", "±", "several seeds", "written out", "20-layer network"):
        assert unsaid not in text
    for said in ("Classifiers trained on clothes.", "ε = 0.001, momentum = 0.1", "β₁ = 0.9, β₂ = 0.999, ε = 1e-08"):
        assert said in text


@pytest.mark.parametrize(
    ("seeds", "note"), [((1, 1), ""), ((3, 3), "mean of 3 seeds, band: their range"), ((1, 3), "mean of 1 to 3 seeds")]
)
def test_the_legend_counts_the_seeds(seeds, note):
    measures = ("training_loss", "validation_loss", "training_accuracy", "validation_accuracy")
    history = History([0.5], [0.1], [1.0], {1: dict.fromkeys(measures, 0.5)})
    figure = plots.classifier_curves({str(i): [history] * count for i, count in enumerate(seeds)})
    shown = figure.legends[0].get_title().get_text()
    assert note in shown
    assert bool(note) == bool(shown)


def test_the_checkerboards_are_of_whatever_images_there_are(few):
    figure = plots.checkerboards({"nearest": np.eye(28)}, {"input": few.test.images[:3]}, n_steps=7)
    left, right = (part.get_suptitle() for part in figure.subfigs)
    assert (left, right) == ("response to a constant code, untrained", "test images after 7 steps")
