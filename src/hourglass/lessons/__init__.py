"""The lessons: four notebooks, in English and in Chinese, which come with their outputs."""

from hourglass.lessons.notebooks import LANGUAGES, LESSONS, notebook, write_lessons
from hourglass.lessons.training_logs import Curve, measured_logs, printed_logs

__all__ = ["LANGUAGES", "LESSONS", "Curve", "measured_logs", "notebook", "printed_logs", "write_lessons"]
