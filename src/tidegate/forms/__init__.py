"""The places of text in the JSON of requests and answers. Rails read and change texts through a form, and nowhere else."""

from tidegate.forms.answers import UnknownShape
from tidegate.forms.form import Form, form_of
from tidegate.forms.leaves import Leaf, leaves, with_leaves
from tidegate.forms.saying import Frame, Saying

__all__ = ["Form", "Frame", "Leaf", "Saying", "UnknownShape", "form_of", "leaves", "with_leaves"]
