"""Looking into networks: tables of their layers, and a page of what they make of images."""

from hourglass.inspection.code_pages import write_inspection
from hourglass.inspection.measured import layers_of
from hourglass.inspection.table import LayerTable, percent, write_figure

__all__ = ["LayerTable", "layers_of", "percent", "write_figure", "write_inspection"]
