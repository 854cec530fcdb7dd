"""docs/write-your-own-app.md: its blocks are the app, its excerpts the repository's, and what it shows happens."""

from __future__ import annotations

import ast
import doctest
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.client.real_site import RealSite
from tests.ports import free_ports

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "write-your-own-app.md").read_text(encoding="utf-8")
APP = (ROOT / "src" / "holdfast" / "apps" / "keyvalue.py").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


def lines_of_code(text: str) -> int:
    """Lines that are neither blank nor of a docstring."""
    told: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            first = node.body[0]
            told |= set(range(first.lineno, (first.end_lineno or 0) + 1))
    return sum(bool(line.strip()) for number, line in enumerate(text.splitlines(), 1) if number not in told)


def test_the_blocks_of_the_page_are_the_app_in_under_60_lines() -> None:
    assert len(blocks("python")) > 4
    assert "\n\n".join(blocks("python")) == APP
    assert lines_of_code(APP) < 60


def test_lines_of_code_are_counted_as_one_would() -> None:
    assert (
        lines_of_code('"""A module,\nin two lines."""\n\nimport ast\n\n\ndef f():\n    """Nothing."""\n    return 1\n')
        == 3
    )


def test_the_excerpts_stand_in_the_repository() -> None:
    files = ("catalog.py", "sim/keyvalue.py", "sim/workloads.py")
    sources = [(ROOT / "src" / "holdfast" / name).read_text(encoding="utf-8") for name in files]
    excerpts = blocks("py")
    assert len(excerpts) == 4
    for excerpt in excerpts:
        assert any(excerpt in source for source in sources), excerpt


def run_doctest(text: str) -> None:
    test = doctest.DocTestParser().get_doctest(text, {}, "write-your-own-app.md", None, 0)
    assert test.examples
    assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def test_it_can_be_tried_without_a_site() -> None:
    run_doctest(blocks("pycon")[0])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSite]:
    (toml,) = blocks("toml")
    ports = dict(zip(re.findall(r"(?<== )\d{4}\b", toml), free_ports(9), strict=True))
    toml = re.sub(r"(?<== )\d{4}\b", lambda found: str(ports[found[0]]), toml)
    site = RealSite(tmp_path_factory.mktemp("states"), toml, [f"state at {name}: active, view a,b,c" for name in "abc"])
    try:
        site.await_active()
        yield site
    finally:
        site.end()


def test_the_site_of_the_page_says_what_the_page_says(site: RealSite, monkeypatch: pytest.MonkeyPatch) -> None:
    (console,) = blocks("console")
    exchanges = re.findall(r"^\$ holdfast (.*)\n([^$]*)", console, flags=re.MULTILINE)
    assert len(exchanges) == 6
    for line, answer in exchanges:
        assert site.holdfast(*shlex.split(line)).stdout == answer, line
    monkeypatch.chdir(site.folder)
    for name in ("HOLDFAST_SITE", "HOLDFAST_AS", "HOLDFAST_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    run_doctest(blocks("pycon")[1])
