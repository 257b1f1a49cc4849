"""scikit-learn's own checks, whole; and the estimators inside its tools."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import hourglass as hg
from hourglass.denoising import corrupt

# Batch normalisation takes its moments of all images alike, whatever they weigh in the loss. Images that weigh next to
# nothing are not learnt in 50 steps, but in 500 they are.
UNWEIGHTED = "batch normalisation takes its moments without weights"
BY_WEIGHT = {"check_sample_weight_equivalence_on_dense_data": UNWEIGHTED}
BY_WEIGHT_LATER = BY_WEIGHT | {"check_class_weight_classifiers": UNWEIGHTED}


# The checks are the same after few steps; those of the defaults, 500 steps, take minutes.
@parametrize_with_checks(
    [hg.DenseAutoencoder(n_steps=20), hg.ConvAutoencoder(n_steps=20), hg.ConvClassifier(n_steps=50)],
    expected_failed_checks=lambda estimator: BY_WEIGHT if isinstance(estimator, hg.ConvClassifier) else {},
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [hg.DenseAutoencoder(), hg.ConvAutoencoder(), hg.ConvClassifier()],
    expected_failed_checks=lambda estimator: BY_WEIGHT_LATER if isinstance(estimator, hg.ConvClassifier) else {},
)
def test_scikit_learns_checks_on_the_defaults(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def flat(few):
    return few.train.images.reshape(len(few.train), -1), few.train.labels


def test_a_pipeline_passes_labels_by_and_predicts(flat):
    X, y = flat
    pipe = make_pipeline(
        hg.DenseAutoencoder(code_size=24, n_steps=200, random_state=0), LogisticRegression(max_iter=2000)
    )
    assert pipe.fit(X, y).score(X, y) > 0.5  # chance is 0.1
    assert cross_val_score(pipe, X, y, cv=3).shape == (3,)


@pytest.mark.slow
def test_a_grid_is_searched_over_code_size_and_depth_on_one_fixed_corruption(few):
    clean = few.train.images
    noisy = corrupt(clean, 0.3, 0)
    dense = GridSearchCV(hg.DenseAutoencoder(n_steps=60, random_state=0), {"code_size": [2, 32]}, cv=2)
    dense.fit(noisy, clean)
    assert dense.best_params_ == {"code_size": 32}
    # Four stages leave 2 × 2 × 1 numbers of an image.
    depths = {"channels": [(8, 8), (8, 4, 2, 1)]}
    conv = GridSearchCV(hg.ConvAutoencoder(n_steps=60, random_state=0), depths, cv=2).fit(noisy, clean)
    assert conv.best_params_["channels"] == (8, 8)
    # Clean targets, so that giving back the noise does not win.
    assert conv.best_score_ > -np.mean((noisy - clean) ** 2)
    classifier = GridSearchCV(hg.ConvClassifier(n_steps=30, random_state=0), {"depth": [2, 19], "norm": ["none"]}, cv=2)
    assert classifier.fit(clean, few.train.labels).best_params_["depth"] == 2


def test_pandas_in_and_out(flat):
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(flat[0][:, 300:364], columns=[f"p{i}" for i in range(64)])
    ae = hg.DenseAutoencoder(code_size=3, n_steps=5, random_state=0).set_output(transform="pandas").fit(X)
    codes = ae.transform(X)
    assert list(codes.columns) == ["denseautoencoder0", "denseautoencoder1", "denseautoencoder2"]
    assert list(ae.get_feature_names_out()) == list(codes.columns)
    assert ae.feature_names_in_[0] == "p0"
    with pytest.raises(ValueError, match="feature names"):
        ae.transform(X[X.columns[::-1]])


@pytest.mark.parametrize("make", [hg.DenseAutoencoder, hg.ConvAutoencoder, hg.ConvClassifier])
def test_a_pickled_estimator_is_the_same(make, few):
    fitted = make(n_steps=3, random_state=0).fit(few.train.images, few.train.labels)
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301  # made here
    call = "predict_proba" if make is hg.ConvClassifier else "reconstruct"
    assert np.array_equal(getattr(again, call)(few.test.images), getattr(fitted, call)(few.test.images))
    if make is not hg.ConvClassifier:  # and it learns on as the other does, moments of the optimiser included
        for estimator in (again, fitted):
            estimator.partial_fit(few.train.images)
        assert np.array_equal(again.reconstruct(few.test.images), fitted.reconstruct(few.test.images))


@pytest.mark.parametrize("make", [hg.DenseAutoencoder, hg.ConvAutoencoder])
def test_partial_fit_goes_on_where_it_was(make, few, tmp_path):
    ae = make(batch_size=50, learning_rate=0.003, random_state=0)
    scores = []
    for _ in range(15):
        ae.partial_fit(few.train.images)
        scores.append(ae.score(few.test.images))
    assert ae.n_steps_ == 15 * 4
    assert scores[-1] > scores[0] + 0.01
    hg.save(ae, tmp_path)
    again = hg.load_model(tmp_path).partial_fit(few.train.images)
    assert again.n_steps_ == 16 * 4
    assert again.score(few.test.images) > scores[0]


def test_what_could_not_be_read_again_is_not_saved(few, tmp_path):
    ae = hg.ConvAutoencoder(channels=(np.int64(8), np.int64(4)), n_steps=1).fit(few.train.images)
    hg.save(ae, tmp_path / "a")
    assert hg.load_model(tmp_path / "a").channels == (8, 4)
    with pytest.raises(ValueError, match="changed after fit"):
        hg.save(ae.set_params(channels=(4, 4)), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_convolutional_score_takes_other_sizes(few):
    ae = hg.ConvAutoencoder(channels=(4,), n_steps=2).fit(few.train.images)
    images = np.random.default_rng(0).random((3, 11, 17, 1), dtype=np.float32)
    assert ae.score(images) == pytest.approx(-np.mean((ae.reconstruct(images) - images) ** 2), rel=1e-5)


def test_probabilities_sum_to_1_however_large_the_logits(few):
    clf = hg.ConvClassifier(loss="bce", n_steps=3, random_state=0).fit(few.train.images, few.train.labels)
    with torch.no_grad():
        clf.network_.output.weight.mul_(1e6)
    assert np.abs(clf.logits(few.test.images)).max() > 1e4
    np.testing.assert_allclose(clf.predict_proba(few.test.images).sum(1), 1)


def test_fit_begins_anew(few):
    ae = hg.DenseAutoencoder(n_steps=4, random_state=0)
    first = ae.fit(few.train.images).reconstruct(few.test.images)
    assert np.array_equal(ae.fit(few.train.images).reconstruct(few.test.images), first)
    assert ae.n_steps_ == 4


@pytest.mark.parametrize("make", [hg.DenseAutoencoder, hg.ConvAutoencoder, hg.ConvClassifier])
def test_held_out_images_and_patience(make, few):
    parameters = {"validation_fraction": 0.25, "patience": 2, "validate_every": 3, "n_steps": 400, "random_state": 0}
    estimator = make(learning_rate=0.02, **parameters).fit(few.train.images, few.train.labels)
    where, losses = estimator.history_.series("validation_loss")
    assert estimator.n_steps_ == where[-1]
    assert estimator.n_steps_ == 400 or losses.argmin() == len(losses) - 3
    with pytest.raises(ValueError, match="needs held-out images"):
        make(patience=2, n_steps=2).fit(few.train.images, few.train.labels)
    for share in (0, 1, 1.5):
        with pytest.raises(ValueError, match="validation_fraction"):
            make(validation_fraction=share, n_steps=2).fit(few.train.images, few.train.labels)


@pytest.mark.parametrize("make", [hg.DenseAutoencoder, hg.ConvAutoencoder])
@pytest.mark.parametrize(
    ("dtype", "result"), [("uint8", "float32"), ("float32", "float32"), ("float64", "float64"), ("int64", "float32")]
)
def test_dtypes_are_as_stated(make, dtype, result, few):
    ae = make(loss="bce", n_steps=3, random_state=0).fit(few.train.images)
    bytes_ = np.round(few.test.images * 255)
    given = (bytes_ if dtype == "uint8" else np.round(bytes_ / 255) if dtype == "int64" else bytes_ / 255).astype(dtype)
    before = given.copy()
    output = ae.reconstruct(given)
    assert output.dtype == result
    assert ae.transform(given).dtype == result
    assert ae.inverse_transform(ae.transform(given)).dtype == result
    assert output.min() >= 0
    assert output.max() <= 1
    assert np.array_equal(given, before)
    if dtype == "uint8":
        np.testing.assert_allclose(output, ae.reconstruct((bytes_ / 255).astype(np.float32)), atol=1e-6)


def test_flat_images_come_back_flat(flat):
    ae = hg.ConvAutoencoder(image_shape=(28, 28, 1), n_steps=2, random_state=0).fit(flat[0])
    assert ae.reconstruct(flat[0]).shape == flat[0].shape
    assert ae.inverse_transform(ae.transform(flat[0])).shape == flat[0].shape


def test_a_convolutional_autoencoder_takes_other_sizes(few):
    ae = hg.ConvAutoencoder(channels=(8, 4), n_steps=5, random_state=0).fit(few.train.images)
    for shape in [(3, 17, 40, 1), (2, 61, 5), (1, 1, 1, 1)]:
        images = np.random.default_rng(0).random(shape, dtype=np.float32)
        assert ae.reconstruct(images).shape == shape
    with pytest.raises(ValueError, match="expected"):
        ae.reconstruct(np.zeros((2, 28, 28, 3), np.float32))
    with pytest.raises(ValueError, match="expected"):
        ae.transform(np.zeros((2, 17, 40, 1), np.float32))


# Training amplifies rounding, so that the bounds are far from what is measured; the mean image reaches 11.8 dB.
@pytest.mark.parametrize(
    ("kind", "least"), [(hg.DenseAutoencoder, 14.5), pytest.param(hg.ConvAutoencoder, 15, marks=pytest.mark.slow)]
)
def test_the_defaults_suit_a_first_try(kind, least, sample):
    ae = kind(random_state=0).fit(sample.train.images)
    assert hg.metrics.psnr(sample.test.images, np.clip(ae.reconstruct(sample.test.images), 0, 1)) > least


@pytest.mark.slow
def test_the_defaults_suit_a_first_classifier(sample):
    classifier = hg.ConvClassifier(random_state=0).fit(sample.train.images, sample.train.labels)
    assert classifier.score(sample.test.images, sample.test.labels) > 0.9
