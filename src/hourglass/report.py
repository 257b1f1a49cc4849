"""One self-contained HTML page from a folder of runs."""

import base64
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from hourglass.atomic import write_whole
from hourglass.experiments import EXPERIMENTS, RECIPES, stored_runs
from hourglass.experiments.captions import LENGTH, comparison_caption, length, listed
from hourglass.experiments.groups import Group, as_text, common_changes, groups_of
from hourglass.experiments.measures import KINDS, METHODS, digits, heading
from hourglass.lab import stored_findings
from hourglass.plots import classifier_curves, save_figure
from hourglass.training import History

PAGE, COMPARISON = "report.html", "bn-comparison"


def write_report(out: str | os.PathLike[str]) -> Path:
    """Write ``report.html`` about all complete runs and all studies in a folder.

    Parameters
    ----------
    out : path-like
        Folder of the runs and studies, as ``hourglass run --out`` writes it. The page and the figures of the studies
        are written into it.

    Returns
    -------
    Path
        Path of the page, which contains its images and links to nothing outside itself.

    Raises
    ------
    FileNotFoundError
        When the folder contains no complete run and no study.
    ValueError
        When a file of a run is damaged.
    OSError
        When the page cannot be written.
    """
    import jinja2

    out = Path(out)
    groups = groups_of(stored_runs(out))
    studies = [(found, found.draw(out / found.study.name)) for found in stored_findings(out)]
    if not groups and not studies:
        raise FileNotFoundError(f"{out} holds no complete run; `hourglass run NAME --out {out}` makes one")
    compared = compared_groups(groups)
    comparison = draw_comparison(compared, out / f"{COMPARISON}.png")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hourglass", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("report.html.jinja").render(
        groups=groups,
        studies=studies,
        experiments=EXPERIMENTS,
        heading=heading,
        methods=METHODS,
        subject=subject(groups, studies=bool(studies)),
        comparison=comparison,
        comparison_caption=compared and describe_comparison(compared),
        embed=embed,
        digits=digits,
        kinds=KINDS,
    )
    write_whole(out / PAGE, page.encode())
    return out / PAGE


def subject(groups: Sequence[Group], *, studies: bool) -> str:
    """Describe the subject of a page in one sentence: the kinds of networks and their training data.

    Parameters
    ----------
    groups : sequence of Group
        The groups of runs on the page.
    studies : bool
        Whether the page has studies.

    Returns
    -------
    str
        The sentence, with a capital letter and a full stop.
    """
    parts = []
    for kind, measure in KINDS.items():
        data = dict.fromkeys(group.result["dataset"] for group in groups if measure in group.result["metrics"])
        if data:
            parts.append(f"{kind.lower()} trained on {listed(list(data))}")
    said = listed(parts + ["studies of batch normalisation"] * studies)
    return f"{said[:1].upper()}{said[1:]}."


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
    histories = [[run.history() for run in group.runs] for group in compared]
    save_figure(classifier_curves(dict(zip(legends(compared), histories, strict=True))), path)
    return path


def legends(compared: Sequence[Group]) -> list[str]:
    """Name each group in a legend by its experiment and by the changes that not all groups share.

    Parameters
    ----------
    compared : sequence of Group
        The groups, at least one.

    Returns
    -------
    list of str
        Name of each group, in the same order.
    """
    shared = common_changes(compared)
    own = [{name: value for name, value in group.changes.items() if name not in shared} for group in compared]
    return [f"{group.name} {as_text(changes)}".strip() for group, changes in zip(compared, own, strict=True)]


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


def embed(path: Path) -> str:
    """Encode a PNG file as a ``data:`` URL, so that a page can contain it.

    Parameters
    ----------
    path : Path
        Path of the PNG file.

    Returns
    -------
    str
        The URL.

    Raises
    ------
    OSError
        When the file cannot be read.
    """
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
