"""make fuzz: atheris on every harness, the slow inputs against the clock, and Schemathesis on the whole gateway.

Prints and writes to .build/summary.json what was executed, what was found and which input was the slowest. Ends with
status 1 where anything was found: an exception, a 5xx, or input of at most 64 kB that took more than 50 ms of CPU time.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import logging
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from harnesses import LIMIT_S, MAX_BYTES, Harness, Watch, open_harnesses
from slow_inputs import IN_PARTS, slow_inputs

HERE = Path(__file__).resolve().parent
BUILD = HERE / ".build"
TIMES = 3
"""How often an input is measured; the fastest counts, for noise only ever adds."""
LIMIT_US_A_READ = 50
"""Of input that comes one byte a read. Were a read to cost more the more there was before, 64 kB would show it."""
ALARM_S = 900


def measured_s(harness: Harness, data: bytes) -> float:
    """CPU seconds of the gateway's own work on one input."""
    found = []
    for _ in range(TIMES):
        watch = Watch()
        with contextlib.suppress(Exception):  # findings are counted where they are looked for
            harness(data, watch)
        found.append(watch.spent_s)
    return min(found)


def search(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run one harness under atheris in a process of its own; its state at the end, and what is wrong with it."""
    folder = BUILD / name
    corpus = BUILD / "corpus" / name
    for path in (folder, corpus):
        path.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    known = [str(HERE / kind / name) for kind in ("seeds", "found") if (HERE / kind / name).is_dir()]
    command = [sys.executable, str(HERE / "guided.py"), name, "--folder", str(folder)]
    command += ["--executions", str(options.executions), "--seed", str(options.seed), str(corpus), *known]
    with (folder / "log").open("w") as log:
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, timeout=ALARM_S, check=False)
    path = folder / "state.json"
    state = json.loads(path.read_text("utf-8")) if path.is_file() else {"executions": 0, "findings": []}
    if done.returncode or state["executions"] < options.executions:
        # Out of memory, a hang, a crash in C: libFuzzer says which, and leaves the input beside its log.
        tail = (folder / "log").read_text("utf-8", errors="replace")[-2000:]
        state["findings"].append(
            {"kind": f"ended with status {done.returncode}", "file": "log", "trace": tail}
        )
    return state


def time_inputs(names: list[str]) -> list[dict[str, Any]]:
    """Every slow input, and the slowest that a search met, measured without instruments; the slowest first."""
    timed: list[dict[str, Any]] = []
    with open_harnesses() as harnesses:
        inputs = [entry for entry in slow_inputs() if entry[0] in names]
        for name in names:
            met = sorted((BUILD / name).glob("slow-*.bin"))
            inputs += [(name, f"met: {path.stem}", path.read_bytes()) for path in met]
        # As the server does: what was loaded is not walked again by the collector.
        gc.collect()
        gc.freeze()
        for name, title, data in inputs:
            spent_s = measured_s(harnesses[name], data)
            timed.append(
                {"harness": name, "input": title, "bytes": len(data), "ms": round(spent_s * 1000, 2)}
            )
    return sorted(timed, key=lambda entry: -entry["ms"])


def time_single_bytes(names: list[str]) -> list[dict[str, Any]]:
    """Inputs of harnesses that cut, one byte a read: so many reads cost what they cost, but each no more than the first."""
    timed: list[dict[str, Any]] = []
    with open_harnesses(most=MAX_BYTES) as harnesses:
        for name, title, data in slow_inputs():
            if name in names and title.endswith(IN_PARTS):
                watch = Watch()
                with contextlib.suppress(Exception):
                    harnesses[name](data, watch)
                per_read = watch.spent_s / len(data) * 1e6
                about = {"harness": name, "input": title.removesuffix(IN_PARTS)}
                timed.append({**about, "us_a_read": round(per_read, 2)})
    return sorted(timed, key=lambda entry: -entry["us_a_read"])


def main() -> int:
    """The exit status."""
    options = _options()
    logging.disable(logging.CRITICAL)  # refused input is logged, and there is nothing else
    BUILD.mkdir(exist_ok=True)
    began = time.monotonic()
    with open_harnesses() as harnesses:
        names = [name for name in harnesses if not options.only or name in options.only]
    states: dict[str, Any] = {}
    print(f"seed {options.seed}; {options.executions} executions each\n")
    print(f"{'harness':12} {'executions':>10} {'seconds':>8} {'a second':>9} {'findings':>8}")
    for name in names:
        state = states[name] = search(name, options)
        seconds = state.get("seconds", 0.0)
        rate = state["executions"] / seconds if seconds else 0
        print(f"{name:12} {state['executions']:10} {seconds:8.1f} {rate:9.0f} {len(state['findings']):8}")
    findings = [{"harness": name, **found} for name in names for found in states[name]["findings"]]
    timed = time_inputs(names)
    findings += [
        {"harness": entry["harness"], "kind": f"{entry['ms']} ms", "file": entry["input"]}
        for entry in timed
        if entry["ms"] > LIMIT_S * 1000
    ]
    print(f"\nslowest of {len(timed)} inputs, CPU ms, best of {TIMES} (the limit is {LIMIT_S * 1000:g}):")
    for entry in timed[:10]:
        print(f"  {entry['ms']:8.2f}  {entry['harness']:12} {entry['input']} ({entry['bytes']} bytes)")
    singly = time_single_bytes(names)
    print(f"\none byte a read, CPU µs each, measuring included (the limit is {LIMIT_US_A_READ:g}):")
    for entry in singly[:5]:
        print(f"  {entry['us_a_read']:8.2f}  {entry['harness']:12} {entry['input']}")
    findings += [
        {"harness": entry["harness"], "kind": f"{entry['us_a_read']} µs a read", "file": entry["input"]}
        for entry in singly
        if entry["us_a_read"] > LIMIT_US_A_READ
    ]
    over_http = _over_http(options, findings)
    total = sum(state["executions"] for state in states.values())
    _show(total, findings)
    summary = {
        "seed": options.seed,
        "executions": total,
        "limit_ms": LIMIT_S * 1000,
        "max_bytes": MAX_BYTES,
        "seconds": round(time.monotonic() - began, 1),
        "harnesses": states,
        "slowest": timed[:50],
        "one_byte_a_read": singly,
        "schemathesis": over_http,
        "findings": findings,
    }
    path = BUILD / "summary.json"
    path.write_text(json.dumps(summary, indent=1), "utf-8")
    print(f"all of it: {os.path.relpath(path)}")
    return 1 if findings else 0


def _over_http(options: argparse.Namespace, findings: list[dict[str, Any]]) -> dict[str, Any] | None:
    if options.seconds <= 0:
        return None
    from over_http import run_schemathesis

    found = run_schemathesis(BUILD, seconds=options.seconds, examples=options.examples, seed=options.seed)
    report = found["report"]
    cases = report.get("test_cases", {})
    print(f"\nSchemathesis: {cases.get('generated', 0)} requests, {cases.get('unique_failures', 0)} failures")
    if not report or found["bugs_logged"]:
        kind = f"Schemathesis: status {found['exit']}, {found['bugs_logged']} bugs in the gateway's log"
        findings.append({"harness": "http", "kind": kind, "file": "schemathesis.log"})
    for kind in ("failures", "errors"):
        for failure in report.get(kind, ()):
            title = failure.get("title") or failure.get("message") or kind
            findings.append({"harness": "http", "kind": title, "file": "schemathesis.log"})
    return {"test_cases": cases, "operations": report.get("operations"), "phases": report.get("phases")}


def _show(total: int, findings: list[dict[str, Any]]) -> None:
    print(f"\n{total} executions, {len(findings)} findings")
    for found in findings:
        print(f"  {found['harness']}: {found['kind']}: {str(found.get('error', ''))[:200]} [{found['file']}]")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--executions", type=int, default=40_000, help="of each harness under atheris")
    parser.add_argument("--seconds", type=int, default=90, help="for Schemathesis; 0 leaves it out")
    parser.add_argument("--examples", type=int, default=200, help="of Schemathesis, for each operation")
    parser.add_argument("--seed", type=int, default=random.randrange(1, 2**31), help="to do a run again")
    parser.add_argument("--only", action="append", metavar="HARNESS", help="may be given more than once")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
