"""The laws of the design that can be read off the source, each shown able to fail on a bad snippet."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
LINE_LENGTH_MAX = 120

PURE_LAYERS = ("kernel", "apps", "replication", "planner")
MAY_IMPORT = {
    "kernel": {"kernel"},
    "apps": {"kernel", "apps"},
    "replication": {"kernel", "replication"},
    "planner": {"kernel", "planner"},
    "planner.shell": {"kernel", "planner", "planner.shell", "runtime"},
}
MAY_NOT_IMPORT = {
    "sim": {"runtime", "client", "server", "bench", "planner.shell"},
    "runtime": {"sim", "client", "bench", "planner", "planner.shell"},
    "server": {"sim", "client", "bench", "planner", "planner.shell"},
}
IMPURE_MODULES = {
    *("asyncio", "concurrent", "httpx", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "selectors"),
    *("signal", "socket", "subprocess", "tempfile", "threading", "time", "uuid", "uvloop"),
}
ORDER_IS_LOST = {"list", "tuple", "iter", "next", "enumerate", "zip", "map", "filter", "join", "extend"}
ORDER_IS_IRRELEVANT = {"sorted", "min", "max", "sum", "any", "all", "len", "set", "frozenset"}
MACHINE_TEXT = re.compile(
    r"/(?:root|home|work|opt|Users)/\w|pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|"
    r"--(?:extra-)?index-url\s+\S|--find-links\s+\S|--trusted-host\s+\S"
)
FORGOTTEN = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")


@dataclass(frozen=True)
class Source:
    """One file: its path from the repository's root, and its text."""

    path: PurePosixPath
    text: str = field(repr=False)

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def in_package(self) -> bool:
        return self.path.parts[:2] == ("src", "holdfast")

    @property
    def in_tests(self) -> bool:
        return self.path.parts[0] == "tests"

    @property
    def layer(self) -> str:
        """`kernel`, `apps`, ... or the module's own name (`catalog`) for a file right in the package."""
        return layer_of([part.removesuffix(".py") for part in self.path.parts[2:]]) if self.in_package else ""

    @property
    def pure(self) -> bool:
        return self.layer in PURE_LAYERS

    def imports(self) -> Iterator[tuple[int, str]]:
        """Every imported module with its line; `from a import b` gives `a.b`, relative ones resolved."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                package = list(self.path.parts[1:-1])[: len(self.path.parts) - 1 - node.level] if node.level else []
                module = ".".join([*package, *([node.module] if node.module else [])])
                yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)

    def layers_imported(self) -> Iterator[tuple[int, str]]:
        for line, module in self.imports():
            parts = module.split(".")
            if parts[0] == "holdfast" and len(parts) > 1:
                yield line, layer_of(parts[1:])


def layer_of(parts: list[str]) -> str:
    """The layer of a module of the package. The planner's shell is a layer of its own, above its pure core."""
    return "planner.shell" if parts[:2] == ["planner", "shell"] else parts[0]


Rule = Callable[[Source], Iterator[tuple[int, str]]]


def layers_import_only_what_lies_below(source: Source) -> Iterator[tuple[int, str]]:
    layer = source.layer
    for line, imported in source.layers_imported():
        allowed = MAY_IMPORT.get(layer)
        if (allowed is not None and imported not in allowed) or imported in MAY_NOT_IMPORT.get(layer, ()):
            yield line, f"{layer} imports {imported}"


def only_the_catalog_joins_apps_and_protocols(source: Source) -> Iterator[tuple[int, str]]:
    imported = {layer for _, layer in source.layers_imported()}
    if source.in_package and source.layer != "catalog" and {"apps", "replication"} <= imported:
        yield 1, "imports both apps and replication; only catalog.py may"


def pure_layers_import_nothing_impure(source: Source) -> Iterator[tuple[int, str]]:
    for line, module in source.imports():
        if source.pure and module.split(".")[0] in IMPURE_MODULES:
            yield line, f"imports {module}"


def pure_layers_call_nothing_impure(source: Source) -> Iterator[tuple[int, str]]:
    for node in ast.walk(source.tree):
        if source.pure and isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in {"hash", "open", "input", "__import__"}:
                yield node.lineno, f"calls {node.func.id}()"
            if isinstance(node.func, ast.Attribute) and node.func.attr in {"now", "utcnow", "today"}:
                yield node.lineno, f"reads a clock: {ast.unparse(node.func)}()"


def is_set(node: ast.expr | None, names: set[str]) -> bool:
    """Best effort: a set display, comprehension or call, a set operation, or a name known to hold one."""
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor(), right=right):
            return is_set(left, names) or is_set(right, names)
        case ast.Name() | ast.Attribute():
            return ast.unparse(node) in names
    return False


def set_names(scope: ast.AST) -> set[str]:
    """Names (`seen`, `self.seen`) that this scope annotates as, or assigns, a set."""
    names: set[str] = set()
    for node in ast.walk(scope):
        match node:
            case ast.AnnAssign(target=target, annotation=annotation) if is_set_annotation(annotation):
                names |= {ast.unparse(target), f"self.{ast.unparse(target)}"}
            case ast.arg(arg=argument, annotation=annotation) if is_set_annotation(annotation):
                names.add(argument)
            case ast.Assign(targets=targets, value=value) if is_set(value, set()):
                names |= {ast.unparse(target) for target in targets}
    return names


def is_set_annotation(annotation: ast.expr | None) -> bool:
    return annotation is not None and bool(
        re.match(r"(typing\.)?(set|frozenset|Set|AbstractSet)\b", ast.unparse(annotation))
    )


def pure_layers_never_iterate_over_a_set(source: Source) -> Iterator[tuple[int, str]]:
    if not source.pure:
        return
    shared = {name for name in set_names(source.tree) if "." in name}
    for scope in ast.walk(source.tree):
        if isinstance(scope, ast.FunctionDef | ast.Module):
            body = scope if isinstance(scope, ast.FunctionDef) else ast.Module(top_level(scope), [])
            names = shared | {name for name in set_names(body) if "." not in name}
            yield from set_iterations(body, names)


def top_level(module: ast.Module) -> list[ast.stmt]:
    return [node for node in module.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]


def set_iterations(scope: ast.AST, names: set[str]) -> Iterator[tuple[int, str]]:
    irrelevant: set[int] = set()
    for node in ast.walk(scope):
        match node:
            case ast.Call(func=ast.Name(id=name), args=[ast.GeneratorExp() as inner]) if name in ORDER_IS_IRRELEVANT:
                irrelevant.add(id(inner))
            case ast.SetComp():
                irrelevant.add(id(node))
    for node in ast.walk(scope):
        match node:
            case ast.For(iter=iterable) | ast.Starred(value=iterable) if is_set(iterable, names):
                yield node.lineno, f"iterates over the set {ast.unparse(iterable)}"
            case ast.ListComp() | ast.GeneratorExp() | ast.DictComp() if id(node) not in irrelevant:
                for generator in node.generators:
                    if is_set(generator.iter, names):
                        yield node.lineno, f"iterates over the set {ast.unparse(generator.iter)}"
            case ast.Call(func=ast.Attribute(value=value, attr="pop"), args=[]) if is_set(value, names):
                yield node.lineno, f"takes any element of the set {ast.unparse(value)}"
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=arguments) if name in ORDER_IS_LOST:
                if any(is_set(argument, names) for argument in arguments):
                    yield node.lineno, f"{name}() of a set"


def nothing_prints_but_commands(source: Source) -> Iterator[tuple[int, str]]:
    for node in ast.walk(source.tree):
        if source.in_package and source.layer not in {"client", "bench", "sim"} and isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id == "print":
                yield node.lineno, "prints"


def files_are_short(source: Source) -> Iterator[tuple[int, str]]:
    count = source.text.count("\n")
    if count > FILE_LINES_MAX:
        yield count, f"{count} lines, at most {FILE_LINES_MAX} are readable"


def functions_are_short(source: Source) -> Iterator[tuple[int, str]]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = (node.end_lineno or node.lineno) - node.lineno + 1
            if count > FUNCTION_LINES_MAX:
                yield node.lineno, f"{node.name} has {count} lines, at most {FUNCTION_LINES_MAX}"


def lines_are_short(source: Source) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(source.text.splitlines(), 1):
        if len(line) > LINE_LENGTH_MAX:
            yield number, f"{len(line)} characters"


def nothing_is_left_for_later(source: Source) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(source.text.splitlines(), 1):
        if FORGOTTEN.search(line):
            yield number, line.strip()


def modules_say_what_they_are(source: Source) -> Iterator[tuple[int, str]]:
    if source.text.strip() and not ast.get_docstring(source.tree):
        yield 1, "no docstring"


def public_names_say_what_they_are(source: Source) -> Iterator[tuple[int, str]]:
    for node in source.tree.body if source.in_package else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if not node.name.startswith("_") and not ast.get_docstring(node):
                yield node.lineno, f"{node.name} has no docstring"


def no_exception_is_swallowed(source: Source) -> Iterator[tuple[int, str]]:
    broad = {"", "Exception", "BaseException"}
    for node in ast.walk(source.tree):
        match node:
            case ast.ExceptHandler(type=caught, body=[ast.Pass() | ast.Continue() | ast.Expr(ast.Constant())]):
                if (ast.unparse(caught) if caught else "") in broad:
                    yield node.lineno, "swallows every exception"
            case ast.Call(func=ast.Name(id="suppress") | ast.Attribute(attr="suppress"), args=arguments):
                if any(ast.unparse(argument) in broad for argument in arguments):
                    yield node.lineno, "suppresses every exception"


def waits_are_for_conditions(source: Source) -> Iterator[tuple[int, str]]:
    """A sleep stands only in a loop that ends by a condition."""
    polling = {
        id(inner)
        for loop in ast.walk(source.tree)
        if isinstance(loop, ast.While) and not isinstance(loop.test, ast.Constant)
        for inner in ast.walk(loop)
    }
    for node in ast.walk(source.tree):
        if source.in_tests and isinstance(node, ast.Call) and id(node) not in polling:
            if ast.unparse(node.func) in {"time.sleep", "sleep"}:
                yield node.lineno, "sleeps; wait for a condition instead (fixture `until`)"


def no_test_is_skipped(source: Source) -> Iterator[tuple[int, str]]:
    skipping = {"skip", "skipif", "xfail", "importorskip", "skipTest"}
    for node in ast.walk(source.tree):
        if source.in_tests and isinstance(node, ast.Attribute) and node.attr in skipping:
            if ast.unparse(node.value) in {"pytest", "pytest.mark", "unittest", "self"}:
                yield node.lineno, ast.unparse(node)


def nothing_names_this_machine(source: Source) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(source.text.splitlines(), 1):
        if found := MACHINE_TEXT.search(line):
            yield number, f"names a machine's path or a registry: {found[0]}"


PYTHON_RULES: list[Rule] = [
    layers_import_only_what_lies_below,
    only_the_catalog_joins_apps_and_protocols,
    pure_layers_import_nothing_impure,
    pure_layers_call_nothing_impure,
    pure_layers_never_iterate_over_a_set,
    nothing_prints_but_commands,
    files_are_short,
    functions_are_short,
    lines_are_short,
    nothing_is_left_for_later,
    modules_say_what_they_are,
    public_names_say_what_they_are,
    no_exception_is_swallowed,
    waits_are_for_conditions,
    no_test_is_skipped,
]


def repository_files() -> list[Path]:
    """Everything that is, or is about to be, in the repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [ROOT / name for name in sorted(set(names)) if name and (ROOT / name).is_file()]


def read(path: Path) -> Source | None:
    """The file, or None where it is not text."""
    data = path.read_bytes()
    if b"\0" in data:
        return None
    return Source(PurePosixPath(path.relative_to(ROOT).as_posix()), data.decode())


def problems(rule: Rule, sources: list[Source]) -> list[str]:
    return [f"{source.path}:{line}: {text}" for source in sources for line, text in rule(source)]


@pytest.fixture(scope="module")
def python_sources() -> list[Source]:
    found = [read(path) for path in repository_files() if path.suffix == ".py"]
    sources = [source for source in found if source]
    assert any(source.layer == "kernel" for source in sources)
    return sources


@pytest.mark.parametrize("rule", PYTHON_RULES, ids=lambda rule: rule.__name__)
def test_the_source_keeps_the_law(rule: Rule, python_sources: list[Source]) -> None:
    found = problems(rule, python_sources)
    assert not found, "\n".join(found)


def test_no_file_names_a_machine_or_a_registry() -> None:
    sources = [source for path in repository_files() if path != Path(__file__) and (source := read(path))]
    found = problems(nothing_names_this_machine, sources)
    assert not found, "\n".join(found)


BAD: list[tuple[Rule, str, str]] = [
    (layers_import_only_what_lies_below, "src/holdfast/kernel/a.py", "from holdfast.apps import tickets"),
    (layers_import_only_what_lies_below, "src/holdfast/kernel/a.py", "from ..apps import tickets"),
    (layers_import_only_what_lies_below, "src/holdfast/apps/a.py", "import holdfast.replication.solo"),
    (layers_import_only_what_lies_below, "src/holdfast/replication/lamport/a.py", "from holdfast import catalog"),
    (layers_import_only_what_lies_below, "src/holdfast/sim/a.py", "from holdfast.runtime.node import Node"),
    (layers_import_only_what_lies_below, "src/holdfast/planner/a.py", "from holdfast.planner.shell import Planner"),
    (layers_import_only_what_lies_below, "src/holdfast/planner/a.py", "from .shell.run import PlanRun"),
    (layers_import_only_what_lies_below, "src/holdfast/planner/shell/a.py", "from holdfast.client import Site"),
    (pure_layers_import_nothing_impure, "src/holdfast/planner/a.py", "import httpx"),
    (
        only_the_catalog_joins_apps_and_protocols,
        "src/holdfast/sim/a.py",
        "from holdfast.apps import tickets\nfrom holdfast.replication import solo",
    ),
    (pure_layers_import_nothing_impure, "src/holdfast/kernel/a.py", "def f():\n    import time"),
    (pure_layers_import_nothing_impure, "src/holdfast/apps/a.py", "from asyncio.streams import StreamReader"),
    (pure_layers_call_nothing_impure, "src/holdfast/apps/a.py", "x = hash('seat')"),
    (pure_layers_call_nothing_impure, "src/holdfast/apps/a.py", "x = datetime.datetime.now()"),
    (pure_layers_never_iterate_over_a_set, "src/holdfast/apps/a.py", "for seat in {1, 2}: f(seat)"),
    (pure_layers_never_iterate_over_a_set, "src/holdfast/apps/a.py", "x = [f(seat) for seat in set(seats)]"),
    (pure_layers_never_iterate_over_a_set, "src/holdfast/apps/a.py", "x = tuple({seat for seat in seats})"),
    (pure_layers_never_iterate_over_a_set, "src/holdfast/apps/a.py", "def f(a: set[int]):\n    return a.pop()"),
    (pure_layers_never_iterate_over_a_set, "src/holdfast/apps/a.py", "def f(a: set[int]):\n    return [*a]"),
    (
        pure_layers_never_iterate_over_a_set,
        "src/holdfast/replication/a.py",
        "class A:\n  def f(self):\n    self.live = set()\n  def g(self):\n    for peer in self.live - {1}: send(peer)",
    ),
    (nothing_prints_but_commands, "src/holdfast/runtime/a.py", "print('started')"),
    (files_are_short, "src/holdfast/a.py", "x = 1\n" * (FILE_LINES_MAX + 1)),
    (functions_are_short, "tests/a.py", "def f():\n" + "    x = 1\n" * FUNCTION_LINES_MAX),
    (lines_are_short, "tests/a.py", "#" * (LINE_LENGTH_MAX + 1)),
    (nothing_is_left_for_later, "tests/a.py", "x = 1  # TO" + "DO: later"),
    (modules_say_what_they_are, "src/holdfast/a.py", "import ast"),
    (public_names_say_what_they_are, "src/holdfast/a.py", "def reserve(): return 1"),
    (public_names_say_what_they_are, "src/holdfast/a.py", "class Seat: x = 1"),
    (no_exception_is_swallowed, "src/holdfast/a.py", "try: f()\nexcept Exception: pass"),
    (no_exception_is_swallowed, "src/holdfast/a.py", "for x in y:\n  try: f()\n  except: continue"),
    (no_exception_is_swallowed, "src/holdfast/a.py", "with contextlib.suppress(Exception): f()"),
    (waits_are_for_conditions, "tests/a.py", "time.sleep(1)"),
    (waits_are_for_conditions, "tests/a.py", "while True: time.sleep(1)"),
    (no_test_is_skipped, "tests/a.py", "@pytest.mark.skipif(True, reason='')\ndef test_a(): pass"),
    (no_test_is_skipped, "tests/a.py", "def test_a(): pytest.skip('later')"),
    (nothing_names_this_machine, "docs/a.md", "see /ro" + "ot/notes"),
    (nothing_names_this_machine, "requirements/a.txt", "--index-url" + " https://example.net/simple"),
]

GOOD: list[tuple[Rule, str, str]] = [
    (layers_import_only_what_lies_below, "src/holdfast/apps/a.py", "from holdfast.kernel.store import Row"),
    (only_the_catalog_joins_apps_and_protocols, "src/holdfast/catalog.py", BAD[5][2]),
    (pure_layers_import_nothing_impure, "src/holdfast/runtime/a.py", "import asyncio"),
    (pure_layers_import_nothing_impure, "src/holdfast/planner/shell/a.py", "import asyncio\nimport httpx"),
    (layers_import_only_what_lies_below, "src/holdfast/planner/shell/a.py", "from holdfast.runtime import journal"),
    (pure_layers_never_iterate_over_a_set, "src/holdfast/apps/a.py", "x = sorted({2, 1})\ny = 1 in {1}"),
    (pure_layers_never_iterate_over_a_set, "src/holdfast/apps/a.py", "x = all(f(a) for a in {1, 2})"),
    (nothing_prints_but_commands, "src/holdfast/client/a.py", "print('seats')"),
    (waits_are_for_conditions, "tests/a.py", "while not ready():\n    time.sleep(0.01)"),
    (no_exception_is_swallowed, "src/holdfast/a.py", "try: f()\nexcept KeyError: pass"),
]


@pytest.mark.parametrize(("rule", "path", "text"), BAD, ids=lambda value: getattr(value, "__name__", None))
def test_the_law_can_be_broken(rule: Rule, path: str, text: str) -> None:
    assert list(rule(Source(PurePosixPath(path), text)))


@pytest.mark.parametrize(("rule", "path", "text"), GOOD, ids=lambda value: getattr(value, "__name__", None))
def test_the_law_forbids_no_more_than_it_says(rule: Rule, path: str, text: str) -> None:
    assert not list(rule(Source(PurePosixPath(path), text)))


def test_every_law_has_a_snippet_that_breaks_it() -> None:
    assert {rule.__name__ for rule in [*PYTHON_RULES, nothing_names_this_machine]} == {
        rule.__name__ for rule, *_ in BAD
    }


def decision_problems(pages: dict[str, str]) -> list[str]:
    """What is wrong with these pages, by file name: numbers without gaps, the three headings, one page."""
    found = []
    for number, name in enumerate(sorted(pages), 1):
        if not re.fullmatch(rf"{number:04}-[a-z0-9-]+\.md", name):
            found.append(f"{name}: expected number {number:04}")
        for heading in ("Context", "Decision", "Consequences"):
            if not re.search(rf"^(## |\*\*){heading}", pages[name], re.MULTILINE):
                found.append(f"{name}: no heading {heading}")
        if pages[name].count("\n") > 60:
            found.append(f"{name}: longer than a page")
    return found


def test_decisions_are_numbered_without_gaps_and_say_why() -> None:
    pages = {path.name: path.read_text() for path in (ROOT / "docs" / "decisions").glob("*.md")}
    assert pages
    assert not decision_problems(pages)


def test_a_gap_between_decisions_is_seen() -> None:
    page = "# A\n## Context\n## Decision\n## Consequences\n"
    assert not decision_problems({"0001-a.md": page, "0002-b.md": page})
    assert decision_problems({"0001-a.md": page, "0003-b.md": page})
    assert decision_problems({"0001-a.md": "# A\n## Context\n"})
    assert decision_problems({"0001-a.md": page + "\n" * 60})
