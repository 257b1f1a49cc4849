"""What studies say: conclusions only where the numbers support them, in words that follow the numbers."""

import re
from collections.abc import Callable

import numpy as np
import pytest

from hourglass.experiments.captions import listed
from hourglass.lab import STUDIES, Findings
from hourglass.lab.depth import SIGNALS
from hourglass.lab.drawing import draw_means, draw_medians, medians_note
from hourglass.lab.momentum import MOMENTA
from hourglass.lab.statistics import summarise
from hourglass.lab.words import Geometric, scientific
from hourglass.plots import new_figure

MODES = ("inference", "by_batch", "precise")
IDENTITY = {"dataset": "sample", "images": "", "rest": "", "trained_on": "3500"}


def fair(cell, plain, treated):
    value = treated if cell["arm"].startswith("batch-manual") else plain
    test = dict.fromkeys(MODES, value)
    curve = [0.1, value]
    return {"steps": [1, 26], "inference": curve, "by_batch": curve, "early": test, "final": test}


def claims(cell, plain, treated):
    return {"accuracy": treated if cell["norm"] == "batch" else plain, "diverged": False}


def momentum(cell, plain, treated):
    every = [[plain] * len(MOMENTA)] * 3
    return {
        "steps": [1, 101, 800], "by_batch": [treated] * 3, "moving": every, "debiased": every, "precise": [plain] * 3,
        "left": every,
    }  # fmt: skip


def batch_size(cell, plain, treated):
    return {"accuracy": treated if cell["batch_size"] >= 128 else plain, "why": ""}


def inference(cell, plain, treated):
    return {"own": [plain] * 8, "moving": [treated] * 8, "folding_difference": 1e-6, "folding_speed": 1.0}


def depth(cell, plain, treated):
    value = treated if cell["norm"] == "batch" else plain
    layers = [[value] * cell["layers"]] * 5
    return {"accuracy": value, "gradients": layers, "activations": layers}


def lstm(cell, plain, treated):
    value = plain if cell["arm"] == "plain" else treated
    return {"steps": [1, 51], "curve": [0.1, value], "converged": 51, "gradients": [0.1, value], "accuracy": value}


def shootout(cell, plain, treated):
    value = plain if cell["norm"] == "none" else treated
    quality = 1 - value if cell["network"] == "autoencoder" else value
    return {"held_out": value, "quality": quality, "images_per_second": 100.0, "kilobytes_per_image": 10.0}


# The measures of a cell, and what is said when the treated are higher, lower, and when nothing can be told.
CASES: dict[str, tuple[Callable[..., dict], list[str], list[str], list[str]]] = {
    "bn-fair": (
        fair, ["written-out batch normalisation reaches a higher accuracy"],
        ["written-out batch normalisation reaches a lower accuracy"],
        ["written-out batch normalisation and the framework's cannot be distinguished", "no distinguishable effect"],
    ),
    "bn-claims": (
        claims,
        [*(f"With {each}, batch normalisation raises the accuracy" for each in ("plain SGD", "Adam")),
         "higher with it at rates"],
        [*(f"With {each}, batch normalisation lowers the accuracy" for each in ("plain SGD", "Adam")),
         "lower with it at rates"],
        [f"With {each}, no effect of batch normalisation can be distinguished" for each in ("plain SGD", "Adam")],
    ),
    "bn-momentum": (
        momentum, ["inference does not yet show what the network has learnt"],
        ["inference is better than training mode"],
        ["inference and training mode cannot be distinguished", "effect is undecided for", "0.999 and 0.99 cannot be"],
    ),
    "bn-batch-size": (
        batch_size, ["With 4 images per batch the accuracy is lower than with 128 for"],
        ["With 4 images per batch the accuracy is higher than with 128 for"],
        ["seeds, the difference between 4 and 128 images per batch is not significant for"],
    ),
    "bn-inference": (
        inference, ["With one image at a time, inference needs the moving statistics"],
        ["With one image at a time, inference does better without the moving statistics"],
        ["moving statistics and the image's own moments cannot be distinguished", "faster is undecided"],
    ),
    "bn-depth": (
        depth, ["Normalisation raises the accuracy at 5, 10, 20, 30, 40 and 50 layers", "is larger with normalisation"],
        ["Normalisation lowers the accuracy at 5, 10, 20, 30, 40 and 50 layers", "is smaller with normalisation"],
        ["Its effect is undecided at 5, 10, 20, 30, 40 and 50 layers", "is not distinguishably different"],
    ),
    "bn-lstm": (
        lstm, ["raises it with gamma 0.1", "raises it with gamma 1"],
        ["lowers it with gamma 0.1", "lowers it with gamma 1"],
        ["has no distinguishable effect on it with gamma 0.1", "these runs do not decide"],
    ),
    "norm-shootout": (
        shootout,
        [f"{what} is better with batch, batch-manual" for what in ("test accuracy", "BCE (nats a pixel)", "PSNR (dB)")],
        [f"{what} is worse with batch, batch-manual" for what in ("test accuracy", "BCE (nats a pixel)", "PSNR (dB)")],
        [],
    ),
}  # fmt: skip
EFFECTS = {"higher": 0.2, "lower": -0.2, "equal": 0.0, "noise": 0.0}


def rows_of(name, effect, seeds=8, only=lambda cell: True):
    """Rows of a whole plan with an accuracy of 0.6, and of 0.6 and the effect where a cell is treated."""
    study, random = STUDIES[name], np.random.default_rng(5)
    rows = []
    for cell in study.plan(seeds, study.n_steps):
        treated = 0.6 + (EFFECTS[effect] if only(cell) else 0)
        noise = random.normal(0, 0.01, 2) if effect != "equal" else [0.01 * cell["seed"]] * 2
        measures = CASES[name][0](cell, 0.6 + noise[0], treated + noise[1])
        rows.append({"cell": {**cell, **IDENTITY}, "measures": measures, "seconds": 1.0})
    return rows


@pytest.mark.parametrize("effect", ["higher", "lower", "equal", "noise"])
@pytest.mark.parametrize("name", CASES)
def test_a_conclusion_follows_the_numbers(name, effect):
    _, higher, lower, neither = CASES[name]
    answer = Findings(STUDIES[name], rows_of(name, effect)).answer
    said = {"higher": higher, "lower": lower}.get(effect, neither)
    assert [words for words in said if words not in answer] == []
    for words in {*higher, *lower, *neither} - set(said):
        if effect in ("higher", "lower") and words in neither:
            continue  # Another comparison of the same study can be undecided.
        assert words not in answer


@pytest.mark.parametrize("name", CASES)
def test_one_seed_decides_nothing(name):
    _, higher, lower, neither = CASES[name]
    findings = Findings(STUDIES[name], rows_of(name, "higher", seeds=1))
    assert [words for words in (*higher, *lower) if words in findings.answer] == []
    assert [words for words in neither if words not in findings.answer] == []
    assert "(one run)" in findings.answer
    assert "nan" not in f"{findings.answer} {findings.table}"


def test_every_study_has_its_case():
    assert set(CASES) == set(STUDIES)


@pytest.mark.parametrize("name", STUDIES)
def test_no_word_of_a_study_is_of_former_times(name):
    findings = Findings(STUDIES[name], rows_of(name, "higher", seeds=3))
    text = f"{findings.study.title} {findings.study.question} {findings.setting} {findings.answer} {findings.table}"
    assert not re.search(r"bootstrap|10 to the|same faster form|level with|goes every", text)


def test_claims_speak_of_each_optimiser_by_itself():
    rows = rows_of("bn-claims", "higher", only=lambda cell: cell["optimiser"] == "sgd")
    findings = Findings(STUDIES["bn-claims"], rows)
    assert "With plain SGD, batch normalisation raises the accuracy" in findings.answer
    assert "With Adam, no effect of batch normalisation can be distinguished" in findings.answer
    optimisers = [line[0] for line in findings.table[1:]]
    assert optimisers == ["plain SGD"] * 14 + ["Adam"] * 14
    assert set(findings.figures) == {"sgd", "adam"}


def test_claims_name_the_rates_at_which_nothing_trains():
    rows = rows_of("bn-claims", "equal")
    for row in rows:
        if row["cell"]["learning_rate"] == 10 or row["cell"]["norm"] == "none":
            row["measures"] = {"accuracy": None, "diverged": True}
    answer = Findings(STUDIES["bn-claims"], rows).answer
    sgd, adam = answer.split("With Adam")
    assert "With normalisation no setting trains at rate 10, with any seed." in sgd
    assert "With normalisation no setting" not in adam
    assert answer.count("Without it no setting trains, with any seed.") == 2


def test_no_best_is_named_where_the_seeds_cannot_say():
    def answer(seeds, **qualities):
        rows = rows_of("norm-shootout", "noise", seeds=seeds)
        for row in rows:
            row["measures"]["quality"] += qualities.get(row["cell"]["norm"], 0)
        return Findings(STUDIES["norm-shootout"], rows).answer.split("The autoencoder's")[0]

    assert "cannot be distinguished from that with any normalisation" in answer(8)
    assert "8 seeds do not decide which of the 8 is the best" in answer(8)
    assert "a single seed does not decide what normalisation changes" in answer(1, ghost=0.3)
    assert "a single seed does not decide whether it is the best" in answer(1, ghost=0.3)
    found = answer(8, ghost=0.3)
    assert "The highest mean is that of ghost" in found
    assert "all others are significantly worse" in found
    found = answer(8, ghost=0.3, renorm=0.3)
    assert re.search(r"with these seeds it cannot be distinguished from (ghost|renorm)\.", found)


def test_steps_of_networks_that_never_converge_are_all_shown():
    rows = rows_of("bn-lstm", "equal", seeds=3)
    never = [row for row in rows if row["cell"]["arm"] == "gamma 1"]
    for row in never[:2]:
        row["measures"]["converged"] = None
    [line] = [line for line in STUDIES["bn-lstm"].table(rows) if line[0] == "gamma 1"]
    assert line[2] == "all runs: never, never, 51"


def test_gradients_of_which_some_vanish_are_all_shown():
    rows = rows_of("bn-depth", "equal", seeds=3)
    deep = [row for row in rows if (row["cell"]["layers"], row["cell"]["norm"]) == (50, "none")]
    for row, value in zip(deep, (0.0, 0.0, 1e-20), strict=True):
        row["measures"]["gradients"][0][0] = value
    heading, *lines = STUDIES["bn-depth"].table(rows)
    column = heading.index(f"{SIGNALS['gradients'][0]}, without")
    assert lines[-1][column] == "all runs: 0, 0, 1.0 × 10⁻²⁰"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (0.26, "0.26"), (1, "1.0"), (1.3e-8, "1.3 × 10⁻⁸"), (84.2, "84"), (9.97, "10"), (1234, "1.2 × 10³"),
        (-2e-5, "-2.0 × 10⁻⁵"),
    ],
)  # fmt: skip
def test_numbers_of_any_size_have_two_digits(value, text):
    assert scientific(value) == text


def test_geometric_means_are_those_of_logarithms():
    assert str(Geometric([1e-8, 1e-6])) == "1.0 × 10⁻⁷ [2.0 × 10⁻²⁰, 5.1 × 10⁵]"
    assert str(Geometric([1e-8])) == "1.0 × 10⁻⁸ (one run)"
    assert str(Geometric([2.0, 2.0])) == "2.0 (all 2 equal)"
    assert [listed("a"), listed("ab"), listed("abc")] == ["a", "a and b", "a, b and c"]


@pytest.mark.parametrize(("seeds", "bands", "lines"), [(1, 0, 1), (3, 0, 4), (5, 0, 6), (6, 1, 1), (20, 1, 1)])
def test_medians_have_a_band_from_six_seeds_on_and_every_seed_below(seeds, bands, lines):
    curves = np.random.default_rng(0).random((seeds, 7))
    with new_figure((3, 2)) as (_, [[axis]]):
        draw_medians(axis, 0, "label", range(7), curves)
    assert (len(axis.collections), len(axis.lines)) == (bands, lines)
    assert ("interval" in medians_note(seeds)) == bool(bands)
    assert ("each seed" in medians_note(seeds)) == (1 < seeds < 6)
    if bands:
        drawn = axis.collections[0].get_paths()[0].vertices
        rank = {6: 1, 20: 6}[seeds]
        assert np.isin(np.sort(curves, axis=0)[[rank - 1, -rank]], drawn[:, 1]).all()


def test_bands_of_means_are_not_clipped_to_what_is_possible():
    found = [summarise([0.9, 0.99, 1.0]), summarise([0.5])]
    with new_figure((3, 2)) as (_, [[axis]]):
        draw_means(axis, 0, "label", [1, 2], found)
    assert axis.collections[0].get_paths()[0].vertices[:, 1].max() == pytest.approx(found[0].high)
