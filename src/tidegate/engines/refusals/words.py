"""The codes, types and words that engines and providers use for failures, sorted by the kind of failure."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from types import MappingProxyType


class Kind(enum.Enum):
    """The kind of a failure."""

    CONTEXT = enum.auto()
    """The prompt is longer than the context."""
    CONTENT = enum.auto()
    """A filter refused the content."""
    MODEL = enum.auto()
    """The engine does not know the model."""
    WRONG = enum.auto()
    """The request is wrong in another way."""
    QUOTA = enum.auto()
    """The gateway's account with the engine is used up."""
    BUSY = enum.auto()
    """No capacity, or too many requests."""
    CREDENTIALS = enum.auto()
    TIMEOUT = enum.auto()
    FAILED = enum.auto()


def _words(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.IGNORECASE | re.DOTALL)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Codes and types of engines and providers, in lower case and without separators between words.
BY_NAME: Mapping[Kind, frozenset[str]] = MappingProxyType(
    {
        Kind.CONTEXT: _names("""
            contextlengthexceeded contextwindowexceeded contextwindowexceedederror
            exceedcontextsizeerror contextlengthexceedederror promptistoolong prompttoolong
            inputtoolong tokenlimitexceeded maxtokensexceeded contextoverflow
            modelmaxprompttokensexceeded
        """),
        Kind.CONTENT: _names("""
            contentfilter contentpolicyviolation responsibleaipolicyviolation contentfiltered
            moderationblocked datainspectionfailed contentfiltererror safety promptblocked
            prohibitedcontent
        """),
        Kind.MODEL: _names("""
            modelnotfound modelnotexist modeldoesnotexist deploymentnotfound modelnotfounderror
            invalidmodel unknownmodel modelnotsupported modeldecommissioned modelterminated
        """),
        Kind.QUOTA: _names("""
            insufficientquota insufficientquotaerror billinghardlimitreached billingnotactive
            insufficientbalance creditbalancetoolow paymentrequired insufficientcredits
            insufficientfunds billingerror quotaexhausted arrearage accountoverdue
            accessterminatedbilling outofcredits
        """),
        Kind.BUSY: _names("""
            ratelimitexceeded ratelimiterror ratelimitreached ratelimit ratelimited toomanyrequests
            toomanyrequestserror overloadederror overloaded serveroverloaded engineoverloaded
            resourceexhausted serviceunavailable serviceunavailableerror throttling throttlingexception
            throttled slowdown requestlimitexceeded unavailable unavailableerror serverbusy
            modeloverloaded capacityexceeded
        """),
        Kind.CREDENTIALS: _names("""
            invalidapikey authenticationerror permissionerror permissiondenied unauthorized
            unauthenticated apikeyinvalid accountdeactivated forbidden invalidauthentication
            incorrectapikey unauthorizederror accessdenied accessdeniedexception
        """),
        Kind.TIMEOUT: _names("""
            timeout timeouterror requesttimeout deadlineexceeded gatewaytimeout readtimeout
        """),
        Kind.WRONG: _names("""
            invalidrequesterror badrequesterror badrequest invalidargument validationerror
            invalidrequest unsupportedparameter unsupportedvalue unknownparameter
            missingrequiredparameter invalidvalue invalidtype unprocessableentity
            unprocessableentityerror validationexception invalidprompt invalidjson invalidjsonschema
            invalidfunctionparameters tooluseffailed jsonvalidatefailed requestvalidationerror
            valueerror
        """),
    }
)  # fmt: skip

# Phrases in messages, for failures without a code. `BUSY` precedes `MODEL`, because a busy engine often names the model.
BY_WORDS: Mapping[Kind, re.Pattern[str]] = MappingProxyType(
    {
        Kind.CONTEXT: _words(
            r"maximum context (length|size|window)",
            r"available context size",
            r"maximum (model|sequence|input|prompt) length",
            r"(exceed\w*|longer than|too (long|large|big) for|larger than|greater than|beyond)\b.{0,80}"
            r"\b(context|max_model_len|max_seq_len|n_ctx)\b",
            r"context[ _-]?(length|window|size|limit)\b.{0,60}\b(exceed|overflow|too (small|long)|reached)",
            r"(prompt|input|request) (is|was) too long",
            r"input length \d+ exceeds",
            r"too many (input )?tokens",
            r"`inputs` (tokens|must have less)",
            r"exceeds the maximum number of (input )?tokens",
            r"reduce the length of (the|your) (messages|prompt|input)",
            r"context the overflows",
        ),
        Kind.CONTENT: _words(
            r"content (management|filter\w*|moderation) polic",
            r"content[ _]filter",
            r"violat\w+ .{0,40}(usage|content|safety) polic",
        ),
        Kind.QUOTA: _words(
            r"exceeded your current quota",
            r"credit balance is too low",
            r"insufficient (balance|credit|quota|fund)",
            r"(billing|spend\w*) (hard )?limit",
            r"more credits|out of credits",
        ),
        Kind.BUSY: _words(
            r"\b(overloaded|too many requests|rate limit|at capacity|currently busy|server (is )?busy|no capacity)",
            r"queue is full|no slot available|temporarily unavailable",
        ),
        Kind.TIMEOUT: _words(r"\btimed? ?out\b|deadline exceeded"),
        Kind.CREDENTIALS: _words(
            r"(invalid|incorrect|missing|no) api[ _-]?key|api key (is )?(not valid|invalid)"
        ),
        Kind.MODEL: _words(
            r"\bmodel\b.{0,200}?\b(not found|not exist|not be found|no longer available|not loaded)",
            r"(no such|unknown|not a valid) model\b",
            r"no model named",
        ),
    }
)

# Codes that clients act on. Other codes of an engine are not passed on.
TOLD_CODES = _names("""
    context_length_exceeded content_filter content_policy_violation model_not_found
    string_above_max_length string_below_min_length array_above_max_length integer_above_max_value
    integer_below_min_value invalid_value invalid_type unsupported_value unsupported_parameter
    unknown_parameter missing_required_parameter invalid_prompt invalid_json invalid_json_schema
    invalid_function_parameters invalid_image invalid_image_url invalid_image_format image_too_large
    image_parse_error unsupported_image_media_type invalid_base64_image failed_to_download_image
    json_validate_failed tool_use_failed unsupported_file invalid_file request_too_large
    tokens_limit_reached moderation_blocked
""")

# Messages of servers for a path that does not exist.
PATH = _words(
    r"(404 page )?not found[.!]?",
    r"(error )?404\b.*",
    r"invalid url\b.*",
    r"(cannot (get|post)|no route|(unrecognized|unknown|no such) (request )?(path|url|endpoint|route))\b.*",
    r"(the )?(requested )?(path|route|url|endpoint|page|resource)\b.*not found.*",
    r"(file|page|resource) not found",
)
