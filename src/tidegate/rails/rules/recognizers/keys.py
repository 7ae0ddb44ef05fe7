"""Keys and tokens of known providers, which have a prefix of their own.

Forms: the providers' documentation, and https://docs.github.com/en/code-security/secret-scanning.
"""

from __future__ import annotations

from typing import Final

from tidegate.rails.rules.recognizers.recognizer import Found, Judge, Recognizer

_TOKEN: Final = r"[A-Za-z0-9_\-]"  # noqa: S105 - the characters of tokens
_LETTERS: Final = r"[A-Za-z0-9]"


def _distinct(score: float) -> Judge:
    """Return a judge of keys that excludes what is repeated to show a form, such as `sk-xxxxxxxx`."""

    def judge(text: str, start: int, end: int) -> Found | None:
        before = text[start - 1 : start]
        if before.isascii() and (before.isalnum() or before == "_"):
            return None
        varied = len(set(text[start + 4 : end])) >= 6
        return Found(start, end, score) if varied else None

    return judge


def _key(entity: str, source: str, *, max_chars: int = 512, score: float = 1.0) -> Recognizer:
    return Recognizer(entity, rf"\b(?:{source})", _distinct(score), max_chars)


KEYS: Final = (
    _key("TIDEGATE_KEY", r"tg_[0-9a-z]{10}_[0-9a-z]{51}"),
    _key("OPENAI_KEY", rf"sk-(?:proj|svcacct|admin|None)-{_TOKEN}{{20,}}|sk-{_LETTERS}{{20,}}"),
    _key("ANTHROPIC_KEY", rf"sk-ant-{_TOKEN}{{20,}}"),
    _key("OPENROUTER_KEY", r"sk-or-v1-[0-9a-f]{32,}"),
    _key("AWS_ACCESS_KEY", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}"),
    _key("GITHUB_TOKEN", rf"gh[pousr]_{_LETTERS}{{36,}}|github_pat_[A-Za-z0-9_]{{40,}}"),
    _key(
        "GITLAB_TOKEN",
        rf"gl(?:pat|ptt|dt|rt|cbt|soat|ft|agent|oas|imt)-{_TOKEN}{{20,}}(?:\.[0-9a-z.]{{1,}})?",
    ),
    _key("SLACK_TOKEN", r"xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Za-z0-9-]{20,}"),
    _key("SLACK_WEBHOOK", r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_]{20,}"),
    _key("DISCORD_WEBHOOK", rf"discord(?:app)?\.com/api/webhooks/\d{{17,}}/{_TOKEN}{{40,}}"),
    _key("TELEGRAM_TOKEN", rf"\d{{8,}}:AA{_TOKEN}{{33}}"),
    _key("GOOGLE_API_KEY", rf"AIza{_TOKEN}{{35}}"),
    _key("GOOGLE_OAUTH_SECRET", rf"GOCSPX-{_TOKEN}{{24,}}|ya29\.{_TOKEN}{{20,}}"),
    _key("AZURE_STORAGE_KEY", r"AccountKey=[A-Za-z0-9+/]{86}=="),
    _key("STRIPE_KEY", rf"(?:sk|rk)_(?:live|test)_{_LETTERS}{{16,}}|whsec_[A-Za-z0-9+/]{{24,}}"),
    _key("TWILIO_KEY", r"(?:SK|AC)[0-9a-f]{32}", score=0.8),
    _key("SENDGRID_KEY", rf"SG\.{_TOKEN}{{16,}}\.{_TOKEN}{{32,}}"),
    _key("MAILGUN_KEY", r"key-[0-9a-f]{32}", score=0.8),
    _key("NPM_TOKEN", rf"npm_{_LETTERS}{{36}}"),
    _key("PYPI_TOKEN", rf"pypi-AgE{_TOKEN}{{50,}}"),
    _key("HUGGINGFACE_TOKEN", rf"(?:hf|api_org)_{_LETTERS}{{30,}}"),
    _key("GROQ_KEY", rf"gsk_{_LETTERS}{{40,}}"),
    _key("XAI_KEY", rf"xai-{_LETTERS}{{60,}}"),
    _key("PERPLEXITY_KEY", rf"pplx-{_LETTERS}{{40,}}"),
    _key("REPLICATE_TOKEN", rf"r8_{_LETTERS}{{30,}}"),
    _key("DATABRICKS_TOKEN", r"dapi[0-9a-f]{32}(?:-\d)?"),
    _key("DIGITALOCEAN_TOKEN", r"do[opr]_v1_[0-9a-f]{64}"),
    _key("SHOPIFY_TOKEN", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    _key("VAULT_TOKEN", rf"hv[sbr]\.{_TOKEN}{{24,}}"),
    _key("LINEAR_KEY", rf"lin_api_{_LETTERS}{{32,}}"),
    _key("NOTION_KEY", rf"(?:secret|ntn)_{_LETTERS}{{40,}}"),
    _key("DOCKER_TOKEN", rf"dckr_(?:pat|oat)_{_TOKEN}{{24,}}"),
    _key("AGE_KEY", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
)
