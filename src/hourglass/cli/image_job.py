"""The work of denoise and reconstruct: each image file becomes one of the same size and format."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hourglass.cli.app import Misuse, stoppable
from hourglass.cli.shared import Tally, levels_in_words, ranges_of
from hourglass.cli.worker_options import Where

if TYPE_CHECKING:
    from hourglass.denoising.noise_level import NoiseLevel
    from hourglass.estimators import Autoencoder
    from hourglass.imagefiles import ImageRestorer, Ranges


@dataclass(frozen=True)
class Job:
    """A command that writes, for each image file, one of the same size and format."""

    title: str
    models: "tuple[Autoencoder, ...]"
    value_range: str
    overwrite: bool
    resume: bool
    hidden: bool
    quiet: bool
    where: Where
    noise: "NoiseLevel | None" = None

    def run(self, places: list[Path], out: Path | None, *, in_place: bool, style: str | None) -> None:
        """Find inputs and outputs, check them, and restore the images."""
        from hourglass.imagefiles import ImageRestorer, plan, process
        from hourglass.imagefiles.streams import STREAM
        from hourglass.runtime.workers import HERE

        if self.overwrite and self.resume:
            raise Misuse("--overwrite and --resume contradict each other; give one of them")
        if in_place and self.resume:
            raise Misuse("--resume cannot tell what --in-place has done already; name the inputs that are left")
        if in_place and self.where.workers != HERE:
            raise Misuse(
                "--in-place is for this process alone, as a worker that is lost may leave files that would be restored "
                "a second time; leave --jobs and --cluster out, or name a folder for the output"
            )
        sources, target = _inputs_and_output(places, out, in_place=in_place)
        restorer = ImageRestorer(self.models, self.noise)
        ranges = ranges_of(self.value_range, self.models[0])
        if style is not None and target != STREAM:
            raise Misuse("--format is that of standard output; an image in a file keeps its format")
        if STREAM in (*sources, target):
            self._run_stream(restorer, ranges, sources, target, style or "png")
            return
        todo = plan(
            sources,
            target,
            overwrite=self.overwrite,
            resume=self.resume,
            named=out is not None,
            hidden=self.hidden,
            shard=self.where.shard,
        )
        how = "name the inputs that are left" if in_place else self.where.resuming(overwrite=self.overwrite)
        with stoppable(how), Tally(self.title, quiet=self.quiet) as tally:
            tally.begin(todo)
            outcomes = process(
                todo.pairs, restorer.restore, ranges=ranges, resume=self.resume, workers=self.where.workers
            )
            with closing(outcomes):
                for outcome in outcomes:
                    tally.note(outcome)
        tally.exit()

    def _run_stream(
        self, restorer: "ImageRestorer", ranges: "Ranges", sources: list[Path], target: Path | None, style: str
    ) -> None:
        """Restore one image from standard input or to standard output."""
        from hourglass.imagefiles.streams import restore_stream

        if len(sources) > 1 or target is None:
            raise Misuse("- is one image; give one input and one output with it")
        if self.where.elsewhere:
            raise Misuse("- is one image, and is processed here; leave --jobs, --cluster and --shard out")
        outcome = restore_stream(sources[0], target, restorer.restore, ranges, style, overwrite=self.overwrite)
        if outcome.noise_levels and not self.quiet:
            typer.echo(f"{self.title}: {levels_in_words(outcome.noise_levels)}", err=True)


def _inputs_and_output(places: list[Path], out: Path | None, *, in_place: bool) -> tuple[list[Path], Path | None]:
    if in_place and out is not None:
        raise Misuse("--in-place replaces the inputs, so that there is no --out")
    if in_place or out is not None:
        return places, out
    if len(places) == 1:
        raise Misuse(f"{places[0]} stands alone; give OUT behind it, or --in-place")
    return places[:-1], places[-1]
