"""The marks that rails put on texts for the engine alone.

They are put where an engine is asked, behind all that reads the request: the other rails, the digests of answers that
several calls get, and the memory of conversations. So a retry gets the same marks, and no rail judges Base64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import msgspec

from tidegate.call import Call
from tidegate.forms import form_of
from tidegate.rails.marking.marked import Marking
from tidegate.types import Message

Fields = Mapping[str, msgspec.Raw]


def marked(call: Call, fields: Fields) -> tuple[Fields, Sequence[Message]]:
    """Return the fields and the messages of a call with the marks of its profile.

    `fields` are those for the engine. Raises BadRequest for a request whose texts cannot be read.
    """
    messages = call.messages
    if call.checks is None:
        return fields, messages
    form = form_of(call.endpoint)
    for one in call.checks.plan.markers:
        # What an engine gets in another spelling has no texts of others.
        own = {name: fields[name] for name in call.fields if name in fields}
        found = cast("Marking", one.rail).marked(form.texts_in(own, messages))
        fields, messages = form.put_in(fields, messages, found.texts)
        if found.instruction:
            fields, messages = form.instruct(fields, messages, found.instruction)
    return fields, messages
