"""Commands on experiments: list, run, report."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hourglass.cli.app import Misuse, app, merge, parse_settings, resuming, stoppable, was_given
from hourglass.cli.choices import dataset_place
from hourglass.cli.shared import CheckpointEvery, DataFolder, Quiet, teller
from hourglass.cli.torchrun import Timeout, check_out_is_given, together
from hourglass.cli.worker_options import Cluster

if TYPE_CHECKING:
    from hourglass.experiments import Result, Run
    from hourglass.lab import Findings


@app.command("list")
def list_experiments() -> None:
    """Show the experiments and studies, what each asks and how long it takes, and the data sets."""
    from hourglass.cli.listing import show

    show()


@app.command()
def run(
    context: typer.Context,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME…",
            help="Experiments or studies; all means all experiments, notebooks those of the "
            "lessons' notebooks, bn-lab all studies.",
            show_default=False,
        ),
    ],
    dataset: Annotated[
        str,
        typer.Option(
            parser=dataset_place,
            metavar="NAME|ZARR",
            help="Data set, one of those that `hourglass list` shows; sample is 5,000 MNIST digits that need no "
            "download. Or the path or address of a Zarr of images that `hourglass pack` has written, for experiments.",
        ),
    ] = "sample",
    data_dir: DataFolder = None,
    recipe: Annotated[
        Literal["classic", "fast"],
        typer.Option(
            help="classic is the schedule of the lessons' notebooks; fast reaches at least the same quality sooner. "
            "The experiments dense-better, conv-better and denoise-better are trained fully by classic, and for a "
            "shorter time by fast."
        ),
    ] = "classic",
    seed: Annotated[
        int | None, typer.Option(help="Seed of a single run.  [default: 0]", show_default=False, min=0)
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Number of seeds to run: 0, 1, … N-1.", show_default=False, min=1)
    ] = None,
    epochs: Annotated[
        float | None,
        typer.Option(help="Number of passes over the data, instead of the recipe's.", show_default=False),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Number of training steps, instead of the recipe's.", show_default=False, min=1),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"] | None,
        typer.Option(help="Device to compute on.  [default: auto]", show_default=False),
    ] = None,
    precision: Annotated[
        Literal["float32", "bfloat16", "auto"] | None,
        typer.Option(
            help="Number type of the forward pass; auto is bfloat16 where that is faster.  [default: float32]",
            show_default=False,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a parameter of the estimator; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder for the results.  [default: runs/<time>]", show_default=False),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Keep finished runs in --out, or train them longer if --epochs or --steps is larger (a learning rate "
            "that has gone down rises again). An unfinished run is resumed with or without --resume.",
        ),
    ] = False,
    checkpoint_every: CheckpointEvery = "60s",
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Number of processes of this machine in which a study runs.  [default: one per core]",
            show_default=False,
            min=1,
        ),
    ] = None,
    cluster: Cluster = None,
    timeout: Timeout = None,
    quiet: Quiet = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each finished run's result as one line of JSON, and nothing else.")
    ] = False,
) -> None:
    """Run experiments or studies, and write their numbers and figures to a report.

    `hourglass list` shows their names. Studies use only --dataset, --data-dir, --seeds, --steps, --jobs, --cluster
    and --out, and always resume what is in --out. They run on this machine, in several processes (--jobs), or on a Dask
    or Ray cluster (--cluster).

    Experiments run in this process, or are trained by several processes on one machine or many: `torchrun
    --nproc-per-node 2 -m hourglass run NAME --out FOLDER`. Each of these computes a part of every batch, on the CPU or
    on a GPU of its own.
    """
    from hourglass.data import DATASETS
    from hourglass.running import run_many, split

    _check_options(context, *split(names))
    if was_given(context, "data_dir") and dataset not in DATASETS:
        raise Misuse(f"--data-dir is for the data set of a name, and {dataset} is a Zarr; leave --data-dir out")
    if resume and out is None:
        raise Misuse("--resume needs --out, the folder of the run to resume")
    if seed is not None and seeds is not None:
        raise Misuse("--seed runs one seed and --seeds several; give one of them")
    parameters = merge(parse_settings(settings or []), epochs=epochs, n_steps=steps, device=device, precision=precision)
    check_out_is_given(out)
    folder = out or Path("runs") / datetime.now().strftime("%Y-%m-%d-%H%M%S")
    shown = Shown(quiet=quiet, as_json=as_json)
    with (
        stoppable(f"to go on: {resuming(context.obj, '--out', str(folder))}"),
        together(context.obj, folder, timeout=timeout, device=parameters.get("device")) as job,
        shown,
    ):
        run_many(
            names,
            out=folder,
            dataset=dataset,
            data_dir=data_dir,
            recipe=recipe,
            seeds=seeds if seed is None else (seed,),
            resume=resume or job.was_begun() or None,
            checkpoint_every=checkpoint_every,
            jobs=jobs,
            cluster=cluster,
            parameters=parameters,
            verbose=int(not quiet),
            on_begun=job.begin,
            on_run=shown.run,
            on_result=shown.result,
            on_report=shown.report,
            say=teller(quiet=quiet),
            command=context.obj,
        )


def _check_options(context: typer.Context, experiments: Sequence[str], studies: Sequence[str]) -> None:
    """Refuse options that are those of experiments where there is a study."""
    strange = ["epochs", "settings", "seed", "device", "precision", "recipe", "as_json"]
    strange += [] if experiments else ["checkpoint_every"]
    given = [name for name in strange if was_given(context, name)]
    if studies and given:
        option = {"settings": "set", "as_json": "json"}.get(given[0], given[0]).replace("_", "-")
        raise Misuse(f"{studies[0]} is a study, and has no --{option}; its settings are its own")


@app.command()
def report(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder that `hourglass run --out` wrote.", show_default=False)
    ],
) -> None:
    """Write the report of a folder of runs anew, from its files."""
    from hourglass.atomic import check_local
    from hourglass.report import write_report

    check_local(folder, "the folder of runs")
    typer.echo(f"report: {write_report(folder)}")


class Shown:
    """What a person or a script sees of the results of ``run``; the table and the report come last, however it ends."""

    def __init__(self, *, quiet: bool, as_json: bool) -> None:
        self.quiet, self.as_json = quiet, as_json
        self._results: list[Result] = []
        self._page: Path | None = None

    def run(self, run: "Run") -> None:
        """Print a run as one line of JSON, where that is asked for."""
        if self.as_json:
            sys.stdout.write(json.dumps(run.to_json(), allow_nan=False) + "\n")
            sys.stdout.flush()

    def result(self, result: "Result | Findings") -> None:
        """Print the answer of a study, and keep what belongs into the table."""
        from hourglass.lab import Findings

        if not isinstance(result, Findings):
            self._results.append(result)
        elif not self.quiet:
            typer.echo(f"{result.study.name}: {result.answer}")

    def report(self, page: Path) -> None:
        """Keep the path of the report."""
        self._page = page

    def __enter__(self) -> "Shown":
        return self

    def __exit__(self, *_: object) -> None:
        if self._results and not self.quiet and not self.as_json:
            _print_table(self._results)
        if self._page is not None and not self.quiet:
            typer.echo(f"report: {self._page}", err=self.as_json)


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
