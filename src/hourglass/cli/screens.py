"""The help screens: commands under headings, whole sentences, arguments without types of Python."""

import re
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

# Headings of the commands, in the order of the first help screen.
IMAGES, MODELS, EXPERIMENTS, LESSONS = "Images", "Models", "Experiments", "Lessons"
PANELS = {
    IMAGES: ("denoise", "reconstruct", "evaluate", "pack"),
    MODELS: ("train", "encode", "decode", "export", "info", "show", "inspect", "models"),
    EXPERIMENTS: ("list", "run", "report"),
    LESSONS: ("lessons", "explain", "serve", "page"),
}

# Commands that several processes can share; the help of each says how.
SHARED = ("denoise", "reconstruct", "evaluate", "pack", "train", "encode", "run")
ALONE = "This command runs in this process alone."

# Types of Python as the parser writes them.
_NUMBER = re.compile(r"<(int|float)( range)?>")


class Screen(TyperCommand):
    """A command whose help names each argument as its usage line does, without types of Python."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments = [param for param in self.get_params(ctx) if param.param_type_name == "argument"]
        options = [self.options_metavar] if self.options_metavar else []
        return options + [param.metavar or param.name for param in arguments]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        params: list[Any] = list(self.get_params(ctx))
        arguments = [(param.metavar or param.name, param.help or "") for param in params if _is_argument(param)]
        records = [record for param in params if not _is_argument(param) and (record := param.get_help_record(ctx))]
        options = [(_NUMBER.sub("N", name), text) for name, text in records]
        for title, rows in (("Arguments", arguments), ("Options", options)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        super().format_epilog(ctx, formatter)
        if self.name not in SHARED:
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(ALONE)


class Screens(TyperGroup):
    """The commands under their headings."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(map(len, self.commands))
        for title, names in PANELS.items():
            rows = [(f"{name:<{width}}", first_paragraph(self.commands[name].help or "")) for name in names]
            with formatter.section(title):
                formatter.write_dl(rows)


class App(typer.Typer):
    """A command line whose commands have such screens."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        return super().command(name, cls=Screen, **settings)


def first_paragraph(text: str) -> str:
    """Return the first paragraph of a text on one line."""
    return " ".join(text.split("\n\n")[0].split())


def _is_argument(param: Any) -> bool:
    return bool(param.param_type_name == "argument")
