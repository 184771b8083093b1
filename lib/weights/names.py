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

# OpenELM's files on Hugging Face. The embedding is the head, too, so there is no head unless a config unties them.
HUGGING_FACE_OPENELM = {
    "embed.weight": "transformer.token_embeddings.weight",
    "blocks.{i}.norm_time.weight": "transformer.layers.{i}.attn_norm.weight",
    "blocks.{i}.mix_time.norm_query.weight": "transformer.layers.{i}.attn.q_norm.weight",
    "blocks.{i}.mix_time.norm_key.weight": "transformer.layers.{i}.attn.k_norm.weight",
    "blocks.{i}.mix_time.output.weight": "transformer.layers.{i}.attn.out_proj.weight",
    "blocks.{i}.norm_channels.weight": "transformer.layers.{i}.ffn_norm.weight",
    "blocks.{i}.mix_channels.down.weight": "transformer.layers.{i}.ffn.proj_2.weight",
    "norm.weight": "transformer.norm.weight",
    "head.weight": "lm_head.weight",
}
# Matrices that stand under each other in one of theirs, in this order: their name -> our names.
OPENELM_FUSED = {
    "transformer.layers.{i}.attn.qkv_proj.weight": tuple(
        f"blocks.{{i}}.mix_time.{part}.weight" for part in ("query", "key", "value")
    ),
    "transformer.layers.{i}.ffn.proj_1.weight": tuple(
        f"blocks.{{i}}.mix_channels.{part}.weight" for part in ("gate", "up")
    ),
}
# Older files carry the angles of RoPE, which everybody computes anew.
HUGGING_FACE_UNUSED = r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq"
# What torch.compile, FSDP, Lightning and DDP put into the names of a model that they hold.
WRAPPERS = r"^(module\.|_forward_module\.)+|_orig_mod\.(module\.)?|_fsdp_wrapped_module\.|_checkpoint_wrapped_module\."

# llama.cpp's names. The rows of its query and key are in the interleaved order of RoPE.
GGUF_LLAMA = {
    "embed.weight": "token_embd.weight",
    "blocks.{i}.norm_time.weight": "blk.{i}.attn_norm.weight",
    "blocks.{i}.mix_time.query.weight": "blk.{i}.attn_q.weight",
    "blocks.{i}.mix_time.key.weight": "blk.{i}.attn_k.weight",
    "blocks.{i}.mix_time.value.weight": "blk.{i}.attn_v.weight",
    "blocks.{i}.mix_time.output.weight": "blk.{i}.attn_output.weight",
    "blocks.{i}.norm_channels.weight": "blk.{i}.ffn_norm.weight",
    "blocks.{i}.mix_channels.gate.weight": "blk.{i}.ffn_gate.weight",
    "blocks.{i}.mix_channels.up.weight": "blk.{i}.ffn_up.weight",
    "blocks.{i}.mix_channels.down.weight": "blk.{i}.ffn_down.weight",
    "norm.weight": "output_norm.weight",
    "head.weight": "output.weight",
}

# RWKV-LM's .pth files. Its `att` mixes along time, its `ffn` along channels; ln0, after the embedding, is in block 0.
_RWKV_ALL = {
    "embed.weight": "emb.weight",
    "norm_embed.weight": "blocks.0.ln0.weight",
    "norm_embed.bias": "blocks.0.ln0.bias",
    "blocks.{i}.norm_time.weight": "blocks.{i}.ln1.weight",
    "blocks.{i}.norm_time.bias": "blocks.{i}.ln1.bias",
    "blocks.{i}.mix_time.receptance.weight": "blocks.{i}.att.receptance.weight",
    "blocks.{i}.mix_time.key.weight": "blocks.{i}.att.key.weight",
    "blocks.{i}.mix_time.value.weight": "blocks.{i}.att.value.weight",
    "blocks.{i}.mix_time.output.weight": "blocks.{i}.att.output.weight",
    "blocks.{i}.norm_channels.weight": "blocks.{i}.ln2.weight",
    "blocks.{i}.norm_channels.bias": "blocks.{i}.ln2.bias",
    "blocks.{i}.mix_channels.key.weight": "blocks.{i}.ffn.key.weight",
    "blocks.{i}.mix_channels.value.weight": "blocks.{i}.ffn.value.weight",
    "norm.weight": "ln_out.weight",
    "norm.bias": "ln_out.bias",
    "head.weight": "head.weight",
}
_RWKV_CHANNEL_GATE = {"blocks.{i}.mix_channels.receptance.weight": "blocks.{i}.ffn.receptance.weight"}
_RWKV_HEADS = {
    "blocks.{i}.mix_time.norm.weight": "blocks.{i}.att.ln_x.weight",
    "blocks.{i}.mix_time.norm.bias": "blocks.{i}.att.ln_x.bias",
}
_RWKV_MIX = {
    "blocks.{i}.mix_time.mix_key": "blocks.{i}.att.time_mix_k",
    "blocks.{i}.mix_time.mix_value": "blocks.{i}.att.time_mix_v",
    "blocks.{i}.mix_time.mix_receptance": "blocks.{i}.att.time_mix_r",
    "blocks.{i}.mix_channels.mix_key": "blocks.{i}.ffn.time_mix_k",
    "blocks.{i}.mix_channels.mix_receptance": "blocks.{i}.ffn.time_mix_r",
}
RWKV = {
    4: {
        **_RWKV_ALL,
        **_RWKV_CHANNEL_GATE,
        **_RWKV_MIX,
        "blocks.{i}.mix_time.decay": "blocks.{i}.att.time_decay",
        "blocks.{i}.mix_time.bonus": "blocks.{i}.att.time_first",
    },
    5: {
        **_RWKV_ALL,
        **_RWKV_CHANNEL_GATE,
        **_RWKV_HEADS,
        **_RWKV_MIX,
        "blocks.{i}.mix_time.mix_gate": "blocks.{i}.att.time_mix_g",
        "blocks.{i}.mix_time.decay": "blocks.{i}.att.time_decay",
        "blocks.{i}.mix_time.bonus": "blocks.{i}.att.time_faaaa",
        "blocks.{i}.mix_time.gate.weight": "blocks.{i}.att.gate.weight",
    },
    6: {
        **_RWKV_ALL,
        **_RWKV_CHANNEL_GATE,
        **_RWKV_HEADS,
        "blocks.{i}.mix_time.shift.lean_first": "blocks.{i}.att.time_maa_x",
        "blocks.{i}.mix_time.shift.lean_decay": "blocks.{i}.att.time_maa_w",
        "blocks.{i}.mix_time.shift.lean_key": "blocks.{i}.att.time_maa_k",
        "blocks.{i}.mix_time.shift.lean_value": "blocks.{i}.att.time_maa_v",
        "blocks.{i}.mix_time.shift.lean_receptance": "blocks.{i}.att.time_maa_r",
        "blocks.{i}.mix_time.shift.lean_gate": "blocks.{i}.att.time_maa_g",
        "blocks.{i}.mix_time.shift.down": "blocks.{i}.att.time_maa_w1",
        "blocks.{i}.mix_time.shift.up": "blocks.{i}.att.time_maa_w2",
        "blocks.{i}.mix_time.decay.bias": "blocks.{i}.att.time_decay",
        "blocks.{i}.mix_time.decay.down": "blocks.{i}.att.time_decay_w1",
        "blocks.{i}.mix_time.decay.up": "blocks.{i}.att.time_decay_w2",
        "blocks.{i}.mix_time.bonus": "blocks.{i}.att.time_faaaa",
        "blocks.{i}.mix_time.gate.weight": "blocks.{i}.att.gate.weight",
        "blocks.{i}.mix_channels.lean_key": "blocks.{i}.ffn.time_maa_k",
        "blocks.{i}.mix_channels.lean_receptance": "blocks.{i}.ffn.time_maa_r",
    },
    7: {
        **_RWKV_ALL,
        **_RWKV_HEADS,
        "blocks.{i}.mix_time.lean_receptance": "blocks.{i}.att.x_r",
        "blocks.{i}.mix_time.lean_decay": "blocks.{i}.att.x_w",
        "blocks.{i}.mix_time.lean_key": "blocks.{i}.att.x_k",
        "blocks.{i}.mix_time.lean_value": "blocks.{i}.att.x_v",
        "blocks.{i}.mix_time.lean_rate": "blocks.{i}.att.x_a",
        "blocks.{i}.mix_time.lean_gate": "blocks.{i}.att.x_g",
        "blocks.{i}.mix_time.decay.bias": "blocks.{i}.att.w0",
        "blocks.{i}.mix_time.decay.down": "blocks.{i}.att.w1",
        "blocks.{i}.mix_time.decay.up": "blocks.{i}.att.w2",
        "blocks.{i}.mix_time.rate.bias": "blocks.{i}.att.a0",
        "blocks.{i}.mix_time.rate.down": "blocks.{i}.att.a1",
        "blocks.{i}.mix_time.rate.up": "blocks.{i}.att.a2",
        "blocks.{i}.mix_time.residual.bias": "blocks.{i}.att.v0",
        "blocks.{i}.mix_time.residual.down": "blocks.{i}.att.v1",
        "blocks.{i}.mix_time.residual.up": "blocks.{i}.att.v2",
        "blocks.{i}.mix_time.gate.down": "blocks.{i}.att.g1",
        "blocks.{i}.mix_time.gate.up": "blocks.{i}.att.g2",
        "blocks.{i}.mix_time.removal": "blocks.{i}.att.k_k",
        "blocks.{i}.mix_time.boost": "blocks.{i}.att.k_a",
        "blocks.{i}.mix_time.bonus": "blocks.{i}.att.r_k",
        "blocks.{i}.mix_channels.lean_key": "blocks.{i}.ffn.x_k",
    },
}
# What those files keep as (1, 1, C) where we have (C,): a pattern for the last part of their name.
RWKV_ROWS = {4: "time_mix_.", 5: "time_mix_.", 6: "time_maa_.|time_decay", 7: "x_.|[wav]0|k_[ka]"}
# The first layer of RWKV-7 has nothing to move its values towards: the trainer makes these all the same.
RWKV_UNUSED = ("blocks.0.att.v0", "blocks.0.att.v1", "blocks.0.att.v2")
