"""The rules of docs/architecture.md about who may import whom, checked by import-linter."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("cuda_ops", "networks", "datamodules", "trainers", "editors", "launch")
FILES = sorted(path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def test_contracts_are_kept() -> None:
    lint = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_room_is_under_contract_and_in_the_wheel() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert set(config["importlinter"]["root_packages"]) == set(ROOMS)
    assert {f"{room}*" for room in ROOMS} | {"conf", "zoo"} == set(config["setuptools"]["packages"]["find"]["include"])
    assert all((ROOT / room / "__init__.py").exists() for room in ROOMS)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_is_one_concept(path: Path) -> None:
    text = (ROOT / path).read_text()
    assert ast.get_docstring(ast.parse(text)), f"{path} does not say what it is"
    assert len(text.splitlines()) <= 400
