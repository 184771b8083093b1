"""Every published size as data: the numbers, the published parameter count, and where both are from.

`n_params` is the count of the released weights, to the last parameter; a test builds each model on torch's meta device
and compares.
"""

from typing import Any, NamedTuple

from lib.models.llama import LlamaConfig


class Preset(NamedTuple):
    """A model that others (or this course) trained: its config, its published number of parameters, its source."""

    config: Any
    n_params: int | None
    source: str


LLAMA = "arXiv 2302.13971, table 2; norm_eps from the released params.json"
LLAMA_2 = "arXiv 2307.09288, table 1 and the released params.json"


def _llama(n_layers, d_model, n_heads, n_kv_heads, d_ff, vocab_size=32000, context_length=2048, norm_eps=1e-5, **more):
    return LlamaConfig(
        vocab_size, n_layers, d_model, n_heads, n_kv_heads, d_model // n_heads, d_ff, context_length, norm_eps, **more
    )


PRESETS = {
    "llama-7b": Preset(_llama(32, 4096, 32, 32, 11008, norm_eps=1e-6), 6_738_415_616, LLAMA),
    "llama-13b": Preset(_llama(40, 5120, 40, 40, 13824, norm_eps=1e-6), 13_015_864_320, LLAMA),
    "llama-33b": Preset(_llama(60, 6656, 52, 52, 17920, norm_eps=1e-6), 32_528_943_616, LLAMA),
    "llama-65b": Preset(_llama(80, 8192, 64, 64, 22016, norm_eps=1e-5), 65_285_660_672, LLAMA),
    "llama-2-7b": Preset(_llama(32, 4096, 32, 32, 11008, context_length=4096), 6_738_415_616, LLAMA_2),
    "llama-2-13b": Preset(_llama(40, 5120, 40, 40, 13824, context_length=4096), 13_015_864_320, LLAMA_2),
    "llama-2-70b": Preset(_llama(80, 8192, 64, 8, 28672, context_length=4096), 68_976_648_192, LLAMA_2),
    "tinyllama-1.1b": Preset(
        _llama(22, 2048, 32, 4, 5632), 1_100_048_384, "arXiv 2401.02385, table 1; jzhang38/TinyLlama, lit_gpt/config.py"
    ),
    "litellama-460m": Preset(
        _llama(24, 1024, 16, 2, 4096, vocab_size=50304, context_length=1024, norm_eps=1e-6),
        461_685_760,
        "config.json of LiteLlama-460M-1T; its tokenizer is GPT-2's, 50,257 of the 50,304 rows are used",
    ),
    "tiny-llama": Preset(
        _llama(4, 128, 4, 4, 352, vocab_size=1024, context_length=512), None, "this course: lessons 07 to 09"
    ),
    "mistral-7b-v0.1": Preset(
        _llama(32, 4096, 32, 8, 14336, context_length=32768, window=4096), 7_241_732_096, "arXiv 2310.06825, table 1"
    ),
}


def preset(name):
    """Return the `Preset` of that name; an unknown name lists those that there are."""
    if name not in PRESETS:
        raise ValueError(f"no preset is called {name!r}: there are {', '.join(PRESETS)}")
    return PRESETS[name]
