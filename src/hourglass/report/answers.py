"""The answer to an experiment's question, in sentences that are made from the measured scores of its runs.

A score is called higher or lower than another one only where the seeds show it: the difference is significant at 5% in
a paired t-test over the seeds, corrected by Holm's procedure. Where there is one seed, the sentence says so.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence

from hourglass.estimators import Autoencoder, Classifier
from hourglass.experiments.captions import FORGOTTEN, length, listed
from hourglass.experiments.groups import Group
from hourglass.experiments.measures import METHODS, quantity, title
from hourglass.lab.networks import TRAINS
from hourglass.lab.statistics import Difference, compare
from hourglass.report.peers import common_seeds, differences, legends

# Up to so many times the accuracy of guessing, a classifier counts as guessing.
_NEAR_GUESSING = 2
# With fewer classes, guessing is right so often that neither this limit nor TRAINS means anything.
_FEWEST_CLASSES = 5
_ABOVE, _BELOW, _NEITHER = "higher", "lower", "undecided"


def answer(group: Group, peers: Sequence[Group]) -> list[str]:
    """Answer the question of an experiment from the scores of its runs.

    Parameters
    ----------
    group : Group
        Runs of the experiment.
    peers : sequence of Group
        The groups that it is compared with, ``group`` among them, as :func:`hourglass.report.peers_of` chooses them.

    Returns
    -------
    list of str
        A sentence with the conclusion and the numbers that carry it; then, if there are peers, sentences that compare
        the runs with theirs. Empty where the experiment is unknown, or its scores are missing.
    """
    task = "" if group.estimator is None else group.estimator.task
    if task not in ANSWERS:
        return []
    conclude, measures = ANSWERS[task]
    if not group.has(measures):
        return []
    compared = [peer for peer in peers if peer is group or peer.has(measures)]
    return [conclude(group), *_beside(group, compared, measures)]


def single_image_note(group: Group) -> str:
    """Say what it shows that the first test images were also classified one at a time.

    Parameters
    ----------
    group : Group
        Runs of an experiment.

    Returns
    -------
    str
        Sentences; empty where the runs did not classify images one at a time.
    """
    agreement = list(group.scores("single_image_agreement").values())
    if not agreement:
        return ""
    said = (
        "Each of the first 100 test images (of all, where there are fewer) was also given to the network alone, in "
        "inference mode. "
    )
    if min(agreement) == 1:
        said += "Every one of them got the same label as in a batch of all of them" + _in_all_runs(group)
        said += ", so that these labels do not depend on the images beside them."
        if group.moving_momentum is not None:
            said += " A network that normalised with the moments of its batch could label a single image differently."
        return said
    shares = " to ".join(dict.fromkeys(f"{share:.0%}" for share in (min(agreement), max(agreement))))
    return (
        f"{said}{shares} of them got the same label as in a batch of all of them. The labels of the others depend on "
        "the images beside them, or two labels are so close there that rounding decides."
    )


def _of_autoencoder(group: Group) -> str:
    """What is restored, beside the noisy images and the methods without a network."""
    baselines = {name: scores for name, scores in group.result["baselines"].items() if {*_RESTORED} <= {*scores}}
    own = " and ".join(f"{title(each)} {quantity(group.values(each), each)}" for each in _RESTORED)
    if not baselines:
        return f"The outputs for the test images reach {own}{_over(group)}."
    methods = {name: scores[_RESTORED[0]] for name, scores in baselines.items() if name != "noisy"}
    best = [max(methods, key=lambda name: methods[name])] if methods else []
    rivals = [*(["noisy"] if "noisy" in baselines else []), *best]
    verdicts = _verdicts(group, {name: baselines[name] for name in rivals})
    conclusion = _of_noise(verdicts) if "noisy" in verdicts else _of_code(group, verdicts[rivals[0]])
    numbers = [
        f"{' and '.join(quantity([baselines[name][each]], each) for each in _RESTORED)} for {_rival(name)}"
        for name in rivals
    ]
    return f"{_of_one_run(conclusion, group)}: {own}{_over(group)}, against {', and '.join(numbers)}."


def _of_code(group: Group, verdict: Mapping[str, str]) -> str:
    """Conclusion where nothing but the code limits what the network restores."""
    size = f" of {group.code_size:,} numbers" if group.code_size else ""
    linear = "a linear code of at most the same size (PCA)"
    if set(verdict.values()) == {_ABOVE}:
        return f"The code{size} keeps more of the test images than {linear}"
    if set(verdict.values()) == {_BELOW}:
        return f"The code{size} keeps less of the test images than {linear}"
    return f"The code{size} shows {_relation(verdict, linear)}"


def _of_noise(verdicts: Mapping[str, Mapping[str, str]]) -> str:
    """Conclusion where the network was given noisy images."""
    noisy, *others = (set(verdict.values()) for verdict in verdicts.values())
    _, *best = verdicts
    if noisy == {_BELOW}:
        return "The outputs are further from the clean test images than the noisy images are"
    if noisy != {_ABOVE}:
        return f"The outputs show {_relation(verdicts['noisy'], 'the noisy images')}"
    said = "The outputs are closer to the clean test images than the noisy images are"
    for name, verdict in zip(best, others, strict=True):
        whose = f"those of {_rival(name)}, by PSNR the best of the methods without a network that were tried"
        if verdict == {_ABOVE}:
            said += f", and closer than {whose}"
        elif verdict == {_BELOW}:
            said += f", but not as close as {whose}"
        else:
            said += f"; they show {_relation(verdicts[name], whose)}"
    return said


def _verdicts(group: Group, rivals: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, str]]:
    """How the scores of the runs differ from the one score of each method, by method and measure."""
    found = compare(
        {
            (name, each): (values := group.values(each), [scores[each]] * len(values))
            for name, scores in rivals.items()
            for each in _RESTORED
        }
    )
    return {name: {each: _verdict(found[name, each]) for each in _RESTORED} for name in rivals}


def _verdict(difference: Difference) -> str:
    """Whether a score is higher, lower, or neither; of a single seed, how it differs there."""
    mean = difference.summary.mean
    known = difference.summary.count < 2 or difference.above or difference.below
    return (_ABOVE if mean > 0 else _BELOW) if known and mean else _NEITHER


def _relation(verdict: Mapping[str, str], other: str) -> str:
    """How something differs from another one by each measure: ``a lower PSNR and a higher SSIM than conv``."""
    decided = [f"a {how} {title(each)}" for each, how in verdict.items() if how != _NEITHER]
    undecided = [title(each) for each, how in verdict.items() if how == _NEITHER]
    if not decided:
        return f"no distinguishable difference from {other}"
    rest = f", with no distinguishable difference in {listed(undecided)}" if undecided else ""
    return f"{listed(decided)} than {other}{rest}"


def _of_classifier(group: Group) -> str:
    """Whether the network trains, as far as its accuracy in inference mode shows it."""
    [measure] = _FOUND
    values = group.values(measure)
    numbers = f"{quantity(values, measure)}{_over(group)}"
    if (group.n_classes or 0) < _FEWEST_CLASSES:
        share = f"{statistics.fmean(values):.1%} of the test images"
        return f"{_of_one_run(f'The network gives {share} their label', group)}: test accuracy {numbers}."
    guessing = 1 / (group.n_classes or 1)
    against = f"where guessing one of {group.n_classes} labels gives {guessing:.2g}"
    reached = sum(value >= TRAINS for value in values)
    left = group.share_of_start
    within = length(group.result["parameters"])
    if reached == len(values):
        conclusion = f"The network trains within {within}"
    elif left is not None and left > FORGOTTEN:
        of = f" with {len(values) - reached} of {len(values)} seeds" if reached else ""
        conclusion = (
            f"Inference mode does not show yet whether the network trains{of}, since {left:.0%} of the moving "
            f"statistics with which it normalises is still their starting value after {within}"
        )
    elif reached:
        conclusion = f"Whether the network trains within {within} depends on the seed: {reached} of {len(values)} runs"
        return f"{conclusion} reach an accuracy of {TRAINS}; the test accuracy is {numbers}, {against}."
    elif max(values) <= _NEAR_GUESSING * guessing:
        conclusion = f"The network does not train within {within}; its accuracy is about that of guessing"
    else:
        conclusion = f"Within {within} the network learns little: no run labels half of the test images correctly"
    return f"{_of_one_run(conclusion, group)}: test accuracy {numbers}, {against}."


def _beside(group: Group, compared: Sequence[Group], measures: Sequence[str]) -> list[str]:
    """How the scores differ from those of the peers, for the peers with several common seeds, and with one."""
    place = next(i for i, each in enumerate(compared) if each is group)
    found = {measure: differences(compared, measure) for measure in measures}
    # Peers that differ in the same way are named together.
    told: dict[tuple[bool, tuple[tuple[str, str], ...]], list[str]] = {}
    for i, (name, peer) in enumerate(zip(legends(compared), compared, strict=True)):
        seeds = common_seeds(group, peer)
        if peer is group or not seeds:
            continue
        verdict = tuple((measure, _verdict(found[measure][place, i])) for measure in measures)
        numbers = [quantity([peer.scores(each)[seed] for seed in seeds], each) for each in measures]
        if peer.code_size and peer.code_size != group.code_size:
            numbers.insert(0, f"code of {peer.code_size:,} numbers")
        told.setdefault((len(seeds) > 1, verdict), []).append(f"{name} ({', '.join(numbers)})")
    several, one = (
        "; ".join(_relation(dict(verdict), listed(names)) for (many, verdict), names in told.items() if many is wanted)
        for wanted in (True, False)
    )
    said = [f"Over the same seeds, {group.name} shows {several}."] if several else []
    if one:
        said.append(
            f"With the one seed that both have, {group.name} shows {one}; a single seed cannot show whether a "
            "difference is due to chance."
        )
    return said


def _over(group: Group) -> str:
    count = len(group.runs)
    return f" over {count} seeds" if count > 1 else ""


def _of_one_run(conclusion: str, group: Group) -> str:
    """The conclusion, which of a single run says that it is of one."""
    if len(group.runs) > 1:
        return conclusion
    return f"In this one run, {conclusion[0].lower()}{conclusion[1:]}"


def _in_all_runs(group: Group) -> str:
    return f", in all {len(group.runs)} runs" if len(group.runs) > 1 else ""


def _rival(name: str) -> str:
    return "the noisy images" if name == "noisy" else METHODS.get(name, name)


_RESTORED = ("test_psnr_db", "test_ssim")
_FOUND = ("test_accuracy",)

ANSWERS: dict[str, tuple[Callable[[Group], str], tuple[str, ...]]] = {
    Autoencoder.task: (_of_autoencoder, _RESTORED),
    Classifier.task: (_of_classifier, _FOUND),
}
"""By the ``task`` of an experiment's estimator: the function that concludes, and the measures that are compared."""
