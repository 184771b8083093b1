"""The keys of a Hugging Face config.json: each is read, known to be harmless, or refused by name.

A key that is skipped can make a file open as another model without a word: `rope_scaling` does. So a key that is not
in these tables is refused by its name, unless its value says that nothing is done. The harmless ones are what
transformers' PreTrainedConfig keeps for every model, and what people add about training and tokens.
"""

import re

from lib.models.sizes import check_positive, check_whole

NEEDS = ("vocab_size", "num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size",
         "max_position_embeddings", "rms_norm_eps")  # fmt: skip
READ = frozenset(NEEDS) | {
    "model_type", "architectures", "auto_map", "quantization_config", "num_key_value_heads", "head_dim",
    "rope_theta", "rope_parameters", "rope_scaling", "tie_word_embeddings",
    "sliding_window", "use_sliding_window", "max_window_layers", "layer_types",
}  # fmt: skip
HARMLESS = frozenset(
    """
    add_cross_attention attn_implementation attn_pdrop begin_suppress_tokens cache_implementation
    chunk_size_feed_forward diversity_penalty do_sample dtype early_stopping embd_pdrop exponential_decay_length_penalty
    finetuning_task id2label initializer_range is_decoder is_encoder_decoder is_llama_config label2id length_penalty
    license max_length max_sequence_length min_length model_max_length name no_repeat_ngram_size num_beam_groups
    num_beams num_labels num_return_sequences encoder_no_repeat_ngram_size output_attentions output_hidden_states
    output_scores prefix pretraining_tp problem_type remove_invalid_values repetition_penalty resid_pdrop return_dict
    return_dict_in_generate suppress_tokens task_specific_params temperature tf_legacy_loss tie_encoder_decoder
    tokenizer_class top_k top_p torch_dtype torchscript typical_p use_bfloat16 use_cache
    """.split()
)
HARMLESS_LIKE = re.compile(
    r"_(name_or_path|attn_implementation|commit_hash|comment)\w*|transformers\W?\w*version|transformers\.js_config"
    r"|unsloth_\w+|(?!\w*(expert|_per_|att|predict))\w*_token(_ids?)?|bad_words_ids|\w*dropout\w*|\w*flash_att\w*|\w*initializer_range"
)
# Keys of other designs, with the values at which they do nothing; () is a key that always does something.
PLAIN = {
    "hidden_act": ("silu", "swish"), "hidden_activation": ("silu", "swish"),
    "activation": ("silu", "swish"), "activation_function": ("silu", "swish"),
    "attention_bias": (False,), "mlp_bias": (False,), "qkv_bias": (False,), "lm_head_bias": (False,),
    "use_bias": (False,), "bias": (False,), "no_bias": (True,),
    "is_causal": (True,), "causal": (True,), "use_bidirectional_attention": (False,),
    "use_qk_norm": (False,), "qk_norm": (False,), "qk_layernorm": (False,), "clip_qkv": (),
    "rope_interleaved": (False,), "rope_traditional": (False,), "use_scaled_rope": (False,), "alibi": (False,),
    "partial_rotary_factor": (1,), "rotary_pct": (1,), "position_embedding_type": ("rope", "rotary"),
    "parallel_attn": (False,), "use_parallel_residual": (False,), "num_local_experts": (0,), "num_experts": (0,),
    "attn_logit_softcapping": (0,), "final_logit_softcapping": (0,), "scale_emb": (1,),
    "attention_multiplier": (), "query_pre_attn_scalar": (),  # scores are multiplied by one over the root of N here
    "pruned_heads": ({},), "cross_attention_hidden_size": (),
}  # fmt: skip
ONE_IS_OFF = re.compile(r"\w*(multiplier|scale|scaling|factor)s?")
# Where a key speaks of what a Llama has, false is no way to say "nothing else".
FALSE_IS_ON = re.compile(r"rope|rotary|position|norm|causal|mask|residual|gat|glu|silu|scale_(att|qk|score)|softmax")
PLAIN_ROPE = {"rope_type": ("default",), "type": ("default",), "factor": (1,), "partial_rotary_factor": (1,),
              "attention_factor": (1,)}  # fmt: skip
ELSEWHERE = "open the folder with transformers, or choose a release without it"


def refuse_other_llamas(config):
    """Raise ValueError, with key and value, for what a config may ask for and our Llama can't do."""
    family = family_of(config)
    if family not in ("llama", "mistral"):
        raise ValueError(
            f"config.json is of model type {family!r}: read are llama, mistral and openelm, and RWKV from its .pth file"
        )
    missing = [name for name in NEEDS if config.get(name) is None]
    if missing:
        raise ValueError(f"config.json does not say {', '.join(missing)}: is it that of a Llama?")
    for name in ("hidden_size", "num_attention_heads"):
        check_whole(name, config[name])  # one is divided by the other
    _refuse_other_code(config)
    refuse_unknown(config, READ, PLAIN, "our Llama")


def family_of(config):
    """Return the model type; a config that has none is read as a Llama's."""
    family = config.get("model_type")
    return "llama" if family is None else family


def refuse_unknown(config, read, plain, who):
    """Raise ValueError for a key that is not read, nor harmless, nor plain (`plain`: {key: values that do nothing})."""
    refuse_quantised(config)
    unknown = []
    for name, value in config.items():
        if name in read or name in HARMLESS or HARMLESS_LIKE.fullmatch(name) or value is None:
            continue
        if name in plain:
            if value not in plain[name]:
                known = f"knows {plain[name][0]!r} alone" if plain[name] else "has no such step"
                raise ValueError(f"{name} is {shown(value)}, but {who} {known}: {ELSEWHERE}")
        elif not is_off(name, value):
            unknown.append(f"{name} = {shown(value)}")
    if unknown:
        raise ValueError(
            f"config.json says {', '.join(unknown[:3])}{' and more' if len(unknown) > 3 else ''}, which {who} does not "
            f"know: {ELSEWHERE}; or, if it changes nothing in the arithmetic, take it out of config.json"
        )


def is_off(name, value):
    """Say whether the value of an unknown key means that nothing is done: null, false, nothing in it, a factor of 1."""
    if value is False:
        return not FALSE_IS_ON.search(name)
    one = isinstance(value, int | float) and not isinstance(value, bool) and value == 1
    return value is None or value in ("", [], {}) or (one and bool(ONE_IS_OFF.fullmatch(name)))


def shown(value):
    """Return a value as text that fits into a sentence."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def refuse_quantised(config):
    """Raise ValueError where the weights are integers with scales beside them."""
    way = config.get("quantization_config")
    if way:
        name = way.get("quant_method", "a way it does not name") if isinstance(way, dict) else shown(way)
        raise ValueError(f"the weights are quantised (quantization_config: {name}): choose the release in float16")


def _refuse_other_code(config):
    """Raise ValueError where the file says that code of another class is meant to run it."""
    named = config.get("architectures")
    known = {"llamaforcausallm", "mistralforcausallm"}
    if named and (not isinstance(named, list) or not {str(name).lower() for name in named} <= known):
        raise ValueError(f"architectures is {shown(named)}: read are LlamaForCausalLM and MistralForCausalLM")
    own = config.get("auto_map")
    models = {name: code for name, code in own.items() if "Tokenizer" not in name} if isinstance(own, dict) else own
    if models:
        raise ValueError(f"auto_map is {shown(models)}: the model runs by code of its own, which may differ from Llama")


def rope_theta(config):
    """Return theta of plain RoPE; ValueError where the positions are scaled, or two places disagree.

    Transformers 5 keeps theta in `rope_parameters`, older ones in `rope_theta`, with `rope_scaling` beside it; the kind
    of scaling is `rope_type`, before transformers 4.45 it was `type`.
    """
    said = {"rope_theta": config.get("rope_theta")}
    for place in ("rope_parameters", "rope_scaling"):
        rope = config.get(place)
        if rope is None or rope is False:
            continue
        if not isinstance(rope, dict):
            raise ValueError(f"{place} is {shown(rope)}: expected is an object with rope_theta")
        _refuse_scaled(place, rope)
        said[f"{place}.rope_theta"] = rope.get("rope_theta")
    said = {name: theta for name, theta in said.items() if theta is not None}
    for name, theta in said.items():
        check_positive(name, theta)
    if len(set(said.values())) > 1:
        raise ValueError(f"the config has two values of theta, {said}: keep the one that the model was trained with")
    return float(next(iter(said.values()), 10000.0))


def _refuse_scaled(place, rope):
    plain = PLAIN_ROPE
    if rope.get("factor") == 1:  # a position divided by one
        plain = plain | dict.fromkeys(("rope_type", "type"), ("default", "linear"))
    for name, value in rope.items():
        if name == "rope_theta" or value is None or value in plain.get(name, ()):
            continue
        what = f"RoPE of type {shown(value)}" if name in ("rope_type", "type") else f"RoPE with {name} {shown(value)}"
        raise ValueError(f"{place} asks for {what}, but our Llama has the plain one ('default') alone: {ELSEWHERE}")


def window_of(config):
    """Return how many tokens a token sees, None for all; ValueError where that is not the same in every layer.

    Mistral's class has 4096 where a config says nothing. Llama's class has no window, so one that would be felt is
    refused.
    """
    family, context = family_of(config), config["max_position_embeddings"]
    window = config.get("sliding_window", 4096 if family == "mistral" else None)
    window = None if window is False else window
    if window is not None:
        check_whole("sliding_window", window)
        check_whole("max_position_embeddings", context)
    if family == "llama" and window is not None:
        if window < context and config.get("use_sliding_window") is not False:
            raise ValueError(
                f"sliding_window is {window}, but a model of type 'llama' sees all of its {context} tokens: "
                "set model_type to 'mistral' if it was trained with a window, sliding_window to null if not"
            )
        window = None
    _refuse_some_layers(config, window)
    return window


def _refuse_some_layers(config, window):
    """Raise ValueError where a window is said to be switched off, or to be in some layers only."""
    wanted = "full_attention" if window is None else "sliding_attention"
    layers = config.get("layer_types")
    if layers is not None and (not isinstance(layers, list) or any(layer != wanted for layer in layers)):
        raise ValueError(f"layer_types is {shown(layers)}: our Llama has {wanted!r} in every layer here; {ELSEWHERE}")
    for name, plain in (("use_sliding_window", True), ("max_window_layers", None)):
        value = config.get(name)
        if window is not None and value is not None and value is not plain:
            raise ValueError(
                f"{name} is {shown(value)} and sliding_window {window}, but our window is in every layer: set "
                "sliding_window to null if the model was trained without one"
            )
