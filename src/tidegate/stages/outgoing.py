"""One answer of an engine on its way out: what output rails check of it, and what they have decided.

Of a stream, rails that find spans see each text as it arrives, and the others see passages. The whole answer is checked at
once if it is not streamed, or if a rail needs it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidegate.call import Call
from tidegate.forms import Form
from tidegate.kernel.json import ...
from tidegate.rails.lane import SpanRail
from tidegate.rails.passages import Passage
from tidegate.rails.plan import Plan, Step
from tidegate.rails.window import Window, WindowRules
from tidegate.stages.railed import Railed
from tidegate.types import Action, Batch, Finding, Piece, Surface, Text
