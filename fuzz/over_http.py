"""Schemathesis over our own OpenAPI document, against a gateway process with a scripted engine behind it."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))

from openapi_spec_validator import OpenAPIV31SpecValidator  # noqa: E402
from serving import ask, serve  # noqa: E402 - how tests start a gateway

TOKEN = "fuzz"
CONFIG = json.dumps(
    {
        "server": {"port": 0},
        "admin": {"token": TOKEN},
        "engines": {"script": {"kind": "scripted", "tokens": 2}},
        "models": {"*": {"deployments": [{"engine": "script"}]}},
    }
)
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
"""All but `positive_data_acceptance`: an engine may refuse values that the gateway knows nothing of, and a JSON schema
takes 1.0 for an integer; and those for APIs that store things."""


def run_schemathesis(folder: Path, *, seconds: int, examples: int, seed: int) -> dict[str, Any]:
    """What Schemathesis found, as data; its own report stays in the folder."""
    report = folder / "schemathesis.json"
    report.unlink(missing_ok=True)
    with serve(CONFIG) as process:
        document = ask(f"{process.url}/openapi.json", method="GET").json
        OpenAPIV31SpecValidator(document).validate()
        command = [
            str(Path(sysconfig.get_path("scripts")) / "st"),
            *("run", f"{process.url}/openapi.json"),
            *("--checks", ",".join(CHECKS)),
            *("--phases", "examples,coverage,fuzzing"),
            *("--max-examples", str(examples), "--max-time", str(seconds), "--seed", str(seed)),
            *("--header", f"Authorization: Bearer {TOKEN}"),
            *("--request-timeout", "20", "--continue-on-failure", "--warnings", "off"),
            *("--report", "json", "--report-json-path", str(report)),
        ]
        with (folder / "schemathesis.log").open("w") as log:
            done = subprocess.run(
                command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, timeout=seconds + 300, check=False
            )
        bugs = process.log().count("a bug in the gateway") + process.log().count("Traceback (most recent")
    found: dict[str, Any] = json.loads(report.read_text("utf-8")) if report.is_file() else {}
    return {"exit": done.returncode, "bugs_logged": bugs, "report": found}
