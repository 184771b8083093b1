"""Make our Llama of the tensors of a .gguf file, llama.cpp's format: other names, and other rows in query and key."""

from lib.layers.rope import to_half_split
from lib.models.llama import Llama, LlamaConfig
from lib.models.sizes import check_positive
from lib.weights.convert import expand, filled
from lib.weights.names import GGUF_LLAMA


def from_gguf(metadata, tensors):
    """Build our Llama, in float32, from what `lib.weights.files.open_gguf` returns.

    llama.cpp pairs neighbouring channels in RoPE, we pair channel j with j + N/2: the rows of each query and key are
    put into our order, within each head (lesson 04). A file without an output matrix ties it to the embedding.
    Raises ValueError for another design, and for tensors that are missing, left over or of another shape, by name.
    """
    config = config_of_gguf(metadata, tied="output.weight" not in tensors)
    names = expand(GGUF_LLAMA, config.n_layers)
    turned = {}
    for name, tensor in tensors.items():
        heads = {"attn_q": config.n_heads, "attn_k": config.n_kv_heads}.get(name.split(".")[-2])
        whole = heads is not None and tensor.dim() == 2 and tensor.shape[0] == heads * config.d_head
        turned[name] = to_half_split(tensor, heads) if whole else tensor  # `filled` names one that is not whole
    if config.tied and "token_embd.weight" in turned:
        turned["output.weight"] = turned["token_embd.weight"]
    return filled(Llama, config, turned, names)


def config_of_gguf(metadata, tied):
    """Read our config from a file's metadata, a dict of plain values."""
    family = metadata.get("general.architecture")
    if family != "llama":
        raise ValueError(f"the file's architecture is {family!r}: this reads 'llama'")
    scaling = metadata.get("llama.rope.scaling.type", "none")
    if scaling != "none":
        raise ValueError(f"RoPE is scaled ({scaling!r}): this Llama knows the plain one alone")

    def say(name, default=None):
        value = metadata.get(f"llama.{name}", default)
        if value is None:
            raise ValueError(f"the file does not say llama.{name}: it is damaged, or from an early converter")
        return value

    def say_number(name, default=None):
        value = say(name, default)
        check_positive(f"llama.{name}", value)
        return value

    C, H = say_number("embedding_length"), say_number("attention.head_count")
    return LlamaConfig(
        vocab_size=say("vocab_size", len(metadata.get("tokenizer.ggml.tokens", ())) or None),
        n_layers=say("block_count"),
        d_model=C,
        n_heads=H,
        n_kv_heads=say("attention.head_count_kv", H),
        d_head=say("attention.key_length", C // H),
        d_ff=say("feed_forward_length"),
        context_length=say("context_length"),
        norm_eps=float(f"{say_number('attention.layer_norm_rms_epsilon'):.6g}"),  # float32 has 9.9999997e-06 for 1e-5
        rope_theta=float(say_number("rope.freq_base", 10000.0)),
        tied=tied,
    )
