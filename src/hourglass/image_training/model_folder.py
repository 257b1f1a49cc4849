"""The folder of a model that is trained: finished, unfinished or empty."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from filecmp import cmp
from pathlib import Path
from typing import Any

from sklearn.base import clone

from hourglass.atomic import check_writable
from hourglass.denoising.corruption import unclipped
from hourglass.estimators import Autoencoder
from hourglass.image_training.settings import SIZES
from hourglass.models import load_autoencoder, save
from hourglass.persistence import METADATA, differences, is_longer


@dataclass(frozen=True)
class ModelFolder:
    """Folder of a model, with the checkpoints of an unfinished training or the last one of a finished training."""

    out: Path
    overwrite: bool

    @property
    def checkpoints(self) -> Path:
        return self.out / ".unfinished"

    @property
    def state(self) -> Path:
        return self.out / "state"

    @property
    def is_finished(self) -> bool:
        return (self.out / METADATA).exists() and not self.checkpoints.exists()

    @property
    def is_untouched(self) -> bool:
        """Whether the checkpoints are still those of the finished training."""
        there, copied = (
            {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
            for folder in (self.state, self.checkpoints)
        )
        return there.keys() == copied.keys() and all(cmp(there[name], copied[name], shallow=False) for name in there)

    def check_free(self) -> None:
        # Beside what an unfinished training left, the model is an older one, which it was told to overwrite.
        if self.is_finished and not self.overwrite:
            raise FileExistsError(f"{self.out} holds a model; overwrite (--overwrite) replaces it")

    def check(self, *, resume: bool) -> bool:
        """Whether there is a finished model that is kept; otherwise it is checked that one can be written here."""
        finished = resume and self.is_finished
        if not finished:
            self.check_free()
        check_writable(self.out)
        return finished

    def begin(self, *, lengthened: bool, resume: bool, say: Callable[[str], None]) -> None:
        """Make the folder of the checkpoints, with those of a finished model that is lengthened."""
        if lengthened:
            shutil.copytree(self.state, self.checkpoints)
        self.check_free()
        if self.checkpoints.exists() and not resume:
            say(f"{self.out} holds an unfinished training, which is resumed")
        self.checkpoints.mkdir(exist_ok=True)

    def finish(self, estimator: Autoencoder) -> None:
        """Save the model; from its last checkpoint the training can be lengthened."""
        save(estimator, self.out)
        shutil.rmtree(self.state, ignore_errors=True)
        self.checkpoints.rename(self.state)

    def is_lengthened_by(self, estimator: Autoencoder, notes: dict[str, Any]) -> bool:
        """Whether the estimator has more epochs or steps than the finished model, and is otherwise the same.

        Raises
        ------
        ValueError
            When it is another one, or the model's training cannot be lengthened.
        """
        model, estimator = load_autoencoder(self.out, device="cpu"), clone(estimator)
        for each in (model, estimator):  # whether noise is clipped depends on the images
            if each.corruption is not None:
                each.set_params(corruption=unclipped(each.corruption))
        kinds = [{"estimator": type(each).__name__} for each in (model, estimator)]
        # Models of older versions do not note everything.
        there = kinds[0] | model.ruling_parameters() | {name: model.notes_.get(name, notes[name]) for name in notes}
        wanted = kinds[1] | estimator.ruling_parameters() | notes
        if "begin_from" in wanted:  # the sizes are those of the model there, which may not have been read yet
            there, wanted = ({name: each[name] for name in each if name not in SIZES} for each in (there, wanted))
        if is_longer(wanted, there) and self.state.is_dir():
            return True
        if said := differences(there, wanted):
            raise ValueError(
                f"{self.out} holds another model: {said}; repeat its settings, or choose another folder (--out)"
            )
        return False
