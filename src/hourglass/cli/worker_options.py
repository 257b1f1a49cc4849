"""Options that say where a command runs: on how many processes, on which cluster, on which part of the files."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from hourglass.cli.app import Misuse, resuming

if TYPE_CHECKING:
    from hourglass.imagefiles.shards import Shard
    from hourglass.runtime.workers import Workers

Jobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        help="Number of processes of this machine that share the files; 1 is this process.",
        min=1,
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS",
        help="Run on all workers of a cluster: tcp://HOST:PORT of a Dask scheduler (extra dask), or ray://HOST:PORT "
        "of a Ray head node (extra ray).",
        show_default=False,
    ),
]
ShardText = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Take only every N-th file of the sorted list, from the I-th (I from 1 to N). In a job array of Slurm: "
        "--shard $SLURM_ARRAY_TASK_ID/N.",
        show_default=False,
    ),
]

WHERE = (
    "This command runs on this machine, in one process or in several (--jobs), on a Dask or Ray cluster (--cluster), "
    "and in parts for job arrays (--shard); docs/bulk.md describes each."
)


@dataclass(frozen=True)
class Where:
    """Where a command runs, which files it processes, and the command line itself."""

    workers: "Workers"
    shard: "Shard"
    command: str

    @classmethod
    def of(cls, context: typer.Context, jobs: int, cluster: str | None, shard: str | None) -> "Where":
        """Return what --jobs, --cluster and --shard ask for."""
        from hourglass.imagefiles.shards import WHOLE, parse_shard
        from hourglass.runtime.workers import Workers

        try:
            workers = Workers(jobs, cluster)
            part = WHOLE if shard is None else parse_shard(shard)
        except ValueError as error:
            raise Misuse(f"--{error}") from error
        return cls(workers, part, str(context.obj))

    @property
    def elsewhere(self) -> bool:
        """Whether anything but this process and all files was asked for."""
        from hourglass.imagefiles.shards import WHOLE
        from hourglass.runtime.workers import HERE

        return (self.workers, self.shard) != (HERE, WHOLE)

    def resuming(self, *, overwrite: bool) -> str:
        """What a person is told who is to resume the command."""
        if overwrite:
            return "repeat the command, which does all files again"
        return f"to do the rest: {resuming(self.command)}"
