"""HTTPS by certificate files, through the official SDK."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx2
import pytest
from openai import OpenAI
from serving import config_to, serve

from tidegate.config import parse_text
from tidegate.engines.scripted.script import Script
from tidegate.engines.scripted.server import ScriptedServer, run_in_thread
from tidegate.errors import ConfigError

TLS = Path(__file__).parent.parent / "egress" / "tls"


def test_the_sdk_streams_over_tls() -> None:
    tls = {"certificate_path": str(TLS / "server.pem"), "key_path": str(TLS / "server.pem")}
    with (
        run_in_thread(ScriptedServer(script=Script(tokens=5, itl_ms=5))) as engine,
        serve(config_to(engine.base_url, server={"tls": tls})) as process,
    ):
        assert process.url.startswith("https://")
        trust = ssl.create_default_context(cafile=str(TLS / "ca.pem"))
        url = process.base_url.replace("127.0.0.1", "localhost")
        with (
            httpx2.Client(verify=trust) as http,
            OpenAI(base_url=url, api_key="-", http_client=http, max_retries=0) as openai,
        ):
            chunks = openai.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hello"}], stream=True
            )
            assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"


def test_a_missing_certificate_is_a_mistake_with_its_path() -> None:
    tls = {"certificate_path": "/nowhere/cert.pem", "key_path": str(TLS / "server.pem")}
    with pytest.raises(
        ConfigError, match=r"server\.tls\.certificate_path: there is no file /nowhere/cert\.pem"
    ):
        parse_text(config_to("http://127.0.0.1:1/v1", server={"tls": tls}), source="test")
