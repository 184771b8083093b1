"""The claims of the sources. A lesson says of each whether it holds, beside the number that it has just computed."""

from typing import NamedTuple

VERDICTS = (
    "holds",
    "holds for the norm alone",
    "holds in some settings",
    "adds up",  # the published numbers fit together; whether it was done, a count can't say
    "does not hold here",
    "undecided here",
    "can't be checked",
)


class Claim(NamedTuple):
    """What is claimed, and where."""

    text: str
    source: str


CLAIMS = {
    "llama-languages": Claim(
        "LLaMA's Wikipedia has 20 languages, none of Korean, Chinese, Japanese",
        "arXiv 2302.13971, section 2",
    ),
    "rmsnorm-faster": Claim("RMSNorm in place of LayerNorm takes 7 to 64 % less time", "arXiv 1910.07467, abstract"),
    "swiglu-relu": Claim("SwiGLU reaches a lower loss than a ReLU layer of the same size", "arXiv 2002.05202, table 1"),
    "rope-relative": Claim(
        "with RoPE a score depends on the relative position alone", "arXiv 2104.09864, section 3.2.2"
    ),
    "rope-decay": Claim(
        "RoPE lets the dependency between tokens decay with their distance", "arXiv 2104.09864, abstract"
    ),
    "gqa-memory": Claim(
        "sharing G heads of keys and values among H makes the KV cache H/G times smaller",
        "arXiv 2305.13245, section 2.2",
    ),
    "flash-memory": Claim("FlashAttention's memory grows linearly with the length", "arXiv 2205.14135, section 4.3"),
    "openelm-accuracy": Claim("scaling by layer beats a uniform model of the same size", "arXiv 2404.14619"),
    "openelm-instruct": Claim("instruction tuning improves the mean accuracy at every size", "arXiv 2404.14619"),
    "chinchilla-20": Claim(
        "the best model for its training FLOPs reads about 20 tokens a parameter", "arXiv 2203.15556, table 3"
    ),
    "eagle-size": Claim("Eagle 7B has 7.52B parameters", "RWKV blog, Eagle 7B"),
    "eagle-languages": Claim("Eagle 7B was trained on 100+ languages", "RWKV blog, Eagle 7B"),
    "llama-65b-days": Claim(
        "380 tokens/s on each of 2,048 A100: 1.4T tokens in about 21 days", "arXiv 2302.13971, section 2.4"
    ),
    "tinyllama-hours": Claim("24,000 tokens/s on an A100: 300B tokens in 3,456 hours", "TinyLlama, README"),
    "tinyllama-32-hours": Claim("22B tokens in 32 hours on 8 A100", "TinyLlama, README"),
    "tinyllama-90-days": Claim("3T tokens in 90 days on 16 A100", "TinyLlama, README"),
    "tinyllama-mfu": Claim("24,000 tokens/s on an A100 are 56 % of its FLOPs", "TinyLlama, README"),
    "tinyllama-22b": Claim("22B tokens are Chinchilla's optimum for 1.1B parameters", "TinyLlama, README"),
    "tinyllama-3090": Claim("TinyLlama can be pretrained on an RTX 3090 or 4090", "TinyLlama, README"),
    "llama-13b-v100": Claim("LLaMA-13B runs on a single V100", "arXiv 2302.13971, section 1"),
    "litellama-4gb": Claim("LiteLlama-460M runs in 4 GB", "article on TinyLlama and LiteLlama, January 2024"),
    "eagle-10-times": Claim("inference of Eagle is 10 times cheaper than a transformer's", "RWKV blog, Eagle 7B"),
    "eagle-100-times": Claim("inference of Eagle is 100 times cheaper than a transformer's", "RWKV blog, Eagle 7B"),
    "zoology-recall": Claim(
        "most of the gap between recurrent models and attention, 82 %, is recall of what the text said before",
        "arXiv 2312.04927, abstract",
    ),
    "eagle-languages-best": Claim(
        "Eagle 7B outperforms all 7B models in benchmarks of many languages", "RWKV blog, Eagle 7B"
    ),
    "eagle-energy": Claim("Eagle needs the least energy a token of all 7B models", "RWKV blog, Eagle 7B"),
}


def claim(key, verdict, number):
    """Print a claim of the sources, whether it holds, and the number that a lesson has just computed."""
    if key not in CLAIMS or verdict not in VERDICTS:
        known = CLAIMS if key not in CLAIMS else VERDICTS
        raise ValueError(f"no {key if key not in CLAIMS else verdict!r}: there is {', '.join(known)}")
    print(f"Claim {key}: {CLAIMS[key].text} ({CLAIMS[key].source}).\n  here: {verdict}; {number}")
