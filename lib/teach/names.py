"""Say in words that an answer's name is gone, where a notebook would say NameError in this cell and all below."""

import ast
import difflib
import sys


class MissingAnswers(ast.NodeTransformer):
    """Makes `name = check("04.1", name)` go on where nothing is called `name`: the exercise counts as not attempted.

    names: the notebook's names and what they stand for. IPython calls `visit` with each cell before it is run.
    """

    def __init__(self, names):
        self.names = names

    def visit_Module(self, cell):
        """Return the cell, with a sentence and None in the place of an answer that is not there."""
        body = []
        for step in cell.body:
            call = step.value if isinstance(step, ast.Assign) else None
            name = answer_of(call)
            if name and name not in self.names:
                body.append(ast.copy_location(ast.Expr(_call("print", ast.Constant(self.words(name)))), step))
                call.args[1] = ast.Constant(None)
            body.append(step)
        cell.body = body
        return ast.fix_missing_locations(cell)

    def words(self, name):
        """Return the sentence on a name that is gone, with the one that is most like it."""
        own = [other for other, value in self.names.items() if getattr(value, "__module__", None) == "__main__"]
        near = difflib.get_close_matches(name, own, n=1)
        there = f" There is `{near[0]}`: is that it?" if near else ""
        return f"Nothing is called `{name}`: run the cell above, and give the answer in it this name.{there}"


def answer_of(call):
    """Return the name in `check("04.1", name)`, or None for any other call."""
    checks = isinstance(call, ast.Call) and getattr(call.func, "id", "") == "check" and len(call.args) == 2
    return call.args[1].id if checks and isinstance(call.args[1], ast.Name) else None


def _call(function, *inputs):
    return ast.Call(ast.Name(function, ast.Load()), list(inputs), [])


def watch():
    """Let the notebook that runs this say missing answers in words; nothing is done twice, and nothing elsewhere."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell and not any(type(each).__name__ == MissingAnswers.__name__ for each in shell.ast_transformers):
        shell.ast_transformers.append(MissingAnswers(shell.user_ns))
