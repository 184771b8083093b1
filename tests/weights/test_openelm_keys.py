"""OpenELM's config.json: what Apple's file says is read; what is missing, or is another design, is refused by name."""

import pytest

from lib.models.openelm import OpenElm, OpenElmConfig
from lib.models.presets import preset
from lib.weights.openelm import describe, from_hugging_face_openelm, read_config, to_hugging_face_openelm

ELM = OpenElm(OpenElmConfig(61, 40, 8, (3, 4), (1, 2), (20, 60), context_length=37))
APPLES = {
    "auto_map": {"AutoModelForCausalLM": "modeling_openelm.OpenELMForCausalLM"}, "initializer_range": 0.02,
    "qkv_multipliers": [0.5, 1.0], "bos_token_id": 1, "torch_dtype": "float32", "transformers_version": "4.39.3",
}  # fmt: skip


def test_apples_config_is_read():
    config = preset("openelm-270m").config
    assert read_config(describe(config) | APPLES) == config


NEEDED = ("vocab_size", "model_dim", "head_dim", "num_query_heads", "num_kv_heads", "ffn_multipliers",
          "ffn_dim_divisor", "max_context_length")  # fmt: skip


@pytest.mark.parametrize("key", describe(ELM.config))
def test_openelm_without_a_key_is_the_same_or_refused(key):
    config, tensors = to_hugging_face_openelm(ELM)
    del config[key]
    if key in NEEDED:
        with pytest.raises(ValueError, match=f"config.json does not say {key}"):
            from_hugging_face_openelm(config, tensors)
    else:
        assert from_hugging_face_openelm(config, tensors).config == ELM.config


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"activation_fn_name": "gelu"}, "activation_fn_name is 'gelu', but our OpenELM knows 'swish' alone"),
        ({"normalization_layer_name": "layer_norm"}, "normalization_layer_name is 'layer_norm'"),
        ({"ffn_with_glu": False}, "ffn_with_glu is False"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling = "),
        ({"num_transformer_layers": 3}, "num_transformer_layers is 3, but ffn_multipliers has 2"),
        ({"ffn_multipliers": 0.5}, "ffn_multipliers is 0.5: give a list"),
        ({"ffn_multipliers": [0.5, "1"]}, "ffn_multipliers is '1'"),
        ({"ffn_dim_divisor": 0}, "ffn_dim_divisor is 0"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings is False, but share_input_output_layers True"),
        ({"quantization_config": {"quant_method": "awq"}}, "quantised"),
    ],
)
def test_what_openelm_can_not_do_is_refused_by_name(extra, words):
    config, tensors = to_hugging_face_openelm(ELM)
    with pytest.raises(ValueError, match=words):
        from_hugging_face_openelm(config | extra, tensors)
