"""The six experiments: declared, run, scored."""

from hourglass.experiments.declared import EXPERIMENTS, RECIPES, Experiment, find
from hourglass.experiments.result import Result, Run, StoredRun, stored_runs
from hourglass.experiments.runs import check_out, run

__all__ = [
    "EXPERIMENTS",
    "RECIPES",
    "Experiment",
    "Result",
    "Run",
    "StoredRun",
    "check_out",
    "find",
    "run",
    "stored_runs",
]
