"""The house rules that no linter holds: sizes, state, broad excepts, layers, names, and what may be committed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tidegate

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "tidegate"
FILES = sorted(SOURCE.rglob("*.py"))
LOCKS = sorted(ROOT.glob("requirements*.lock"))

LINES_A_FILE = 400
LINES_A_FUNCTION = 40
BROAD_EXCEPTS = 3
PUBLIC_NAMES = 15
DOCUMENTED = (
    "ports",
    "call",
    "policy",
    "pipeline",
    "types/answer",
    "types/ask",
    "types/record",
    "types/verdict",
    "errors",
    "config/tree",
    "config/settings",
    "config/server",
    "config/engines",
    "config/kinds",
    "config/models",
)
NAMES_WITHOUT_MEANING = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"), str(file))


def nodes() -> Iterator[tuple[str, ast.AST]]:
    """Every node of the package with the place it stands at."""
    for file in FILES:
        for node in ast.walk(tree_of(file)):
            yield f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", node


def body_lines(function: Function) -> int:
    """The length of a function in lines, without its head and its docstring."""
    body = function.body
    if ast.get_docstring(function, clean=False) is not None:
        body = body[1:]
    if not body:
        return 0
    first = body[0]
    decorators = getattr(first, "decorator_list", [])
    start = decorators[0].lineno if decorators else first.lineno
    return (body[-1].end_lineno or start) - start + 1


def catches_everything(node: ast.AST) -> bool:
    """A bare `except`, `except Exception`, or `suppress(Exception)`, also within a tuple."""
    if isinstance(node, ast.ExceptHandler):
        caught = [node.type] if node.type else []
        if not caught:
            return True
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
        caught = list(node.args)
    else:
        return False
    names = {
        ast.unparse(name)
        for part in caught
        for name in (part.elts if isinstance(part, ast.Tuple) else [part])
    }
    return bool(names & {"Exception", "BaseException"})


def tracked() -> list[Path]:
    """What git holds, or would with the next `git add`; without git, the test has nothing to judge."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        out = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [path for name in out.decode().split("\0") if name and (path := ROOT / name).is_file()]


def test_there_is_a_house() -> None:
    assert len(FILES) > 10
    assert LOCKS


def test_no_file_is_too_long() -> None:
    lengths = {str(f.relative_to(ROOT)): len(f.read_text("utf-8").splitlines()) for f in FILES}
    assert {name: n for name, n in lengths.items() if n > LINES_A_FILE} == {}


def test_no_function_is_too_long() -> None:
    functions = ((where, node) for where, node in nodes() if isinstance(node, Function))
    lengths = {f"{where} {node.name}": body_lines(node) for where, node in functions}
    assert {name: n for name, n in lengths.items() if n > LINES_A_FUNCTION} == {}


def test_no_global_statement() -> None:
    assert [where for where, node in nodes() if isinstance(node, ast.Global)] == []


def test_no_empty_container_waits_at_module_level_to_be_filled() -> None:
    found: list[str] = []
    for file in FILES:
        for node in tree_of(file).body:
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            empty = isinstance(value, ast.List | ast.Dict | ast.Set) and not ast.unparse(value).strip("[]{}")
            made = isinstance(value, ast.Call) and ast.unparse(value.func) in {
                "list",
                "dict",
                "set",
                "defaultdict",
                "deque",
            }
            if empty or made:
                found.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert found == []


def test_broad_excepts_are_few() -> None:
    found = [where for where, node in nodes() if catches_everything(node)]
    assert len(found) <= BROAD_EXCEPTS, found


def test_no_pattern_has_a_possessive_group() -> None:
    """Before 3.11.5, Python matches `(...)*+` wrongly (gh-106052); `(?>(...)*)` means the same."""
    possessive = re.compile(r"""\)[*+?]\+|\)\{\d*,?\d*\}\+""")
    patterns = [
        (path, node.value)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes))
    ]
    found = [
        f"{path}: {text!r}"
        for path, text in patterns
        if possessive.search(
            re.sub(r"\[[^\]]+\]", "c", text if isinstance(text, str) else text.decode("latin-1"))
        )
    ]
    assert not found


def test_no_file_is_named_for_nothing() -> None:
    assert [str(f.relative_to(ROOT)) for f in FILES if f.stem in NAMES_WITHOUT_MEANING] == []


@pytest.mark.parametrize("module", DOCUMENTED)
def test_public_names_are_explained(module: str) -> None:
    tree = tree_of(SOURCE / f"{module}.py")
    assert ast.get_docstring(tree), "the module says nothing of itself"
    public = [n for n in tree.body if isinstance(n, ast.ClassDef | Function) and not n.name.startswith("_")]
    assert public
    assert [n.name for n in public if not ast.get_docstring(n)] == []


def test_imports_run_one_way() -> None:
    # In a process of its own: it switches off every logger that there is, and with them what other tests listen to.
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_offers_few_names() -> None:
    assert 0 < len(tidegate.__all__) <= PUBLIC_NAMES
    assert [name for name in tidegate.__all__ if not hasattr(tidegate, name)] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_locks_hold_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text("utf-8")
    assert "://" not in text
    assert not any(line.startswith("-") for line in text.splitlines()), "options have no place in a lock"
    requirements = text.replace("\\\n", " ").splitlines()
    assert [
        line.split()[0] for line in requirements if line and line[0] != "#" and "--hash=sha256:" not in line
    ] == []


def test_nothing_committed_names_a_machine() -> None:
    marks = [b"/" + b"work/", b"file:" + b"///", b"/root" + b"/"]
    found = [str(f.relative_to(ROOT)) for f in tracked() if any(mark in f.read_bytes() for mark in marks)]
    assert found == []
