"""Options that say where a command runs: on how many processes, on which cluster, on which part of the files."""

from typing import TYPE_CHECKING, Annotated

import typer

from hourglass.cli.app import Misuse

if TYPE_CHECKING:
    from hourglass.imagefiles.shards import Shard
    from hourglass.runtime.workers import Workers

Jobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        help="Number of processes of this machine that share the files. 1 is this process, which uses every core.",
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


def workers_of(jobs: int, cluster: str | None) -> "Workers":
    """Where tasks run: as --jobs and --cluster say."""
    from hourglass.runtime.workers import Workers

    try:
        return Workers(jobs, cluster)
    except ValueError as error:
        raise Misuse(f"--{error}") from error


def shard_of(text: str | None) -> "Shard":
    """Which of the files are taken: as --shard says, by default all."""
    from hourglass.imagefiles.shards import Shard, parse_shard

    return Shard() if text is None else parse_shard(text)
