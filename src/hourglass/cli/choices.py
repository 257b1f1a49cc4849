"""Options whose choices are a table of the library, looked up when a command runs, so that what was added counts."""

from pathlib import Path

import typer


def dataset_name(text: str) -> str:
    """Name of a data set, as in ``hourglass.DATASETS``."""
    from hourglass.data import DATASETS

    if text not in DATASETS:
        raise typer.BadParameter(f"{text!r} is not a data set; choose one of {', '.join(DATASETS)}")
    return text


def dataset_place(text: str) -> str:
    """Name of a data set, or the place of a Zarr of images."""
    from hourglass.data import DATASETS

    if text in DATASETS:
        return text
    from hourglass.training.zarr_store import is_zarr

    if not is_zarr(text):
        raise typer.BadParameter(
            f"{text!r} is neither a data set ({', '.join(DATASETS)}) nor a Zarr, whose name ends in .zarr"
        )
    return text


def location(text: str) -> Path:
    """Path of a file or folder, or an address of one; a path alone would lose a part of some addresses."""
    from hourglass.imagefiles.remote import place

    try:
        return place(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def network_name(text: str) -> str:
    """Name of a kind of autoencoder that is trained on files of images."""
    from hourglass.image_training.settings import NETWORKS

    if text not in NETWORKS:
        raise typer.BadParameter(f"{text!r} is not a network; choose one of {', '.join(NETWORKS)}")
    return text
