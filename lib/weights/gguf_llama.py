"""Make our Llama of the tensors of a .gguf file, llama.cpp's format: other names, and other rows in query and key."""

import math
import re

from lib.layers.rope import to_half_split
from lib.models.llama import Llama, LlamaConfig
from lib.models.sizes import check_positive, check_whole
from lib.weights.config_keys import shown
from lib.weights.convert import expand, filled, refuse_others_than_tensors
from lib.weights.names import GGUF_LLAMA

READ = frozenset({
    "vocab_size", "block_count", "embedding_length", "feed_forward_length", "context_length", "attention.head_count",
    "attention.head_count_kv", "attention.key_length", "attention.value_length", "attention.layer_norm_rms_epsilon",
    "attention.scale", "rope.freq_base", "rope.dimension_count", "rope.scaling.type", "rope.scaling.factor",
    "rope.scale_linear",
})  # fmt: skip
# Values of llama.* at which nothing is done. Counts of experts, caps, and scales that are 0 are not applied.
PLAIN = {
    "expert_count": (0,), "expert_used_count": (0,), "expert_shared_count": (0,), "leading_dense_block_count": (0,),
    "nextn_predict_layers": (0,), "attn_logit_softcapping": (0,), "final_logit_softcapping": (0,),
    "attention.sliding_window": (0,), "attention.clamp_kqv": (0,), "attention.max_alibi_bias": (0,),
    "attention.causal": (True,), "use_parallel_residual": (False,), "rope.scaling.finetuned": (False,),
    "rope.scaling.attn_factor": (0, 1), "rope.scaling.yarn_attn_factor": (0, 1),
    "logit_scale": (0, 1), "residual_scale": (0, 1), "embedding_scale": (0, 1),
    "tensor_data_layout": ("Meta AI original pth",),  # the rows of the older converter, and of today's
}  # fmt: skip
ABOUT_THE_FILE = re.compile(r"(general|tokenizer|GGUF|quantize|imatrix)\..*|split\.(no|tensors\.count)")
BEARS = re.compile(r"rope|scal|window|softcap|bias|norm|activation|multiplier|factor|lora|expert|atten|attn|adapter")
FLOAT32 = 1e-6  # metadata keeps numbers in float32


def from_gguf(metadata, tensors):
    """Build our Llama, in float32, from what `lib.weights.files.open_gguf` returns.

    llama.cpp pairs neighbouring channels in RoPE, we pair channel j with j + N/2: the rows of each query and key are
    put into our order, within each head (lesson 04). A file without an output matrix ties it to the embedding.
    Raises ValueError for another design, and for tensors that are missing, left over or of another shape, by name.
    """
    refuse_others_than_tensors(tensors)
    config = config_of_gguf(metadata, tied="output.weight" not in tensors)
    names = expand(GGUF_LLAMA, config.n_layers)
    turned = {}
    for name, tensor in tensors.items():
        heads = {"attn_q.weight": config.n_heads, "attn_k.weight": config.n_kv_heads}.get(
            ".".join(name.split(".")[-2:])
        )
        whole = heads is not None and tensor.dim() == 2 and tensor.shape[0] == heads * config.d_head
        turned[name] = to_half_split(tensor, heads) if whole else tensor  # `filled` names one that is not whole
    if config.tied and "token_embd.weight" in turned:
        turned["output.weight"] = turned["token_embd.weight"]
    return filled(Llama, config, turned, names)


def config_of_gguf(metadata, tied):
    """Read our config from a file's metadata, a dict of plain values."""
    family = metadata.get("general.architecture")
    if family != "llama":
        raise ValueError(f"the file's architecture is {family!r}: this reads 'llama'; run others with llama.cpp")
    _refuse_other_files(metadata)
    _refuse_unknown(metadata)

    def say(name, default=None):
        value = metadata.get(f"llama.{name}", default)
        if value is None:
            raise ValueError(f"the file does not say llama.{name}: it is damaged, or from an early converter")
        return value

    def say_number(name, default=None):
        value = say(name, default)
        check_positive(f"llama.{name}", value)
        return value

    C, H = say("embedding_length"), say("attention.head_count")
    for name, value in (("embedding_length", C), ("attention.head_count", H)):
        check_whole(f"llama.{name}", value)
    words = metadata.get("tokenizer.ggml.tokens")
    d_head = say("attention.key_length", C // H)
    _refuse_other_heads(metadata, d_head)
    return LlamaConfig(
        vocab_size=say("vocab_size", len(words) if isinstance(words, list | tuple) else None),
        n_layers=say("block_count"),
        d_model=C,
        n_heads=H,
        n_kv_heads=say("attention.head_count_kv", H),
        d_head=d_head,
        d_ff=say("feed_forward_length"),
        context_length=say("context_length"),
        norm_eps=float(f"{say_number('attention.layer_norm_rms_epsilon'):.6g}"),  # float32 has 9.9999997e-06 for 1e-5
        rope_theta=float(say_number("rope.freq_base", 10000.0)),
        tied=tied,
    )


def _refuse_other_files(metadata):
    """Raise ValueError for a file that is no whole model: an adapter, one part of several, blocks of another layout."""
    whole = {
        "general.type": ("model", "open the model's own file"),
        "split.count": (1, "merge the parts with llama-gguf-split"),
        "general.quantization_version": (2, "convert it again with llama.cpp of today"),
    }
    for name, (plain, advice) in whole.items():
        value = metadata.get(name)
        if value not in (None, 0, plain):
            raise ValueError(f"{name} is {shown(value)}, read is {plain!r}: {advice}")


def _refuse_unknown(metadata):
    """Raise ValueError for a key that may change the arithmetic, by name: RoPE's scaling, and what is not known here.

    llama.cpp divides positions by `rope.scaling.factor`, in older files `rope.scale_linear`, type or no type; 0 is 1.
    """
    kind = metadata.get("llama.rope.scaling.type")
    factors = {name: metadata.get(f"llama.{name}") for name in ("rope.scaling.factor", "rope.scale_linear")}
    for name, value in {"rope.scaling.type": kind, **factors}.items():
        if value not in ((None, "none", "linear") if name == "rope.scaling.type" else (None, 0, 1)):
            raise ValueError(
                f"llama.{name} is {shown(value)}: RoPE is scaled, but this Llama knows the plain one alone: "
                "run the file with llama.cpp, or choose a model without it"
            )
    for name, value in metadata.items():
        short = name.removeprefix("llama.")
        if short == name:
            known = ABOUT_THE_FILE.fullmatch(name) or name == "split.count" or not BEARS.search(name)
        else:
            known = short in READ or value in PLAIN.get(short, ())
        # The length before the positions were scaled says nothing where they are not.
        if not known and short != "rope.scaling.original_context_length":
            raise ValueError(
                f"the file says {name} = {shown(value)}, which this Llama does not know: run it with llama.cpp, or "
                "choose a model without it"
            )


def _refuse_other_heads(metadata, d_head):
    """Raise ValueError where values have another size, RoPE turns a part of a head, or scores are scaled otherwise."""
    for name in ("attention.value_length", "rope.dimension_count"):
        value = metadata.get(f"llama.{name}", d_head)
        if value != d_head:
            raise ValueError(f"llama.{name} is {shown(value)}, but this Llama's heads have {d_head} throughout")
    scale = metadata.get("llama.attention.scale")
    if scale not in (None, 0):
        check_positive("llama.attention.scale", scale)
        check_whole("llama.attention.key_length", d_head)
        if abs(scale * math.sqrt(d_head) - 1) > FLOAT32:
            raise ValueError(
                f"llama.attention.scale is {scale:g}, but this Llama multiplies scores by {d_head**-0.5:g}, one over "
                f"the root of {d_head}: run the file with llama.cpp"
            )
