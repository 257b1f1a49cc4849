"""Commands that torchrun starts in several processes, which then do one training together."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from hourglass.cli.app import Misuse
from hourglass.runtime.launched import Launched, launched

Timeout = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        help="Under torchrun: time after which a process that does not answer counts as lost.",
        min=5,
    ),
]


def check_out_is_given(out: Path | None) -> None:
    """Refuse to run under torchrun without a folder of the person's own choice."""
    if out is None and launched() is not None:
        raise Misuse("torchrun needs --out, the folder in which its processes find the run again after a restart")


@contextmanager
def together(command: str, *, timeout: float, device: str | None) -> Iterator[Launched | None]:
    """Do what follows together with the other processes that torchrun has started; only that of rank 0 shows anything.

    The context is the place of this process among them, or None without torchrun.
    """
    place = launched()
    if place is None:
        yield None
        return
    from hourglass.runtime.launch import FollowerError, joined
    from hourglass.runtime.ranks import LostProcessError

    try:
        with joined(place, timeout=timeout, use_gpu=device != "cpu"):
            if place.rank == 0:
                yield place
                return
            with Path(os.devnull).open("w", encoding="utf-8") as no, redirect_stdout(no), redirect_stderr(no):
                yield place
    except FollowerError:
        raise
    except LostProcessError as error:
        resuming = command if "--resume" in command.split() else f"{command} --resume"
        raise LostProcessError(f"{error}; to go on: {place.command} {resuming}") from error
