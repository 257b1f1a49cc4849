"""Names in documents of format 1, and what they are called from format 2 on.

Documents are ``model.json``, ``result.json`` and the lines of a study. In format 1 ``layer`` meant batch normalisation,
which is why the format has a number: from format 2 on it means layer normalisation.
"""

from collections.abc import Mapping
from typing import Any

_NORMS = {"layer": "batch", "manual": "batch-manual", "layernorm": "layer"}
# Arms of the study bn-fair are named after their normalisation.
_ARMS = _NORMS | {"manual, truncated normal": "batch-manual, truncated normal"}


def renamed_norm(value: Any) -> Any:
    """Return the name since format 2 of a normalisation that a document of format 1 names.

    Parameters
    ----------
    value : object
        As the document has it. What is not a name that changed is returned as it is, so that whoever reads the
        document can refuse it.
    """
    return _NORMS.get(value, value) if isinstance(value, str) else value


def renamed_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return an estimator's parameters, by their names since format 2.

    Parameters
    ----------
    parameters : mapping of str to object
        From a document of format 1, in which a corruption other than a level is an object under ``noise``; since format
        2 it is under ``corruption``.
    """
    renamed = dict(parameters)
    if "norm" in renamed:
        renamed["norm"] = renamed_norm(renamed["norm"])
    if isinstance(renamed.get("noise"), Mapping):
        renamed["corruption"] = renamed.pop("noise")
    return renamed


def renamed_cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a study's cell, with normalisations by their names since format 2.

    Parameters
    ----------
    cell : mapping of str to object
        From a study's line of format 1.
    """
    renamed = dict(cell)
    if "norm" in renamed:
        renamed["norm"] = renamed_norm(renamed["norm"])
        if isinstance(renamed.get("arm"), str):
            renamed["arm"] = _ARMS.get(renamed["arm"], renamed["arm"])
    return renamed
