"""A hash of the code on which the stored results of a chapter depend.

It covers the chapter's cells outside exercises, quizzes and figures, and, of the
package, each definition that these cells import and all that it uses in turn.
Code is compared as syntax trees without docstrings: comments, layout, prose and
definitions that the chapter does not use do not matter.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PACKAGE = "mammocourse"
NO_RESULTS = {"check", "interactive", "ledger", "plotting"}  # modules that decide no number
NO_RESULT_TAGS = {"answer", "solution", "check", "quiz", "figure"}

Need = tuple[str, str]  # a module of the package ("" for its __init__) and a name, or "*"


def source_hash(cells: Iterable[str], package: Path) -> str:
    """Return the hash of some cells and of what they import from the package.

    Parameters
    ----------
    cells : iterable of str
        The code of the cells that decide results.
    package : Path
        The folder of the package.
    """
    trees = [ast.parse(cell) for cell in cells]
    modules: dict[str, _Module] = {}
    pending = sorted({need for tree in trees for need in _imports(tree)})
    seen: set[Need] = set()
    parts = [canonical(tree) for tree in trees]
    while pending:
        need = pending.pop(0)
        name = need[0]
        if need in seen or name in NO_RESULTS:
            continue
        seen.add(need)
        if name not in modules:
            modules[name] = _Module(package, name)
        code, more = modules[name].get(need[1])
        parts.append(f"{need}{code}")
        pending = sorted({*pending, *more})
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def modules(cells: Iterable[str], package: Path) -> list[Path]:
    """Return the modules that some cells import, directly or through others, sorted."""
    pending = {need for cell in cells for need in _imports(ast.parse(cell))}
    found = {package / "__init__.py"} if pending else set()
    while pending:
        module, name = pending.pop()
        for path in (package / f"{module}.py", package / f"{name}.py"):
            if path not in found and path.exists():
                found.add(path)
                pending |= _imports(ast.parse(path.read_text(encoding="utf-8")))
    return sorted(found)


class _Module:
    """The top-level definitions of one module."""

    def __init__(self, package: Path, name: str) -> None:
        self.name = name
        self.package = package
        path = package / f"{name or '__init__'}.py"
        self.tree = ast.parse(path.read_text(encoding="utf-8") if path.exists() else "")
        self.definitions: dict[str, ast.AST] = {}
        self.imports: dict[str, Need] = {}
        for node in self.tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.definitions[node.name] = node
            elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    for part in ast.walk(target):
                        if isinstance(part, ast.Name):
                            self.definitions[part.id] = node
            elif isinstance(node, ast.ImportFrom | ast.Import):
                for alias in node.names:
                    single = type(node)(**{**vars(node), "names": [alias]})
                    for need in _imports(single):
                        self.imports[alias.asname or alias.name] = need

    def get(self, name: str) -> tuple[str, set[Need]]:
        """Return the code of a definition and what it needs; "*" is the whole module."""
        if name == "*":
            return canonical(self.tree), _imports(self.tree)
        if name in self.imports:
            return "", {self.imports[name]}
        if name not in self.definitions:
            is_module = not self.name and (self.package / f"{name}.py").exists()
            return "", {(name, "*")} if is_module else set()
        node = self.definitions[name]
        used = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        needs = {(self.name, other) for other in used & set(self.definitions) - {name}}
        needs |= {self.imports[other] for other in used & set(self.imports)}
        return canonical(node), needs | _imports(node)


def _imports(tree: ast.AST) -> set[Need]:
    """Return what some code imports from the package."""
    found: set[Need] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = (alias.name.split(".") for alias in node.names)
            found |= {(parts[1], "*") for parts in names if parts[0] == PACKAGE and len(parts) > 1}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            module = ".".join((node.module or "").split(".")[1:])
            found |= {(module, alias.name) for alias in node.names}
    return found


def canonical(node: Any) -> str:
    """Write a syntax tree in a way that is the same for all Python versions."""
    if isinstance(node, ast.AST):
        fields = []
        for name, value in ast.iter_fields(node):
            if name == "body" and isinstance(value, list) and value and _is_docstring(value[0]):
                value = value[1:]
            if value not in (None, []) and name not in ("kind", "type_comment", "ctx"):
                fields.append(f"{name}={canonical(value)}")
        return f"{type(node).__name__}({', '.join(fields)})"
    if isinstance(node, list):
        return f"[{', '.join(map(canonical, node))}]"
    return repr(node)


def _is_docstring(node: Any) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
