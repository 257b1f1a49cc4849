"""The experiments: their declarations, their runs and their scores."""

from hourglass.experiments.compression import Compression, compress_codes, compress_files
from hourglass.experiments.declared import EXPERIMENTS, OF_NOTEBOOKS, RECIPES, Experiment, find
from hourglass.experiments.quantisation import CodeQuantiser
from hourglass.experiments.result import Result, Run
from hourglass.experiments.runs import check_out, run
from hourglass.experiments.store_data import is_stored, load_dataset
from hourglass.experiments.stored import StoredRun, stored_runs

__all__ = [
    "EXPERIMENTS",
    "OF_NOTEBOOKS",
    "RECIPES",
    "CodeQuantiser",
    "Compression",
    "Experiment",
    "Result",
    "Run",
    "StoredRun",
    "check_out",
    "compress_codes",
    "compress_files",
    "find",
    "is_stored",
    "load_dataset",
    "run",
    "stored_runs",
]
