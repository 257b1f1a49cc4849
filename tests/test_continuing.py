"""Training on: a good model stays good, the optimiser's state is kept, a finished run can be lengthened."""

import json
import shutil

import numpy as np
import pytest
import torch
from sklearn.base import clone

import hourglass as hg
from hourglass import metrics
from hourglass.data import Dataset
from hourglass.denoising import corrupt
from hourglass.experiments import find
from hourglass.training import OPTIMISERS, Adam

STEPS = {"dense": 300, "conv": 150, "denoise": 60}


@pytest.fixture(scope="module")
def some(sample):
    return Dataset("some", sample.train[:600], sample.test[:100], validation_size=100)


def loss(estimator, clean):
    given = clean if estimator.noise is None else corrupt(clean, estimator.noise, 5)
    return float(metrics.bce(clean, estimator.reconstruct(given)))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
@pytest.mark.parametrize("kept", [True, False], ids=["state kept", "state lost"])
@pytest.mark.parametrize("name", STEPS)
def test_one_more_epoch_does_not_harm_a_good_model(name, kept, seed, some, tmp_path):
    estimator = find(name).configure("fast", n_steps=STEPS[name]).set_params(random_state=seed)
    images = some.train.images
    hg.save(estimator.fit(images), tmp_path)
    if not kept:  # a folder that was handed on without it
        (tmp_path / "optimiser.safetensors").unlink()
    before = loss(estimator, images)
    again = hg.load_model(tmp_path).partial_fit(images)
    assert again.n_steps_ > estimator.n_steps_
    assert loss(again, images) <= 1.05 * before


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["classic", "fast"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", STEPS)
def test_one_more_epoch_does_not_harm_a_model_of_the_whole_recipe(name, seed, recipe, sample, tmp_path):
    estimator = find(name).configure(recipe, **({"epochs": 20} if recipe == "classic" else {}))
    images = sample.train.images
    hg.save(estimator.set_params(random_state=seed).fit(images), tmp_path)
    before = loss(estimator, images)
    assert loss(hg.load_model(tmp_path).partial_fit(images), images) <= 1.05 * before


def test_the_rate_of_training_on(few):
    X = few.train.images

    def rates(estimator):
        [rate] = set(estimator.partial_fit(X).history_.learning_rate)
        return rate

    ae = hg.DenseAutoencoder(n_steps=10, learning_rate=0.02, random_state=0)
    assert rates(clone(ae)) == 0.02  # nothing is there to be lost
    assert rates(clone(ae).partial_fit(X)) == 0.02
    assert rates(clone(ae).fit(X)) == pytest.approx(0.002)
    assert rates(clone(ae).set_params(schedule="constant").fit(X)) == 0.02
    assert rates(clone(ae).set_params(continue_learning_rate=0.005).fit(X)) == 0.005
    assert rates(clone(ae).fit(X).set_params(learning_rate=0.01)) == pytest.approx(0.001)
    with pytest.raises(ValueError, match="continue_learning_rate=0"):
        clone(ae).set_params(continue_learning_rate=0).fit(X)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("make", [hg.DenseAutoencoder, hg.ConvAutoencoder, hg.ConvClassifier])
def test_a_saved_model_learns_on_as_the_one_in_memory_does(make, optimiser, few, tmp_path):
    X, y = few.train.images, few.train.labels
    estimator = make(n_steps=6, optimiser=optimiser, random_state=0).fit(X, y)
    hg.save(estimator, tmp_path)
    again = hg.load_model(tmp_path)
    # The order of the images is drawn anew in both.
    for each in (estimator, again):
        each._random = np.random.RandomState(1)
        each.partial_fit(X, y)
    for one, other in zip(estimator.network_.parameters(), again.network_.parameters(), strict=True):
        assert torch.equal(one, other)
    assert again.n_steps_ == estimator.n_steps_


def test_a_state_that_is_damaged_or_does_not_fit_is_left_with_a_warning(few, tmp_path):
    hg.save(hg.DenseAutoencoder(n_steps=3, random_state=0).fit(few.train.images), tmp_path)
    path = tmp_path / "optimiser.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.warns(UserWarning, match="training on will warm up"):
        again = hg.load_model(tmp_path)
    again.partial_fit(few.train.images)
    rates = again.history_.learning_rate
    assert rates[0] < 0.3 * rates[-1]
    # Of a model that was saved without an optimiser's state none is left from before.
    del again._optimiser
    hg.save(again, tmp_path)
    assert not path.exists()


def test_warm_start_trains_on_from_the_weights_that_are_there(few):
    X = few.train.images
    cold = hg.DenseAutoencoder(n_steps=20, random_state=0).fit(X)
    warm = clone(cold).set_params(warm_start=True).fit(X)
    assert np.array_equal(cold.reconstruct(X), warm.reconstruct(X))  # the first call has nothing to begin from
    first = warm.score(X)
    warm.fit(X)
    assert warm.n_steps_ == 40
    assert len(warm.history_) == 20
    assert warm.score(X) > first
    assert max(warm.history_.learning_rate) <= 0.1 * cold.learning_rate * 1.001
    with pytest.raises(ValueError, match="describe another network"):
        warm.set_params(code_size=5).fit(X)
    assert warm.set_params(code_size=32).n_steps_ == 40
    with pytest.raises(ValueError, match="expected"):
        warm.fit(X[:, :20])
    with pytest.raises(ValueError, match="warm_start=True with checkpoint_dir"):
        warm.set_params(checkpoint_dir="x").fit(X)


def test_partial_fit_of_changed_parameters_is_refused(few):
    ae = hg.ConvAutoencoder(channels=(4,), n_steps=2).fit(few.train.images)
    with pytest.raises(ValueError, match="describe another network"):
        ae.set_params(channels=(4, 4)).partial_fit(few.train.images)


def test_another_optimiser_begins_without_the_old_ones_state(few):
    ae = hg.DenseAutoencoder(n_steps=5, random_state=0).fit(few.train.images)
    ae.set_params(optimiser="sgd").partial_fit(few.train.images)
    assert type(ae._optimiser).__name__ == "SGD"
    assert ae.history_.learning_rate[0] < ae.history_.learning_rate[-1]
    ae.set_params(optimiser="adam").partial_fit(few.train.images)
    assert isinstance(ae._optimiser, Adam)


def weights(folder):
    return hg.load_model(folder).network_.state_dict()


@pytest.mark.parametrize("name", ["dense", "bn-manual"])
def test_a_finished_run_is_lengthened_to_what_a_longer_one_is(name, few, tmp_path):
    short, long = tmp_path / "short", tmp_path / "long"
    hg.run(name, dataset=few, n_steps=6, out=short)
    before = (short / f"{name}-classic" / "seed-0" / "result.json").read_bytes()
    with pytest.raises(FileExistsError, match="--resume"):
        hg.run(name, dataset=few, n_steps=11, out=short)
    hg.run(name, dataset=few, n_steps=11, out=short, resume=True)
    hg.run(name, dataset=few, n_steps=11, out=long)
    folders = [place / f"{name}-classic" / "seed-0" for place in (short, long)]
    one, other = (weights(folder) for folder in folders)
    assert all(torch.equal(one[key], other[key]) for key in one)
    results = [json.loads((folder / "result.json").read_text()) for folder in folders]
    assert results[0]["metrics"] == results[1]["metrics"]
    assert results[0]["parameters"]["n_steps"] == 11
    assert [path.name for path in folders[0].parent.iterdir()] == ["seed-0"]
    # It cannot be made shorter, nor another one.
    for changed in ({"n_steps": 6}, {"n_steps": 12, "learning_rate": 0.5}):
        with pytest.raises(ValueError, match="holds another run"):
            hg.run(name, dataset=few, out=short, resume=True, **changed)
    assert (folders[0] / "result.json").read_bytes() != before


def test_a_finished_run_without_its_state_is_not_lengthened(few, tmp_path):
    hg.run("dense", dataset=few, n_steps=6, out=tmp_path)
    shutil.rmtree(tmp_path / "dense-classic" / "seed-0" / "state")
    with pytest.raises(ValueError, match="n_steps is 6 there, 9 here"):
        hg.run("dense", dataset=few, n_steps=9, out=tmp_path, resume=True)


def test_a_training_that_stopped_early_is_over(few, tmp_path):
    ae = hg.DenseAutoencoder(
        validation_fraction=0.2, patience=1, report_every=1, n_steps=40, learning_rate=3.0, schedule="constant",
        random_state=0, checkpoint_dir=tmp_path,
    )  # fmt: skip
    done = len(ae.fit(few.train.images).history_)
    assert done < 40
    assert len(clone(ae).set_params(n_steps=60).fit(few.train.images).history_) == done


def test_a_model_of_ones_own_images_is_lengthened(hourglass, tmp_path):
    from PIL import Image

    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 255, (40, 40), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    words = ("train", folder, "--out", tmp_path / "model", "--crop", 16, "--n-crops", 40, "--set", "channels=(4,)")
    assert hourglass(*words, "--steps", 4)[0] == 0
    code, out, _ = hourglass(*words, "--steps", 4, "--resume")
    assert (code, "finished already" in out) == (0, True)
    assert hourglass(*words, "--steps", 9, "--resume")[0] == 0
    assert hg.load_model(tmp_path / "model").n_steps_ == 9
    assert json.loads((tmp_path / "model" / "model.json").read_text())["parameters"]["n_steps"] == 9


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (("--set", "learning_rate=0.5"), "learning_rate is 0.01 there, 0.5 here"),
        (("--steps", 9, "--set", "batch_size=8"), "batch_size is 64 there, 8 here"),
        (("--seed", 1), "random_state is 0 there, 1 here"),
        (("--noise", "0.1"), "corruption is absent there"),
        (("--network", "dense"), "estimator is 'ConvAutoencoder' there, 'DenseAutoencoder' here"),
        (("--crop", 20), "prepared is 'crops of 16×16' there, 'crops of 20×20' here"),
        (("--n-crops", 30), "n_crops is 40 there, 30 here"),
        (("--steps", 2), "n_steps is 4 there, 2 here"),
    ],
)
def test_resuming_a_finished_training_with_other_settings_is_refused(changed, said, hourglass, tmp_path):
    from PIL import Image

    folder, model = tmp_path / "images", tmp_path / "model"
    folder.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)).save(folder / "0.png")
    settings = {"--crop": 16, "--n-crops": 40, "--steps": 4}
    words = ("train", folder, "--out", model)
    assert hourglass(*words, *(word for pair in settings.items() for word in pair))[0] == 0
    before = (model / "model.json").read_bytes()
    settings |= dict(zip(changed[::2], changed[1::2], strict=True))
    code, _, err = hourglass(*words, *(word for pair in settings.items() for word in pair), "--resume")
    assert (code, said in err) == (1, True), err
    assert (model / "model.json").read_bytes() == before
