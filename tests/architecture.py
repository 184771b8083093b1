"""The rules of the house as functions: each takes source text (or a graph) and returns what breaks the rule, in words.

`test_architecture` applies them to the repository, and each of them to something that breaks it.
"""

import ast
import re
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# A file imports from its own drawer or one further left; the two at the bottom do not know each other.
BELOW = {
    "text": set(),
    "layers": set(),
    "models": {"text", "layers"},
    "weights": {"text", "layers", "models"},
    "run": {"text", "layers", "models", "weights"},
    "teach": {"text", "layers", "models", "weights", "run"},
}
STANDARD_ONLY = {"lib", "lib.__main__", "lib.environment", "lib.lock", "lib.pip_trouble", "lib.torch_build"}
ONLY_IN = {"matplotlib": "teach", "ipywidgets": "teach", "transformers": "weights", "rwkv": "weights"}
# What may be called while a file is imported: it makes plain data, reads nothing and computes nothing to speak of.
HARMLESS = {"compile", "frozenset", "set", "dict", "tuple", "list", "range", "slice", "zip", "namedtuple", "field"}
HARMLESS |= {"resolve", "items", "split", "join", "encode", "bytes", "cycler", "withStroke"}


def files():
    """Return the name and the source of every module in lib."""
    found = {}
    for path in sorted((ROOT / "lib").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = path.read_text(encoding="utf-8")
    return found


def drawer(module):
    """Return the drawer of a module of lib, None for what lies outside the drawers."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in BELOW else None


@cache
def imports(source):
    """Return (line, module, names) of every import anywhere in a file, also of those by importlib with a plain name."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found.append((node.lineno, module, tuple(alias.name for alias in node.names)))
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__") and node.args:
            if isinstance(node.args[0], ast.Constant):
                found.append((node.lineno, node.args[0].value, ()))
    return found


def own_imports(source, modules):
    """Return (line, module) of what a file imports from lib; `from lib.layers import rope` means lib.layers.rope."""
    found = []
    for line, module, names in imports(source):
        if module.split(".")[0] == "lib":
            inside = [f"{module}.{name}" for name in names if f"{module}.{name}" in modules]
            found += [(line, name) for name in inside or [module]]
    return found


def wrong_drawers(module, source, modules):
    """Imports from a later drawer, or between text and layers."""
    home = drawer(module)
    allowed = BELOW[home] | {home} if home else None
    bad = []
    for line, target in own_imports(source, modules):
        if home and target not in ("lib.environment", "lib.pip_trouble") and drawer(target) not in allowed:
            bad.append(f"{module}:{line} imports {target}, but {home} may use {', '.join(sorted(allowed))} alone")
    return bad


def wrong_imports(module, source):
    """Star imports, relative ones, and packages that have one drawer."""
    bad = []
    for line, target, names in imports(source):
        package = target.split(".")[0]
        if "*" in names:
            bad.append(f"{module}:{line} imports * from {target}")
        if target.startswith("."):
            bad.append(f"{module}:{line} imports relatively: {target}")
        if package in ONLY_IN and drawer(module) != ONLY_IN[package]:
            bad.append(f"{module}:{line} imports {package}, which only {ONLY_IN[package]}/ may")
        if module in STANDARD_ONLY and package not in sys.stdlib_module_names and target not in STANDARD_ONLY:
            bad.append(f"{module}:{line} imports {target}, but has to run before anything is installed")
    return bad


def cycles(graph):
    """Return a cycle of a graph {node: set of nodes} as a list, or [] where there is none."""
    done, path = set(), []

    def visit(node):
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        path.append(node)
        for target in sorted(graph.get(node, ())):
            found = visit(target)
            if found:
                return found
        done.add(path.pop())
        return []

    return next(filter(None, map(visit, sorted(graph))), [])


def environment_reads(module, source):
    """Uses of os.environ and its kin."""
    if module in STANDARD_ONLY:
        return []
    names = {"environ", "environb", "getenv", "putenv"}
    bad = []
    for node in ast.walk(ast.parse(source)):
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None
        imported = isinstance(node, ast.ImportFrom) and node.module == "os" and names & {a.name for a in node.names}
        if imported or name in names:
            bad.append(f"{module}:{node.lineno} reads the process environment: make it an argument")
    return bad


def too_long(module, source, file_lines=300, function_lines=50):
    """Files and functions above the ceilings."""
    n = len(source.splitlines())
    bad = [f"{module} has {n} lines, the ceiling is {file_lines}: split it"] if n > file_lines else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            n = node.end_lineno - node.lineno + 1
            if n > function_lines:
                bad.append(f"{module}:{node.lineno} {node.name} has {n} lines, the ceiling is {function_lines}")
    return bad


def work_at_import(module, source):
    """Statements that do something while the file is imported. Decorators only name things, so they are let through."""
    tree = ast.parse(source)
    # A function of the file that only returns something, or defines a function and returns it, computes nothing yet:
    # tables of presets and of wrong answers are written with such shorthands.
    shorthand = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and _only_returns(node)}
    bad = []

    def visit(statements):
        for node in statements:
            if isinstance(node, ast.Import | ast.ImportFrom | ast.Pass) or _is_docstring(node) or _is_main(node):
                continue
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                values = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
            elif isinstance(node, ast.ClassDef):
                values = node.bases
                visit(node.body)
            elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
                values = [node.value] if node.value else []
            else:
                bad.append(f"{module}:{node.lineno} works at import: {ast.unparse(node).splitlines()[0]}")
                continue
            calls = (call for value in values for call in _calls_now(value))
            for name in map(_called, calls):
                if name not in HARMLESS | shorthand and not name[:1].isupper():
                    bad.append(f"{module}:{node.lineno} calls {name}() at import: move it into a function")

    visit(tree.body)
    return bad


def undocumented(module, source):
    """Files, public functions and classes without a docstring, and methods of more than one statement."""
    tree = ast.parse(source)
    bad = [f"{module} says nothing about itself"] if tree.body and not ast.get_docstring(tree) else []

    def visit(nodes, inside):
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name[0] != "_":
                if not ast.get_docstring(node) and not (inside and len(node.body) == 1):
                    bad.append(f"{module}:{node.lineno} {inside}{node.name} has no docstring")
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{node.name}.")

    visit(tree.body, "")
    return bad


def machine_paths(name, text):
    """Folders of the machine on which something was written or run. Ada is nobody: a test may invent her folder."""
    folders = "|".join(["work", "root", "tmp", "home", "farm", "Users", "opt", "private/var"])
    pattern = re.compile(rf"(?<![\w.~/-])/(?:{folders})/(?!ada)\w+|\b[A-Z]:\\+Users\\+(?!ada)\w+")
    bad = ((i, found) for i, line in enumerate(text.splitlines(), 1) for found in pattern.findall(line))
    return [f"{name}:{i} names a folder of one machine: {found}" for i, found in bad]


def _called(call):
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "an expression")


def _calls_now(value):
    """Yield the calls in an expression that are made at once: not those inside a lambda."""
    if isinstance(value, ast.Lambda):
        return
    if isinstance(value, ast.Call):
        yield value
    for child in ast.iter_child_nodes(value):
        yield from _calls_now(child)


def _only_returns(function):
    *others, last = function.body
    return isinstance(last, ast.Return) and all(
        isinstance(node, ast.FunctionDef) or _is_docstring(node) for node in others
    )


def _is_docstring(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_main(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("__name__ == '__main__'", "TYPE_CHECKING")
