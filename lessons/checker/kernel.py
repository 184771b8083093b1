"""Keep the kernel whole while foreign code runs: Python's and torch's settings are known before, and put back after."""

import contextlib
import random
import sys
import types
import warnings

import numpy as np
import torch

# Reads, sets, and what holds while an answer is judged: whatever a learner has set, an answer gets the same verdict.
SETTINGS = (
    (torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    (torch.get_num_threads, torch.set_num_threads, 1),  # the cases are small, and threads that wait use up the time
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
    (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly, False),
    (lambda: torch.is_autocast_enabled("cpu"), lambda on: torch.set_autocast_enabled("cpu", on), False),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 0),
    (sys.getrecursionlimit, sys.setrecursionlimit, 1000),
)
# What is kept as it is, and put back: random numbers, and how numbers are printed.
KEPT = (
    (torch.random.get_rng_state, torch.random.set_rng_state),
    (random.getstate, random.setstate),
    (np.random.get_state, np.random.set_state),
    (np.get_printoptions, lambda options: np.set_printoptions(**options)),
    (np.geterr, lambda options: np.seterr(**options)),
    (lambda: dict(vars(torch._tensor_str.PRINT_OPTS)), lambda old: vars(torch._tensor_str.PRINT_OPTS).update(old)),
)  # fmt: skip


@contextlib.contextmanager
def known_state():
    """Within, global settings have known values, and gradients flow; afterwards all is as it was before.

    That is torch's default dtype and device, its threads, gradients, autocast and deterministic modes, its, Python's
    and numpy's random numbers, how they print, Python's warnings, limit of recursion and sys.stdout.
    """
    before = [read() for read, _, _ in SETTINGS]
    kept = [(put_back, read()) for read, put_back in KEPT]
    streams = sys.stdout, sys.stderr
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.inference_mode(False))  # switches gradients on, too
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            if torch.get_default_device().type != "cpu":
                stack.enter_context(torch.device("cpu"))
            change(known for _, _, known in SETTINGS)
            yield
    finally:
        sys.stdout, sys.stderr = streams
        change(before)
        for put_back, value in kept:
            put_back(value)


def change(values):
    """Give each of SETTINGS its value, where it has another."""
    for (read, write, _), value in zip(SETTINGS, values, strict=True):
        if read() != value:
            write(value)


def unfinished_imports():
    """Return the packages, by their first names, of modules whose import has begun and not ended."""
    found = list(sys.modules.items())
    return {name.partition(".")[0] for name, module in found if is_unfinished(module)}


def is_unfinished(module):
    """Say whether a module is being imported. Looked up in its dict: a module may answer any name with an import."""
    spec = vars(module).get("__spec__") if isinstance(module, types.ModuleType) else None
    return bool(getattr(spec, "_initializing", False))


def put_modules_back(before, cut=frozenset()):
    """Make sys.modules hold what it held before, and of the packages in `cut`, which a stop cut, nothing newer.

    before: a copy of sys.modules. What was imported whole meanwhile stays.
    """
    for name in [name for name in sys.modules if name not in before and name.partition(".")[0] in cut]:
        module = sys.modules.pop(name)
        parent, _, last = name.rpartition(".")
        if getattr(before.get(parent), "__dict__", {}).get(last) is module:
            delattr(before[parent], last)
    for name, module in before.items():
        if sys.modules.get(name) is not module:
            sys.modules[name] = module
