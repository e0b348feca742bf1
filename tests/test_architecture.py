"""What docs/architecture.md promises of the code: where things live, and that imports go one way."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from .conftest import ROOT

STAGES = {"encode", "mine", "score", "report"}
#: They call stages, or read what a stage wrote with that stage's reader.
DRIVERS = {
    "run", "run_sources", "quickstart", "sweep", "sweep_chart", "sweep_page", "sweep_plan", "sweep_published",
    "sweep_table", "sweep_work",
}  # fmt: skip
MODULES = [*ROOT.glob("*.py"), *(p for part in ("corpora", "indexes", "pipeline") for p in (ROOT / part).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    """Modules of the package that ``path`` names in an import, anywhere in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name.removeprefix("neglabel.") for name in found if name.startswith("neglabel.")}


def test_corpora_and_indexes_know_nothing_of_the_pipeline() -> None:
    for part in ("corpora", "indexes"):
        for path in (ROOT / part).rglob("*.py"):
            assert not {m for m in imports(path) if m.startswith("pipeline") or m == "cli"}, path


def test_no_stage_imports_another_and_nothing_imports_the_command_line() -> None:
    for path in MODULES:
        name = path.relative_to(ROOT / "pipeline").parts[0].removesuffix(".py") if "pipeline" in path.parts else ""
        used = {m.split(".")[1] for m in imports(path) if m.startswith("pipeline.")} & STAGES
        if name in STAGES:
            assert used <= {name}, path
        elif name not in DRIVERS and path.name not in ("cli.py", "__init__.py"):
            assert not used, path
        assert "cli" not in imports(path), path


def test_every_module_is_where_the_page_says() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w./]+)`", page))
    for path in MODULES:
        relative = path.relative_to(ROOT).as_posix()
        folder = path.parent.relative_to(ROOT).as_posix() + "/"
        whole = folder in named and folder in ("pipeline/report/", "pipeline/scores/")
        assert relative in named or path.name in named or whole or path.name == "__init__.py", relative
    for name in named:
        if name.endswith(".py"):
            assert any(p.name == Path(name).name for p in MODULES), f"{name} is on the page but not in the tree"


def test_no_path_of_a_machine_and_no_registry_is_named() -> None:
    registries = r"(?:pypi|files\.pythonhosted|registry\.npmjs|npmjs)\.(?:org|com)"
    places = re.compile(r"/(?:home|root|work|Users)/[a-z]|" + registries)
    for path in ROOT.rglob("*"):
        inside = path.relative_to(ROOT)
        if path.suffix not in (".py", ".md", ".toml", ".sh", ".txt", ".json", "") or not path.is_file():
            continue
        if any(p.startswith(".") and p != ".ci" for p in inside.parts) or "neglabel-quickstart" in inside.parts:
            continue
        if path.name in ("LICENSE", "test_architecture.py"):
            continue
        assert not places.search(path.read_text(encoding="utf-8", errors="replace")), inside
