"""Labels of every kind, weights of samples and classes, learning in parts."""

import datetime
import json

import numpy as np
import pytest
from sklearn.base import clone

import hourglass as hg

QUICK = {"n_steps": 3, "random_state": 0}


LABELS = {
    "int8": np.arange(10, dtype=np.int8),
    "uint64": np.arange(10, dtype=np.uint64),
    "float": np.arange(10) / 1.0,
    "bool": np.arange(10) > 4,
    "text": np.array(list("abcdefghij")),
    "long text": np.array([f"class number {i}" for i in range(10)]),
    "objects": np.array([f"o{i}" for i in range(10)], dtype=object),
    "days": np.datetime64("2026-11-20") + np.arange(10),
    "moments": np.datetime64("2026-11-20T01:02:03.000004") + np.arange(10),
    "durations": np.arange(10).astype("timedelta64[s]"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_every_kind_are_predicted_saved_and_read(kind, few, tmp_path):
    labels = LABELS[kind][few.train.labels]
    clf = hg.ConvClassifier(**QUICK, depth=2).fit(few.train.images, labels)
    hg.save(clf, tmp_path)
    again = hg.load_model(tmp_path)
    json.dumps(again.describe())
    assert np.array_equal(again.classes_, clf.classes_)
    assert again.classes_.dtype == clf.classes_.dtype
    found, expected = again.predict(few.test.images), clf.predict(few.test.images)
    assert np.array_equal(found, expected)
    assert found.dtype == expected.dtype


@pytest.mark.parametrize("label", [datetime.date(2026, 1, 1), (1, 2), 1 + 2j, b"a"])
def test_labels_that_no_file_can_hold_are_refused_in_fit(label, few):
    labels = np.empty(len(few.train), dtype=object)
    labels[:] = [label if i % 2 else 7 for i in range(len(labels))]
    with pytest.raises((ValueError, TypeError)):
        hg.ConvClassifier(**QUICK).fit(few.train.images, labels)


def test_sample_weights_are_repetitions_and_zero_is_absence():
    random = np.random.default_rng(0)
    X, y = random.random((20, 6, 6, 1), dtype=np.float32), np.arange(20) % 3
    weights = random.integers(0, 4, 20)
    clf = hg.ConvClassifier(depth=2, norm="group", n_steps=15, learning_rate=0.003, random_state=0)
    weighted = clone(clf).fit(X, y, sample_weight=weights)
    repeated = clone(clf).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-3)
    # Their scale means nothing, and weights of one are none.
    again = clone(clf).fit(X, y, sample_weight=weights * 7.0)
    np.testing.assert_allclose(weighted.predict_proba(X), again.predict_proba(X), atol=1e-3)
    plain, ones = clone(clf).fit(X, y), clone(clf).fit(X, y, sample_weight=np.ones(20))
    np.testing.assert_allclose(plain.predict_proba(X), ones.predict_proba(X), atol=1e-3)
    assert np.abs(plain.predict_proba(X) - weighted.predict_proba(X)).max() > 0.01


@pytest.mark.parametrize("loss", ["softmax", "bce"])
def test_class_weights_are_the_sample_weights_of_their_images(loss, few):
    X, y = few.train.images, few.train.labels
    clf = hg.ConvClassifier(depth=2, loss=loss, n_steps=10, random_state=0)
    chosen = {0: 5.0, 3: 0.5}
    by_class = clone(clf).set_params(class_weight=chosen).fit(X, y)
    by_sample = clone(clf).fit(X, y, sample_weight=[chosen.get(label, 1.0) for label in y])
    assert np.array_equal(by_class.logits(X), by_sample.logits(X))
    counts = np.bincount(y, minlength=10)
    balanced = clone(clf).set_params(class_weight="balanced").fit(X, y)
    by_count = clone(clf).fit(X, y, sample_weight=1 / counts[y])
    np.testing.assert_allclose(balanced.logits(X), by_count.logits(X), atol=1e-2)


def test_class_weights_survive_saving_and_nonsense_is_refused(few, tmp_path):
    X, y = few.train.images, few.train.labels
    hg.save(hg.ConvClassifier(**QUICK, class_weight={0: 2, 3: 0.5}).fit(X, y), tmp_path / "a")
    assert hg.load_model(tmp_path / "a").class_weight == {0: 2.0, 3: 0.5}
    text = np.array(list("abcdefghij"))[y]
    hg.save(hg.ConvClassifier(**QUICK, class_weight={"a": 2}).fit(X, text), tmp_path / "b")
    assert hg.load_model(tmp_path / "b").class_weight == {"a": 2.0}
    for value in ("fair", 3, {0: -1}, {0: "x"}):
        with pytest.raises(ValueError, match="class_weight"):
            hg.ConvClassifier(**QUICK, class_weight=value).fit(X, y)
    with pytest.raises(ValueError, match="at least one non-zero"):
        hg.ConvClassifier(**QUICK).fit(X, y, sample_weight=np.zeros(len(X)))
    with pytest.raises(ValueError, match="every image has weight 0"):
        hg.ConvClassifier(**QUICK, class_weight=dict.fromkeys(range(10), 0)).fit(X, y)
    with pytest.raises(ValueError, match=r"sample_weight\.shape"):
        hg.ConvClassifier(**QUICK).fit(X, y, sample_weight=np.ones(3))
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        hg.ConvClassifier(**QUICK).fit(X, y, sample_weight=-np.ones(len(X)))


def test_a_classifier_learns_in_parts(few):
    X, y = few.train.images, few.train.labels
    clf = hg.ConvClassifier(depth=3, batch_size=50, random_state=0)
    with pytest.raises(ValueError, match="the first call of partial_fit needs classes"):
        clf.partial_fit(X, y)
    assert not hasattr(clf, "classes_")
    for _ in range(15):
        clf.partial_fit(X[y < 5], y[y < 5], classes=range(10)).partial_fit(X[y >= 5], y[y >= 5])
    assert clf.score(X, y) > 0.9
    assert clf.n_steps_ == 15 * (-(-(y < 5).sum() // 50) + -(-(y >= 5).sum() // 50))
    with pytest.raises(ValueError, match=r"label .*77.* is not one of the classes"):
        clf.partial_fit(X, np.full(len(X), 77))
    with pytest.raises(ValueError, match="are not those of the first call"):
        clf.partial_fit(X, y, classes=range(11))
    again = hg.ConvClassifier(**QUICK).fit(X, y).partial_fit(X, y)
    assert again.n_steps_ == 3 + 4
