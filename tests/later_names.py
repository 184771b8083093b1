"""Which names that a widget reads are used for something else by a later cell: after Run All it would break."""

import ast
import builtins


def local_to(tree):
    """Return the names that comprehensions and nested functions bind."""
    inner = [node for node in ast.walk(tree) if isinstance(node, ast.comprehension)]
    return {name.id for node in inner for name in ast.walk(node.target) if isinstance(name, ast.Name)}


def bound(tree):
    """Return the names that the statements of a cell bind in the notebook."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
            continue
        stored = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        names |= stored - local_to(node)
    return names


def read_by(name, functions, seen=()):
    """Return the notebook's names that a function reads, and those of the functions that it calls."""
    function = functions[name]
    own = {argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)}
    names = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
    own |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
    found = {node.id for node in names if isinstance(node.ctx, ast.Load)} - own - set(dir(builtins))
    for other in (found & functions.keys()) - {name, *seen}:
        found |= read_by(other, functions, (*seen, name))
    return found


def changed_later(sources):
    """Return (function, names) of each widget in a notebook's code cells that reads what a later cell changes."""
    trees, functions, bad = [ast.parse(source) for source in sources], {}, []
    for index, tree in enumerate(trees):
        functions |= {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if ast.unparse(call.func) == "widgets.explore" and getattr(call.args[0], "id", None) in functions:
                later = set().union(*map(bound, trees[index + 1 :]))
                if names := read_by(call.args[0].id, functions) & later:
                    bad.append((call.args[0].id, sorted(names)))
    return bad
