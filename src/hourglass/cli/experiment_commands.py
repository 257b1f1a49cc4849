"""Commands on experiments: list, run, report."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hourglass.cli.app import Misuse, app, merge, parse_settings, stoppable
from hourglass.cli.choices import dataset_name
from hourglass.cli.shared import CheckpointEvery, Quiet
from hourglass.cli.study_commands import run_studies, split

if TYPE_CHECKING:
    from hourglass.experiments import Result, Run


@app.command("list")
def list_experiments() -> None:
    """Show experiments and the lab's studies: name, title, question."""
    from rich.console import Console
    from rich.table import Table

    from hourglass.experiments import EXPERIMENTS
    from hourglass.lab import STUDIES

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    rows = [(each.name, each.title, each.question) for each in EXPERIMENTS.values()]
    rows += [(each.name, each.title, each.question) for each in STUDIES.values()]
    for name, title, question in rows:
        table.add_row(name, f"{title}\n[dim]{question}[/dim]")
    Console().print(table)


@app.command()
def run(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Experiments or studies; all, bn-lab.", show_default=False)
    ],
    dataset: Annotated[
        str,
        typer.Option(
            parser=dataset_name,
            metavar="<sample|mnist|fashion-mnist>",
            help="5,000 MNIST digits that need no download, or a full data set.",
        ),
    ] = "sample",
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the data set's IDX files, or of a subfolder of its name.",
            envvar="HOURGLASS_DATA",
            show_default=False,
        ),
    ] = None,
    recipe: Annotated[
        Literal["classic", "fast"],
        typer.Option(help="The notebooks' schedule, or one that reaches its quality sooner."),
    ] = "classic",
    seed: Annotated[
        int | None, typer.Option(help="The one seed to run.  [default: 0]", show_default=False, min=0)
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(metavar="N", help="Run the seeds 0 … N-1.", show_default=False, min=1)
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(help="Passes over the data, in place of the recipe's.", show_default=False)
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Steps of training, in place of the recipe's.", show_default=False, min=1)
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"] | None,
        typer.Option(help="Where to compute.  [default: auto]", show_default=False),
    ] = None,
    precision: Annotated[
        Literal["float32", "bfloat16", "auto"] | None,
        typer.Option(
            help="Of the forward pass; auto is bfloat16 where it is faster.  [default: float32]", show_default=False
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a parameter of the estimator; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results.  [default: runs/<time>]", show_default=False)
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Leave finished runs in --out and resume an unfinished one from its last checkpoint. Where there is "
            "an unfinished one, this is so anyway. A finished run is lengthened by more --epochs or "
            "--steps; a schedule that goes down then rises again.",
        ),
    ] = False,
    checkpoint_every: CheckpointEvery = "60s",
    jobs: Annotated[
        int | None,
        typer.Option(help="Processes at once, of studies.  [default: one a core]", show_default=False, min=1),
    ] = None,
    quiet: Quiet = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each finished run's result as one line of JSON, and nothing else.")
    ] = False,
) -> None:
    """Run experiments and write their figures and numbers to a page.

    `hourglass list` shows them; `all` runs the six experiments, `bn-lab` every study of the batch-normalisation lab.
    Studies look at --dataset, --data-dir, --seeds, --steps, --jobs and --out, where they go on with what is there.
    """
    from hourglass import experiments
    from hourglass.data import load
    from hourglass.report import write_report

    chosen, studies = split(names)
    if studies:
        given = {"--epochs": epochs, "--set": settings, "--seed": seed, "--device": device, "--precision": precision}
        strange = [option for option, value in given.items() if value is not None]
        switched = {"--resume": resume, "--json": as_json, "--recipe": recipe != "classic"}
        strange += [option for option, value in switched.items() if value]
        if strange:
            raise Misuse(f"{studies[0]} is a study, and has no {strange[0]}; its settings are its own")
    if resume and out is None:
        raise Misuse("--resume needs --out, the folder of the run to go on with")
    parameters = merge(parse_settings(settings or []), epochs=epochs, n_steps=steps, device=device, precision=precision)
    if seed is not None and seeds is not None:
        raise Misuse("--seed runs one seed and --seeds several; give one of them")
    try:
        for name in chosen:
            experiments.find(name).configure(recipe, **parameters | {"checkpoint_every": checkpoint_every})
    except ValueError as error:
        raise Misuse(str(error)) from error

    folder = out or Path("runs") / datetime.now().strftime("%Y-%m-%d-%H%M%S")
    chosen_seeds = range(seeds) if seeds else (seed or 0,)
    going_on = experiments.check_out(folder, chosen, recipe, chosen_seeds, resume=resume or None)
    if going_on and not resume and not quiet:
        typer.echo(f"{folder} holds an unfinished run: going on with it", err=True)
    data = load(dataset, data_dir)
    results: list[Result] = []
    finished: list[Run] = []

    def note(run: "Run") -> None:
        finished.append(run)
        if as_json:
            _print_json(run)

    try:
        for name in chosen:
            with stoppable(f"to go on, repeat the command with --out {folder} --resume"):
                result = experiments.run(
                    name,
                    dataset=data,
                    recipe=recipe,
                    seeds=chosen_seeds,
                    out=folder,
                    resume=going_on,
                    checkpoint_every=checkpoint_every,
                    verbose=int(not quiet),
                    on_run=note,
                    say=_silent if quiet else lambda message: typer.echo(message, err=True),
                    **parameters,
                )
            results.append(result)
            write_report(folder)
        run_studies(studies, data, folder, seeds=seeds, n_steps=steps, jobs=jobs, quiet=quiet)
    finally:
        # Whatever ended it, what was finished is shown.
        if results and not quiet and not as_json:
            _print_table(results)
        if finished or studies:
            _report_anyway(folder, quiet=quiet, to_stderr=as_json)


def _report_anyway(folder: Path, *, quiet: bool, to_stderr: bool) -> None:
    """Write the page; where another error is on its way, that is the one to be told."""
    from hourglass.report import write_report

    on_its_way = sys.exc_info()[0] is not None
    try:
        page = write_report(folder)
    except (OSError, ValueError):
        if not on_its_way:
            raise
        return
    if not quiet:
        typer.echo(f"report: {page}", err=to_stderr)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="As `hourglass run --out` left it.", show_default=False)],
) -> None:
    """Write the page of a folder of runs anew."""
    from hourglass.report import write_report

    typer.echo(f"report: {write_report(folder)}")


def _silent(message: str) -> None:
    pass


def _print_json(run: "Run") -> None:
    sys.stdout.write(json.dumps(run.to_json(), allow_nan=False) + "\n")
    sys.stdout.flush()


def _print_table(results: Sequence["Result"]) -> None:
    from rich.console import Console
    from rich.table import Table

    from hourglass.experiments.measures import KINDS, heading, mean_and_deviation, shown, written

    for kind, measure in KINDS.items():
        chosen = [result for result in results if measure in result.scores]
        if not chosen:
            continue
        columns = [name for name in shown(chosen[0].scores) if not name.endswith("_loss")]
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column(kind.lower().removesuffix("s"), no_wrap=True)
        for title in (*map(heading, columns), "training"):
            table.add_column(title, justify="right")
        for result in chosen:
            seconds = [run.timing["train_seconds"] or 0.0 for run in result.runs]
            table.add_row(
                result.experiment,
                *(written(result.scores[name], name) for name in columns),
                mean_and_deviation(seconds, 1) + " s",
            )
        # A file or a pipe has no width of its own.
        Console(width=None if sys.stdout.isatty() else 120).print(table)
