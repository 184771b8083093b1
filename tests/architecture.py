"""The rules of the house that no tool has, as functions: each takes source text and returns what breaks it, in words.

`test_architecture` applies them to the repository, and each of them to something that breaks it. What ruff and
import-linter hold stands in pyproject.toml, and `test_lint` sees that they hold it.
"""

import ast
import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CODE = ("lib", "lessons/checker", "lessons/exercises", "lessons/figures", "lessons/marking", "lessons/tools")
# What may be called while a file is imported: it makes plain data, reads nothing and computes nothing to speak of.
HARMLESS = {"compile", "frozenset", "set", "dict", "tuple", "list", "range", "slice", "zip", "namedtuple", "field"}
HARMLESS |= {"resolve", "items", "split", "join", "encode", "bytes", "count", "cycler", "withStroke"}
ONE_OF_A_LESSON = re.compile(r"(?:lesson_)?(\d\d)(?:_\w+)?")


def files():
    """Return the name and the source of every module of lib and of the lessons."""
    found = {}
    for path in sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = path.read_text(encoding="utf-8")
    return found


def crowded(folder, names, most=22):
    """Folders with more Python files than one can overlook: a lesson's files, two at most, are found by its number."""
    stems = [name.removesuffix(".py") for name in names if name.endswith(".py") and name != "__init__.py"]
    own = Counter(match[1] for match in map(ONE_OF_A_LESSON.fullmatch, stems) if match)
    others = len(stems) - own.total()
    bad = [f"{folder} has {others} files, the ceiling is {most}: split it"] if others > most else []
    return bad + [f"{folder} has {n} files for lesson {number}: two at most" for number, n in own.items() if n > 2]


def strangers(graph):
    """Exercises that import another lesson's: import-linter's wildcards can't say "but its own". graph: grimp's."""
    bad = []
    for name in sorted(module for module in graph.modules if module.startswith("lessons.exercises.")):
        for target in sorted(graph.find_modules_directly_imported_by(name)):
            if target.startswith("lessons.exercises.") and (target != f"{name}_wrong" or name.endswith("_wrong")):
                bad.append(f"{name} imports {target}: a lesson's exercises stand alone")
    return bad


def not_alone(name, source):
    """Lessons that import the exercises or figures of another one, the tools, or the checker. name: "04_rope"."""
    pattern = r"lessons\.(tools|checker)|lessons\.(?:exercises|figures)(?:\.| import )lesson_(\w+)"
    found = [tools or number for tools, number in re.findall(pattern, source)]
    return [f"{name} imports {word} of the lessons" for word in found if word != name[:2]]


def before_install(graph):
    """Imports of packages in lib's files outside of its drawers, which run before anything is installed."""
    bad = []
    for name in sorted(module for module in graph.modules if re.fullmatch(r"lib\.\w+", module)):
        if graph.find_children(name):
            continue
        for target in sorted(graph.find_modules_directly_imported_by(name)):
            own = re.fullmatch(r"lib\.\w+", target) and not graph.find_children(target)
            if not own and target.split(".")[0] not in sys.stdlib_module_names:
                bad.append(f"{name} imports {target}, but has to run before anything is installed")
    return bad


def bodies(source):
    """Return what each function of a file does, without its name and docstring: a set of texts; short ones left out."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            body = node.body if isinstance(node.body, list) else [node.body]
            found.add("".join(ast.dump(part) for part in body[_is_docstring(body[0]) :]))
    return {body for body in found if len(body) > 200}


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


def idle(*sources):
    """Functions and classes of a lesson's exercises that none of these files uses: only tests could."""
    bad, used = [], set()
    for node in (node for source in sources for node in ast.parse(source).body):
        own = node.name if isinstance(node, ast.FunctionDef | ast.ClassDef) else None
        if own and not node.decorator_list:
            bad.append(own)
        names = (getattr(part, "id", getattr(part, "attr", None)) for part in ast.walk(node))
        used |= {name for name in names if name != own}
    return [name for name in bad if name not in used]


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
        isinstance(node, ast.FunctionDef | ast.ClassDef) or _is_docstring(node) for node in others
    )


def _is_docstring(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_main(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("__name__ == '__main__'", "TYPE_CHECKING")
