"""The command line: parse, call one library function, show."""

import shlex
import sys
import warnings
from collections.abc import Sequence

from hourglass.cli import (  # noqa: F401 - importing these modules adds their commands to ``app``
    experiment_commands,
    image_commands,
    lesson_commands,
    model_commands,
    pack_commands,
    page_commands,
    show_commands,
    study_commands,
    train_command,
)
from hourglass.cli.app import INTERRUPTED, app, complain, exit_code, one_line
from hourglass.cli.torchrun import is_silent

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit code.

    0 when all is well, 2 for misuse, 1 for failure, 130 when interrupted, 143 when terminated in training. An error is
    one line on standard error, and so is a warning; ``--debug`` shows an error's traceback.
    """
    with warnings.catch_warnings():
        # Each of the package's own is for the person; --resume may have several of one kind.
        warnings.filterwarnings("always", category=UserWarning, module="hourglass")
        warnings.showwarning = _show_warning
        return _main(arguments)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    complain(f"warning: {' '.join(str(message).split())}")


def _main(arguments: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    debug = "--debug" in words
    try:
        code = app(
            args=[word for word in words if word != "--debug"],
            prog_name="hourglass",
            standalone_mode=False,
            obj=shlex.join(["hourglass", *words]),
        )
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except Exception as error:
        if debug:
            raise
        if not is_silent(error):
            complain(one_line(error))
        return exit_code(error)
    if code == INTERRUPTED:  # the parser's own answer to Ctrl-C
        complain("interrupted")
    return code if isinstance(code, int) else 0
