"""Rename tables: what each published format calls the tensors that we have.

A table maps our name to theirs; `{i}` stands for the number of a block. `lib.weights.convert` applies it both ways.
"""

HUGGING_FACE_LLAMA = {
    "embed.weight": "model.embed_tokens.weight",
    "blocks.{i}.norm_time.weight": "model.layers.{i}.input_layernorm.weight",
    "blocks.{i}.mix_time.query.weight": "model.layers.{i}.self_attn.q_proj.weight",
    "blocks.{i}.mix_time.key.weight": "model.layers.{i}.self_attn.k_proj.weight",
    "blocks.{i}.mix_time.value.weight": "model.layers.{i}.self_attn.v_proj.weight",
    "blocks.{i}.mix_time.output.weight": "model.layers.{i}.self_attn.o_proj.weight",
    "blocks.{i}.norm_channels.weight": "model.layers.{i}.post_attention_layernorm.weight",
    "blocks.{i}.mix_channels.gate.weight": "model.layers.{i}.mlp.gate_proj.weight",
    "blocks.{i}.mix_channels.up.weight": "model.layers.{i}.mlp.up_proj.weight",
    "blocks.{i}.mix_channels.down.weight": "model.layers.{i}.mlp.down_proj.weight",
    "norm.weight": "model.norm.weight",
    "head.weight": "lm_head.weight",
}
