"""What injections look like, in the syntax of RE2: parts that work in another program, not words about them.

Sources: OWASP's cheat sheets on SQL injection, cross-site scripting and command injection, and PortSwigger's pages on
server-side template injection. No pattern is about backticks, or reaches across one: they stand for code that is only
shown. Every repetition is bounded, so that a stream is held back by `LONGEST` characters at the most.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

LONGEST: Final = 512
"""Longest match of any pattern, in characters."""

_S: Final = r"\s{0,4}"  # white space, if any
_SS: Final = r"(?:\s|/\*[\w\s]{0,16}\*/|\+|%20){1,4}"  # white space of SQL, as filters are passed by it
_VALUE: Final = r"(?:\d{1,8}|'[\w ]{0,16}'|\"[\w ]{0,16}\")"

SQL: Final = (
    # ' OR '1'='1 and " or 1=1
    rf"['\"]{_S}\)?{_SS}(?:or|and|\|\|){_SS}\(?(?:{_VALUE}{_S}(?:=|<|>|\blike\b){_S}['\"]?\w{{1,16}}|true\b|not{_SS}false\b)",
    rf"\bor{_SS}1{_S}={_S}1\b",
    # '; DROP TABLE users
    (
        rf"['\"]{_S}\)?{_S};{_S}(?:drop{_SS}(?:table|database|schema|view|user|index)|truncate{_SS}table|delete{_SS}from"
        rf"|alter{_SS}(?:table|user|database)|shutdown\b|exec(?:ute)?{_SS}\w)"
    ),
    (
        rf"['\"\d]{_S};{_S}(?:drop{_SS}(?:table|database|schema|view|user|index)|truncate{_SS}table|delete{_SS}from"
        rf"|insert{_SS}into|update{_SS}\w{{1,64}}{_SS}set)\b"
    ),
    rf"['\"]{_S}\)?{_S};{_S}--",
    # admin'--
    rf"\b(?:admin|administrator|root){_S}['\"]{_S}\)?{_S}(?:--|#|/\*)",
    # ' UNION SELECT and UNION SELECT NULL, NULL
    rf"(?:['\"]|['\"(=]-?\d{{1,8}}){_S}\)?{_SS}union{_SS}(?:(?:all|distinct){_SS})?select\b",
    (
        rf"\bunion{_SS}(?:(?:all|distinct){_SS})?select{_SS}(?:null\b|@@|'|\d{{1,4}}{_S},"
        rf"|(?:concat|char|version|user|database|current_user|load_file|group_concat){_S}\()"
    ),
    # Delays, by which an attacker asks one bit at a time.
    rf"\bwaitfor{_SS}delay{_S}'\d",
    rf"\bpg_sleep{_S}\({_S}\d{{1,4}}",
    rf"\bbenchmark{_S}\({_S}\d{{4,12}}{_S},",
    rf"\b(?:and|or|select|if{_S}\([^()`\n]{{1,64}},){_S}\(?(?:select{_SS})?sleep{_S}\({_S}\d{{1,4}}{_S}\)",
    # Files and commands of the database's machine.
    rf"\bxp_cmdshell{_S}\(?{_S}['\"]",
    rf"\binto{_SS}(?:outfile|dumpfile){_S}['\"]",
    rf"\bload_file{_S}\({_S}(?:['\"]|0x)",
    rf"\b(?:extractvalue|updatexml){_S}\({_S}\w{{1,16}}{_S},{_S}concat{_S}\(",
)

_INSIDE: Final = (
    r"(?:__\w{2,32}__|\|\s{0,4}attr\b|\bconfig\b|\brequest\.|\bself\.|\bsettings\.|\b(?:lipsum|cycler|joiner|url_for"
    r"|get_flashed_messages|constructor|popen|getenv|environ|getClass|forName|getRuntime|import|eval|exec|system"
    r"|passthru|readFile|require)\b|\bjava\.|\bjavax\.|\bprocess\.|\bSystem\.|\bT\(|\.class\b)"
)
_SUM: Final = r"\s{0,8}['\"]?\d{1,12}['\"]?\s{0,4}\*\s{0,4}['\"]?\d{1,12}['\"]?\s{0,8}"

TEMPLATE: Final = (
    # {{ 7*7 }}, ${7*7} and #{7*7}, by which an attacker asks whether there is an engine.
    rf"\{{\{{[-=]?{_SUM}-?\}}\}}",
    rf"[$#*@]\{{{_SUM}\}}",
    # {{ ''.__class__ }} and ${T(java.lang.Runtime)…}
    rf"\{{\{{[^{{}}`]{{0,160}}{_INSIDE}[^{{}}`]{{0,160}}\}}\}}",
    rf"[$#*@]\{{[^{{}}`]{{0,160}}{_INSIDE}[^{{}}`]{{0,160}}\}}",
    r"\{\{#with\s{1,4}['\"]",
    # Log4j's lookups.
    r"\$\{\s{0,4}(?:jndi|env|sys|java|ctx|script|dns|lower|upper|base64)\s{0,4}:[^{}`\n]{1,160}",
    # Statements of Jinja, Twig and Liquid, of ERB, JSP and EJS, of FreeMarker and Velocity, and of PHP.
    (
        r"\{%[-+]?\s{0,8}(?:for|if|set|import|include|extends|macro|block|with|raw|debug|call|from|print|assign|render)\b"
        r"[^{}`]{0,160}%\}"
    ),
    r"<%[=@!#-]?[^%`]{1,200}%>",
    r"<#(?:assign|include|import|list|if|function|macro)\s[^<>`]{0,160}>",
    r"\bfreemarker\.template\.utility\.\w{1,32}",
    r"#set\s{0,4}\(\s{0,4}\$\w{1,32}\s{0,4}=",
    r"<\?(?:php\b|=)",
)

_SCRIPT_URL: Final = r"(?:(?:javascript|vbscript)\s{0,4}:|data\s{0,4}:\s{0,4}text/html)"
_CALLED: Final = (
    r"(?:alert|prompt|confirm|eval|fetch|import|setTimeout|setInterval|Function|atob|document|window|location|self|top"
    r"|this|parent|var|let|const|function|new|if|for|while|try|throw|return|async)\b"
)

XSS: Final = (
    r"<script\b[^<>`]{0,200}[\s/\"'](?:src|href|xlink:href)\s{0,8}=",
    rf"<script\b[^<>`]{{0,200}}>\s{{0,64}}(?:[\w$.]{{1,64}}[(=\[]|[\w$.]{{1,64}}\s{{0,4}}=|{_CALLED}|[(\[{{!+/*'\";-])",
    # <img src=x onerror=…>
    r"<[a-z][^<>`]{0,200}[\s/\"']on[a-z]{3,24}\s{0,8}=\s{0,8}[^\s<>`=]",
    rf"\b(?:href|src|action|formaction|data|poster|background)\s{{0,4}}=\s{{0,4}}[\"']?\s{{0,4}}{_SCRIPT_URL}",
    rf"\]\(\s{{0,4}}<?{_SCRIPT_URL}",
    (
        r"\bjavascript\s{0,4}:\s{0,4}(?:/[/*]|%|void\b|(?:alert|eval|fetch|prompt|confirm|import|atob)\s{0,4}\(|(?:document"
        r"|window|location|this|top|self)\s{0,4}[.\[])"
    ),
    r"<iframe\b[^<>`]{0,200}[\s/\"']srcdoc\s{0,8}=",
    r"<(?:object|embed|applet)\b[^<>`]{0,200}[\s/\"'](?:data|src|code|codebase)\s{0,8}=",
    r"<base\b[^<>`]{0,100}[\s/\"']href\s{0,8}=",
    r"<meta\b[^<>`]{0,100}http-equiv\s{0,8}=\s{0,8}[\"']?refresh",
)

_RUNS: Final = (
    r"(?:sudo\s{1,4})?(?:rm\s{1,4}-[a-z]{1,8}\b|cat\s{1,4}/(?:etc|proc|root|home)/|(?:curl|wget)\s{1,4}(?:-|https?:|\$)"
    r"|nc(?:at)?\s{1,4}(?:-|\d)|(?:ba|z|da|k)?sh\s{1,4}-[ci]|python[23]?\s{1,4}-c|perl\s{1,4}-e|php\s{1,4}-r"
    r"|(?:whoami|printenv)\s{0,4}(?:[;|&)<>#\n]|\z)|uname\s{1,4}-a|/bin/(?:ba|z|da)?sh\b|mkfs\.\w|dd\s{1,4}if=|chmod\s{1,4}(?:\+x|[0-7]{3,4})"
    r"|powershell(?:\.exe)?\s{1,4}-|cmd(?:\.exe)?\s{1,4}/c|type\s{1,4}c:\\|net\s{1,4}user\s{1,4}/)"
)

SHELL: Final = (
    # x; cat /etc/passwd
    rf"(?:[;|&]\s{{0,4}}|\n){_RUNS}",
    # $(whoami)
    rf"\$\(\s{{0,4}}(?:{_RUNS}|(?:ls|id|env|hostname)\s{{0,4}}\)|(?:base64|nslookup|dig|ping)\s)",
    # curl https://… | sh
    r"\b(?:curl|wget)\s[^\n|`]{1,200}\|\s{0,4}(?:sudo\s{1,4})?(?:ba|z|da|k)?sh\b",
    r"\bbase64\s{1,4}(?:-d|-D|--decode)\b[^\n|`]{0,64}\|\s{0,4}(?:sudo\s{1,4})?(?:ba|z|da|k)?sh\b",
    # Shells that an attacker gets at home.
    r"/dev/(?:tcp|udp)/[\w.:-]{1,64}/\d{1,5}",
    r"\b(?:ba|z|k)?sh\s{1,4}-i\s{0,4}>&",
    r"\bnc(?:at)?\s[^\n`]{0,64}-[ec]\s{0,4}/bin/",
    r"\bmkfifo\s{1,4}/tmp/",
    # What destroys: at the beginning of a line or an argument, where it is a command.
    r"(?m:^)[ \t]{0,8}(?:[$#>]\s{1,4})?(?:sudo\s{1,4})?rm\s{1,4}(?:-[a-z]{1,8}\s{1,4}|--[a-z-]{1,24}\s{1,4}){1,4}[/~*$]",
    r":\s{0,2}\(\)\s{0,2}\{\s{0,2}:\s{0,2}\|\s{0,2}:\s{0,2}&\s{0,2}\}",
)

CATEGORIES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = MappingProxyType(
    {
        "sql": ("SQL_INJECTION", SQL),
        "template": ("TEMPLATE_INJECTION", TEMPLATE),
        "xss": ("CROSS_SITE_SCRIPTING", XSS),
        "shell": ("SHELL_INJECTION", SHELL),
    }
)
"""The categories of the settings, each with the kind of its spans and its patterns."""
