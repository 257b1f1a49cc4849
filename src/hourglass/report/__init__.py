"""One self-contained HTML page from a folder of runs, whose sections answer their experiments' questions."""

from hourglass.report.answers import answer, single_image_note
from hourglass.report.common_axes import compared_groups, describe_comparison, draw_comparison
from hourglass.report.page import subject, write_report
from hourglass.report.peers import legends, peers_of

__all__ = [
    "answer",
    "compared_groups",
    "describe_comparison",
    "draw_comparison",
    "legends",
    "peers_of",
    "single_image_note",
    "subject",
    "write_report",
]
