"""Run code whose lines end in a comment like `# (B, H, T, N)`, and see whether each such comment is true.

The code is parsed, a call of `Run.see` is put round (or after) what each comment describes, and it runs like that. In
one call of a function a letter is one number; it also has to agree with a local variable of that name, and with the
sizes that the test has fixed, all different. Terms may be computed: N/2, G*N, 2*F. `...` is any number of axes.

A comment describes the value of the line that it ends: what is assigned (each name, where there are several), returned
or computed there. Several shapes in a row, `# (B, T, C), (B, H, N)`, describe the parts of a tuple in order.
"""

import ast
import contextlib
import importlib.abc
import importlib.machinery
import io
import re
import sys
import tokenize
from fractions import Fraction
from typing import NamedTuple

import torch

TERM = r"(?:\.\.\.|[\w.]+(?:\s*[-+*/]+\s*[\w.]+)*)"
SHAPE = re.compile(rf"\(\s*({TERM}(?:\s*,\s*{TERM})*\s*,|{TERM}(?:\s*,\s*{TERM})+)\s*\)")


class Comment(NamedTuple):
    """A shape comment: where it stands, and its shapes, each a list of terms."""

    module: str
    line: int
    shapes: tuple


def comments(module, source):
    """Return the shape comments at the ends of lines of code."""
    found = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and token.line[: token.start[1]].strip():
            shapes = shapes_in(token.string)
            if shapes:
                found.append(Comment(module, token.start[0], shapes))
    return found


def shapes_in(comment):
    """Return the first row of shapes in a comment: "# (T, N), (T, N), radians" -> (("T", "N"), ("T", "N"))."""
    shapes, end = [], None
    for match in SHAPE.finditer(comment):
        terms = tuple(term.strip() for term in match[1].rstrip(", ").split(","))
        has_letter = any(term == "..." or re.search(r"\b[A-Z]\w?\b", term) for term in terms)
        between = "" if end is None else comment[end : match.start()].strip(" ,")
        if not has_letter or between not in ("", "and"):
            continue
        shapes.append(terms)
        end = match.end()
    return tuple(shapes)


def instrument(module, source, name):
    """Return the tree of the source in which every described value passes through the function called `name`."""
    tree = ast.parse(source)
    for comment in comments(module, source):
        found = _statement(tree, comment.line)
        if found is None:
            continue  # never seen in a run, and so reported
        body, index = found
        statement = body[index]
        if statement.end_lineno == comment.line and isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
            target = statement.targets[-1] if isinstance(statement, ast.Assign) else statement.target
            seen = ast.parse(f"{name}({comment.line}, ({ast.unparse(target)}), locals())").body[0]
            body.insert(index + 1, seen)
        else:
            _Wrap(name, _expression(statement, comment.line), comment.line).visit(statement)
    _Begin(name).visit(tree)
    return ast.fix_missing_locations(tree)


def _statement(tree, line):
    """Return (body, index) of the innermost statement that has the line."""
    best = None
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            for i, statement in enumerate(body if isinstance(body, list) else ()):
                if statement.lineno <= line <= statement.end_lineno:
                    best = body, i
    return best


def _expression(statement, line):
    """Return the longest expression of a statement that ends last on the line: what stands before the comment."""
    if isinstance(statement, ast.Return | ast.Expr) and statement.end_lineno == line:
        return statement.value
    ends = [n for n in ast.walk(statement) if isinstance(n, ast.expr) and n.end_lineno == line]
    ends = [n for n in ends if n.end_col_offset == max(m.end_col_offset for m in ends)]
    return min(ends, key=lambda n: (n.lineno, n.col_offset), default=None)


class _Wrap(ast.NodeTransformer):
    def __init__(self, name, target, line):
        self.name, self.target, self.line = name, target, line

    def visit(self, node):
        if node is not self.target:
            return self.generic_visit(node)
        call = ast.parse(f"{self.name}({self.line}, 0, locals())").body[0].value
        call.args[1] = node
        return ast.copy_location(call, node)


class _Begin(ast.NodeTransformer):
    """Give each call of a function letters of its own: a name that its comments, and only they, pass on."""

    def __init__(self, name):
        self.name = name

    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        first = 1 if isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant) else 0
        node.body.insert(first, ast.parse(f"{self.name} = {self.name}_begin()").body[0])
        return node


class Run:
    """What the comments of a run said. `sizes` are the letters that the test has fixed for all calls."""

    def __init__(self, sizes=None):
        self.sizes = dict(sizes or {})
        self.seen, self.problems, self.open = set(), {}, []

    def begin(self, module, shapes):
        """Return the `see` of one call of a function in a module whose comments are {line: shapes}."""
        letters, open_terms, found_at = dict(self.sizes), [], {}
        self.open.append(open_terms)

        def see(line, value, local):
            where = module, line
            if line in found_at.values():  # a loop comes round: what it found is free again
                for name in [name for name, at in found_at.items() if at >= line]:
                    del letters[name], found_at[name]
            before = set(letters)
            tensors = _tensors(value)
            rows = shapes[line] if len(shapes[line]) > 1 else shapes[line] * len(tensors)
            problem = None if len(rows) == len(tensors) > 0 else f"{len(rows)} shapes stand for {len(tensors)} tensors"
            for terms, tensor in zip(rows, tensors, strict=False):
                problem = problem or fits(terms, tuple(tensor.shape), letters, self.sizes, open_terms, local, where)
            if problem:
                self.problems.setdefault(where, problem)
            found_at.update(dict.fromkeys(letters.keys() - before, line))
            self.seen.add(where)
            return value

        return see

    def wrong(self):
        """Return {(module, line): what is wrong}, with the terms that were never decided."""
        undecided = {where: f"{term} has more than one unknown letter" for left in self.open for term, _, where in left}
        return {**undecided, **self.problems}


def _tensors(value):
    if isinstance(value, torch.Tensor):
        return [value]
    return [part for part in value if isinstance(part, torch.Tensor)] if isinstance(value, tuple | list) else []


def fits(terms, shape, letters, fixed, open_terms, local, where):
    """Say in words why a shape is not what the terms say, or return None. New letters and their sizes are kept."""
    told = f"({', '.join(terms)}) is {shape}"
    if "..." in terms:
        i, n = terms.index("..."), len(terms) - 1
        if len(shape) < n:
            return f"{told}: fewer axes"
        terms, shape = (*terms[:i], *terms[i + 1 :]), shape[:i] + shape[len(shape) - (n - i) :]
    if len(terms) != len(shape):
        return f"{told}: {len(terms)} axes and {len(shape)}"
    for name in {name for term in terms for name in names_in(term)} & local.keys():
        if type(local[name]) is int:
            letters[name] = local[name]  # a variable of the function's own says what the letter is
    open_terms += [(term, size, where) for term, size in zip(terms, shape, strict=True)]
    for _ in range(len(open_terms)):  # each turn may make another term solvable
        for entry in list(open_terms):
            problem = solve(*entry[:2], letters, fixed)
            if problem is None:
                open_terms.remove(entry)
            elif problem:
                open_terms.clear()
                return f"{told}: {problem}"
    return None


def names_in(term):
    """Return the letters of a term."""
    return {node.id for node in ast.walk(ast.parse(term, mode="eval")) if isinstance(node, ast.Name)}


def solve(term, size, letters, fixed):
    """Compare one term with a size: None where they agree, words where not, "" where two letters are unknown yet.

    A single unknown letter is found from the size, if the term is linear in it. It may not have the size of a letter
    that the test has fixed: those are all different, so it is that letter under another name.
    """
    unknown = sorted(names_in(term) - letters.keys())
    if len(unknown) > 1:
        return ""
    code = compile(_exact(term), "a shape comment", "eval")

    def at(value):
        return eval(code, {"Fraction": Fraction}, {**letters, **dict.fromkeys(unknown, value)})

    if not unknown:
        said = at(None)
        return None if said == size else f"{term} is {said}, not {size}"
    slope = at(Fraction(1)) - at(Fraction(0))
    value = (size - at(Fraction(0))) / slope if slope else Fraction(-1)
    if value.denominator != 1 or value < 0 or at(value) != size:
        return f"no whole {unknown[0]} makes {term} {size}"
    twin = next((letter for letter, taken in fixed.items() if taken == value), None)
    if twin:
        return f"{unknown[0]} is {value}, and so is {twin}: name it so, or let the driver use another size"
    letters[unknown[0]] = int(value)
    return None


def _exact(term):
    """Write the numbers of a term as fractions, so that N/2 is exact."""
    tree = ast.parse(term, mode="eval")

    class Numbers(ast.NodeTransformer):
        def visit_Constant(self, node):
            return ast.parse(f"Fraction({node.value})", mode="eval").body

    return ast.fix_missing_locations(Numbers().visit(tree))


class _Loader(importlib.abc.Loader):
    def __init__(self, run, path):
        self.run, self.path = run, path

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        with open(self.path, encoding="utf-8") as file:
            load(module.__name__, file.read(), vars(module), lambda: self.run[0], self.path)


def load(name, source, namespace, run, path="<source>"):
    """Execute instrumented source in a namespace; `run()` is the Run at the time of each call."""
    shapes = {comment.line: comment.shapes for comment in comments(name, source)}
    namespace["_see_begin"] = lambda: run().begin(name, shapes)
    namespace["_see"] = lambda *args: run().begin(name, shapes)(*args)  # for comments outside functions
    exec(compile(instrument(name, source, "_see"), path, "exec"), namespace)


@contextlib.contextmanager
def instrumented(package, run):
    """Import `package` and all below it anew, instrumented, while the block runs; `run[0]` takes what they say."""
    aside = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == package}

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] != package:
                return None
            spec = importlib.machinery.PathFinder.find_spec(name, path, target)
            if spec is not None and spec.origin:
                spec.loader = _Loader(run, spec.origin)
            return spec

    finder = Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.split(".")[0] == package]:
            del sys.modules[name]
        sys.modules.update(aside)
