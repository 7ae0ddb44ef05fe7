"""Texts as a reader or a decoder would see them, with the way back to the original.

`Views` are the views of one text, `origin` leads from a match in a view to the original, and `slices` cuts a long text.
"""

from tidegate.kernel.text.mapping import origin
from tidegate.kernel.text.slicing import slices
from tidegate.kernel.text.views import Views

__all__ = ["Views", "origin", "slices"]
