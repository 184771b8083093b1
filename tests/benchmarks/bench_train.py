"""How fast a training step of the tiny LLaMA is beside its peers, and which share of the GEMM peak it reaches.

The peers: transformers' Llama (sdpa, and eager) with the same weights; litgpt's, of the same shape; a nanoGPT-shaped
model of the same width and depth. All get the same batch and a fused AdamW; a step is forward, backward, clipping,
update, each written as its user writes it. The losses of those with the same weights are compared before any time
counts. A ratio above 1 means that we are faster.
"""

import sys

import torch
from torch.profiler import ProfilerActivity, profile

from lib.models.llama import Llama
from lib.models.presets import preset
from lib.run.cost import training_flops
from lib.run.device import autocast, cpu_multiplies_bfloat16, pick_device
from lib.run.train import Recipe, train
from tests.benchmarks.bench_generate import peer_of
from tests.benchmarks.nano_gpt import NanoGpt
from tests.benchmarks.race import median, race, show

ROUNDS, ROWS, LENGTH = 11, 8, 256
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "scaled_dot_product")


class Batches:
    """The same random batch at every step."""

    def __init__(self, vocab_size, rows=ROWS, length=LENGTH):
        stream = torch.randint(vocab_size, (rows, length + 1))
        self.batch = stream[:, :-1], stream[:, 1:]

    def __getitem__(self, step):
        return self.batch


def our_steps(model, batches, dtype):
    """Return a function that does one step of `train`."""
    run = train(model, batches, Recipe(steps=10**6), dtype=dtype, device="cpu")
    return lambda: next(run).loss


def peer_steps(model, batches, dtype, logits_of):
    """Return a function that does what a user of the peer writes for one step."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-5, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def step():
        x, y = batches[0]
        with autocast(pick_device("cpu"), dtype):
            loss = torch.nn.functional.cross_entropy(logits_of(model, x).flatten(0, 1).float(), y.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def litgpt_model(config, peers):
    """Return litgpt's model of that shape, or None where the package is not in a folder of `peers`."""
    folder = None if peers is None else peers / "litgpt"
    if folder is None or not folder.is_dir():
        return None
    sys.path.append(str(folder))
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


def candidates(dtype, peers):
    """Return {name: a function that does one step}; ours comes first. Names say what is compared with what."""
    torch.manual_seed(0)
    model = Llama(preset("tiny-llama").config)
    config, batches = model.config, Batches(model.config.vocab_size)
    jobs = {}
    for name in ("sdpa", "eager"):
        peer = peer_of(model, attn_implementation=name)
        jobs[f"transformers, {name}"] = peer_steps(peer, batches, dtype, lambda m, x: m(x, use_cache=False).logits)
    jobs["nanoGPT-shaped"] = peer_steps(NanoGpt(config), batches, dtype, lambda m, x: m(x))
    other = litgpt_model(config, peers)
    if other is None:
        print("litgpt: not measured, it is not in --peers")
    else:
        jobs["litgpt"] = peer_steps(other, batches, dtype, lambda m, x: m(x))
    jobs = {f"ours, {dtype}": our_steps(model, batches, dtype), **jobs}
    first = {name: job() for name, job in jobs.items()}
    ours, peer = first[f"ours, {dtype}"], first["transformers, sdpa"]
    assert abs(ours - peer) < 0.01 * peer, f"the losses differ, {ours} and {peer}, so the speeds do not compare"
    return jobs


def as_it_comes():
    """Return our step as `train` does it by itself, and transformers' as it comes: float32, sdpa."""
    torch.manual_seed(0)
    model = Llama(preset("tiny-llama").config)
    batches = Batches(model.config.vocab_size)
    peer = peer_of(model, attn_implementation="sdpa")
    return {
        "ours, as `train` chooses": our_steps(model, batches, "auto"),
        "transformers, sdpa, float32": peer_steps(peer, batches, "float32", lambda m, x: m(x, use_cache=False).logits),
    }


def gemm_peak(dtype=torch.float32, size=1024, rounds=9):
    """Return the FLOPs a second of one large matrix product, the best of some: what this processor can do at most."""
    a, b = torch.randn(2, size, size, dtype=dtype)
    times = race({"product": lambda: a @ b}, rounds)["product"]
    return 2 * size**3 / min(clock for clock, _ in times)


def product_share(step, calls=5):
    """Return the share of a step's time that is spent in matrix products, attention's included."""
    for _ in range(2):
        step()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(calls):
            step()
    events = seen.key_averages()
    products = sum(e.self_cpu_time_total for e in events if any(name in e.key for name in PRODUCTS))
    return products / sum(e.self_cpu_time_total for e in events)


def main(peers=None):
    """Print the tables."""
    config = preset("tiny-llama").config
    times = race(as_it_comes(), ROUNDS)
    show("training step, as it comes", times, "ours, as `train` chooses", ROWS * LENGTH, "token/s")
    for dtype in ["float32", "bfloat16"] if cpu_multiplies_bfloat16() else ["float32"]:
        jobs = candidates(dtype, peers)
        ours = next(iter(jobs))
        times = race(jobs, ROUNDS)
        show(f"training step, {dtype}, {ROWS} x {LENGTH} tokens", times, ours, ROWS * LENGTH, "token/s")
        rate, peak = training_flops(config, LENGTH, ROWS).total / median(times[ours]), gemm_peak(getattr(torch, dtype))
        print(f"  ours: {rate / 1e9:.0f} GFLOP/s of {peak / 1e9:.0f} in one large product, {rate / peak:.0%};", end=" ")
        print(f"{product_share(jobs[ours]):.0%} of the time is matrix products")


if __name__ == "__main__":
    main()
