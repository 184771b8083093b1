"""How fast the chunked WKV of each generation is, forward and backward, beside loops and what others publish.

The baseline is the best loop that a good engineer writes, our own `wkv` (unbind and stack); a second copy of it stands
in the table, and what the two differ by is the noise. Rounds go in turn, in an order that is drawn; a row is the median
of its paired ratios to the chunked form, in processor time and on the clock. Above 1 means that we are faster.

`python3 -m lib bench wkv --peers FOLDER` installs the peers there (tests/benchmarks/peers.py). One that is not there is
named as missing. What a peer computes is compared with ours before its time counts.
"""

import statistics
import sys
import warnings

import torch

from lib.layers import rwkv4, rwkv5, rwkv7
from lib.run.measure import peak_bytes
from tests.benchmarks.race import drawn_orders, timed
from tests.benchmarks.wkv_peers import PEERS, peer

B, D = 8, 256
SHAPES = [(N, T) for N in (64, 32) for T in (256, 1024)]
ROUNDS, LONG, FEW = 5, 1.0, 1  # rounds; those of a form that takes longer than so many seconds of the processor
FORMS = {4: rwkv4, 5: rwkv5, 6: rwkv5, 7: rwkv7}  # 6 has the recurrence of 5, with a decay for each token


def inputs(generation, N, T):
    """Return what the forms take, float32, with decays as a trained model has them."""
    torch.manual_seed(0)
    if generation == 4:
        k, v = torch.randn(2, B, T, D)
        return [k, v, -torch.linspace(-5, 1, D).exp(), 0.3 * torch.randn(D)]
    H = D // N
    r, k, v = torch.randn(3, B, H, T, N)
    if generation == 7:
        key = torch.nn.functional.normalize(torch.randn(B, H, T, N), dim=-1)
        return [r, k, v, -0.6 * torch.rand(B, H, T, N), -key, key * torch.rand(B, H, T, N)]
    log_w = -torch.linspace(-6, -1, D).view(H, 1, N).exp()
    log_w = log_w if generation == 5 else log_w * (0.5 + torch.rand(B, H, T, N))
    return [r, k, v, log_w, 0.3 * torch.randn(H, N)]


def job(form, tensors):
    """Return a function that runs a form forward and backward once, with gradients for every input."""
    leaves = [z.clone().requires_grad_() for z in tensors]

    def run():
        y = form(*leaves)
        y = y[0] if isinstance(y, tuple) else y
        torch.autograd.grad(y.sum(), leaves)
        return y.detach()

    return run


def forms(generation, T, peers, compiled):
    """Return {name: form}, ours first, and the names of the peers that are missing."""
    ours = FORMS[generation]
    found, missing = {"chunked": ours.wkv_chunked, "loop": ours.wkv, "the loop again": ours.wkv}, []
    if compiled:
        chunk = {4: 32, 7: 32}.get(generation, 32)
        found["chunked, compiled"] = torch.compile(lambda *z: ours.wkv_chunked(*z, chunk=chunk), dynamic=False)
    for name, entry in PEERS.items():
        if entry.generation == generation and T <= entry.longest:
            form = peer(name, peers)
            missing += [name] if form is None else []
            found |= {} if form is None else {name: form}
            if form is not None and compiled and entry.compiles:
                found[f"{name}, compiled"] = torch.compile(form, dynamic=False)
    return found, missing


def compare(generation, N, T, peers=None, compiled=True, rounds=ROUNDS):
    """Return {name: (seconds of processor, of the clock, ratio, ratio on the clock)} for one shape, and the missing."""
    torch.compiler.reset()  # it gives up on a function after eight shapes, without a word
    tensors = inputs(generation, N, T)
    found, missing = forms(generation, T, peers, compiled)
    jobs, times = {name: job(form, tensors) for name, form in found.items()}, {}
    truth = jobs["loop"]()
    for name, run in jobs.items():
        y, *seconds = timed(run)
        error = (y - truth).abs().max() / truth.abs().max()
        assert error < 1e-3, f"RWKV-{generation}, {name}: off by {error:.1e}, so its speed does not count"
        # The first call warms up, or compiles. Beside the seconds of a slow form the warming up is nothing.
        times[name] = [seconds if seconds[1] > LONG and "compiled" not in name else timed(run)[1:]]
    for turn, order in enumerate(drawn_orders(jobs, rounds)):
        for name in order:
            if turn < FEW or times[name][0][1] < LONG:
                times[name].append(timed(jobs[name])[1:])
    ours, rows = times["chunked"], {}
    for name, pairs in times.items():
        ratios = [[there[i] / here[i] for there, here in zip(pairs, ours, strict=False)] for i in (0, 1)]
        clock, processor = (statistics.median(part) for part in zip(*pairs, strict=True))
        rows[name] = processor, clock, statistics.median(ratios[1]), statistics.median(ratios[0])
    return rows, missing


def memory(generation, N=32, lengths=(256, 512, 1024, 2048)):
    """Return {T: bytes that the chunked form needs at once, forward and backward, beyond its inputs}."""
    found = {}
    for T in lengths:
        run = job(FORMS[generation].wkv_chunked, inputs(generation, N, T))
        found[T] = peak_bytes(run)
    return found


def main(peers=None, brief=False, generations=(4, 5, 6, 7), compiled=True):
    """Print a table for each generation and shape, then the memory.

    `brief`: heads of 64 channels alone, and compiled forms for the shorter text alone: each takes long to compile.
    """
    warnings.filterwarnings("ignore")
    print(f"WKV forward and backward, float32, B {B}, D {D}, {torch.get_num_threads()} threads; times in ms")
    print(f"{'':34}{'CPU':>9}{'clock':>9}{'x ours':>9}{'clock':>9}")
    absent = set()
    for generation in generations:
        for N, T in (SHAPES[:2] if brief else SHAPES) if generation > 4 else [(0, 256), (0, 1024)]:
            print(f"RWKV-{generation}, T {T}" + (f", head size {N}" if N else ""), flush=True)
            rows, missing = compare(generation, N, T, peers, compiled and not (brief and T > SHAPES[0][1]))
            absent |= set(missing)
            for name, (processor, clock, ratio, clock_ratio) in rows.items():
                line = f"  {name:32}{1000 * processor:9.1f}{1000 * clock:9.1f}{ratio:9.2f}{clock_ratio:9.2f}"
                print(line, flush=True)
    for name in sorted(absent):
        print(f"{name}: not measured, {PEERS[name].package} is not in --peers")
    print("memory of the chunked form, MB at once, forward and backward")
    for generation in generations:
        used = memory(generation)
        print(f"  RWKV-{generation}:", ", ".join(f"T {T}: {size / 1e6:.0f}" for T, size in used.items()))


if __name__ == "__main__":
    main(*sys.argv[1:2])
