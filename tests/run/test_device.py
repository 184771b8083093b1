"""Devices and dtypes: what is asked for, or the best that is there."""

import pytest
import torch

from lib.run import device as devices
from lib.run.device import autocast, pick_device, pick_dtype

CPU, CUDA, MPS = (torch.device(kind) for kind in ("cpu", "cuda", "mps"))


def test_the_best_device_that_is_there(monkeypatch):
    for cuda, mps, best in [(False, False, "cpu"), (False, True, "mps"), (True, True, "cuda")]:
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        assert pick_device() == torch.device(best)
        assert pick_device("cpu") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no device 'cuda:1' here: there is mps, cpu"):
        pick_device("cuda:1")


def test_the_fastest_dtype_that_trains(monkeypatch):
    for native in (True, False):
        monkeypatch.setattr(devices, "cpu_multiplies_bfloat16", lambda native=native: native)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda native=native, **options: native)
        assert pick_dtype(CPU) == (torch.bfloat16 if native else torch.float32)
        assert pick_dtype(CUDA) == (torch.bfloat16 if native else torch.float16)
        assert pick_dtype(MPS) == torch.float32
    assert pick_dtype(CPU, "float16") == pick_dtype(CPU, torch.float16) == torch.float16
    with pytest.raises(ValueError, match="no dtype 'int4': there is auto, float32"):
        pick_dtype(CPU, "int4")


def test_native_bfloat16_is_what_the_processor_says():
    """Linux lists the processor's flags; torch's answer has to agree with them."""
    try:
        flags = open("/proc/cpuinfo", encoding="utf-8").read().split()
    except OSError:
        pytest.skip("only Linux lists the processor's flags")
    if "flags" not in flags:
        pytest.skip("only x86 lists them under this name")
    assert devices.cpu_multiplies_bfloat16() == ("avx512_bf16" in flags or "amx_tile" in flags)


@pytest.mark.parametrize(("dtype", "product"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_products_run_in_the_dtype_and_weights_stay(dtype, product):
    layer = torch.nn.Linear(3, 3)
    with autocast(CPU, dtype):
        assert layer(torch.zeros(1, 3)).dtype == product
    assert layer.weight.dtype == torch.float32
