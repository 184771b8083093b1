"""One place that decides where a model runs and in which precision."""

import ctypes
import functools
import logging
import platform
import shutil
from contextlib import nullcontext

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(name=None):
    """Return the device of that name; without a name the fastest: cuda, then mps (a Mac's GPU), then cpu.

    ValueError where this machine has no such device.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available() and mps_works(),
        "cpu": True,
    }
    if name is None:
        return torch.device(next(kind for kind, is_there in there.items() if is_there))
    try:
        device = torch.device(name)
    except RuntimeError:  # torch knows no such name, and lists some twenty
        device = None
    if device is None or not there.get(device.type, False):
        raise ValueError(f"no device {str(name)!r} here: there is {', '.join(k for k in there if there[k])}")
    if device.type == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        raise ValueError(f"no device {str(name)!r} here: there is cuda:0 to cuda:{torch.cuda.device_count() - 1}")
    return device


@functools.cache
def mps_works():
    """Say whether a Mac's GPU computes: that of a virtual machine, such as GitHub's, is there, and has no memory."""
    try:
        return torch.ones(1, device="mps").add(1).item() == 2
    except RuntimeError:
        return False


def pick_dtype(device, name="auto"):
    """Return the dtype for matrix products: the named one, or with "auto" the fastest that training stands.

    cuda: bfloat16, or float16 where the GPU has no bfloat16 (a T4); cpu: bfloat16 where the processor multiplies it by
    itself, else float32; mps: float32.
    """
    if isinstance(name, torch.dtype):
        return name
    if name != "auto":
        if name not in DTYPES:
            raise ValueError(f"no dtype {name!r}: there is auto, {', '.join(DTYPES)}")
        return DTYPES[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if device.type == "cpu" and cpu_multiplies_bfloat16() else torch.float32


def cpu_multiplies_bfloat16():
    """Say whether the processor has instructions for bfloat16 (AVX512_BF16, AMX); emulated, it is slower than float32.

    torch says it in functions that it doesn't promise to keep: where they are gone, the answer is no.
    """
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in asked)


def autocast(device, dtype="auto"):
    """Return a context in which matrix products run in `pick_dtype(device, dtype)`, weights staying as they are."""
    dtype = pick_dtype(device, dtype)
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def keep_memory():
    """Let this process keep up to a gigabyte of memory that it frees, for the next step; True where that can be asked.

    A step allocates the same tensors as the step before it, and on a CPU torch gets each from the C library. Linux's
    (glibc) hands large ones back to the system at once, and then waits for each page of 4 kB to be cleared anew: 5,000
    pages a step of the tiny LLaMA, 7 % of its time. Both numbers are glibc's, from malloc.h.
    """
    mmap_threshold, trim_threshold, gigabyte = -3, -1, 2**30
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(mmap_threshold, gigabyte), mallopt(trim_threshold, gigabyte)])


def compiled(module, device, wanted=True):
    """Return torch.compile(module) where it is wanted, else the module. The parameters stay the module's.

    On a CPU torch writes C++, so a compiler has to be there: ValueError where there is none.
    """
    if not wanted:
        return module
    if device.type == "cpu" and not any(map(shutil.which, ("g++", "clang++", "c++", "cl"))):
        raise ValueError("torch.compile writes C++, but there is no compiler: install g++ or clang++, or do without")
    # A chunk of RWKV is as long as its decays allow, a look at numbers that ends what is compiled as one; torch warns.
    logging.getLogger("torch._dynamo").setLevel(logging.ERROR)
    return torch.compile(module)
