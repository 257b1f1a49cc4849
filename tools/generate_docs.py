"""Write the documents that are generated: the command line's reference, and the page of results.

``--check`` writes nothing and fails when one is stale.
"""

import argparse
import io
import json
import os
import statistics
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import batchnorm_page
import benchmark_page
import compression_page
import formats_page
import playground_page
import reliability_page
import scaling_page
from hourglass import cli
from hourglass.cli.screens import PANELS
from hourglass.experiments import EXPERIMENTS, RECIPES, stored_runs
from hourglass.experiments.captions import caption, length, listed
from hourglass.experiments.groups import Group, groups_of
from hourglass.experiments.measures import KINDS, METHODS, digits, heading, mean_and_deviation, shown
from hourglass.lab.study import markdown
from hourglass.pretrained import PRETRAINED, folder_of
from hourglass.report import answer, describe_comparison, peers_of
from photographs_page import photographs

DOCS = Path(__file__).parents[1] / "docs"
RESULTS = DOCS / "results"
# By experiment: what is reported, the figure in the text of the notebooks, and that of another published run of them.
NOTEBOOKS = {
    "dense": ("training loss, 20 epochs", "not printed", "0.0934"),
    "conv": ("training loss, 20 epochs", "not printed", "0.096–0.105"),
    "denoise": ("training loss, 100 epochs", "not printed", "0.096–0.103"),
    "bn-none": ("test accuracy", "0.2949", "0.1219"),
    "bn-layer": ("test accuracy", "0.8833", "0.9745"),
    "bn-manual": (
        "test accuracy",
        "not printed; its output ends at batch 575, with a validation accuracy of 0.8924 at batch 500",
        "0.9605",
    ),
}
FIGURES = {
    "dense-fast": ("reconstructions", "codes"),
    "conv-fast": ("reconstructions", "codes", "checkerboards"),
    "denoise-fast": ("reconstructions", "codes", "curve"),
    "dense-better-classic": ("reconstructions",),
    "conv-better-fast": ("reconstructions", "codes"),
    "denoise-better-fast": ("reconstructions",),
}


ANSWERS_NOTE = (
    "The following answers to the experiments' questions call a score higher or lower than another one where the "
    "difference is significant at 5% in a paired t-test over the seeds, corrected for the number of comparisons "
    "(Holm's procedure).\n"
)

COMMANDS = [name for names in PANELS.values() for name in names]


def command_line() -> str:
    """Reference of the command line, from its own help."""
    parts = ["# Command line\n", "Generated from `--help` by `tools/generate_docs.py`.\n"]
    for words in ([], *([name] for name in COMMANDS)):
        output = io.StringIO()
        os.environ["COLUMNS"] = "100"
        with redirect_stdout(output):
            cli.main([*words, "--help"])
        parts.append(f"## `{' '.join(['hourglass', *words])}`\n\n```text\n{output.getvalue().strip()}\n```\n")
    return "\n".join(parts)


def table(groups: Sequence[Group]) -> str:
    """Scores of every recipe as a Markdown table."""
    names = [name for name in shown(groups[0].result["metrics"]) if not name.endswith("_loss")]
    heads = ["experiment", "recipe", "trained", "seeds", *(heading(name, arrow=True) for name in names)]
    lines = [[*heads, heading("train_seconds"), "images/s"]]
    for group in groups:
        scores = [group.metrics[name] for name in names]
        who = [f"`{group.name}`", group.recipe, trained(group), str(len(group.runs))]
        lines.append([*who, *scores, group.train_seconds, group.images_per_second])
    return markdown(lines)


def answers(groups: Sequence[Group]) -> str:
    """What each group of runs answers to its experiment's question, as a list."""
    found = ((group, answer(group, peers_of(group, groups))) for group in groups)
    return "\n".join(f"- `{group.name}`, {group.recipe} recipe. {' '.join(said)}" for group, said in found)


def notebook_table(groups: Sequence[Group]) -> str:
    """What the notebooks report of each experiment, and what another published run of them does."""
    lines = [["experiment", "measure", "the notebooks", "another published run of the same notebooks"]]
    return markdown(
        lines
        + [[f"`{group.name}`", *NOTEBOOKS[group.name]] for group in first_of_each(groups) if group.name in NOTEBOOKS]
    )


def constants_table(groups: Sequence[Group]) -> str:
    """Constants of normalisation and optimiser, and the runs that have them."""
    runs: dict[tuple[str, ...], list[str]] = {}
    for group in groups:
        runs.setdefault(tuple(group.constants.values()), []).append(f"`{group.name}` {group.recipe}")
    lines = [["runs", *groups[0].constants], *([", ".join(names), *constants] for constants, names in runs.items())]
    return markdown(lines)


def trained(group: Group) -> str:
    """How long, in the parameter's own unit."""
    parameters = group.result["parameters"]
    whole = EXPERIMENTS[group.name].configure(group.recipe)
    cut = not whole.n_steps and parameters.get("epochs") != whole.epochs
    return length(parameters) + (f" (of the notebook's {whole.epochs:g} epochs)" if cut else "")


def baseline_table(group: Group) -> str:
    """Scores of the methods that an autoencoder is compared with."""
    names = list(group.metrics)
    lines = [["on the same test images", *(heading(name, arrow=True) for name in names), "strength"]]
    for method, scores in group.result["baselines"].items():
        values = [f"{scores[name]:.{digits(name)}f}" for name in names]
        lines.append([METHODS[method], *values, f"{scores['strength']:g}" if "strength" in scores else ""])
    return markdown(lines)


def machines(groups: Sequence[Group]) -> str:
    """Every machine on which a run was measured, and the experiments that were measured there."""
    found: dict[str, dict[str, None]] = {}
    for group in groups:
        for run in group.runs:
            each = run.result["environment"]
            machine = f"{each['threads']} cores ({each['processor']}), PyTorch {each['torch']}, {each['precision']}"
            found.setdefault(machine, {})[f"`{group.name}`"] = None
    return "; ".join(f"{listed(names)} on {machine}" for machine, names in found.items())


def results() -> str:
    """Page of measured results, from the committed ``result.json`` files."""
    groups = groups_of(stored_runs(RESULTS))
    folders = {f"{group.name}-{group.recipe}": group for group in groups}
    autoencoders = [group for group in groups if KINDS["Autoencoders"] in group.result["metrics"]]
    classifiers = [group for group in groups if KINDS["Classifiers"] in group.result["metrics"]]
    compared = [group for group in classifiers if group.recipe == RECIPES[0]]
    parts = [
        "# Results on full MNIST\n",
        "Generated by `tools/generate_docs.py` from the `result.json` files in `docs/results`, which name every "
        "parameter. There are 60,000 training images and 10,000 test images. The classifiers do not train on the first "
        "5,000 training images, but use them for validation. The scores of an autoencoder are computed for each test "
        "image and then averaged. If there are several seeds, the tables show the mean ± the standard deviation. "
        f"Measured: {machines(groups)}. Other processes used the machines too, so that times vary from day to day.\n",
        "## Autoencoders\n",
        table(autoencoders) + "\n",
        *speedups(autoencoders),
        ANSWERS_NOTE,
        answers(autoencoders) + "\n",
        "The lessons' notebooks do not print the loss of an autoencoder, but another published run of them does:\n",
        notebook_table(autoencoders) + "\n",
    ]
    parts.append("Three experiments change what limits the notebooks' autoencoders:\n")
    parts.append("\n".join(f"- `{each.name}`. {each.change}" for each in EXPERIMENTS.values() if each.change) + "\n")
    for group in first_of_each(autoencoders):
        if group.name not in NOTEBOOKS:
            continue  # the methods are the same
        parts += [f"### `{group.name}` against methods without a network\n", baseline_table(group) + "\n"]
        parts += [group.baseline_note + "\n"]
    parts.append(
        "The methods of `denoise-better` are those of `denoise` without PCA: detail also passes beside its code, so "
        "that no number of components of PCA is equal to it.\n"
    )
    parts += [
        "## Classifiers\n",
        table(classifiers) + "\n",
        "The accuracy one by one is measured on the first 100 test images, each given to the network alone. "
        + agreement(classifiers)
        + "\n",
        answers(classifiers) + "\n",
        "The accuracies that the notebooks print and those of another published run of the same notebooks are far "
        "apart, which shows how much single runs differ:\n",
        notebook_table(classifiers) + "\n",
        f"![{len(compared)} classifiers on common axes](results/bn-comparison.png)\n",
        describe_comparison(compared) + "\n",
        "## Constants\n",
        "The estimators have no parameters for the ε of the normalisation layers, which is added to the variance, or "
        "for the constants of the optimiser. The table has the values that the layers and the optimiser use. The "
        "momentum is the weight of the new batch in the moving statistics.\n",
        constants_table(groups) + "\n",
        "## Images\n",
    ]
    for folder, names in FIGURES.items():
        for name in names:
            said = caption(name, folders[folder].estimator)
            parts.append(f"`{folder}`, seed 0: {name}. {said}\n\n![{name}](results/{folder}/seed-0/{name}.png)\n")
    return "\n".join(parts)


def denoising() -> str:
    """Page on denoising, from what was measured and from the model cards."""
    document = json.loads((RESULTS / "denoising.json").read_text(encoding="utf-8"))
    digits = document["digits"]
    supervised = statistics.fmean(
        run.result["metrics"]["test_psnr_db"]
        for run in stored_runs(RESULTS)
        if (run.result["experiment"], run.result["recipe"]) == ("denoise", "fast")
    )
    lines = [["noise 0.5, clipped", "self-supervised", "total variation"], ["---"] * 3]
    for name, what in (("raw", "bias left"), ("undone", "bias removed")):
        row = digits[name]
        lines.append([what, f"**{row['self_supervised']:.2f}**", f"{row['total_variation']:.2f}"])
    parts = [
        "# Denoising\n",
        "Generated by `tools/generate_docs.py` from `docs/results/photographs.json`, which `scripts/denoise-bench` "
        "writes, `docs/results/denoising.json`, which `tools/measure_denoising.py` writes, and the model cards in the "
        "package. PSNR is computed in dB for each image and then averaged.\n",
        *photographs(),
    ]
    parts += [
        "## Digits, learnt without clean images\n",
        f"The first {digits['images']:,} test images of MNIST have Gaussian noise of standard deviation 0.5 and are "
        f"clipped to [0, 1] (PSNR of the noisy images: {digits['noisy']:.2f} dB). The network learns from noisy images "
        "alone, by predicting hidden pixels from those around them (Noise2Self; `self_supervised=True`). The strength "
        "of total variation is chosen on 200 clean training images. Clipping biases the images: black becomes 0.195 on "
        "average. The second row shows both methods after this bias was removed (`--undo-clipping`).\n",
        "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n",
        f"The training took {digits['parameters']['n_steps']:,} steps and {digits['seconds'] / 60:.1f} minutes. With "
        f"clean images to learn from, the experiment `denoise` reaches {supervised:.1f} dB through a code of 256 "
        "numbers ([results on MNIST](results.md)).\n",
        *(part for name in PRETRAINED for part in of_card(name)),
    ]
    return "\n".join(parts)


def of_card(name: str) -> list[str]:
    """A section from the model card of a model in the package."""
    card = (folder_of(name) / "README.md").read_text(encoding="utf-8")
    return [f"## The model `{name}`\n", card.partition("\n")[2].strip() + "\n"]


def first_of_each(groups: Sequence[Group]) -> list[Group]:
    """One group for each experiment."""
    return list({group.name: group for group in reversed(groups)}.values())[::-1]


def speedups(groups: Sequence[Group]) -> list[str]:
    """A sentence on the time of the fast recipe, for experiments whose two recipes were both trained to the end."""
    lines = []
    for name in ("dense", "conv"):
        seconds = {
            group.recipe: [run.result["timing"]["train_seconds"] for run in group.runs]
            for group in groups
            if group.name == name
        }
        ratio = [fast / classic for fast, classic in zip(seconds["fast"], seconds["classic"], strict=True)]
        lines.append(
            f"The fast recipe of `{name}` takes {mean_and_deviation(ratio, 2)} of the classic recipe's training time."
        )
    return [" ".join(lines) + "\n"]


def agreement(groups: Sequence[Group]) -> str:
    """A sentence on predictions one image at a time."""
    runs = [run for group in groups for run in group.runs]
    equal = sum(run.result["metrics"]["single_image_agreement"] == 1 for run in runs)
    return f"In {equal} of {len(runs)} runs these predictions equal those for all 100 images at once."


def main() -> int:
    """Write or check; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for path, content in (
        (DOCS / "cli.md", command_line()),
        (DOCS / "results.md", results()),
        (DOCS / "denoising.md", denoising()),
        (DOCS / "batchnorm.md", batchnorm_page.page()),
        (DOCS / "compression.md", compression_page.page()),
        (DOCS / "scaling.md", scaling_page.page()),
        (DOCS / "playground.md", playground_page.page()),
        (DOCS / "benchmarks.md", benchmark_page.page()),
        (DOCS / "reliability.md", reliability_page.page()),
        (DOCS / "formats.md", formats_page.page()),
    ):
        if not check:
            path.write_text(content, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != content:
            stale.append(path.name)
    if stale:
        print(f"stale: {', '.join(stale)}; run python tools/generate_docs.py", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
