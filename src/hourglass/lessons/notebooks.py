"""Notebooks of the lessons in one language, made from notebooks that have the passages of all languages.

The notebooks beside this module are built by ``scripts/lessons`` from the texts in the repository's folder ``lessons``.
Each passage of prose has its language in the cell's metadata; code and its outputs are common to all.
"""

import json
import os
from pathlib import Path
from typing import Any

from hourglass.atomic import check_free, write_together
from hourglass.errors import OptionError

LESSONS = ("1-dense-autoencoder", "2-convolutional-autoencoder", "3-denoising", "4-batch-normalisation")
"""Names of the lessons, in their order."""
LANGUAGES = ("en", "zh")
"""Languages of the prose: English and Chinese."""
# Key of a passage's language in the metadata of its cell.
_LANGUAGE = "lang"


def notebook(name: str, language: str = "en") -> dict[str, Any]:
    """Return one lesson in one language, with its outputs.

    Parameters
    ----------
    name : str
        Name in ``LESSONS``.
    language : {"en", "zh"}, default="en"
        Language of the prose: English or Chinese. Code is the same in both.

    Returns
    -------
    dict
        The notebook as JSON has it, in Jupyter's format 4.5.

    Raises
    ------
    OptionError
        When there is no such lesson or language; a ValueError.
    """
    if name not in LESSONS:
        raise OptionError(f"lesson {name!r} is unknown; choose one of {', '.join(LESSONS)}")
    if language not in LANGUAGES:
        raise OptionError(f"language {language!r} is unknown; choose one of {', '.join(LANGUAGES)}")
    content: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.ipynb").read_text(encoding="utf-8"))
    cells = []
    for cell in content["cells"]:
        written_in = cell["metadata"].pop(_LANGUAGE, language)
        if written_in == language:
            cells.append(cell)
    return content | {"cells": cells}


def write_lessons(folder: str | os.PathLike[str], language: str = "en", *, overwrite: bool = False) -> list[Path]:
    """Write the notebooks of all lessons into a folder.

    Parameters
    ----------
    folder : path-like
        Folder for the notebooks; it is made if it does not exist.
    language : {"en", "zh"}, default="en"
        Language of the prose: English or Chinese.
    overwrite : bool, default=False
        Whether notebooks of the same names are replaced.

    Returns
    -------
    list of Path
        The files, in the order of the lessons.

    Raises
    ------
    OptionError
        When there is no such language; a ValueError.
    FileExistsError
        When a file exists and ``overwrite`` is not set. Nothing is written then.
    OSError
        When the folder cannot be written.
    """
    contents = {Path(folder) / f"{name}.ipynb": notebook(name, language) for name in LESSONS}
    check_free(*contents, overwrite=overwrite)
    Path(folder).mkdir(parents=True, exist_ok=True)
    texts = {path: json.dumps(content, ensure_ascii=False, indent=1) + "\n" for path, content in contents.items()}
    write_together({path: text.encode() for path, text in texts.items()})
    return list(contents)
