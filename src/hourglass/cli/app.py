"""The command line's frame: exit codes, errors of one line."""

import ast
import shlex
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from hourglass.cli.screens import App, Screens
from hourglass.errors import OptionError
from hourglass.runtime.launched import launched

app = App(
    cls=Screens,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Image autoencoders, and a batch-normalisation lab.",
)

MISUSE, FAILURE, INTERRUPTED = 2, 1, 130
# What a shell adds to a signal's number.
BY_SIGNAL = 128
# Commands that the processes which torchrun starts do together.
TOGETHER = ("run", "train")


class Misuse(TyperException):
    """Options that do not fit together, or name something that is not there."""

    exit_code = MISUSE


class Stopped(TyperException):
    """Work that a signal ended, and that can be resumed."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = BY_SIGNAL + number


class Incomplete(TyperException):
    """Work that lost a worker, and that can be resumed."""

    exit_code = FAILURE


@contextmanager
def stoppable(how: str | Callable[[], str]) -> Iterator[None]:
    """Turn an interruption, or the loss of a worker, into what a person is told: ``how`` to go on.

    ``how`` is the text, or a function that returns it and is called when the work has stopped.
    """
    from hourglass.runtime.workers import WorkerLostError
    from hourglass.training import Interrupted

    def said() -> str:
        return how if isinstance(how, str) else how()

    try:
        yield
    except Interrupted as error:
        raise Stopped(f"{error}; {said()}", error.signal) from error
    except KeyboardInterrupt as error:
        raise Stopped(f"interrupted; {said()}", signal.SIGINT) from error
    except WorkerLostError as error:
        raise Incomplete(f"{error}; {said()}") from error


def was_given(context: typer.Context, name: str) -> bool:
    """Whether a parameter was given on the command line, and not by a default or by the environment."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def resuming(command: str, *option: str) -> str:
    """The command line with --resume, and an option with its value, behind the name of the command, if it lacks them.

    Under torchrun it is said how torchrun starts the command again.
    """
    words = shlex.split(command)
    options = words[: words.index("--")] if "--" in words else words
    name = next(number for number, word in enumerate(words[1:], 1) if not word.startswith("-"))
    lacking = ["--resume"] if "--resume" not in options else []
    if option and not any(word == option[0] or word.startswith(f"{option[0]}=") for word in options):
        lacking = [*option, *lacking]
    again = shlex.join([*words[: name + 1], *lacking, *words[name + 1 :]])
    place = launched()
    return again if place is None else place.again(again)


def complain(message: str) -> None:
    """Say what went wrong, on one line of standard error."""
    typer.echo(f"hourglass: {message}", err=True)


def one_line(error: Exception) -> str:
    """What a person is told of an error; its type only where it was not foreseen."""
    text = error.format_message() if isinstance(error, TyperException) else str(error)
    message = " ".join(text.split())
    if (
        isinstance(error, (ValueError, TyperException, OSError, FloatingPointError, ImportError, MemoryError))
        and message
    ):
        return message
    return f"{type(error).__name__}: {message} (--debug shows where)"


def exit_code(error: Exception) -> int:
    """What a command exits with after an error: 2 for misuse, 1 for failure, or the error's own."""
    return MISUSE if isinstance(error, OptionError) else int(getattr(error, "exit_code", FAILURE))


def _show_version(wanted: bool) -> None:
    if wanted:
        from hourglass import __version__

        typer.echo(f"hourglass {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    place = launched()
    name = context.invoked_subcommand
    if place is not None and place.processes > 1 and name not in TOGETHER:
        raise Misuse(
            f"{name} cannot be shared by the {place.processes} processes that torchrun has started; under torchrun run "
            f"{' or '.join(TOGETHER)}"
        )


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE`` words as parameters; a value that is no Python literal is text."""
    parameters: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise Misuse(f"--set {setting!r} is not KEY=VALUE; for example --set learning_rate=0.01")
        if key in parameters:
            raise Misuse(f"--set gives {key} twice")
        try:
            parameters[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            parameters[key] = value
    return parameters


def merge(parameters: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Parameters with those options that were given; one that is given both ways is a misuse."""
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name in parameters:
            option = name.removeprefix("n_").replace("_", "-")  # --steps sets n_steps
            raise Misuse(f"--{option} and --set {name}=… both set {name}; give one of them")
    merged = parameters | given
    if merged.get("epochs") is not None and merged.get("n_steps") is not None:
        raise Misuse("--epochs and --steps both say how long to train; give one of them")
    return merged


def parse_size(text: str, option: str) -> tuple[int, int]:
    """``HxW`` as height and width."""
    height, x, width = text.lower().partition("x")
    whole = all(side.isascii() and side.isdecimal() and int(side) for side in (height, width))
    if not x or not whole:
        raise Misuse(f"{option} {text!r} is not HEIGHTxWIDTH; for example {option} 64x64")
    return int(height), int(width)
