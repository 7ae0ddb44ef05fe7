"""The types that the parts share: requests to engines and their answers, and the data of rails, caches and quotas.

These are structs without behaviour and I/O. `Call` is not among them: it is defined above the parts, in `call.py`, and no
part ever gets one.
"""

from tidegate.types.answer import (
    Answer,
    Batch,
    Choice,
    Delta,
    Piece,
    PromptDetails,
    Reply,
    TokenCounts,
    Usage,
)
from tidegate.types.ask import ABLE, Abilities, Ask, Capabilities, Endpoint, Headers, Load, Room
from tidegate.types.cached import Entry, Neighbour
from tidegate.types.caller import ANSWER, CONTINUED, FAILED, HEDGE, Caller, Parent
from tidegate.types.case import Case, Decision, Judged, Outcome
from tidegate.types.exit import Exit
from tidegate.types.finding import Action, Finding
from tidegate.types.messages import ChatMessage, Content, Message, Messages, Spans, joined
from tidegate.types.priority import DEFAULT_PRIORITY, Priority
from tidegate.types.quota import (
    Amounts,
    Change,
    Consumption,
    Intent,
    Key,
    Limit,
    Per,
    PeriodCount,
    Secret,
    Settlement,
    Tenant,
    Ticket,
    Unit,
)
from tidegate.types.record import Record, Spent
from tidegate.types.request import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    Generation,
    Length,
    Request,
)
from tidegate.types.surface import Surface
from tidegate.types.verdict import (
    PASSED,
    Hold,
    RailFacts,
    Scan,
    Scene,
    Signs,
    Span,
    Text,
    Verdict,
    View,
    Where,
)

__all__ = [
    "ABLE",
    "ANSWER",
    "CONTINUED",
    "DEFAULT_PRIORITY",
    "FAILED",
    "HEDGE",
    "PASSED",
    "Abilities",
    "Action",
    "Amounts",
    "Answer",
    "Ask",
    "Batch",
    "Caller",
    "Capabilities",
    "Case",
    "Change",
    "ChatMessage",
    "ChatRequest",
    "Choice",
    "CompletionRequest",
    "Consumption",
    "Content",
    "Decision",
    "Delta",
    "EmbeddingRequest",
    "Endpoint",
    "Entry",
    "Exit",
    "Finding",
    "Generation",
    "Headers",
    "Hold",
    "Intent",
    "Judged",
    "Key",
    "Length",
    "Limit",
    "Load",
    "Message",
    "Messages",
    "Neighbour",
    "Outcome",
    "Parent",
    "Per",
    "PeriodCount",
    "Piece",
    "Priority",
    "PromptDetails",
    "RailFacts",
    "Record",
    "Reply",
    "Request",
    "Room",
    "Scan",
    "Scene",
    "Secret",
    "Settlement",
    "Signs",
    "Span",
    "Spans",
    "Spent",
    "Surface",
    "Tenant",
    "Text",
    "Ticket",
    "TokenCounts",
    "Unit",
    "Usage",
    "Verdict",
    "View",
    "Where",
    "joined",
]
