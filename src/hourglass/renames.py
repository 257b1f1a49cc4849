"""Documents of earlier formats, brought to the names of the present one.

Format 2 calls every optimiser step a step, and normalisations by the field's names; format 1, and documents without a
format, say update or batch, and mean batch normalisation by ``layer``. This is the only place that knows the former
names. Whoever reads a document calls one function here; a document of the present
format passes unchanged.
"""

from collections.abc import Callable, Mapping
from typing import Any

FORMAT = 2
"""Format of the documents that this version writes: models, checkpoints, results of runs, lines of studies."""

# Former names, and those of format 2.
RENAMED_PARAMETERS = {"batches": "n_steps"}
RENAMED_FITTED = {"updates": "steps"}
RENAMED_SETTINGS = {"updates": "n_steps"}
RENAMED_MEASURES = {"updates": "steps"}
RENAMED_COLUMNS = {"update": "step"}
RENAMED_NORMS = {"layer": "batch", "manual": "batch-manual", "layernorm": "layer"}
# Arms of the study bn-fair are named after their normalisation.
RENAMED_ARMS = RENAMED_NORMS | {"manual, truncated normal": "batch-manual, truncated normal"}

Document = Mapping[str, Any]


class FormatError(ValueError):
    """A document is of a format that this version does not know."""


def present_model(document: Document) -> dict[str, Any]:
    """``model.json`` of any format as one of format 2.

    Parameters
    ----------
    document : mapping
        With ``format``, ``parameters`` and ``fitted``.

    Returns
    -------
    dict

    Raises
    ------
    FormatError
        When its format is later than 2, or no format.
    """
    return _present(document, _model_of_format_1)


def present_result(document: Document) -> dict[str, Any]:
    """``result.json`` of any format as one of format 2; one without ``format`` is of format 1.

    Parameters
    ----------
    document : mapping
        With ``parameters``.

    Returns
    -------
    dict

    Raises
    ------
    FormatError
        When its format is later than 2, or no format.
    """
    return _present(document, _result_of_format_1)


def present_row(document: Document) -> dict[str, Any]:
    """A line of a study, of any format, as one of format 2; one without ``format`` is of format 1.

    Parameters
    ----------
    document : mapping
        With ``cell`` and ``measures``.

    Returns
    -------
    dict

    Raises
    ------
    FormatError
        When its format is later than 2, or no format.
    """
    return _present(document, _row_of_format_1)


def present_columns(names: list[str]) -> list[str]:
    """Column names of a ``history.csv``, which has no format, as those of format 2.

    Parameters
    ----------
    names : list of str
        Names as the file has them.

    Returns
    -------
    list of str
        As many, in the same order.
    """
    return [RENAMED_COLUMNS.get(name, name) for name in names]


def _model_of_format_1(document: Document) -> dict[str, Any]:
    return {
        **document,
        "parameters": _parameters(document["parameters"]),
        "fitted": _renamed(document["fitted"], RENAMED_FITTED),
    }


def _result_of_format_1(document: Document) -> dict[str, Any]:
    return {**document, "parameters": _parameters(document["parameters"])}


def _row_of_format_1(document: Document) -> dict[str, Any]:
    return {
        **document,
        "cell": _cell(document["cell"]),
        "measures": _renamed(document["measures"], RENAMED_MEASURES),
    }


def _present(document: Document, of_format_1: Callable[[Document], dict[str, Any]]) -> dict[str, Any]:
    version = document.get("format", 1)
    if version == FORMAT:
        return dict(document)
    if version != 1:
        raise FormatError(f"it has format {version!r}, this version reads formats 1 to {FORMAT}; upgrade hourglass-lab")
    return {"format": FORMAT, **{name: value for name, value in of_format_1(document).items() if name != "format"}}


def _parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """An estimator's parameters; a corruption other than a level, an object in a document, is no longer under noise."""
    present = _with_norm(_renamed(parameters, RENAMED_PARAMETERS))
    if isinstance(present.get("noise"), Mapping):
        present["corruption"] = present.pop("noise")
    return present


def _cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a study's cell."""
    present = _renamed(cell, RENAMED_SETTINGS)
    if "norm" in present and isinstance(present.get("arm"), str):
        present["arm"] = RENAMED_ARMS.get(present["arm"], present["arm"])
    return _with_norm(present)


def _with_norm(values: dict[str, Any]) -> dict[str, Any]:
    """The same values, with the present name of a normalisation; what is no former name stays, to be refused later."""
    norm = values.get("norm")
    return values | {"norm": RENAMED_NORMS.get(norm, norm)} if isinstance(norm, str) else values


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The same values in the same order, under their present names."""
    return {names.get(name, name): value for name, value in values.items()}
