"""The learning curves of several classifiers on common axes, and their caption."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from hourglass.experiments import RECIPES
from hourglass.experiments.captions import LENGTH, comparison_caption, length
from hourglass.experiments.groups import Group, as_text, common_changes
from hourglass.experiments.measures import KINDS
from hourglass.plots import classifier_curves, save_figure
from hourglass.report.peers import legends
from hourglass.training import History


def compared_groups(groups: Sequence[Group]) -> list[Group]:
    """Choose the classifiers of one data set and recipe that can be drawn on common axes.

    Parameters
    ----------
    groups : sequence of Group
        All groups of runs on the page.

    Returns
    -------
    list of Group
        Two or more groups of classifiers with reports at the same steps, or an empty list if there are none.
    """
    kinds = dict.fromkeys((group.result["dataset"], group.recipe) for group in groups)
    for kind in sorted(kinds, key=lambda kind: RECIPES.index(kind[1])):
        chosen = [
            group
            for group in groups
            if (group.result["dataset"], group.recipe) == kind and KINDS["Classifiers"] in group.result["metrics"]
        ]
        if len(chosen) > 1 and _comparable(run.history() for group in chosen for run in group.runs):
            return chosen
    return []


def draw_comparison(compared: Sequence[Group], path: Path) -> Path | None:
    """Draw the learning curves of several groups on common axes, as a PNG file.

    Parameters
    ----------
    compared : sequence of Group
        The groups that :func:`compared_groups` returned.
    path : Path
        Path of the file, which is replaced if it exists, and removed if there are no groups.

    Returns
    -------
    Path or None
        ``path``, or None if there are no groups.

    Raises
    ------
    ValueError
        When the history of a run is missing or damaged.
    OSError
        When the file cannot be written.
    """
    if not compared:
        path.unlink(missing_ok=True)
        return None
    names = legends(compared)
    histories = [[run.history() for run in group.runs] for group in compared]
    norms = [group.result["parameters"].get("norm") for group in compared]
    figure = classifier_curves(dict(zip(names, histories, strict=True)), dict(zip(names, norms, strict=True)))
    save_figure(figure, path)
    return path


def describe_comparison(compared: Sequence[Group]) -> str:
    """Write the caption of the comparison: what was trained, how, and how it was measured.

    Parameters
    ----------
    compared : sequence of Group
        The groups in the figure, at least one.

    Returns
    -------
    str
        The caption.
    """
    first = compared[0].result
    shared = {name: value for name, value in common_changes(compared).items() if name not in LENGTH}
    recipe = f"{first['recipe']} recipe" + (f" ({as_text(shared)})" if shared else "")
    how = f"the {recipe} on {first['dataset']}, {length(first['parameters'])}"
    networks = zip(legends(compared), (group.estimator for group in compared), strict=True)
    return comparison_caption(how, {name: each for name, each in networks if each is not None})


def _comparable(histories: Iterable[History]) -> bool:
    """Whether all histories have reports at the same steps."""
    return len({tuple(history.reports) for history in histories}) == 1
