import base64
import json
import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rails.found import kinds, streamed, whole

from tidegate.access.keys import new_id, new_text
from tidegate.rails.rules.secrets import Secrets, SecretsConfig

SECRETS = Secrets(SecretsConfig())
LETTERS = string.ascii_letters + string.digits
SMALL = string.ascii_lowercase + string.digits
HEX = "0123456789abcdef"


def made(alphabet, length):
    """Text that looks random, always the same. Whole keys in a source file would trip the scanners of those who host it."""
    return "".join(random.Random(length).choices(alphabet, k=length))


def encoded(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


EXAMPLES = {
    "OPENAI_KEY": ("sk-proj-" + made(LETTERS, 120), "sk-" + made(LETTERS, 48)),
    "ANTHROPIC_KEY": ("sk-ant-api03-" + made(LETTERS, 95),),
    "OPENROUTER_KEY": ("sk-or-v1-" + made(HEX, 64),),
    "AWS_ACCESS_KEY": ("AKIA" + made(string.ascii_uppercase + "234567", 16),),
    "GITHUB_TOKEN": ("ghp_" + made(LETTERS, 36), "github_pat_" + made(LETTERS, 22) + "_" + made(LETTERS, 59)),
    "GITLAB_TOKEN": ("glpat-" + made(LETTERS, 20),),
    "SLACK_TOKEN": ("xoxb-" + made(string.digits, 12) + "-" + made(LETTERS, 24),),
    "SLACK_WEBHOOK": (
        "hooks.slack.com/services/T0" + made(LETTERS, 9) + "/B0" + made(LETTERS, 9) + "/" + made(LETTERS, 24),
    ),
    "TELEGRAM_TOKEN": (made("123456789", 10) + ":AA" + made(LETTERS, 33),),
    "GOOGLE_API_KEY": ("AIza" + made(LETTERS, 35),),
    "GOOGLE_OAUTH_SECRET": ("GOCSPX-" + made(LETTERS, 28),),
    "STRIPE_KEY": ("sk_live_" + made(LETTERS, 24), "whsec_" + made(LETTERS, 32)),
    "TWILIO_KEY": ("SK" + made(HEX, 32),),
    "SENDGRID_KEY": ("SG." + made(LETTERS, 22) + "." + made(LETTERS, 43),),
    "NPM_TOKEN": ("npm_" + made(LETTERS, 36),),
    "PYPI_TOKEN": ("pypi-AgEIcHlwaS5vcmc" + made(LETTERS, 140),),
    "HUGGINGFACE_TOKEN": ("hf_" + made(LETTERS, 34),),
    "GROQ_KEY": ("gsk_" + made(LETTERS, 52),),
    "DATABRICKS_TOKEN": ("dapi" + made(HEX, 32),),
    "JWT": (
        f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{encoded({'sub': '1234567890', 'name': 'Ann'})}.{made(LETTERS, 43)}",
    ),
    "TIDEGATE_KEY": ("tg_kz5l83ixrv_2nb4jnm40phx1eiy3kderjxi6ubhmgm764gk2st0eareyqqm7z2",),
}
EVERY = [(kind, key) for kind, keys in EXAMPLES.items() for key in keys]
PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\n"
    + "\n".join([made(LETTERS, 64)] * 9)
    + "\n-----END RSA PRIVATE KEY-----"
)

NAMED = {
    f"api_key = '{made(LETTERS, 24)}'": made(LETTERS, 24),
    f'OPENAI_API_KEY="{made(LETTERS, 30)}"': made(LETTERS, 30),
    f'{{"client_secret": "{made(LETTERS, 20)}", "x": 1}}': made(LETTERS, 20),
    f"DB_PASSWORD={made(LETTERS, 18)} ./run": made(LETTERS, 18),
    f"Authorization: Bearer {made(LETTERS, 40)}": made(LETTERS, 40),
    "my password: Tr0ub4dor&3x": "Tr0ub4dor&3x",
}

HARMLESS = (
    "api_key = os.environ['OPENAI_API_KEY']",
    "api_key: YOUR_API_KEY_123, token=<your-token-1234>, password: ${DB_PASSWORD_1}",
    "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxx and sk-learn-contrib, task-1234567890abcdefghijklmnop",
    "the secret: nobody knows, and the key = value of the token: string",
    "max_tokens: 4096, token_count = 1234567890, primary_key = customer_id_20240131",
    "https://example.com:8080/a@b, http://user@host/path, mailto:a@b.c",
    "550e8400-e29b-41d4-a716-446655440000 9fceb02d0ae598e95dc970b74767f19372d61af8",
    "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK\n-----END PUBLIC KEY-----",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4",
    'tokens = text.split(); password = input("Password: "); secret = get_secret("name")',
)


@pytest.mark.parametrize(("kind", "key"), EVERY)
def test_each_key_is_found(kind, key):
    assert kinds(SECRETS, f"Use {key} please, or '{key}'.") == [(key, kind)] * 2


@pytest.mark.parametrize("text", NAMED)
def test_what_is_assigned_to_a_name_is_found_if_it_looks_random(text):
    assert kinds(SECRETS, text) == [(NAMED[text], "SECRET")]


def test_passwords_in_urls_are_found_without_the_rest_of_the_url():
    text = "postgres://app:s3cr3tPass@db.internal:5432/main"
    assert kinds(SECRETS, text) == [("app:s3cr3tPass", "BASIC_AUTH")]


@pytest.mark.parametrize("text", HARMLESS)
def test_usual_text_has_no_secrets(text):
    assert kinds(SECRETS, text) == []


def test_a_private_key_is_swallowed_to_its_end():
    assert kinds(SECRETS, f"Here: {PEM} Done.") == [(PEM, "PRIVATE_KEY")]
    cut = PEM[:300]
    assert kinds(SECRETS, f"Here: {cut}") == [(cut, "PRIVATE_KEY")]


def test_settings_choose_entities_scores_and_exceptions():
    key, token = EXAMPLES["OPENAI_KEY"][1], EXAMPLES["GITHUB_TOKEN"][0]
    text = f"{key} {token} password: Tr0ub4dor&3x"
    assert kinds(Secrets(SecretsConfig(entities=("GITHUB_TOKEN",))), text) == [(token, "GITHUB_TOKEN")]
    assert kinds(Secrets(SecretsConfig(score_threshold=0.8, allow=(token,))), text) == [(key, "OPENAI_KEY")]
    with pytest.raises(ValidationError, match="has no entity 'KEY'; there are: AGE_KEY"):
        SecretsConfig(entities=("KEY",))


@pytest.mark.parametrize("text", [*(key for _, key in EVERY), *NAMED, PEM, "redis://:s3cr3tPass@cache/0"])
def test_splitting_a_stream_anywhere_leaks_nothing(text):
    text = f"Well: {text} And that is all."
    expected = [(kind, value) for value, kind in kinds(SECRETS, text)]
    assert expected
    places = [(text.index(value), text.index(value) + len(value)) for _, value in expected]
    for at in range(len(text) + 1):
        found, clear = streamed(SECRETS, (text[:at], text[at:]))
        assert [(one.kind, text[one.start : one.end]) for one in found] == expected, at
        if expected[0][0] != "PRIVATE_KEY":  # which is released masked, part by part
            assert not any(start < clear[0] < end for start, end in places), at


@given(
    st.lists(
        st.sampled_from([*(key for _, key in EVERY), *NAMED, *HARMLESS, PEM])
        | st.text("skeyJ-_.:= \n", max_size=12),
        max_size=5,
    ),
    st.lists(st.integers(1, 30), min_size=1, max_size=40),
)
def test_a_stream_has_the_spans_of_its_text(parts, sizes):
    text = " ".join(parts)
    events, at = [], 0
    while at < len(text):
        size = sizes[len(events) % len(sizes)]
        events.append(text[at : at + size])
        at += size
    found, clear = streamed(SECRETS, events)
    told = [text[one.start : one.end] for one in found]
    assert told == [value for value, _ in kinds(SECRETS, text)]
    assert clear[-1] == len(text)


def test_a_key_that_never_ends_stops_the_stream():
    scanner = SECRETS.scanner()
    scans = [scanner.feed(part) for part in ["sk-", *[made(LETTERS, 50)] * 200]]
    assert scans[-1].too_long
    assert scans[-1].clear == 0


def test_a_text_without_a_hit_is_released_at_once():
    scanner = SECRETS.scanner()
    assert [scanner.feed(part).clear for part in ("Rome was", " not built", " in a day.")] == [8, 18, 28]
    assert whole(SECRETS, "Rome was not built in a day.") == []


def test_the_gateways_own_new_keys_are_found() -> None:
    for _ in range(20):
        key = new_text(new_id()).text
        assert kinds(SECRETS, f"use {key} here") == [(key, "TIDEGATE_KEY")]
