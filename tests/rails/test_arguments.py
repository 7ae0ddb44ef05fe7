import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.rails.arguments import TooDeep, rewritten, texts_within


def without_bob(text: str) -> str:
    return text.replace("bob", "<NAME>")


documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.sampled_from(["bob", "a bob", "", "\u00e9\\", "x: y"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["bob", "k", ":"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(value=documents, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
def test_every_text_is_changed_and_nothing_else(value, ascii_only, indent):
    document = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    after = rewritten(document, without_bob)
    assert json.loads(after) == json.loads(document.replace("bob", "<NAME>"))
    if "bob" not in document:
        assert after == document


def test_a_text_that_is_written_in_escapes_is_found():
    assert rewritten('{"to": "b\\u006fb"}', without_bob) == '{"to":"<NAME>"}'
    assert texts_within('{"to": ["b\\u006fb", 1]}') == ["to", "bob"]


@pytest.mark.parametrize("document", ["bob {", '{"a": bob}', ""])
def test_what_is_not_json_is_one_text(document):
    assert rewritten(document, without_bob) == without_bob(document)


def test_a_key_that_occurs_twice_is_not_passed_unseen():
    assert rewritten('{"a": "bob", "a": "fine"}', without_bob) == '{"a":"fine"}'
    assert rewritten('{"a": "bob", "a": "\\u003a"}', without_bob) == '{"a":":"}'


@pytest.mark.parametrize("depth", [300, 5000])
def test_what_is_nested_too_deeply_is_refused(depth):
    with pytest.raises(TooDeep):
        texts_within("[" * depth + '"b\\u006fb"' + "]" * depth)
