"""Asks the admin API of a running gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec
from pydantic import ValidationError

from tidegate import config as configuration
from tidegate.cli import settings
from tidegate.config import AdminConfig, OpenAIConfig, ServerConfig
from tidegate.config.reading import variable
from tidegate.egress.exchange import Headers
from tidegate.egress.open import open_client
from tidegate.engines.openai import read_whole
from tidegate.engines.refusals import MAX_ERROR_BYTES, explanation
from tidegate.errors import ConfigError, UpstreamError, UpstreamUnreachable

KEY = "TIDEGATE_KEY"
"""The environment variable with the key. A key on the command line could be read by every user of the machine."""
SCOPE = "admin:read"
WITHIN_S = 10.0
_MOST_BYTES = 4 * 2**20
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (where a gateway may listen)

T = TypeVar("T")


class GatewayFailed(Exception):
    """A gateway did not answer as asked. `status` is that of its answer; None if there was no answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class RunningGateway:
    """The gateway that is asked, at `url`. Close it at the end."""

    def __init__(
        self, url: str, ca_path: Path | None = None, *, option: str = "--url", scope: str = SCOPE
    ) -> None:
        """`option` is the option that names the gateway, and `scope` the scope that the key needs.

        Ends the command if the URL or the key cannot be used.
        """
        config = _client_config(url, ca_path, option)
        self.url = config.url
        self._option = option
        self._scope = scope
        self._client = open_client(config)
        self._key = variable(KEY) or ""
        self._headers = [(b"user-agent", b"tidegate")]
        if self._key:
            if not (self._key.isascii() and self._key.isprintable()):
                settings.fail(f"{KEY}: contains a character that no key has, such as a line break")
            self._headers.append((b"authorization", b"Bearer " + self._key.encode()))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def get(self, path: str) -> bytes:
        """Return the answer, JSON. `path` has no slash at the beginning. Raises GatewayFailed."""
        return await self._ask("GET", path, b"", self._headers)

    async def post(self, path: str, body: bytes) -> bytes:
        """Send a body, JSON, and return the answer. Raises GatewayFailed."""
        return await self._ask("POST", path, body, [*self._headers, (b"content-type", b"application/json")])

    async def _ask(self, method: str, path: str, body: bytes, headers: Headers) -> bytes:
        target = self._client.target(method, path, headers, once=method == "POST")
        try:
            exchange = await self._client.send(target, [], body, WITHIN_S)
            try:
                ok = exchange.status == 200
                answer = await read_whole(exchange, _MOST_BYTES if ok else MAX_ERROR_BYTES)
            finally:
                await exchange.close()
        except UpstreamError as error:
            raise self._unanswered(error) from error
        if not ok:
            raise self._refused(exchange.status, answer, path.partition("?")[0])
        return answer

    def _unanswered(self, error: UpstreamError) -> GatewayFailed:
        said = error.message.replace("the engine", "the gateway")
        if isinstance(error, UpstreamUnreachable):
            return GatewayFailed(
                f"no gateway answers at {self.url}: {said}\n"
                f"Start one with `tidegate serve`, or name another one with {self._option}."
            )
        return GatewayFailed(f"{self.url} gives no answer: {said}")

    def _refused(self, status: int, body: bytes, path: str) -> GatewayFailed:
        told = explanation(body)
        said = told.message or f"it answers with status {status}"
        if status == 401 and not self._key:
            said = f"{self.url} wants a key: put one with the scope {self._scope} into the environment variable {KEY}"
        elif status == 401:
            said = f"{self.url} does not accept the key in {KEY}: {said}"
        elif status == 403:
            said = (
                f"The key in {KEY} may not see this: it needs the scope {self._scope}. Add the scope to the key, in"
                " `scopes`, or use admin.token, which has it."
            )
        elif (
            status == 404 and told.param is None
        ):  # with it, the gateway knows the path, but not what it names
            said = f"{self.url} has no /{path} ({said}): is it the URL of a Tidegate, without /v1?"
        return GatewayFailed(said, status)


def read(answer: bytes, kind: type[T], what: str) -> T:
    """Read an answer of a gateway. `what` says what it should be. Raises GatewayFailed if it is something else."""
    try:
        return msgspec.json.decode(answer, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise GatewayFailed(
            f"the answer is not {what} of a gateway: is the URL that of a Tidegate?"
        ) from None


def address(path: Path | None) -> str:
    """Return the address at which the gateway of a configuration can be asked from this machine."""
    if path is None and not configuration.DEFAULT_PATH.is_file():
        return _url("http", "server.port", ServerConfig())
    try:
        found = configuration.load(path or configuration.DEFAULT_PATH)
    except ConfigError as error:
        settings.fail(f"{error}\nMend it, or name the gateway with --url.")
    if found.admin.apart:
        return _url("http", "admin.port", found.admin)
    return _url("https" if found.server.tls else "http", "server.port", found.server)


def _url(scheme: str, setting: str, place: ServerConfig | AdminConfig) -> str:
    if not place.port:
        settings.fail(
            f"{setting} is 0, so the port is not known before the start: name the gateway with --url"
        )
    host = _EVERYWHERE.get(place.host, place.host)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{place.port}"


def _client_config(url: str, ca_path: Path | None, option: str) -> OpenAIConfig:
    tree: dict[str, Any] = {"kind": "openai", "url": url.removesuffix("/").removesuffix("/v1")}
    try:
        return OpenAIConfig.model_validate({**tree, "ca_path": ca_path})
    except ValidationError as error:
        lines = [
            f"{'--ca-path' if mistake['loc'][:1] == ('ca_path',) else option}:"
            f" {mistake['msg'].removeprefix('Value error, ')}"
            for mistake in error.errors()
        ]
        settings.fail("\n".join(lines))
