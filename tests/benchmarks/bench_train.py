"""How fast a training step of the tiny LLaMA is beside its peers, and which share of the GEMM peak it reaches.

The peers: transformers' Llama (sdpa, and eager) with the same weights; litgpt's, of the same shape; a nanoGPT-shaped
model of the same width and depth; ours and transformers' by torch.compile, too. Each has a process of its own, the same
batch and a fused AdamW; a step is forward, backward, clipping, update, written as its user writes it. The losses of
those with the same weights are compared before any time counts. A ratio above 1 means that we are faster.
"""

import statistics
import sys
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from lib.models.llama import Llama
from lib.models.presets import preset
from lib.run.cost import training_flops
from lib.run.device import autocast, compiled, cpu_multiplies_bfloat16, pick_device
from lib.run.train import Recipe, train
from tests.benchmarks.apart import Apart
from tests.benchmarks.bench_generate import peer_of
from tests.benchmarks.nano_gpt import NanoGpt
from tests.benchmarks.race import median, race, show

ROUNDS, ROWS, LENGTH = 25, 8, 256
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "scaled_dot_product")


class Batches:
    """The same random batch at every step."""

    def __init__(self, vocab_size, rows=ROWS, length=LENGTH):
        stream = torch.randint(vocab_size, (rows, length + 1))
        self.batch = stream[:, :-1], stream[:, 1:]

    def __getitem__(self, step):
        return self.batch


def our_steps(model, batches, dtype, compile=False, device="cpu"):
    """Return a function that does one step of `train`."""
    run = train(model, batches, Recipe(steps=10**6), dtype=dtype, device=device, compile=compile)
    return lambda: next(run).loss


def peer_steps(model, batches, dtype, logits_of, device="cpu"):
    """Return a function that does what a user of the peer writes for one step."""
    model.train().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-5, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def step():
        x, y = (z.to(device) for z in batches[0])
        with autocast(pick_device(device), dtype):
            loss = torch.nn.functional.cross_entropy(logits_of(model, x).flatten(0, 1).float(), y.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def litgpt_model(config, peers):
    """Return litgpt's model of that shape, from the package in a folder of `peers`."""
    sys.path.append(str(peers / "litgpt"))
    from litgpt import GPT, Config

    return GPT(
        Config(
            block_size=config.context_length,
            vocab_size=config.vocab_size,
            padded_vocab_size=config.vocab_size,
            n_layer=config.n_layers,
            n_head=config.n_heads,
            n_query_groups=config.n_kv_heads,
            n_embd=config.d_model,
            rotary_percentage=1.0,
            parallel_residual=False,
            bias=False,
            norm_class_name="RMSNorm",
            mlp_class_name="LLaMAMLP",
            intermediate_size=config.d_ff,
        )
    )


def make_job(name, dtype, peers=None, compile=False, rows=ROWS, length=LENGTH, device="cpu"):
    """Return a function that does one step of a contestant: the same weights where the models are the same."""
    torch.manual_seed(0)
    model = Llama(preset("tiny-llama").config)
    batches = Batches(model.config.vocab_size, rows, length)
    if name == "ours":
        return our_steps(model, batches, dtype, compile, device)
    if name in ("sdpa", "eager"):
        peer = peer_of(model, attn_implementation=name)
        peer = compiled(peer, pick_device(device), compile)
        return peer_steps(peer, batches, dtype, lambda m, x: m(x, use_cache=False).logits, device)
    other = NanoGpt(model.config) if name == "nanoGPT-shaped" else litgpt_model(model.config, Path(peers))
    return peer_steps(other, batches, dtype, lambda m, x: m(x), device)


def compete(title, contestants, peers=None):
    """Race {label: (name, dtype, compiled or not)}, ours first, each in its own process; print and return the times."""
    jobs = {
        label: Apart("tests.benchmarks.bench_train", "make_job", name, dtype, peers and str(peers), compile)
        for label, (name, dtype, compile) in contestants.items()
    }
    first = {contestants[label][0]: job.timed()[0] for label, job in jobs.items()}
    assert abs(first["ours"] - first["sdpa"]) < 0.01 * first["sdpa"], f"the losses differ, so no speed counts: {first}"
    times = race(jobs, ROUNDS)
    for job in jobs.values():
        job.end()
    show(title, times, next(iter(jobs)), ROWS * LENGTH, "token/s")
    return times


def gemm_peak(dtype=torch.float32, size=1024, rounds=9):
    """Return the FLOPs a second of one large matrix product, the best of some: what this processor can do at most."""
    a, b = torch.randn(2, size, size, dtype=dtype)
    times = race({"product": lambda: a @ b}, rounds)["product"]
    return 2 * size**3 / min(clock for clock, _ in times)


def product_share(step, calls=9, warm=4):
    """Return the share of a step's time that is spent in matrix products, attention's included: the median.

    Each step is profiled alone, and the first ones do not count: what the profiler notes down lies between the tensors,
    and the memory that it takes is slow the first time.
    """
    shares = []
    for _ in range(warm + calls):
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            step()
        events = seen.key_averages()
        products = sum(e.self_cpu_time_total for e in events if any(name in e.key for name in PRODUCTS))
        shares.append(products / sum(e.self_cpu_time_total for e in events))
    return statistics.median(shares[warm:])


def show_compiled(dtype):
    """Print the share of products in our step as it is and compiled, and a race of compiled steps: given a compiler."""
    said = f"  ours: {product_share(make_job('ours', dtype)):.0%} of the time is matrix products"
    try:
        share = product_share(make_job("ours", dtype, compile=True))
    except ValueError as error:  # there is no C++ compiler
        print(f"{said}; not measured compiled: {error}", flush=True)
        return
    print(f"{said}; {share:.0%} by torch.compile", flush=True)
    contestants = {
        "ours, compiled": ("ours", dtype, True),
        "transformers, sdpa, compiled": ("sdpa", dtype, True),
        "transformers, sdpa, as it comes": ("sdpa", dtype, False),
    }
    compete(f"training step, {dtype}, compiled", contestants)


def main(peers=None):
    """Print the tables."""
    config = preset("tiny-llama").config
    if cpu_multiplies_bfloat16():
        usual = {
            "ours, as `train` chooses": ("ours", "auto", False),
            "transformers, sdpa, float32": ("sdpa", "float32", False),
        }
        compete("training step, as it comes", usual)
    else:
        print("as it comes: this processor has no bfloat16, so `train` takes float32, as transformers does")
    names = {"transformers, sdpa": "sdpa", "transformers, eager": "eager", "nanoGPT-shaped": "nanoGPT-shaped"}
    if peers is not None and (peers / "litgpt").is_dir():
        names["litgpt"] = "litgpt"
    else:
        print("litgpt: not measured, it is not in --peers")
    for dtype in ["float32", "bfloat16"] if cpu_multiplies_bfloat16() else ["float32"]:
        contestants = {label: (name, dtype, False) for label, name in {f"ours, {dtype}": "ours", **names}.items()}
        times = compete(f"training step, {dtype}, {ROWS} x {LENGTH} tokens", contestants, peers)
        rate = training_flops(config, LENGTH, ROWS).total / median(times[f"ours, {dtype}"])
        peak = gemm_peak(getattr(torch, dtype))
        print(f"  ours: {rate / 1e9:.0f} GFLOP/s of {peak / 1e9:.0f} in one large product, {rate / peak:.0%}")
        if dtype == "float32":  # one is enough: what is compiled takes half a minute each
            show_compiled(dtype)


if __name__ == "__main__":
    main()
