"""A parameter that is changed after fit: the model says what it is, or refuses."""

import numpy as np
import pytest

import hourglass as hg

CHANGES = [
    ("DenseAutoencoder", {"code_size": 7}), ("DenseAutoencoder", {"loss": "mse"}),
    *(("ConvAutoencoder", {name: value}) for name, value in {
        "channels": (4, 4), "upsample": "transposed", "skip": True, "residual": True, "norm": "batch-manual",
        "norm_momentum": 0.5, "loss": "bce",
    }.items()),
    *(("ConvClassifier", {name: value}) for name, value in {
        "depth": 3, "width": 4, "norm": "batch-manual", "norm_momentum": 0.5, "activation": "tanh",
    }.items()),
]  # fmt: skip
START = {
    "DenseAutoencoder": {"code_size": 5, "loss": "bce"},
    "ConvAutoencoder": {"channels": (4,), "loss": "mse"},
    "ConvClassifier": {"depth": 2, "width": 3},
}


def fitted(kind, few):
    model = getattr(hg, kind)(n_steps=3, random_state=0, **START[kind])
    return model.fit(few.train.images[:60], few.train.labels[:60])


@pytest.mark.parametrize("from_file", [False, True])
@pytest.mark.parametrize(("kind", "changed"), CHANGES)
def test_a_change_that_describes_another_network_is_refused(kind, changed, from_file, few, tmp_path):
    model = fitted(kind, few)
    if from_file:
        hg.save(model, tmp_path / "first")
        model = hg.load_model(tmp_path / "first")
    [name] = changed
    before = getattr(model, name)
    model.set_params(**changed)
    with pytest.raises(ValueError, match="describe another network"):
        hg.save(model, tmp_path / "model")
    with pytest.raises(ValueError, match="describe another network"):
        model.partial_fit(few.train.images[:60], few.train.labels[:60])
    assert not (tmp_path / "model").exists()
    hg.save(model.set_params(**{name: before}), tmp_path / "model")


@pytest.mark.parametrize("kind", sorted(START))
def test_every_other_parameter_may_change_and_the_file_computes_the_same(kind, few, tmp_path):
    model = fitted(kind, few)
    names = {name for other, changed in CHANGES if other == kind for name in changed}
    others = {"n_steps": 7, "learning_rate": 0.5, "batch_size": 9, "optimiser": "sgd", "verbose": 0, "random_state": 3}
    assert not names & set(others)
    model.set_params(**others)
    hg.save(model, tmp_path)
    loaded = hg.load_model(tmp_path)
    use = "predict_proba" if kind == "ConvClassifier" else "reconstruct"
    images = few.test.images[:20]
    np.testing.assert_array_equal(getattr(loaded, use)(images), getattr(model, use)(images))


def test_what_belongs_to_the_network_before_goes_with_it(few, tmp_path, monkeypatch):
    model = fitted("ConvAutoencoder", few)
    hg.save(model, tmp_path, notes={"images": "of the first training"})
    model = hg.load_model(tmp_path).set_params(channels=(3, 3))
    model.fit(few.train.images[:60])
    assert not hasattr(model, "notes_")
    assert set(model.dead_units_) == {"encoder 1", "encoder 2", "decoder 1", "decoder 2"}

    def interrupt(*_):
        raise KeyboardInterrupt

    model.set_params(channels=(4,))
    monkeypatch.setattr("hourglass.estimators.fitting.dead_units", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.fit(few.train.images[:60])
    # The training was done; only the look at it was interrupted.
    reached = model.partly_trained_
    assert reached.n_steps_ == 3
    assert not hasattr(reached, "dead_units_")
    assert len(model.network_.encoder) == 2
    assert reached.reconstruct(few.test.images[:3]).shape == (3, 28, 28, 1)
