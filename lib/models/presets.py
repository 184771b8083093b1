"""Every published size as data: the numbers, the published parameter count, and where both are from.

`n_params` is the count of the released weights, to the last parameter; a test builds each model on torch's meta device
and compares.
"""

from typing import Any, NamedTuple

from lib.models.hybrid import HybridConfig
from lib.models.llama import LlamaConfig
from lib.models.openelm import OpenElmConfig, openelm_config
from lib.models.rwkv import RwkvConfig, rwkv_d_ff


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
    "smollm2-135m": Preset(
        _llama(30, 576, 9, 3, 1536, vocab_size=49152, context_length=8192, rope_theta=100000.0, tied=True),
        134_515_008,
        "arXiv 2502.02737; config.json and model.safetensors of HuggingFaceTB/SmolLM2-135M",
    ),
    "tiny-llama": Preset(
        _llama(4, 128, 4, 4, 352, vocab_size=2048, context_length=512), None, "this course: lessons 07 to 09"
    ),
    "mistral-7b-v0.1": Preset(
        _llama(32, 4096, 32, 8, 14336, context_length=32768, window=4096), 7_241_732_096, "arXiv 2310.06825, table 1"
    ),
}


RWKV_4 = "arXiv 2305.13048; the released rwkv-4-pile files"
RWKV_5 = "arXiv 2404.05892 (Eagle); the released rwkv-5-world files"
RWKV_6 = "arXiv 2404.05892 (Finch); the released rwkv-6-world files"
RWKV_7 = "arXiv 2503.14456; RWKV-LM README. With layer 0's v0 v1 v2, which nothing uses, the files hold"


def _rwkv(generation, n_layers, d_model, ranks=(), vocab_size=65536):
    return RwkvConfig(generation, vocab_size, n_layers, d_model, rwkv_d_ff(generation, d_model), ranks=ranks)


# A table of its own, since what lessons say of all PRESETS is said of LLaMA.
RWKV_PRESETS = {
    "rwkv-4-169m": Preset(_rwkv(4, 12, 768, vocab_size=50277), 169_342_464, RWKV_4),
    "rwkv-4-430m": Preset(_rwkv(4, 24, 1024, vocab_size=50277), 430_397_440, RWKV_4),
    "rwkv-4-1.5b": Preset(_rwkv(4, 24, 2048, vocab_size=50277), 1_515_106_304, RWKV_4),
    "rwkv-4-3b": Preset(_rwkv(4, 32, 2560, vocab_size=50277), 2_984_627_200, RWKV_4),
    "rwkv-4-7b": Preset(_rwkv(4, 32, 4096, vocab_size=50277), 7_392_649_216, RWKV_4),
    "rwkv-4-14b": Preset(_rwkv(4, 40, 5120, vocab_size=50277), 14_148_597_760, RWKV_4),
    "rwkv-5-0.1b": Preset(_rwkv(5, 12, 768), 192_807_936, RWKV_5),
    "rwkv-5-0.4b": Preset(_rwkv(5, 24, 1024), 461_721_600, RWKV_5),
    "rwkv-5-1.5b": Preset(_rwkv(5, 24, 2048), 1_577_754_624, RWKV_5),
    "rwkv-5-3b": Preset(_rwkv(5, 32, 2560), 3_062_999_040, RWKV_5),
    "eagle-7b": Preset(_rwkv(5, 32, 4096), 7_518_044_160, RWKV_5),
    "rwkv-6-1.6b": Preset(_rwkv(6, 24, 2048, (32, 64)), 1_599_873_024, RWKV_6),
    "rwkv-6-3b": Preset(_rwkv(6, 32, 2560, (32, 64)), 3_099_863_040, RWKV_6),
    "rwkv-6-7b": Preset(_rwkv(6, 32, 4096, (64, 128)), 7_635_746_816, RWKV_6),
    "rwkv-7-0.1b": Preset(_rwkv(7, 12, 768, (64, 64, 32, 128)), 191_034_624, f"{RWKV_7} 191,084,544"),
    "rwkv-7-0.4b": Preset(_rwkv(7, 24, 1024, (64, 64, 32, 128)), 450_767_872, f"{RWKV_7} 450,834,432"),
    "rwkv-7-1.5b": Preset(_rwkv(7, 24, 2048, (96, 96, 64, 256)), 1_527_404_544, f"{RWKV_7} 1,527,668,736"),
    "rwkv-7-2.9b": Preset(_rwkv(7, 32, 2560, (96, 96, 64, 320)), 2_947_735_040, f"{RWKV_7} 2,948,065,280"),
}


def _tiny_rwkv(generation, d_ff, ranks=()):
    return RwkvConfig(generation, 2048, n_layers=4, d_model=128, d_ff=d_ff, d_head=32, ranks=ranks)


TINY = "this course: lesson 15; d_ff is such that the parameters are tiny-llama's, to 1 %"
TINY_RWKV = {
    "tiny-rwkv-4": Preset(_tiny_rwkv(4, 456), None, TINY),
    "tiny-rwkv-5": Preset(_tiny_rwkv(5, 392), None, TINY),
    "tiny-rwkv-6": Preset(_tiny_rwkv(6, 336, (8, 16)), None, TINY),
    "tiny-rwkv-7": Preset(_tiny_rwkv(7, 448, (16, 16, 8, 32)), None, TINY),
}

# Three layers of RWKV-5 and one of attention, whose KV cache is the only one. d_ff: tiny-llama's parameters, to 1 %.
MIXED = HybridConfig(2048, ("rwkv5", "rwkv5", "attention", "rwkv5"), 128, 408, 32, n_kv_heads=4, context_length=512)
TINY_HYBRID = {"tiny-hybrid": Preset(MIXED, None, "this course: lesson 17")}

OPENELM = "arXiv 2404.14619, section 2.1; apple/corenet, projects/openelm/pretraining_configs; the released config.json"


def _openelm(n_layers, d_model, d_head):
    return openelm_config(32000, n_layers, d_model, d_head)


OPENELM_PRESETS = {
    "openelm-270m": Preset(_openelm(16, 1280, 64), 271_527_168, OPENELM),
    "openelm-450m": Preset(_openelm(20, 1536, 64), 457_179_136, OPENELM),
    "openelm-1.1b": Preset(_openelm(28, 2048, 64), 1_079_891_456, OPENELM),
    "openelm-3b": Preset(_openelm(36, 3072, 128), 3_036_647_424, OPENELM),
}


# OpenELM's rule with group 1, in multiples of 8: five layers where tiny-llama has four of the same parameters, to 1 %.
HEADS, INNER = (2, 3, 3, 4, 4), (64, 176, 288, 400, 512)
THIN = OpenElmConfig(2048, 128, 32, HEADS, HEADS, INNER, context_length=512, tied=False)
TINY_OPENELM = {"tiny-openelm": Preset(THIN, None, "this course: lesson 22")}


def preset(name):
    """Return the `Preset` of that name; an unknown name lists those that there are."""
    presets = PRESETS | RWKV_PRESETS | TINY_RWKV | TINY_HYBRID | OPENELM_PRESETS | TINY_OPENELM
    if name not in presets:
        raise ValueError(f"no preset is called {name!r}: there are {', '.join(presets)}")
    return presets[name]
