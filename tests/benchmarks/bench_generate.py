"""How fast we generate beside transformers: batch 1, greedy, with the cache, the same weights and the same tokens.

Rounds go in turn, ours and the peer's; the median of their paired ratios counts. Above 1 means that we are faster.
"""

import statistics
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from lib.models.llama import Llama
from lib.models.presets import preset
from lib.run.sample import sample
from lib.weights.convert import to_hugging_face

ROUNDS, PROMPT, NEW = 7, 16, 256


def peer_of(model):
    """Return transformers' Llama with the same weights."""
    config, tensors = to_hugging_face(model)
    peer = LlamaForCausalLM(LlamaConfig(**config)).eval()
    peer.load_state_dict(tensors)
    return peer


def timed(job):
    """Return what the job returns, its seconds on the clock, and those on the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    result = job()
    return result, time.perf_counter() - clock, time.process_time() - processor


def rows(rounds=ROUNDS, new=NEW):
    """Return (name, ours, peer, ratio, ratio of processor time); ours and peer in tokens a second."""
    torch.manual_seed(0)
    model = Llama(preset("tiny-llama").config).eval()
    peer = peer_of(model)
    prompt = torch.randint(model.config.vocab_size, (1, PROMPT))
    options = {"max_new_tokens": new, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}

    def ours():
        return torch.stack(list(sample(model, prompt, new, temperature=0)), 1)

    def theirs():
        return peer.generate(prompt, attention_mask=torch.ones_like(prompt), **options)[:, PROMPT:]

    assert torch.equal(ours(), theirs()), "the tokens differ, so the speeds do not compare"
    pairs = [(timed(ours)[1:], timed(theirs)[1:]) for _ in range(rounds)]
    clock = statistics.median(b[0] / a[0] for a, b in pairs)
    processor = statistics.median(b[1] / a[1] for a, b in pairs)
    speeds = [new / statistics.median(pair[i][0] for pair in pairs) for i in (0, 1)]
    return [(f"generate {new}, batch 1", *speeds, clock, processor)]


def show(title, table):
    """Print rows of (name, ours, peer, ratio, ratio of processor time)."""
    print(f"{'':28}{'ours':>9}{'peer':>9}{'ratio':>8}{'CPU':>8}   {title}")
    for name, ours, peer, ratio, processor in table:
        print(f"{name:28}{ours:9.0f}{peer:9.0f}{ratio:8.2f}{processor:8.2f}")


def main():
    """Print the table."""
    show("tokens/s; the peer is transformers' generate, with the same tokens", rows())


if __name__ == "__main__":
    main()
