"""Forked processes: everything answers in a child, whatever its parent did before, with the parent's numbers.

OpenMP's threads do not survive a fork, and an operation that shares its work with them waits for ever. The parents run
in processes of their own, with a limit for each child, so that a child that hangs fails its test alone.
"""

import functools
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

# Limit for one child; the slowest takes a second.
SECONDS = 30


def images(n, height=28, width=28):
    return np.random.default_rng(0).random((n, height, width), dtype=np.float32)


class Models:
    """One fitted model of each kind."""

    def fit(self):
        import hourglass as hg

        digits = hg.load("sample").train[:200]
        self.conv = hg.ConvAutoencoder(channels=(8, 8), n_steps=3, random_state=0).fit(digits.images)
        self.dense = hg.DenseAutoencoder(n_steps=3, random_state=0).fit(digits.images)
        self.classifier = hg.ConvClassifier(depth=4, n_steps=3, random_state=0).fit(digits.images, digits.labels)

    def save(self, folder):
        import hourglass as hg

        for name, model in vars(self).items():
            hg.save(model, folder / name)

    def load(self, folder):
        import hourglass as hg

        for name in ("conv", "dense", "classifier"):
            setattr(self, name, hg.load_model(folder / name))


def fit_again(models):
    from sklearn.base import clone

    return clone(models.dense).fit(images(200)).history_.loss


def restore_an_image(models):
    from hourglass.imagefiles import ImageRestorer

    return ImageRestorer(models.conv)(images(1, 600, 500)[0, :, :, None])


def add_noise(models):
    import torch

    from hourglass.denoising import GaussianNoise

    return GaussianNoise(0.5)(torch.zeros(500, 1, 28, 28), torch.Generator().manual_seed(0)).numpy()


def in_a_thread(models):
    found = []
    thread = threading.Thread(target=lambda: found.append(models.conv.transform(images(100))))
    thread.start()
    thread.join()
    return found[0]


def with_more_threads(n, models):
    """What a hook of a server does in its workers: it asks for threads, which a forked process does not have."""
    import warnings

    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        values = fit_again(models) if n is None else models.conv.transform(images(n))
    forked = before == 1 and multiprocessing.parent_process() is not None
    if forked:
        assert "this process was forked" in str(said[0].message)
        assert torch.get_num_threads() == 1
    torch.set_num_threads(before)
    return values


def on_threads_of_its_own(models):
    import torch

    from hourglass.runtime.threads import on_threads

    torch.set_num_threads(2)
    return on_threads(lambda i: i, range(4))


CASES = {
    **{f"transform {n}": lambda models, n=n: models.conv.transform(images(n)) for n in (1, 100, 5000)},
    **{f"reconstruct {n}": lambda models, n=n: models.dense.reconstruct(images(n)) for n in (1, 100, 5000)},
    "inverse_transform": lambda models: models.conv.inverse_transform(
        np.ones((300, models.conv.network_.code_size), np.float32)
    ),
    "float64": lambda models: models.conv.reconstruct(images(100).astype(float)),
    "large image in blocks": lambda models: models.conv.reconstruct(images(1, 900, 700)),
    "predict": lambda models: models.classifier.predict_proba(images(300)),
    "fit": fit_again,
    "image": restore_an_image,
    "noise": add_noise,
    "in a thread": in_a_thread,
    "threads of its own": on_threads_of_its_own,
    **{f"more threads, transform {n}": functools.partial(with_more_threads, n) for n in (1, 100, 300)},
    "more threads, fit": functools.partial(with_more_threads, None),
}
# A child's child, and one that loads its models itself.
EVERY_CASE = (*CASES, "in a child of the child", "load")


def run(name, models, folder):
    """Result of a case, as an array."""
    if name == "in a child of the child":
        return in_child("transform 100", models, folder)
    if name == "load":
        models.load(folder)
        return np.asarray(CASES["transform 100"](models))
    return np.asarray(CASES[name](models))


def in_child(name, models, folder):
    """Result of a case in a forked process.

    Raises
    ------
    TimeoutError
        When the child does not answer.
    """
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "result.npy"
        child = multiprocessing.get_context("fork").Process(
            target=lambda: np.save(file, run(name, models, folder)),
        )
        child.start()
        child.join(SECONDS)
        if child.is_alive():
            child.kill()
            child.join()
            raise TimeoutError(f"no answer in {SECONDS} s")
        return np.load(file)


def fitted(models, folder):
    models.fit()
    models.dense.transform(images(5000))  # on several threads


def loaded(models, folder):
    models.load(folder)


def imported(models, folder):
    """Nothing of the package was asked for before the fork, and PyTorch has its threads."""
    import torch

    import hourglass  # noqa: F401  # its import alone must be enough

    torch.rand(2000, 2000).sqrt().sum()


def busy(models, folder):
    """Another thread is inside the package's own threads while this one forks."""
    models.fit()

    def transform_for_ever():
        while True:
            models.dense.transform(images(5000))

    threading.Thread(target=transform_for_ever, daemon=True).start()
    time.sleep(0.5)


PARENTS = {function.__name__: function for function in (fitted, loaded, imported, busy)}


def make(folder):
    """Save models, and every case's result in a process that was never forked."""
    models = Models()
    models.fit()
    models.save(folder)
    np.savez(folder / "expected.npz", **{name: run(name, models, folder) for name in CASES})


def compare(parent, folder):
    """How far each case's numbers in a child are from the expected ones, or what happened instead."""
    models = Models()
    PARENTS[parent](models, folder)
    found = {}
    with np.load(folder / "expected.npz") as expected:
        for name in EVERY_CASE if vars(models) else ("load",):
            try:
                result = in_child(name, models, folder)
            except (TimeoutError, FileNotFoundError) as error:
                found[name] = repr(error)
            else:
                found[name] = float(np.abs(result - expected[name if name in CASES else "transform 100"]).max())
    return found


def in_a_process(*words):
    # Two threads whatever the machine has: with one there is nothing to survive a fork.
    environment = os.environ | {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, __file__, *map(str, words)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models")
    in_a_process("make", path)
    return path


@pytest.fixture(scope="module")
def differences(folder):
    return functools.cache(lambda parent: json.loads(in_a_process(parent, folder)))


PAIRS = [(parent, name) for parent in PARENTS for name in EVERY_CASE if parent != "imported" or name == "load"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize(("parent", "name"), PAIRS)
def test_a_forked_process_answers(parent, name, differences):
    found = differences(parent)[name]
    assert isinstance(found, float), found
    assert found < 1e-3


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    else:
        print(json.dumps(compare(sys.argv[1], Path(sys.argv[2]))))
        sys.stdout.flush()
        os._exit(0)  # without waiting for the busy thread
