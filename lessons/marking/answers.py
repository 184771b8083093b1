"""Find a learner's answer in a notebook, wherever it stands, and the statements that it needs: nothing else is run."""

import ast
import builtins
import symtable
import textwrap
from functools import cached_property
from typing import NamedTuple

COURSE = ("lib", "lessons")
# A statement of these kinds gives a name its whole value: what came before it does not matter any more.
WHOLE = (ast.Assign, ast.AnnAssign, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


class Step:
    """One statement at the top level of a cell. place: (cell, statement); text: as the learner wrote it."""

    def __init__(self, place, node, text):
        self.place, self.node, self.text = place, node, text

    @cached_property
    def table(self):
        """What Python's own compiler says about the names in it."""
        return symtable.symtable(self.text, "answer", "exec")

    @cached_property
    def binds(self):
        """The names that it gives a value, or changes: `x = 1`, `x[0] = 1`, `x.append(1)`, `def x`."""
        return {s.get_name() for s in self.table.get_symbols() if s.is_assigned() or s.is_imported()} | self.changes

    @cached_property
    def changes(self):
        """The names whose object it changes in place."""
        roots = [t for t in ast.walk(self.node) if isinstance(t, ast.Subscript | ast.Attribute)]
        roots = [t for t in roots if isinstance(t.ctx, ast.Store)]
        if isinstance(self.node, ast.Expr) and isinstance(self.node.value, ast.Call):
            roots.append(self.node.value.func)
        if self.is_definition:
            return set()
        return {name for name in map(_root, roots) if name}

    @cached_property
    def uses(self):
        """The names that it reads from outside, also inside of its functions."""
        return _globals_of(self.table) - vars(builtins).keys()

    @property
    def is_definition(self):
        """True for `def` and `class`."""
        return isinstance(self.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)

    @property
    def is_import(self):
        """True for `import` and `from ... import`."""
        return isinstance(self.node, ast.Import | ast.ImportFrom)

    @property
    def checked(self):
        """The exercise that `name = check("04.1", name)` checks, or None."""
        call = getattr(self.node, "value", None)
        if isinstance(self.node, ast.Assign) and isinstance(call, ast.Call) and getattr(call.func, "id", "") == "check":
            return getattr(call.args[0], "value", None) if call.args else None
        return None

    def is_open(self, name):
        """Say whether it leaves an answer open: `name = ...`, or a body that still raises what the stub raises."""
        if isinstance(self.node, ast.Assign):
            return isinstance(self.node.value, ast.Constant) and self.node.value.value is ...
        return 'raise NotImplementedError("' in self.text and ': your turn")' in self.text

    def gives(self, name):
        """Say whether it may be somebody's answer called `name`."""
        return name in self.binds - self.changes and self.checked is None and not self.is_import


class Needs(NamedTuple):
    """What an answer needs: the text to run, exercises whose right answer it builds on, and parts of the course."""

    text: str
    given: dict  # name: the exercise that makes it
    course: list  # [(module, name in it or None, name here, attributes that are read)]


def _root(node):
    # `x` of x[0].y(...); nothing for a bare name, which is a function that is called.
    if isinstance(node, ast.Name):
        return None
    while isinstance(node, ast.Subscript | ast.Attribute | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return getattr(node, "id", None)


def _globals_of(table):
    top = table.get_type() == "module"
    found = {s.get_name() for s in table.get_symbols() if s.is_referenced() and (top or s.is_global())}
    return found.union(*map(_globals_of, table.get_children()), set())


def plain(code):
    """Return a cell's code as Python: lines that speak to the notebook, `%magic`, `!command`, `name?`, do nothing."""
    if _parses(code):
        return code
    lines = [line[: len(line) - len(line.lstrip())] + "pass" if _is_magic(line) else line for line in code.split("\n")]
    return "\n".join(lines)


def _is_magic(line):
    return line.lstrip().startswith(("%", "!", "?")) or line.rstrip().endswith("?")


def steps_of(codes):
    """Return ([Step], {cell: what is wrong with it}) of the cells' codes, {number: text}."""
    steps, broken = [], {}
    for cell, code in codes.items():
        try:
            body = ast.parse(plain(code)).body
        except (SyntaxError, ValueError, RecursionError) as error:
            broken[cell] = f"{getattr(error, 'msg', error)} (line {getattr(error, 'lineno', '?')})"
            continue
        lines, ends = plain(code).split("\n"), [0] + [node.end_lineno for node in body]
        for i, node in enumerate(body):
            first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
            text = "\n".join(lines[first - 1 : node.end_lineno])
            alone = first > ends[i] and (i + 1 == len(body) or body[i + 1].lineno > node.end_lineno)
            steps.append(Step((cell, i), node, text if alone and _parses(text) else ast.unparse(node)))
    return steps, broken


def _parses(text):
    try:
        return ast.parse(text) is not None
    except (SyntaxError, ValueError, RecursionError):
        return False


def needs(steps, answer, verdicts):
    """Return the Needs of an answer, a Step of `steps`. verdicts: {exercise: is the learner's own right}."""
    kept, given, todo = {answer.place: answer}, {}, [(name, answer) for name in sorted(answer.uses)]
    if not answer.is_definition:  # a number may be counted up in several statements of its cell
        todo += [(name, None) for name in sorted(answer.binds)]
    seen = set()
    while todo:
        name, reader = todo.pop()
        key = name, reader and reader.place
        if key in seen or (reader is answer and name in answer.binds):
            continue
        seen.add(key)
        for step in _makers(steps, name, reader or answer, answer, given, verdicts, after=reader is None):
            if step.place not in kept:
                kept[step.place] = step
                todo += [(used, step) for used in sorted(step.uses)]
    ordered = [kept[place] for place in sorted(kept)]
    course = [part for step in ordered if step.is_import for part in course_parts(step, ordered)]
    text = "\n".join(step.text for step in ordered if not (step.is_import and _of_course(step.node)))
    return Needs(text + "\n", given, course)


def _makers(steps, name, reader, answer, given, verdicts, after=False):
    # The statements that make a name as `reader` sees it. A function looks when it is called, right after its cell.
    limit = (reader.place[0], 1 << 30) if reader.is_definition or after else reader.place
    limit = max(limit, (answer.place[0], 1 << 30)) if reader.is_definition else limit
    before = [step for step in steps if step.place < limit and name in step.binds]
    later = [step for step in steps if step.place > limit and name in step.binds - step.changes]
    modules = any(step.is_import and name in step.binds for step in steps)
    found = []
    for step in reversed(before) if before else later[:1]:
        if step.checked and step.checked in verdicts:
            if not verdicts[step.checked]:
                given[name] = step.checked
                return found
            continue
        if modules and name in step.changes:  # what a cell sets in torch, or in any module, is not carried along
            continue
        found.append(step)
        if isinstance(step.node, WHOLE) and name not in step.changes:
            break
    return found


def _of_course(node):
    names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    return any(name.split(".")[0] in COURSE for name in names)


def course_parts(step, steps):
    """Return [(module, name, name here, attributes read)] of what an import takes from the course; [] for any other."""
    if not _of_course(step.node):
        return []
    parts, module = [], getattr(step.node, "module", None)
    for alias in step.node.names:
        here = alias.asname or (alias.name if module else alias.name.split(".")[0])
        parts.append((module or alias.name, alias.name if module else None, here, attributes(steps, here)))
    return parts


def attributes(steps, name):
    """Return the attributes of a name that statements read: `cost.flops` -> ["flops"]."""
    nodes = [node for step in steps for node in ast.walk(step.node)]
    found = {node.attr for node in nodes if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == name}
    return sorted(found)


def candidates(steps, name, own):
    """Return the Steps that may be the answer called `name`, the best first: those of its own cells, the newest first.

    own: the numbers of the exercise's own cells. A definition under another name counts where its cell has one only.
    """
    found = [step for step in steps if step.gives(name)]
    found.sort(key=lambda step: (not step.is_open(name), step.place[0] in own, step.place), reverse=True)
    if any(not step.is_open(name) for step in found):
        return found
    others = [step for step in steps if step.place[0] in own and step.is_definition]
    return others if len(others) == 1 and not others[0].is_open(name) else found


def literal(step):
    """Return (True, value) where an answer is written down as a plain value, else (False, None)."""
    try:
        return True, ast.literal_eval(textwrap.dedent(step.node.value and ast.unparse(step.node.value)))
    except (ValueError, AttributeError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False, None
