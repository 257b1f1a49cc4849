"""Tables of the layers of networks."""

from hourglass.inspection.measured import layers_of
from hourglass.inspection.table import LayerTable, percent, write_figure

__all__ = ["LayerTable", "layers_of", "percent", "write_figure"]
