"""How fast we generate beside transformers: batch 1, greedy, with the cache, the same weights and the same tokens.

A ratio above 1 means that we are faster. The second table is how the time of one token grows with what came before.
"""

from dataclasses import replace

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from lib.models.llama import Llama
from lib.models.presets import TINY_RWKV, preset
from lib.models.rwkv import Rwkv
from lib.run.sample import sample
from lib.weights.convert import to_hugging_face
from tests.benchmarks.race import median, race, show

ROUNDS, PROMPT, NEW = 7, 16, 256


def peer_of(model, **options):
    """Return transformers' Llama with the same weights."""
    config, tensors = to_hugging_face(model)
    peer = LlamaForCausalLM._from_config(LlamaConfig(**config), **options).eval()
    peer.load_state_dict(tensors)
    return peer


def jobs(new=NEW, device="cpu"):
    """Return {name: a function that writes `new` tokens}, ours first."""
    torch.manual_seed(0)
    model = Llama(preset("tiny-llama").config).eval()
    prompt = torch.randint(model.config.vocab_size, (1, PROMPT)).to(device)
    options = {"max_new_tokens": new, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    peers = {name: peer_of(model, attn_implementation=name).to(device) for name in ("sdpa", "eager")}
    model.to(device)
    found = {"ours": lambda: torch.stack(list(sample(model, prompt, new, temperature=0)), 1)}
    for name, peer in peers.items():
        found[f"transformers' generate, {name}"] = lambda peer=peer: peer.generate(
            prompt, attention_mask=torch.ones_like(prompt), **options
        )[:, PROMPT:]
    return found


def candidates(new=NEW):
    """Return the jobs, when all have written the same."""
    found = jobs(new)
    told = [job() for job in found.values()]
    assert all(torch.equal(told[0], other) for other in told[1:]), "the tokens differ, so the speeds do not compare"
    return found


def growth(contexts=(64, 256, 1024, 4096), steps=8):
    """Return {model: [milliseconds for one more token after each of the contexts]}: a cache beside a state."""
    torch.manual_seed(0)
    llama = Llama(replace(preset("tiny-llama").config, context_length=max(contexts) + 99)).eval()
    models = {"llama": llama} | {name: Rwkv(entry.config).eval() for name, entry in TINY_RWKV.items()}
    table = {}
    with torch.inference_mode():
        for name, model in models.items():
            table[name] = [1000 * one_more(model, context, steps) for context in contexts]
    return table


def one_more(model, context, steps):
    """Return the median seconds of one token after `context` others."""
    tokens = torch.randint(model.config.vocab_size, (1, context))
    _, state = model.hidden(tokens)
    _, state = model.hidden(tokens[:, -1:], state)  # a cache makes room once
    return median(race({"token": lambda: model(tokens[:, -1:], state)}, steps)["token"])


def main():
    """Print the tables."""
    show(f"generation, {NEW} tokens, batch 1, the same", race(candidates(), ROUNDS), "ours", NEW, "token/s")
    contexts = (64, 256, 1024, 4096)
    print(f"{'ms for one more token after':32}" + "".join(f"{context:9,}" for context in contexts))
    for name, times in growth(contexts).items():
        print(f"  {name:30}" + "".join(f"{time:9.2f}" for time in times), flush=True)


if __name__ == "__main__":
    main()
