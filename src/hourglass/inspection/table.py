"""A table of a network's layers, with their sizes and numbers of parameters and multiplications."""

import io
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hourglass import markup
from hourglass.atomic import check_free
from hourglass.nn import Layer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADINGS = ("layer", "kind", "kernel", "stride", "pad", "output", "parameters", "products")
SIZES = "Kernel and output: height × width (× channels). "
PADDING = "Pad: rows of zeros above,below and left,right, in one where they are equal. "
CUT = "A negative pad is cut off the output of a transposed convolution. "
PRODUCTS = "Products: multiplications for one image, in convolutions and dense layers."


@dataclass(frozen=True, repr=False)
class LayerTable:
    """Layers of a network, as it computed one image; a notebook shows it as a table.

    Parameters
    ----------
    title : str
        What the network is.
    layers : tuple of Layer
        The layers in the order in which they are computed; the first is the image. See
        :class:`hourglass.nn.Layer` for what is known of each.

    Examples
    --------
    >>> import hourglass as hg
    >>> table = hg.layers_of("dense")
    >>> table.parameters, table.multiplications, table.code.output
    (50992, 50176, (32,))
    """

    title: str
    layers: tuple[Layer, ...]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    @property
    def parameters(self) -> int:
        """Number of the network's parameters."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiplications(self) -> int:
        """Number of multiplications in convolutions and dense layers for one image."""
        return sum(layer.multiplications for layer in self.layers)

    @property
    def image(self) -> Layer:
        """The image that the network was given."""
        return self.layers[0]

    @property
    def code(self) -> Layer | None:
        """The code of a codec; None for other networks."""
        return next((layer for layer in self.layers if layer.is_code), None)

    @property
    def ratio(self) -> float | None:
        """Share of the code's numbers in those of the image; None for networks without a code."""
        return None if self.code is None else math.prod(self.code.output) / math.prod(self.image.output)

    @property
    def summary(self) -> str:
        """Sentences with the totals and the size of the code."""
        said = f"{self.parameters:,} parameters, {self.multiplications:,} multiplications for one image."
        if self.code is None or self.ratio is None:
            return said
        numbers = [math.prod(each.output) for each in (self.code, self.image)]
        said += f" The code has {numbers[0]:,} of {numbers[1]:,} numbers, {percent(self.ratio)}"
        before = {layer.name for layer in self.layers[: self.layers.index(self.code)]}
        behind = [layer for layer in self.layers if layer.is_skip and layer.name not in before]
        beside = [layer.name for layer in behind if before.intersection(layer.inputs)]
        return f"{said}; detail also passes beside it ({', '.join(beside)})." if beside else f"{said}."

    def to_json(self) -> dict[str, Any]:
        """Return the table as JSON can store it.

        Returns
        -------
        dict
            ``title``; ``layers``, for each layer its fields by name, without ``values``; ``parameters`` and
            ``multiplications``, the totals; ``code``, the numbers of the code, and ``ratio``, their share in those of
            the image, both None for networks without a code.
        """
        names = [name for name in Layer.__dataclass_fields__ if name != "values"]
        return {
            "title": self.title,
            "layers": [{name: getattr(layer, name) for name in names} for layer in self.layers],
            "parameters": self.parameters,
            "multiplications": self.multiplications,
            "code": None if self.code is None else math.prod(self.code.output),
            "ratio": self.ratio,
        }

    def figure(self) -> "Figure":
        """Draw the outputs of the layers as boxes, whose sides are to scale.

        Returns
        -------
        matplotlib.figure.Figure
            The figure; see :func:`hourglass.plots.pyramid`.
        """
        from hourglass.plots import pyramid

        return pyramid(self.layers, title=f"{self.title}\n{self.summary}")

    def text(self, width: int = 120) -> str:
        """Write the table as text.

        Parameters
        ----------
        width : int, default=120
            Number of columns that a line may have; kinds that are longer are wrapped.

        Returns
        -------
        str
            Title, table, totals and an explanation of the columns.
        """
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        lines = self._lines()
        if _width(lines) > width:
            lines = self._lines(rounded=True)
        if _width(lines) > width:
            lines = self._lines(rounded=True, activations=False)
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="")
        for i, name in enumerate(HEADINGS):
            table.add_column(name, justify="left" if i < 2 else "right", no_wrap=i != 1)
        for line in lines:
            table.add_row(*line)
        file = io.StringIO()
        console = Console(file=file, width=width, highlight=False, color_system=None)
        for part in (Text(self.title), "", table, "", Text(self.summary), Text(self._legend)):
            console.print(part)
        return "\n".join(line.rstrip() for line in file.getvalue().splitlines())

    def __repr__(self) -> str:
        return f"<LayerTable of {self.title}; {len(self)} layers>"

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return markup.table([HEADINGS, *self._lines()], caption=f"{self.title}. {self.summary}")

    @property
    def _legend(self) -> str:
        pads = [number for layer in self.layers for pair in layer.padding for number in pair]
        return SIZES + (PADDING if pads else "") + (CUT if any(pad < 0 for pad in pads) else "") + PRODUCTS

    def _lines(self, *, rounded: bool = False, activations: bool = True) -> list[tuple[str, ...]]:
        lines = []
        for layer in self.layers:
            kind = f"{layer.kind}, {layer.activation}" if layer.activation and activations else layer.kind
            products = _rounded(layer.multiplications) if rounded else f"{layer.multiplications:,}"
            lines.append(
                (
                    layer.name,
                    "" if layer.is_code else kind,
                    _by(layer.kernel),
                    _alike([str(step) for step in layer.stride]),
                    _alike([f"{before},{after}" for before, after in layer.padding]),
                    _by(layer.output),
                    f"{layer.parameters:,}" if layer.parameters else "",
                    products if layer.multiplications else "",
                )
            )
        products = _rounded(self.multiplications) if rounded else f"{self.multiplications:,}"
        return [*lines, ("total", "", "", "", "", "", f"{self.parameters:,}", products)]


def write_figure(table: LayerTable, file: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Draw a table's layers as boxes into a file.

    Parameters
    ----------
    table : LayerTable
        The layers.
    file : path-like
        File to write, ``.png``, ``.svg`` or ``.pdf``; its folder is made if there is none.
    overwrite : bool, default=False
        Whether an existing file is replaced.

    Raises
    ------
    OptionError
        When the file has another suffix.
    FileExistsError
        When the file exists and ``overwrite`` is False.
    OSError
        When the file cannot be written.
    """
    from hourglass.plots import check_figure_file, save_figure

    check_figure_file(file)
    check_free(file, overwrite=overwrite)
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    save_figure(table.figure(), file)


def percent(share: float) -> str:
    """Write a share in percent.

    Parameters
    ----------
    share : float
        Share of 1.

    Returns
    -------
    str
        Text such as ``16%`` or ``4.1%``.
    """
    return f"{share:.0%}" if share >= 0.0995 else f"{share:.1%}"


def _by(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))


def _alike(words: Sequence[str]) -> str:
    """Words of the axes; one where all are the same."""
    return words[0] if len(set(words)) == 1 else " × ".join(words)


def _width(lines: Sequence[Sequence[str]]) -> int:
    """Number of columns that the lines of a table need."""
    longest = [max(map(len, column)) for column in zip(HEADINGS, *lines, strict=True)]
    return sum(longest) + len(longest) - 1


def _rounded(number: int) -> str:
    """Write a number with three digits, such as ``28.2 k``."""
    for unit, name in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= unit:
            digits = max(0, 2 - int(math.log10(number / unit)))
            return f"{number / unit:.{digits}f}{name}"
    return str(number)
