"""Take out of this process's modules of the course what nobody needs: a right answer that isn't there can't be had."""

import functools
import importlib
import sys
import types

OURS = ("lib.", "lessons.exercises.", "lessons.figures.")


def ours(name):
    """Say whether a module's name is one of the course's that can hold a right answer."""
    return f"{name}.".startswith(OURS)


def module_of(name):
    """Return a module by its name: which parts of the course an answer needs stands in a notebook, not in a program."""
    return importlib.import_module(name)


def part_of(module, name):
    """Return what `from module import name` gives. Raises ImportError."""
    found = module_of(module)
    return vars(found)[name] if name in vars(found) else module_of(f"{module}.{name}")


def parts_of(wanted, imported=None):
    """Return the objects that imports take: [(module, name or None, name here, attributes)]; those that exist.

    imported: what may be taken, {(module, name)}; None means all.
    """
    found = []
    for module, name, _, attributes in wanted:
        if imported is not None and (module, name) not in imported:
            continue
        try:
            value = part_of(module, name) if name else module_of(module)
        except (ImportError, AttributeError):
            continue
        if isinstance(value, types.ModuleType):
            found += [Attribute(value, each) for each in attributes if each in vars(value)]
        else:
            found.append(value)
            found += [Attribute(sys.modules[module], name)] if name in vars(sys.modules[module]) else []
    return found


class Attribute:
    """A name in a module, which keeps its value."""

    def __init__(self, module, name):
        self.names, self.name = vars(module), name

    @property
    def value(self):
        """What the name stands for."""
        return self.names[self.name]


def words_of(code):
    """Return all names that a function's code reads, with those of the functions inside it."""
    inner = [part for part in code.co_consts if isinstance(part, types.CodeType)]
    return set(code.co_names).union(*map(words_of, inner))


def reach(roots):
    """Return ({(id of a module's dict, name)}, {id: object}) of all that `roots` may reach when they run."""
    pairs, seen, todo = set(), {}, list(roots)
    while todo:
        value = todo.pop()
        if id(value) in seen or isinstance(value, str | int | float | bytes | type(None)):
            continue
        seen[id(value)] = value
        if isinstance(value, Attribute):
            pairs.add((id(value.names), value.name))
            todo.append(value.value)
        else:
            todo += _parts(value, pairs)
    return pairs, seen


def _parts(value, pairs):
    if isinstance(value, types.FunctionType):
        return _parts_of_function(value, pairs)
    if isinstance(value, types.MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, staticmethod | classmethod):
        return [value.__func__]
    if isinstance(value, property):
        return [value.fget, value.fset]
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if isinstance(value, type):
        return [*vars(value).values(), *value.__bases__] if ours(value.__module__) else []
    if isinstance(value, types.ModuleType):
        return []
    inner = getattr(value, "__wrapped__", None)  # functools.cache
    own = ours(type(value).__module__)
    return [type(value), *getattr(value, "__dict__", {}).values(), inner] if own else [inner]


def _parts_of_function(function, pairs):
    if not ours(function.__module__ or ""):
        return [getattr(function, "__wrapped__", None)]
    names, words, found = function.__globals__, words_of(function.__code__), []
    for module in [word for word in words if ours(word)]:  # imports within a function
        module_of(module)
    modules = [sys.modules[word] for word in words if ours(word) and word in sys.modules]
    for name in words & names.keys():
        pairs.add((id(names), name))
        found.append(names[name])
        modules += [names[name]] if isinstance(names[name], types.ModuleType) else []
    for module in [module for module in modules if ours(module.__name__)]:
        found += [Attribute(module, word) for word in words & vars(module).keys()]
    cells = [cell.cell_contents for cell in function.__closure__ or () if _full(cell)]
    return [*found, *cells, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values(),
            *vars(function).values()]  # fmt: skip


def _full(cell):
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def shut(own, honest):
    """Return {id: object}: the reference, and all that it is made of, but for what an honest answer needs."""
    _, parts = reach([own])
    _, needed = reach(honest)
    kept = {key: value for key, value in parts.items() if key not in needed or value is own}
    return {key: v for key, v in kept.items() if isinstance(v, types.FunctionType | type) and ours(v.__module__ or "")}


def prune(roots, closed, stand_in):
    """Leave in the course's modules what `roots` reach; a stand-in takes the place of each part of the right answer.

    closed: what `shut` returned.
    """
    pairs, _ = reach([root for root in roots if id(root) not in closed])
    for module in [module for name, module in list(sys.modules.items()) if ours(name)]:
        names = vars(module)
        for name in [name for name in names if not (name.startswith("__") and name.endswith("__"))]:
            foreign = isinstance(names[name], types.ModuleType) and not ours(names[name].__name__)
            if id(names[name]) in closed:
                names[name] = stand_in(f"{module.__name__}.{name}")
            elif (id(names), name) not in pairs and not foreign:
                del names[name]
        names["__getattr__"] = functools.partial(_missing, module.__name__)


def _missing(module, name):
    if name.startswith("__"):
        raise AttributeError(name)
    raise ImportError(f"{module}.{name} is not there when your work is marked: write it yourself.")
