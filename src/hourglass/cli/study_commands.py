"""Commands on the lab: its studies, run by ``hourglass run``, and explanations."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from hourglass.cli.app import Misuse, app, stoppable

ALL_STUDIES = "bn-lab"


def split(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Experiments and studies among names, each once; ``all`` is the six experiments, ``bn-lab`` every study."""
    from hourglass.experiments import EXPERIMENTS
    from hourglass.lab import STUDIES

    groups = {"all": list(EXPERIMENTS), ALL_STUDIES: list(STUDIES)}
    words = list(dict.fromkeys(word for name in names for word in groups.get(name, [name])))
    for word in words:
        if word not in EXPERIMENTS and word not in STUDIES:
            known = ", ".join([*EXPERIMENTS, *STUDIES])
            raise Misuse(f"experiment {word!r} is unknown; choose one of {known}, all or {ALL_STUDIES}")
    return [word for word in words if word in EXPERIMENTS], [word for word in words if word in STUDIES]


def run_studies(
    names: Sequence[str],
    data: Any,
    folder: Path,
    *,
    seeds: int | None,
    n_steps: int | None,
    jobs: int | None,
    quiet: bool,
) -> None:
    """Run studies, show what each found, and write the page."""
    from hourglass.lab import run_study

    for name in names:
        with stoppable(f"to go on, repeat the command with --out {folder}"):
            findings = run_study(
                name,
                dataset=data,
                out=folder,
                seeds=seeds,
                n_steps=n_steps,
                jobs=jobs,
                say=(lambda message: None) if quiet else (lambda message: typer.echo(message, err=True)),
            )
        if not quiet:
            typer.echo(f"{name}: {findings.answer}")


@app.command()
def explain(
    name: Annotated[str, typer.Argument(metavar="NAME", help="bn-layer or bn-manual.", show_default=False)],
) -> None:
    """Show batch normalisation of one small batch, number by number: forward, moving statistics, backward."""
    from hourglass.lab import explain as explained

    try:
        text = explained(name)
    except ValueError as error:
        raise Misuse(str(error)) from error
    typer.echo(text)
