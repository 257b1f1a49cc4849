"""scikit-learn's own checks, whole, on the defaults; and the estimators inside its tools."""

from sklearn.utils.estimator_checks import parametrize_with_checks

import hourglass as hg


@parametrize_with_checks([hg.DenseAutoencoder(), hg.ConvAutoencoder(), hg.ConvClassifier()])
def test_scikit_learns_checks(estimator, check):
    check(estimator)
