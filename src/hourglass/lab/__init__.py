"""The batch-normalisation lab: studies of many trainings, each with a question and an answer."""

from hourglass.lab.cells import Cells, measure_cells
from hourglass.lab.explanations import explain
from hourglass.lab.followed import follow
from hourglass.lab.statistics import Median, Summary, paired, summarise, summarise_median
from hourglass.lab.studies import STUDIES, Findings, find_study, run_study, stored_findings
from hourglass.lab.study import Study, markdown

__all__ = [
    "STUDIES",
    "Cells",
    "Findings",
    "Median",
    "Study",
    "Summary",
    "explain",
    "find_study",
    "follow",
    "markdown",
    "measure_cells",
    "paired",
    "run_study",
    "stored_findings",
    "summarise",
    "summarise_median",
]
