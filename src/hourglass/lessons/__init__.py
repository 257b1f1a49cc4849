"""The lessons: four notebooks, in English and in Chinese, which come with their outputs."""

from hourglass.lessons.notebooks import LANGUAGES, LESSONS, notebook, write_lessons

__all__ = ["LANGUAGES", "LESSONS", "notebook", "write_lessons"]
