"""Groups of runs that can be compared: which they are, what they are called, and how their scores differ."""

from collections.abc import Sequence
from typing import Any

from hourglass.experiments.groups import Group, as_text, common_changes
from hourglass.lab.statistics import Difference, compare


def legends(compared: Sequence[Group]) -> list[str]:
    """Name each group by its experiment and by the changes that not all groups share.

    Parameters
    ----------
    compared : sequence of Group
        The groups, at least one.

    Returns
    -------
    list of str
        Name of each group, in the same order.
    """
    shared = common_changes(compared)
    own = [{name: value for name, value in group.changes.items() if name not in shared} for group in compared]
    return [f"{group.name} {as_text(changes)}".strip() for group, changes in zip(compared, own, strict=True)]


def peers_of(group: Group, groups: Sequence[Group]) -> list[Group]:
    """Choose the groups that were scored on the same test images as a group, after training with the same recipe.

    Parameters
    ----------
    group : Group
        The group.
    groups : sequence of Group
        All groups of runs on the page.

    Returns
    -------
    list of Group
        ``group`` and its peers, in the order of ``groups``: networks of the same kind that were trained on the same
        data set with the same recipe, and are tested with the same noise. Only ``group`` where its experiment is
        unknown.
    """
    setting = _setting(group)
    return [other for other in groups if other is group or (setting is not None and _setting(other) == setting)]


def common_seeds(group: Group, other: Group) -> list[int]:
    """List the seeds with which both groups were trained.

    Parameters
    ----------
    group, other : Group
        The groups.

    Returns
    -------
    list of int
        The seeds, in the order of ``group``.
    """
    first, second = ([run.result["seed"] for run in each.runs] for each in (group, other))
    return [seed for seed in first if seed in second]


def differences(groups: Sequence[Group], measure: str) -> dict[tuple[int, int], Difference]:
    """Compare the scores of every two groups over the seeds that both have.

    Parameters
    ----------
    groups : sequence of Group
        The groups, of which every run has the measure.
    measure : str
        Name of the measure.

    Returns
    -------
    dict of (int, int) to Difference
        By the places of two different groups: the first one's scores minus the second one's. The p-values are adjusted
        for all pairs; those of a pair and of the same pair turned round are equal. Pairs without a common seed are left
        out.
    """
    pairs: dict[tuple[int, int], tuple[list[float], list[float]]] = {}
    for i, group in enumerate(groups):
        for j, other in enumerate(groups[:i]):
            if common := common_seeds(group, other):
                ours, theirs = group.scores(measure), other.scores(measure)
                pairs[i, j] = [ours[seed] for seed in common], [theirs[seed] for seed in common]
    turned = {(j, i): (those, these) for (i, j), (these, those) in pairs.items()}
    return compare(pairs) | compare(turned)


def _setting(group: Group) -> tuple[Any, ...] | None:
    """What groups have in common that are compared; None where the experiment is unknown."""
    if group.estimator is None:
        return None
    return group.estimator.task, group.result["dataset"], group.recipe, group.result["parameters"].get("noise")
