"""Devices and dtypes: what is asked for, or the best that is there."""

import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from lib.run import device as devices
from lib.run.device import autocast, compiled, keep_memory, pick_device, pick_dtype
from lib.run.loss import next_token_loss
from lib.run.optimizer import Optimizer
from lib.run.sample import sample
from lib.run.train import Recipe, fit
from tests.run.tiny import CONFIG, counting, tiny_llama, tiny_rwkv

ROOT = Path(__file__).resolve().parents[2]
CPU, CUDA, MPS = (torch.device(kind) for kind in ("cpu", "cuda", "mps"))


def test_the_best_device_that_is_there(monkeypatch):
    monkeypatch.setattr(devices, "mps_works", lambda: True)
    for cuda, mps, best in [(False, False, "cpu"), (False, True, "mps"), (True, True, "cuda")]:
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        assert pick_device() == torch.device(best)
        assert pick_device("cpu") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no device 'cuda:1' here: there is mps, cpu"):
        pick_device("cuda:1")


def test_a_macs_gpu_that_has_no_memory_is_passed_over(monkeypatch):
    """A virtual Mac, as GitHub's are, says that MPS is there; then every tensor on it raises."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    for error in (RuntimeError("MPS backend out of memory (MPS allocated: 0 bytes ...)"), None):

        def ones(size, device, error=error):
            assert device == "mps"
            if error is not None:
                raise error
            return torch.zeros(size) + 1

        devices.mps_works.cache_clear()
        with monkeypatch.context() as patched:
            patched.setattr(torch, "ones", ones)
            assert pick_device().type == ("cpu" if error else "mps")
            if error:
                with pytest.raises(ValueError, match="no device 'mps' here: there is cpu"):
                    pick_device("mps")
    devices.mps_works.cache_clear()


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


def test_compiled_is_only_what_was_asked_for(monkeypatch):
    layer = torch.nn.Linear(2, 2)
    assert compiled(layer, CPU, wanted=False) is layer
    monkeypatch.setattr(devices.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="torch.compile writes C\\+\\+, but there is no compiler: install g\\+\\+"):
        compiled(layer, CPU)


PAGES = """
import resource, sys, torch
from lib.models.llama import Llama
from lib.models.presets import preset
from lib.run import train as module

if "give back" in sys.argv:
    module.keep_memory = lambda: None
batch = torch.randint(2048, (8, 192)), torch.randint(2048, (8, 192))
run = module.train(Llama(preset("tiny-llama").config), [batch] * 20, module.Recipe(steps=20), device="cpu")
for record in run:
    if record.step == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only Linux's glibc is asked to keep memory")
def test_kept_memory_is_not_cleared_anew_at_each_step():
    """Linux counts the pages that it had to bring in ten training steps: thousands in each, or next to none in all."""
    given_back, kept = (
        int(subprocess.run([sys.executable, "-c", PAGES, how], cwd=ROOT, capture_output=True, check=True).stdout)
        for how in ("give back", "keep")
    )
    assert given_back > 10_000 and kept < given_back / 4


def test_other_systems_are_not_asked(monkeypatch):
    monkeypatch.setattr(devices.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(devices.ctypes, "CDLL", None)
    assert keep_memory() is False


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="torch.compile needs a C++ compiler")
def test_a_compiled_step_is_the_eager_step():
    """The whole step: losses, norms and the weights after it."""
    recipe, config = Recipe(steps=3, warmup=0, learning_rate=0.01), replace(CONFIG, n_layers=1)
    models, numbers = [tiny_llama(config=config), tiny_llama(config=config)], []
    for model, compile in zip(models, (False, True), strict=True):
        records = fit(model, counting(), recipe, device="cpu", dtype="float32", compile=compile)
        numbers.append([(r.loss, r.grad_norm) for r in records])
    torch.compiler.reset()
    assert torch.tensor(numbers[1]) == pytest.approx(torch.tensor(numbers[0]), abs=1e-5)
    for eager, fast in zip(*(model.parameters() for model in models), strict=True):
        assert (eager - fast).abs().max() < 1e-5


def test_an_overflow_in_float16_leaves_the_step_out_and_halves_the_scale():
    """torch's own scaler, which works on the CPU too: after a gradient of inf the weights are as before."""
    model = tiny_llama()
    optimizer = Optimizer(model, Recipe(steps=2, warmup=0), torch.float16)
    before = [p.detach().clone() for p in model.parameters()]
    for gradient, moves in ((float("inf"), False), (1.0, True)):
        optimizer.backward(next_token_loss(model, *counting()[0]))  # unscaled gradients need a scale first
        for p in model.parameters():
            p.grad.fill_(gradient)
        scale = optimizer.scaler.get_scale()
        optimizer.clip()
        optimizer.step(1.0)
        assert optimizer.scaler.get_scale() == (scale if moves else scale / 2)
        assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)) == moves


def test_a_t4_trains_in_float16_with_a_scaler_and_others_without(monkeypatch):
    """A T4 has no bfloat16 of its own; what such a GPU says is all that is imitated here."""
    for native, dtype in ((False, torch.float16), (True, torch.bfloat16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda native=native, **options: native)
        assert pick_dtype(CUDA) == dtype
        assert Optimizer(tiny_llama(), Recipe(steps=1), dtype).scaler.is_enabled() == (not native)
    assert not Optimizer(tiny_llama(), Recipe(steps=1), pick_dtype(MPS)).scaler.is_enabled()


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", ["float32", "auto", "float16"])
@pytest.mark.parametrize("make", [tiny_llama, lambda: tiny_rwkv(7)], ids=["llama", "rwkv-7"])
def test_cuda_trains_as_the_cpu_does(tmp_path, make, dtype):
    recipe = Recipe(steps=6, warmup=2, learning_rate=0.01)
    cpu = fit(make(), counting(), recipe, device="cpu", dtype="float32")
    model = make()
    cuda = fit(model, counting(), recipe, dtype=dtype, checkpoint=tmp_path / "run.pt")
    assert next(model.parameters()).device.type == "cuda" and next(model.parameters()).dtype == torch.float32
    tolerance = 1e-4 if dtype == "float32" else 0.05
    assert [r.loss for r in cuda] == pytest.approx([r.loss for r in cpu], rel=tolerance)
    assert fit(make(), counting(), recipe, device="cuda", dtype=dtype, checkpoint=tmp_path / "run.pt") == []


def greedy(model, device):
    tokens = sample(model.to(device).eval(), torch.tensor([[1, 2, 3]]), 20, temperature=0)
    return [int(token) for token in tokens]


@pytest.mark.cuda
@pytest.mark.parametrize("make", [tiny_llama, *(partial(tiny_rwkv, n) for n in (4, 5, 6, 7))])
def test_cuda_writes_what_the_cpu_writes(make):
    assert greedy(make(), "cuda") == greedy(make(), "cpu")


@pytest.mark.skipif(not (torch.backends.mps.is_available() and devices.mps_works()), reason="no Apple GPU here")
def test_mps_trains_as_the_cpu_does():
    recipe = Recipe(steps=6, warmup=2, learning_rate=0.01)
    cpu, mps = (fit(tiny_llama(), counting(), recipe, device=kind, dtype="float32") for kind in ("cpu", "mps"))
    assert [r.loss for r in mps] == pytest.approx([r.loss for r in cpu], rel=1e-3)
