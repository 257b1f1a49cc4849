"""Commands that torchrun starts in several processes, which then do one training together."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from hourglass.cli.app import Misuse, resuming
from hourglass.runtime.launched import Launched, launched

# Seconds.
_TIMEOUT = 60.0
Timeout = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Under torchrun: time after which a process that does not answer counts as lost.  "
        f"[default: {_TIMEOUT:g}]",
        show_default=False,
        min=5,
    ),
]


def check_out_is_given(out: Path | None) -> None:
    """Refuse to run under torchrun without a folder of the person's own choice."""
    if out is None and launched() is not None:
        raise Misuse("torchrun needs --out, the folder in which its processes find the run again after a restart")


@contextmanager
def together(command: str, *, timeout: float | None, device: str | None) -> Iterator[Launched | None]:
    """Do what follows together with the other processes that torchrun has started; only that of rank 0 shows anything.

    The context is the place of this process among them, or None without torchrun.
    """
    place = launched()
    if place is None:
        if timeout is not None:
            raise Misuse("--timeout is for the processes that torchrun starts; without torchrun leave it out")
        yield None
        return
    from hourglass.runtime.launch import FollowerError, joined
    from hourglass.runtime.ranks import LostProcessError

    try:
        with joined(place, timeout=_TIMEOUT if timeout is None else timeout, use_gpu=device != "cpu"):
            if place.rank == 0:
                yield place
                return
            with Path(os.devnull).open("w", encoding="utf-8") as no, redirect_stdout(no), redirect_stderr(no):
                yield place
    except FollowerError:
        raise
    except LostProcessError as error:
        raise LostProcessError(f"{error}; to go on: {resuming(command)}") from error
