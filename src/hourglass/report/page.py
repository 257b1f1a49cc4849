"""The page of a report: one self-contained HTML file."""

import base64
import os
from collections.abc import Sequence
from pathlib import Path

from hourglass.atomic import write_whole
from hourglass.experiments import EXPERIMENTS, stored_runs
from hourglass.experiments.captions import length, listed
from hourglass.experiments.groups import Group, groups_of
from hourglass.experiments.measures import KINDS, METHODS, digits, heading, meanings
from hourglass.lab import stored_findings
from hourglass.report.answers import answer, single_image_note
from hourglass.report.common_axes import compared_groups, describe_comparison, draw_comparison
from hourglass.report.peers import legends, peers_of

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
        terms=meanings(measure for group in groups for measure in group.metrics),
        peers_of=peers_of,
        rows=lambda peers: zip(legends(peers), peers, strict=True),
        answer=answer,
        single_image_note=single_image_note,
        length=length,
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
