"""What commands on images share: options, the tally of files."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hourglass.cli.app import FAILURE, Misuse
from hourglass.cli.choices import location

if TYPE_CHECKING:
    from hourglass.denoising.noise_level import NoiseLevel
    from hourglass.estimators import Autoencoder
    from hourglass.imagefiles import Found, Outcome, Plan, Ranges

Model = Annotated[
    str, typer.Option("--model", metavar="NAME|FOLDER", help="Name or folder of a model.", show_default=False)
]
Denoiser = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="NAME|FOLDER",
        help="Name of a model in the package, which `hourglass models` lists, or folder of a model; a folder with "
        "the name of a model is given as ./photo. photo is two models, one for colour and one for grey images.",
    ),
]
Input = Annotated[
    Path,
    typer.Argument(metavar="IN", parser=location, help="Folder of images, or one image.", show_default=False),
]
Output = Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the results.", show_default=False)]
Places = Annotated[
    list[Path],
    typer.Argument(
        metavar="IN… OUT",
        parser=location,
        help="Images and folders of images, then the folder for the results, or for one image a file. - stands for "
        "standard input or standard output.",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="OUT",
        parser=location,
        help="Folder or file for the results; all other names are then inputs.",
        show_default=False,
    ),
]
InPlace = Annotated[bool, typer.Option("--in-place", help="Replace the inputs. OUT is then left out.")]
Hidden = Annotated[
    bool,
    typer.Option(
        "--hidden", help="Include hidden files and folders, and those that operating systems store beside images."
    ),
]
Format = Annotated[
    Literal["png", "tiff", "jpeg", "webp"] | None,
    typer.Option(
        "--format",
        help="Format of the image on standard output. If it is not that of the input, only the pixels are written, "
        "without metadata.  [default: png]",
        show_default=False,
    ),
]
Range = Annotated[
    str,
    typer.Option(
        "--range",
        metavar="auto|full|LOW,HIGH",
        help="Numbers of a file that the network sees as 0 and 1. full is the range of the number type. auto is the "
        "range of the training if that was one range for all files; else 0,255 for 8-bit files, and for others what "
        "the file declares, the range of the training for this number type, or the 0.1 and 99.9 percentiles, "
        "whichever is known first.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]
Resume = Annotated[bool, typer.Option("--resume", help="Keep existing outputs, and process the other images.")]
CheckpointEvery = Annotated[
    str,
    typer.Option(
        metavar="N[s|steps|epochs]|never", help="Interval between checkpoints, from which training can be resumed."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show only errors.")]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Device to compute on.")]
DataFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder with the data set's IDX files, or with a subfolder of that name.",
        envvar="HOURGLASS_DATA",
        show_default=False,
    ),
]
Resizing = Annotated[
    bool, typer.Option("--resize", help="Resize images of other sizes to the size that the model takes.")
]

READ = (
    "This command reads PNG, JPEG (.jpg .jpeg .jpe .jfif), TIFF and BigTIFF with all their pages, BMP, WebP, AVIF, "
    "JPEG 2000 (.jp2 .j2k), NumPy's .npy and .npz and, with the extra heif, .heic and .heif. docs/formats.md "
    "describes each."
)
# Ranges of numbers that are named at the end of a command.
_RANGES_SHOWN = 2


def ranges_of(text: str, estimator: "Autoencoder | None" = None) -> "Ranges":
    """How the range of each file is found: as --range says, with what a model remembers."""
    from hourglass.imagefiles.ranges import Ranges, parse_range, remembered

    try:
        wanted = parse_range(text)
    except ValueError as error:
        raise Misuse(f"--{error}") from error
    if wanted == "auto" and getattr(estimator, "notes_", {}).get("range") == "full":
        wanted = "full"  # as in training
    return Ranges(wanted, remembered(estimator) if estimator is not None else {})


def noise_of(level: str, strength: float) -> "NoiseLevel":
    """How the level of the noise is determined: as --noise-level and --strength say."""
    from hourglass.denoising.noise_level import NoiseLevel
    from hourglass.denoising.notation import parse_noise_level

    try:
        return NoiseLevel(parse_noise_level(level), strength)
    except ValueError as error:
        raise Misuse(f"--{error}".replace("--noise level", "--noise-level")) from error


def teller(*, quiet: bool) -> Callable[[str], None]:
    """What shows a library's lines on standard error, or with ``quiet`` does not."""
    return (lambda message: None) if quiet else (lambda message: typer.echo(message, err=True))


class Tally:
    """Shows how the files go and counts those that failed, from :meth:`begin` to :meth:`end`."""

    def __init__(self, title: str, *, quiet: bool, unit: str = "files") -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.done, self.skipped, self.failed = 0, 0, 0
        self.title, self.quiet, self.unit, self.left_out = title, quiet, unit, Counter[str]()
        self.begun = self.ended = False
        self.ranges: dict[str, None] = {}
        self.noise_levels: list[float] = []
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
        return self

    def __exit__(self, error: object, *_: object) -> None:
        self._bar.stop()
        if error is None and self.begun and not self.ended:
            self.end()

    def begin(self, found: "Found | Plan") -> None:
        """Show the bar, of as many files as were found."""
        self.begun, self.left_out = True, Counter(found.left_out)
        self._bar.start()
        self._task = self._bar.add_task(self.title, total=len(found), rate="")

    def end(self) -> None:
        """Put a line with the counts in the place of the bar."""
        self._bar.stop()
        self.ended = True
        if not self.quiet:
            parts = [f"{self.done} done"]
            parts += [f"{self.skipped} there already"] if self.skipped else []
            parts += [f"{self.failed} failed"] if self.failed else []
            said = [", ".join(parts)]
            if self.left_out:
                from hourglass.imagefiles.folders import in_words

                said.append(f"{self.left_out.total()} left out: {in_words(self.left_out)}; see --help for what is read")
            if self.ranges:
                more = ", and others" if len(self.ranges) > _RANGES_SHOWN else ""
                said.append(f"range {', '.join(list(self.ranges)[:_RANGES_SHOWN])}{more}")
            if self.noise_levels:
                said.append(levels_in_words(self.noise_levels))
            typer.echo(f"{self.title}: {'; '.join(said)}", err=True)

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
        self.ranges |= dict.fromkeys(map(str, outcome.ranges))
        self.noise_levels += outcome.noise_levels
        if outcome.noise_levels:
            self.say(f"{outcome.source.name}: {levels_in_words(outcome.noise_levels)}")
        speed = self._bar.tasks[0].speed
        self._bar.update(self._task, advance=1, rate=f"{speed:.1f} {self.unit}/s" if speed else "")

    def say(self, message: str) -> None:
        """Show a line, above the bar if there is one."""
        line = f"{self.title}: {message}"
        if self.quiet:
            return
        if self._bar.disable:
            typer.echo(line, err=True)
        else:
            self._bar.console.print(line, markup=False, highlight=False)

    def exit(self) -> None:
        """End the command: with 1 where a file failed."""
        if self.failed:
            raise typer.Exit(FAILURE)


def levels_in_words(levels: Sequence[float]) -> str:
    """The levels of the noise of some images, as fractions of the range."""
    low, high = min(levels), max(levels)
    if high == 0:
        return "no noise was found, so that nothing was changed"
    said = f"{low:.3f}" if f"{low:.3f}" == f"{high:.3f}" else f"{low:.3f} to {high:.3f}"
    return f"noise level {said} of the range"
