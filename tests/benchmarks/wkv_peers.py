"""The published forms of WKV that run on a CPU, each brought to the signature of our `wkv`.

Each is loaded from its file alone, out of PEERS/NAME/..., since the packages import Triton, or overwrite each other.
"""

import importlib.util
import sys
import types
from pathlib import Path
from typing import NamedTuple

import torch


class Peer(NamedTuple):
    """A published form: its generation, its package and the file in it, the longest T worth waiting for, who wraps it.

    compiles: the package itself hands it to torch.compile.
    """

    generation: int
    package: str
    file: str
    wrap: callable
    longest: int = 1024
    compiles: bool = False


def peer(name, folder=None):
    """Return the form of that name, (our arguments) -> y, or None where its package is not there."""
    entry = PEERS[name]
    if not entry.file:
        try:
            return entry.wrap(importlib.import_module(entry.package))
        except ModuleNotFoundError:
            return None
    path = Path(folder or ".") / entry.package / entry.file
    return entry.wrap(load(path)) if folder and path.is_file() else None


def load(path):
    """Return the module that a file holds; what it asks of its own package's utilities is given to it as nothing."""
    spec = importlib.util.spec_from_file_location(f"peer_{path.parent.name}_{path.stem}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # torch.compile asks for it by its name
    plain = types.ModuleType("utils")
    for word in ("autocast_custom_bwd", "autocast_custom_fwd", "input_guard"):
        setattr(plain, word, lambda function: function)
    stubs = {"rwkvfla": types.ModuleType("rwkvfla"), "rwkvfla.utils": plain}
    before = {name: sys.modules.get(name) for name in stubs}
    sys.modules.update(stubs)
    compile_it, torch.compile = torch.compile, lambda function=None, **options: function  # the bench compiles by itself
    try:
        spec.loader.exec_module(module)
    finally:
        torch.compile = compile_it
        for name, known in before.items():
            sys.modules.pop(name) if known is None else sys.modules.update({name: known})
    return module


def transformers_4(module):
    """transformers takes the raw decay, and returns what ours does."""
    form = module.rwkv_linear_attention_cpu
    return lambda k, v, log_w, u: form((-log_w).log(), u, k, v)[0]


def fla_6(module):
    """fla takes the log of the decay; its own scale is not ours."""
    form = module.naive_recurrent_rwkv6
    return lambda r, k, v, log_w, u: form(r, k, v, log_w.expand_as(k), u, scale=1.0)[0]


def simple_6(module):
    """rwkv_simple takes the log of the decay; in float32 its chunks are at most 24 long."""
    form = module.wkv6_torch
    return lambda r, k, v, log_w, u: form(r, k, v, log_w.expand_as(k), u, chunk_len=16, dtype=torch.float32)[0]


def fla_7(module):
    """rwkv-fla takes the raw decay, of which e^-e^w is the decay."""
    form = module.naive_recurrent_rwkv7
    return lambda r, k, v, log_w, a, b: form(r, k, v, (-log_w).log(), a, b, output_final_state=False)[0]


def hf_7(module):
    """rwkv7-hf takes the decay itself, and (B, T, H, N)."""
    form = module.rwkv7_recurrent

    def run(r, k, v, log_w, a, b):
        r, w, k, v, a, b = (z.transpose(1, 2) for z in (r, log_w.exp(), k, v, a, b))  # (B, T, H, N)
        state = k.new_zeros(k.shape[0], k.shape[2], k.shape[3], v.shape[3])
        return form(r, w, k, v, a, b, state)[0].transpose(1, 2)

    return run


PEERS = {
    "transformers, CPU loop": Peer(4, "transformers.models.rwkv.modeling_rwkv", "", transformers_4),
    "fla-core, naive": Peer(6, "fla-core", "fla/ops/rwkv6/recurrent_naive.py", fla_6),
    "rwkv_simple, chunks of 16": Peer(6, "rwkv_simple", "rwkv_simple/rwkv.py", simple_6, compiles=True),
    "rwkv-fla, naive": Peer(7, "rwkv-fla", "rwkvfla/ops/rwkv7/recurrent_naive.py", fla_7),
    "rwkv7-hf": Peer(7, "rwkv7-hf", "rwkv7_hf/ops_rwkv7.py", hf_7, longest=256),
}
