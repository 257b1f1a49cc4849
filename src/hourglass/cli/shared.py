"""What commands on pictures share: options, the tally of files."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hourglass.cli.app import FAILURE

if TYPE_CHECKING:
    from hourglass.pictures import Outcome

Model = Annotated[Path, typer.Option("--model", help="Folder of a model.", show_default=False)]
Input = Annotated[Path, typer.Argument(metavar="IN", help="Folder of pictures, or one.", show_default=False)]
Output = Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the results.", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what exists.")]
Resume = Annotated[bool, typer.Option("--resume", help="Leave what exists, do the rest.")]
Tile = Annotated[int, typer.Option(help="Side of the tiles of large pictures, in pixels.", min=8)]
Overlap = Annotated[
    int | None,
    typer.Option(help="Pixels that tiles share.  [default: the receptive field]", min=0, show_default=False),
]
CheckpointEvery = Annotated[
    str,
    typer.Option(metavar="N[s|steps|epochs]", help="How often to write what a run needs to go on; or never."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.")]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")]
Resizing = Annotated[bool, typer.Option("--resize", help="Resize pictures of another size to the model's.")]


class Tally:
    """Shows how the files go and counts those that failed."""

    def __init__(self, title: str, total: int, *, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.total, self.done, self.skipped, self.failed = total, 0, 0, 0
        self.title, self.quiet = title, quiet
        self._bar = Progress(
            TextColumn(title),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=quiet or not sys.stderr.isatty(),
        )

    def __enter__(self) -> "Tally":
        self._bar.start()
        self._task = self._bar.add_task(self.title, total=self.total, rate="")
        return self

    def __exit__(self, error: object, *_: object) -> None:
        self._bar.stop()
        if not self.quiet and error is None:
            parts = [f"{self.done} done"]
            parts += [f"{self.skipped} there already"] if self.skipped else []
            parts += [f"{self.failed} failed"] if self.failed else []
            typer.echo(f"{self.title}: {', '.join(parts)}", err=True)

    def note(self, outcome: "Outcome") -> None:
        """Count a file, and name it where it failed."""
        if outcome.error is not None:
            self.failed += 1
            message = " ".join(str(outcome.error).split())
            where = "" if str(outcome.source) in message else f"{outcome.source}: "
            typer.echo(f"hourglass: {where}{message}", err=True)
        elif outcome.skipped:
            self.skipped += 1
        else:
            self.done += 1
        speed = self._bar.tasks[0].speed
        self._bar.update(self._task, advance=1, rate=f"{speed:.1f} files/s" if speed else "")

    def exit(self) -> None:
        """End the command: with 1 where a file failed."""
        if self.failed:
            raise typer.Exit(FAILURE)
