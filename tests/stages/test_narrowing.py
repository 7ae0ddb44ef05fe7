"""The headers with which a request makes less of its policy: what each form of them means."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.call import Call, Head
from tidegate.errors import BadRequest
from tidegate.policy import DEFAULT, Policies, Policy
from tidegate.stages.authenticate import Authenticate
from tidegate.types import Endpoint, Exit, Priority

PRIORITY, DEADLINE = b"x-tidegate-priority", b"x-tidegate-deadline-ms"
ARRIVED_AT, POLICY_S = 100.0, 5.0
CLASSES = {name: Priority(name, at) for at, name in enumerate(("interactive", "default", "batch"), start=-1)}


def call(headers: Mapping[bytes, bytes], *, priority: str = "default", purpose: str = "answer") -> Call:
    """A call that `authenticate` has let in under a policy of this class."""
    policy = Policy(deadline_s=POLICY_S, priority=CLASSES[priority])
    made = Call(
        id="c",
        endpoint=Endpoint.CHAT,
        exit=Exit(),
        head=Head("/v1/chat/completions", headers, ""),
        arrived_at=ARRIVED_AT,
        received_at=ARRIVED_AT,
        deadline=ARRIVED_AT + 600,
        purpose=purpose,
    )
    assert Authenticate(Policies({DEFAULT: policy}, classes=CLASSES))(made) is None
    return made


# ---------------------------------------------------------------------------------------------------------------- the class


@pytest.mark.parametrize("policy", CLASSES)
@pytest.mark.parametrize("asked", CLASSES)
def test_a_class_is_narrowed_and_never_widened(policy: str, asked: str) -> None:
    made = call({PRIORITY: asked.encode()}, priority=policy)
    assert made.priority.rank == max(CLASSES[policy].rank, CLASSES[asked].rank)
    assert CLASSES[made.priority.name] is made.priority
    assert made.deadline == ARRIVED_AT + POLICY_S


@pytest.mark.parametrize("policy", CLASSES)
def test_without_the_header_the_class_is_that_of_the_policy(policy: str) -> None:
    assert call({}, priority=policy).priority is CLASSES[policy]


@pytest.mark.parametrize(
    "value",
    [b"", b" ", b"1", b"-1", b"Batch", b"batch,default", b"batches", b"\xff", b"\xe9\xe9", b"x" * 5000],
)
def test_a_class_that_there_is_not_is_refused_with_those_that_there_are(value: bytes) -> None:
    with pytest.raises(BadRequest) as raised:
        call({PRIORITY: value})
    assert "'x-tidegate-priority'" in raised.value.message
    assert "interactive, default, batch" in raised.value.message
    assert len(raised.value.message) < 200


def test_spaces_around_a_value_mean_nothing() -> None:
    made = call({PRIORITY: b" batch\t", DEADLINE: b"\t 1500 "})
    assert (made.priority, made.deadline) == (CLASSES["batch"], ARRIVED_AT + 1.5)


def test_the_classes_are_those_of_the_policies() -> None:
    classes = {"people": Priority("people", 0), "robots": Priority("robots", 1)}
    policies = Policies({DEFAULT: Policy()}, classes=classes)
    made = Call(
        id="c",
        endpoint=Endpoint.CHAT,
        exit=Exit(),
        head=Head("/", {PRIORITY: b"robots"}),
        arrived_at=0.0,
        received_at=0.0,
        deadline=600.0,
    )
    Authenticate(policies)(made)
    assert made.priority is classes["robots"]
    made.head = Head("/", {PRIORITY: b"batch"})
    with pytest.raises(BadRequest, match="people, robots"):
        Authenticate(policies)(made)


# ------------------------------------------------------------------------------------------------------------- the deadline


@given(st.integers(min_value=1, max_value=10**400), st.integers(min_value=0, max_value=9))
def test_a_deadline_is_the_nearer_of_the_requests_and_the_policys(asked_ms: int, zeros: int) -> None:
    made = call({DEADLINE: b"0" * zeros + str(asked_ms).encode()})
    assert made.deadline == ARRIVED_AT + min(POLICY_S, asked_ms / 1000 if asked_ms < 10**9 else inf)


@pytest.mark.parametrize("digits", [400, 5000, 60_000])
def test_a_number_of_any_length_is_read(digits: int) -> None:
    assert call({DEADLINE: b"9" * digits}).deadline == ARRIVED_AT + POLICY_S


@pytest.mark.parametrize(
    "value",
    [
        *(b"0", b"000", b"-1", b"+1500", b"1500.0", b"1e3", b"1_500", b"1,500", b"1500ms", b"0x5", b"", b" "),
        *(b"inf", b"nan", b"1500, 200", b"15 00", b"null", b"\xb2", b"\xd9\xa1", b"\xff\xfe"),
    ],
)
def test_what_is_no_positive_whole_number_is_refused_with_the_header_and_the_fix(value: bytes) -> None:
    with pytest.raises(BadRequest) as raised:
        call({DEADLINE: value})
    assert "'x-tidegate-deadline-ms'" in raised.value.message
    assert "whole number of milliseconds" in raised.value.message


@given(st.binary(max_size=12))
def test_any_bytes_are_a_deadline_or_a_refusal(value: bytes) -> None:
    try:
        made = call({DEADLINE: value})
    except BadRequest:
        return
    assert ARRIVED_AT < made.deadline <= ARRIVED_AT + POLICY_S


def test_both_headers_leave_the_gateways_own_calls_alone() -> None:
    made = call({PRIORITY: b"nonsense", DEADLINE: b"nonsense"}, purpose="judge:facts")
    assert (made.priority.name, made.deadline) == ("default", ARRIVED_AT + POLICY_S)
