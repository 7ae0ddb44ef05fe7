"""The documentation is true: its configurations are valid, its links lead somewhere, its reference is the code's, and the
engine that it shows is served from outside, as a stranger's package would be.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from openai import APIStatusError, BadRequestError, OpenAI
from serving import Process, ask, serve

from tidegate.config import Config, parse_text
from tidegate.errors import ConfigError
from tidegate.pipeline import NO_PARTS, the_way

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PARROT = ROOT / "examples" / "parrot-engine"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
TEXTS = {str(page.relative_to(ROOT)): page.read_text("utf-8") for page in PAGES}

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PLACE = re.compile(r"\b(?:src|docs|examples|benchmarks|scripts|tests)/[\w./-]*\w/?")


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Every block of code in a language: where it stands, and the text."""
    for name, text in TEXTS.items():
        for number, (found, code) in enumerate(BLOCK.findall(text), 1):
            if found == language:
                yield f"{name}:{number}", code


CONFIGS = dict(blocks("yaml"))


@pytest.fixture(scope="module")
def parrot_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PYTHONPATH with the example installed: its module, and the metadata that `pip install` would write."""
    folder = tmp_path_factory.mktemp("installed")
    project = (PARROT / "pyproject.toml").read_text("utf-8")
    points = re.search(
        r'^\[project\.entry-points\."(tidegate\.engines)"\]\n(\w+) = "(.+)"$', project, re.MULTILINE
    )
    assert points, "the example has no entry point"
    info = folder / "tidegate_parrot-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tidegate-parrot\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{points[1]}]\n{points[2]} = {points[3]}\n")
    (folder / "parrot.py").write_bytes((PARROT / "parrot.py").read_bytes())
    return str(folder)


@pytest.fixture(scope="module")
def parrot(parrot_path: str) -> Iterator[Process]:
    """`tidegate serve` with the example's own configuration."""
    path = os.pathsep.join(filter(None, [parrot_path, os.environ.get("PYTHONPATH")]))
    with serve((PARROT / "tidegate.yaml").read_text("utf-8"), env={"PYTHONPATH": path}) as process:
        yield process


@pytest.fixture(scope="module")
def client(parrot: Process) -> Iterator[OpenAI]:
    with OpenAI(base_url=parrot.base_url, api_key="none", max_retries=0) as client:
        yield client


# ------------------------------------------------------------------------------------------------------------- the pages


def test_every_section_of_a_configuration_has_a_table() -> None:
    text = (DOCS / "configuration.md").read_text("utf-8")
    headings = {
        line.removeprefix("## `").rstrip("`") for line in text.splitlines() if line.startswith("## `")
    }
    tops = {heading.partition(".")[0] for heading in headings}
    assert set(Config.model_fields) <= tops
    assert {"review", "review.webhook"} <= headings


def test_what_is_written_from_the_code_is_up_to_date():
    command = [sys.executable, "scripts/config_reference.py", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_site_builds_without_a_warning(tmp_path: Path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    loaded = re.compile(
        r'(?:<script[^>]* src|<link[^>]* rel="(?:stylesheet|preconnect)"[^>]* href)="(?:https?:)?//'
    )
    for page in tmp_path.rglob("*.html"):
        assert not loaded.search(page.read_text("utf-8")), f"{page.name} loads something from elsewhere"


def test_there_are_configurations_to_check():
    assert sum(name.startswith("README.md") for name in CONFIGS) == 1
    assert len(CONFIGS) >= 5


@pytest.mark.parametrize("where", CONFIGS)
def test_every_configuration_is_valid(
    where: str, tmp_path: Path, parrot_path: str, monkeypatch: pytest.MonkeyPatch
):
    text = CONFIGS[where]
    tree = yaml.safe_load(text)
    assert set(tree) <= set(Config.model_fields), "not a whole configuration"
    monkeypatch.syspath_prepend(parrot_path)
    monkeypatch.chdir(tmp_path)  # for the files that a configuration names
    for name in re.findall(r"_path: (?:\$\{\w+:-)?([\w./-]+)\}?$", text, re.MULTILINE):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        # Weights, or a certificate and its key.
        pem = (ROOT / "tests/egress/tls/server.pem").read_bytes()
        (tmp_path / name).write_bytes(b"GGUF" if name.endswith(".gguf") else pem)
    for name in re.findall(r"\bfile: ([\w./-]+\.py)\b", text):
        (tmp_path / name).touch()
    for name in re.findall(r"documents: \{\w+: ([\w./-]+)\}", text):
        (tmp_path / name).write_text("words of a protected text, one after the other " * 20)
    for name in re.findall(r"\$\{(\w+)\}", text):
        monkeypatch.setenv(name, f"the-value-of-{name}")
    parse_text(text, source=where)


def test_the_mistakes_in_the_quick_start_are_told_as_it_says():
    page = TEXTS["docs/quick-start.md"]
    told = next(code for _, code in BLOCK.findall(page) if code.startswith("tidegate.yaml: "))
    text = next(code for where, code in CONFIGS.items() if where.startswith("docs/quick-start.md"))
    text = text.replace("kind: vllm", "kind: vllm\n    timeout: 5") + "server:\n  port: 80800\n"
    with pytest.raises(ConfigError) as refused:
        parse_text(text, source="tidegate.yaml")
    assert str(refused.value) == told.strip()


@pytest.mark.parametrize("name", TEXTS)
def test_every_relative_link_leads_somewhere(name: str):
    for link in LINK.findall(BLOCK.sub("", TEXTS[name])):
        path, _, anchor = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), f"{link} leads nowhere"
        if anchor:
            assert anchor in anchors(target), f"{link}: there is no such heading"


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("name", TEXTS)
def test_every_file_that_is_named_exists(name: str):
    missing = [place for place in PLACE.findall(TEXTS[name]) if not (ROOT / place).exists()]
    assert missing == []


@pytest.mark.parametrize("name", ["README.md", "docs/architecture.md"])
def test_the_way_is_drawn_with_its_empty_places(name: str):
    drawing = next(code for _, code in BLOCK.findall(TEXTS[name]) if "attempt" in code)
    stages = the_way(NO_PARTS)
    at = [re.search(rf"\b{stage.name}\b *(·?)", drawing) for stage in stages]
    assert all(at), "a stage is missing"
    found = [match for match in at if match]
    assert [match.start() for match in found] == sorted(match.start() for match in found), "not in order"
    assert [match[1] == "·" for match in found] == [stage.work is None for stage in stages]


# ------------------------------------------------------------------------------------------- an engine from outside, served


def test_a_foreign_engine_streams(client: OpenAI):
    stream = client.chat.completions.create(
        model="polly", messages=[{"role": "user", "content": "Polly wants a cracker"}], stream=True
    )
    chunks = list(stream)
    assert [chunk.choices[0].delta.content for chunk in chunks] == [
        "Polly ",
        "wants ",
        "a ",
        "cracker ",
        None,
    ]
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_foreign_engine_answers_whole(client: OpenAI):
    answer = client.chat.completions.create(
        model="polly", messages=[{"role": "user", "content": "Ahoy there"}]
    )
    assert answer.choices[0].message.content == "Ahoy there"
    assert answer.choices[0].finish_reason == "stop"


def test_a_foreign_engine_refuses_in_its_own_words(client: OpenAI):
    picture: Any = [{"type": "text", "text": "What is this?"}]
    with pytest.raises(BadRequestError, match="A parrot repeats only text") as refused:
        client.chat.completions.create(model="polly", messages=[{"role": "user", "content": picture}])
    assert refused.value.param == "messages"


def test_what_a_foreign_engine_does_not_take_is_named(client: OpenAI):
    with pytest.raises(BadRequestError) as refused:
        client.chat.completions.create(
            model="polly", messages=[{"role": "user", "content": "Hot"}], temperature=1
        )
    assert refused.value.param == "temperature"
    with pytest.raises(APIStatusError) as unserved:
        client.embeddings.create(model="polly", input="Feathers")
    assert unserved.value.status_code == 501


def test_the_settings_of_a_foreign_engine_are_checked(parrot_path: str, tmp_path: Path):
    text = (PARROT / "tidegate.yaml").read_text("utf-8").replace("pause_ms: 100", "pause_ms: -1")
    (tmp_path / "tidegate.yaml").write_text(text)
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [parrot_path, os.environ.get("PYTHONPATH")])),
    }
    command = [sys.executable, "-m", "tidegate", "check"]
    result = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "engines.bird.pause_ms: " in result.stderr


def test_every_metric_is_in_the_list(parrot: Process):
    told = set(
        re.findall(
            r"^# TYPE (tidegate_\w+)", ask(f"{parrot.url}/metrics", method="GET").body.decode(), re.MULTILINE
        )
    )
    listed = set(re.findall(r"^\| `(tidegate_\w+)`", TEXTS["docs/operations.md"], re.MULTILINE))
    assert told == listed
