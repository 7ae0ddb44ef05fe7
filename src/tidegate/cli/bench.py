"""`tidegate bench`: a load test of any server that speaks OpenAI's chat completions."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from cyclopts import App, Group, Parameter, validators
from rich.console import Console
from rich.markup import escape

from tidegate.cli import settings
from tidegate.config import files
from tidegate.kernel.plain import plain
from tidegate.ops.load.bench import Unusable
from tidegate.ops.load.judge import Criteria
from tidegate.ops.load.live import Screen, summary
from tidegate.ops.load.options import BadOptions, Options, base_url, parse_slo
from tidegate.ops.load.prompts import Shape
from tidegate.ops.load.report.compare import Noise
from tidegate.ops.load.report.compare import show as show_comparison
from tidegate.ops.load.report.compare import table as comparison
from tidegate.ops.load.report.page import page
from tidegate.ops.load.result import Result, UnreadableResult, read, write
from tidegate.ops.load.supervise import run_bench

MISSED, UNTRUSTED = 1, 3  # exit statuses; 2 is that of `settings.fail`

app = App(
    name="bench",
    help="Measure any OpenAI-compatible server, and check it against criteria.",
    help_epilogue="""Examples

`tidegate bench`: the gateway on this machine, 10 to 200 users

`tidegate bench gpu:8000 -u 1,2,4,8 -p 512 -o 128`: a ramp of users against any server

`tidegate bench -r 5,10,20 --slo ttft:500,itl:50`: an open loop, and the share of answers within limits

`tidegate bench --trace azure.csv --speed 4`: the requests of a recorded day, four times as fast

`tidegate bench --prefix-tokens 1000 --prefixes 4`: the effect of a prefix cache

`tidegate bench compare before.json after.json`: the effect of a change

Exit status: 0 if every criterion was met; 1 if one was missed or the run was interrupted; 2 if the options or the server
cannot be used; 3 if the tester itself was too busy for reliable figures. Load only servers that are yours.""",
)

_LOAD = Group("Load: one of --users, --rate, --trace", sort_key=1)
_ASK = Group("Requests", sort_key=2)
_JUDGE = Group("Criteria", sort_key=3)
_OUT = Group("Output", sort_key=4)
# The upper bound also refuses `inf`, which JSON cannot represent.
_POSITIVE = validators.Number(gt=0, lt=1e9)
_NOT_NEGATIVE = validators.Number(gte=0, lt=1e9)
_SHARE = validators.Number(gte=0, lte=1)
_Of = TypeVar("_Of", int, float)


@app.default
def bench(  # noqa: PLR0913 - an option each
    url: str = "http://127.0.0.1:8080/v1",
    *,
    model: Annotated[str, Parameter(("--model", "-m"), group=_ASK, show_default=False)] = "",
    users: Annotated[str, Parameter(("--users", "-u"), group=_LOAD, show_default=False)] = "",
    rate: Annotated[str, Parameter(("--rate", "-r"), group=_LOAD, show_default=False)] = "",
    trace: Annotated[Path | None, Parameter(group=_LOAD)] = None,
    duration: Annotated[float, Parameter(("--duration", "-d"), group=_LOAD, validator=_POSITIVE)] = 30.0,
    requests: Annotated[int | None, Parameter(("--requests", "-n"), group=_LOAD, validator=_POSITIVE)] = None,
    arrivals: Annotated[Literal["constant", "poisson", "gamma"], Parameter(group=_LOAD)] = "poisson",
    burstiness: Annotated[float, Parameter(group=_LOAD, validator=_POSITIVE)] = 1.0,
    speed: Annotated[float, Parameter(group=_LOAD, validator=_POSITIVE)] = 1.0,
    max_in_flight: Annotated[int, Parameter(group=_LOAD, validator=_POSITIVE)] = 1000,
    warmup: Annotated[int, Parameter(group=_LOAD, validator=_NOT_NEGATIVE)] = 0,
    prompt_tokens: Annotated[
        int, Parameter(("--prompt-tokens", "-p"), group=_ASK, validator=_POSITIVE)
    ] = 128,
    output_tokens: Annotated[int, Parameter(("--output-tokens", "-o"), group=_ASK, validator=_POSITIVE)] = 64,
    spread: Annotated[float, Parameter(group=_ASK, validator=_NOT_NEGATIVE)] = 0.0,
    prefix_tokens: Annotated[int, Parameter(group=_ASK, validator=_NOT_NEGATIVE)] = 0,
    prefixes: Annotated[int, Parameter(group=_ASK, validator=_POSITIVE)] = 1,
    turns: Annotated[int, Parameter(group=_ASK, validator=_POSITIVE)] = 1,
    prompts: Annotated[Path | None, Parameter(group=_ASK)] = None,
    body: Annotated[str, Parameter(group=_ASK)] = "{}",
    stream: Annotated[bool, Parameter(group=_ASK)] = True,
    api_key: Annotated[str, Parameter(group=_ASK, env_var="OPENAI_API_KEY", show_default=False)] = "",
    ca_path: Annotated[Path | None, Parameter(group=_ASK)] = None,
    timeout: Annotated[float, Parameter(group=_ASK, validator=_POSITIVE)] = 120.0,
    seed: Annotated[int, Parameter(group=_ASK)] = 0,
    slo: Annotated[str, Parameter(group=_JUDGE, show_default=False)] = "",
    ttft_p95: Annotated[float, Parameter(group=_JUDGE, validator=_POSITIVE)] = 2000.0,
    itl_p95: Annotated[float, Parameter(group=_JUDGE, validator=_POSITIVE)] = 100.0,
    errors: Annotated[float, Parameter(group=_JUDGE, validator=_SHARE)] = 0.01,
    throughput: Annotated[float, Parameter(group=_JUDGE, validator=_SHARE)] = 0.9,
    target: Annotated[float | None, Parameter(group=_JUDGE, validator=_POSITIVE)] = None,
    output: Annotated[Path, Parameter(("--output", "-O"), group=_OUT)] = Path("bench.json"),
    html: Annotated[Path | None, Parameter(group=_OUT)] = None,
    baseline: Annotated[Path | None, Parameter(group=_OUT)] = None,
    as_json: Annotated[bool, Parameter("--json", negative="", group=_OUT, show_default=False)] = False,
    quiet: Annotated[bool, Parameter(("--quiet", "-q"), negative="", group=_OUT, show_default=False)] = False,
) -> None:
    """Measure a server.

    Without options, the test has 10, 50, 100 and 200 users, 30 s each. Load only servers that are yours.

    Parameters
    ----------
    url
        The base URL of the API. Without a path, /v1 is added.
    model
        The model to request. Default: `default` if /models lists it, else the first model listed.
    users
        Closed loop: the number of users, each of whom sends the next request after the answer. Several levels: 10,50,100.
    rate
        Open loop: the number of requests per second, sent without waiting for answers. Several levels: 5,10,20.
    trace
        Replay a trace: CSV with TIMESTAMP,ContextTokens,GeneratedTokens, or JSON lines with timestamp (ms), input_length
        and output_length.
    duration
        Seconds per level.
    requests
        Largest number of requests per level.
    arrivals
        The distribution of the gaps between the requests of an open loop.
    burstiness
        Shape of gamma arrivals: below 1 they come in bursts (0.25: gaps twice as uneven as Poisson's), above 1 more evenly.
    speed
        Factor by which a trace is replayed faster.
    max_in_flight
        Largest number of running requests of an open loop. The time of a waiting request counts from when it was due.
    warmup
        Number of requests that are sent first and not measured.
    prompt_tokens
        Length of made-up prompts as the server counts it, with the chat template.
    output_tokens
        max_tokens of each request. To keep a server from stopping earlier, use --body '{"ignore_eos":true}' if it has that.
    spread
        Standard deviation of both lengths, as a share: 0.3 is ± 30 %.
    prefix_tokens
        Length of the system prompt that begins each prompt and that several prompts share.
    prefixes
        Number of different system prompts.
    turns
        Number of questions in a conversation. Each request has all earlier questions and answers.
    prompts
        File with the prompts to send: one prompt per line, or .jsonl with `messages` or `prompt`.
    body
        JSON object with further fields for each request.
    stream
        Whether answers are streamed. Without streaming, there is no TTFT.
    api_key
        Key, sent as a bearer token.
    ca_path
        PEM file of a certificate authority to trust in addition to the system's.
    timeout
        Largest number of seconds for an answer.
    seed
        Seed of the random prompts and arrivals.
    slo
        Limits of a good answer in ms: ttft:500,itl:50,latency:10000. Goodput counts good answers.
    ttft_p95
        Limit in ms for the 95th percentile of TTFT from schedule.
    itl_p95
        Limit in ms for the 95th percentile of ITL.
    errors
        Limit for the share of failed requests at each level, 0 to 1. With 0, no request may fail.
    throughput
        Share of the load that must be answered: of --rate, or of --target for closed loops.
    target
        Requests per second that the highest level must reach. A lower level must reach its share, by its number of users.
    output
        File for the result (JSON, names and shapes as in AIPerf's export).
    html
        File for the report. Default: beside --output, with .html.
    baseline
        An earlier result, or AIPerf's export, to compare with.
    as_json
        Print the result as JSON on standard output instead of a summary.
    quiet
        Show no progress.

    """
    criteria = Criteria(
        ttft_p95_ms=ttft_p95, itl_p95_ms=itl_p95, errors=errors, throughput=throughput, target_rps=target
    )
    try:
        options = Options(
            url=base_url(url),
            model=model,
            users=_levels("--users", users, int),
            rates=_levels("--rate", rate, float),
            trace=str(trace or ""),
            duration_s=duration,
            requests=requests,
            arrivals=arrivals,
            burstiness=burstiness,
            speed=speed,
            max_in_flight=max_in_flight,
            warmup=warmup,
            prompts=str(prompts or ""),
            shape=Shape(
                prompt_tokens=prompt_tokens,
                output_tokens=output_tokens,
                spread=spread,
                prefix_tokens=prefix_tokens,
                groups=prefixes,
                turns=turns,
            ),
            stream=stream,
            fields=_fields(body),
            timeout_s=timeout,
            ca_path=_certificates(ca_path),
            seed=seed,
            slo=parse_slo(slo),
            criteria=criteria,
        )
        earlier, pages = read(baseline) if baseline else None, _places(output, html)
        result = _run(options, key=_key(api_key), quiet=quiet)
    except (BadOptions, UnreadableResult, Unusable) as error:
        settings.fail(plain(str(error)))  # the message may have text from the server
    _report(result, earlier, pages, as_json=as_json)
    sys.exit(_status(result))


@app.command
def compare(
    old: Path,
    new: Path,
    *,
    band: float = 5.0,
    as_json: Annotated[bool, Parameter("--json", negative="")] = False,
) -> None:
    """Compare two results, level by level. Either may be an export of AIPerf.

    Parameters
    ----------
    old
        The earlier result.
    new
        The later result.
    band
        Largest difference in percent that counts as no change.
    as_json
        Print JSON instead of a table.

    """
    try:
        before, after = read(old), read(new)
    except UnreadableResult as error:
        settings.fail(str(error))
    if as_json:
        rows = comparison(before, after, Noise(percent=band))
        print(msgspec.json.format(msgspec.json.encode(rows)).decode())
    else:
        show_comparison(before, after, Console(), Noise(percent=band))


def _run(options: Options, *, key: str, quiet: bool) -> Result:
    names = [step.name for step in options.steps()]
    console = Console(stderr=True, quiet=quiet)
    title = f"Load test of {options.url}: {', '.join(names)}"
    try:
        with Screen(console, names, title=title) as screen:
            result = run_bench(options, key=key, show=screen.show)
    except KeyboardInterrupt:
        print("Stopped at once: no result was written.", file=sys.stderr)
        sys.exit(130)
    if not result.steps:  # do not overwrite an earlier result with an empty one
        print("Stopped before anything was measured: no result was written.", file=sys.stderr)
        sys.exit(130)
    return result


def _places(output: Path, html: Path | None) -> tuple[Path, Path]:
    """Return the paths of the result and the report. Check them now, before minutes of load. Raises BadOptions."""
    if not output.name:
        raise BadOptions(f"--output: {output} is a folder: name a file in it")
    report = html or output.with_suffix(".html")
    for option, path in (("--output", output), ("--html", report)):
        if path.is_dir():
            raise BadOptions(f"{option}: {path} is a folder: name a file in it")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise BadOptions(f"{option}: {path} cannot be written")
    if output.resolve() == report.resolve():
        raise BadOptions(f"--output and --html are both {output}: the report would overwrite the result")
    return output, report


def _certificates(path: Path | None) -> str:
    try:
        return str(files.check_certificates(path)) if path else ""
    except ValueError as error:
        raise BadOptions(f"--ca-path: {error}") from error


def _key(text: str) -> str:
    """Return a key for a header, without a line break at its end, as a key from a file often has. Raises BadOptions."""
    key = text.strip()
    if not key.isascii() or not key.isprintable():
        raise BadOptions("--api-key has characters that are not valid in a header")
    return key


def _report(result: Result, earlier: Result | None, pages: tuple[Path, Path], *, as_json: bool) -> None:
    _keep(result, earlier, pages)
    _show(result, earlier, pages, as_json=as_json)


def _keep(result: Result, earlier: Result | None, pages: tuple[Path, Path]) -> None:
    try:
        write(result, pages[0])
        pages[1].write_text(page(result, earlier), encoding="utf-8")
    except OSError as error:
        settings.fail(f"cannot write the result: {error}")


def _show(result: Result, earlier: Result | None, pages: tuple[Path, Path], *, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(result), indent=1).decode())
        return
    console = Console()
    summary(result, console)
    if earlier is not None:
        show_comparison(earlier, result, console)
    verdict = "[green]Passed[/]" if result.passed else "[red]Failed[/]"
    if result.interrupted:
        verdict = "[yellow]Cut short[/]"
    if result.degraded:
        verdict += ", but the figures are not to be trusted"
    where = escape(f"Report: {pages[1]}, result: {pages[0]}")
    console.print(f"{verdict}. {where}", highlight=False)


def _status(result: Result) -> int:
    if result.degraded:
        return UNTRUSTED
    return 0 if result.passed else MISSED


def _levels(option: str, text: str, kind: Callable[[str], _Of]) -> tuple[_Of, ...]:
    try:
        levels = tuple(kind(part) for part in text.split(",")) if text else ()
    except ValueError:
        levels = (kind("0"),)
    if not all(0 < level < math.inf for level in levels):
        raise BadOptions(f"{option}: {text!r} should be numbers above 0, separated by commas, like 10,50,100")
    return levels


def _fields(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise BadOptions(
            f"""--body: {text!r} is not a JSON object like '{{"temperature": 0}}': {error}"""
        ) from error
