"""The exercises of lesson 07: the block, the whole model, names of weights, the count, and a broken forward."""

import re
from dataclasses import replace

import torch

from lessons.checker.check import Checks
from lessons.checker.watch import Remembering, counted, going_on, pair_of, run_model
from lessons.exercises.lesson_07_wrong import (
    WRONG_BLOCKS,
    WRONG_FORWARDS,
    WRONG_MODELS,
    assemble,
    channels_first,
    no_norm,
    no_residual,
    old_state,
    on_the_road,
    one_norm,
    parallel,
    post_norm,
    wrong_block,
    wrong_model,
)
from lib.layers.attention import GroupedAttention
from lib.layers.mlp import SwiGLU
from lib.layers.norm import RMSNorm
from lib.layers.rope import rope_table
from lib.layers.shared import Shared
from lib.models.llama import Llama, LlamaConfig
from lib.models.presets import PRESETS
from lib.models.skeleton import Block
from lib.weights.convert import expand
from lib.weights.names import HUGGING_FACE_LLAMA

checks = Checks("07")
check = checks.check

SMALL = LlamaConfig(
    vocab_size=31, n_layers=3, d_model=24, n_heads=6, n_kv_heads=2, d_head=4, d_ff=40, context_length=20, norm_eps=1e-6
)


def run_block(block, x, position=0):
    """Run a block on x (B, T, C) in two calls, the second with the state of the first; return both outputs as one."""
    first, second = x[:, :3], x[:, 3:]
    tables = [rope_table(4, part.shape[1], offset=at, dtype=x.dtype) for part, at in ((first, 0), (second, 3))]
    y, state = pair_of(block(first, (None, None), Shared(*tables[0])))
    z, last = pair_of(block(second, state, Shared(*tables[1])))
    kept = last[0].keys.shape[2] if hasattr(last[0], "keys") else 0
    return torch.cat([y, z], 1), kept


class _Block(Block):
    """A block of fixed parts, so that a case can build it from a seed alone."""

    def __init__(self):
        super().__init__(RMSNorm(24), GroupedAttention(24, 6, 2, 4), RMSNorm(24), SwiGLU(24, 40))


def call_block(block_class, x, remembers=False):
    """Build the class from fixed parts with random weights, and run it; its channel mixer may keep a state, too."""
    torch_state = torch.random.get_rng_state()
    torch.manual_seed(4)
    parts = _Block()
    for weight in parts.parameters():
        weight.data.add_(0.3 * torch.randn_like(weight))
    torch.random.set_rng_state(torch_state)
    channels = Remembering(parts.mix_channels) if remembers else parts.mix_channels
    block = block_class(parts.norm_time, parts.mix_time, parts.norm_channels, channels)
    return run_block(block.to(x.dtype), x)


@checks.exercise("07.1", reference=Block, points=3, call=call_block)
def block(e):
    """The residual block, run twice with its state."""
    e.case("two calls with a state between", e.randn(2, 5, 24))
    e.case("one row", e.randn(1, 7, 24))
    e.case("a channel mixer that keeps a state", e.randn(2, 5, 24), True)
    e.case("a long road", 30 * e.randn(2, 4, 24), hint="the road itself must not be normed or scaled.")
    e.mistake("the norm is on the road: add to x itself, and give the mixer a normed copy.", wrong_block(on_the_road))
    e.mistake("the residual is missing: `x + y`, not y alone.", wrong_block(no_residual))
    e.mistake("the norms are missing: the mixers read norm(x).", wrong_block(no_norm))
    e.mistake("both mixers read the same x: the second must see what the first has added.", wrong_block(parallel))
    e.mistake("the old state is returned: each mixer gives a new one, return these.", wrong_block(old_state))
    e.mistake("the norms come after the sum (post-norm): LLaMA norms what goes into a mixer.", wrong_block(post_norm))
    e.mistake("norm_time is used twice: the channel mixer has norm_channels.", wrong_block(one_norm))
    e.mistake("the order: time first, then channels.", wrong_block(channels_first))
    for hint, wrong in WRONG_BLOCKS.items():
        e.mistake(hint, wrong_block(wrong))


@checks.exercise("07.2", reference=Llama, points=5, call=run_model)
def llama(e):
    """The whole model: at once, and in two calls."""
    tokens = e.randint(31, 2, 9)
    e.case("all at once", tokens, build=(SMALL,))
    e.case(
        "in two calls",
        tokens,
        5,
        build=(SMALL,),
        hint="where do the angles begin in the second call, and what is kept?",
    )
    e.case("one token at the end", tokens, 8, build=(SMALL,))
    e.case("one row, one key head", e.randint(31, 1, 6), 2, build=(replace(SMALL, n_kv_heads=1),))
    e.case(
        "another theta", e.randint(31, 3, 7), build=(replace(SMALL, rope_theta=100.0),), hint="theta is in the config."
    )
    for hint, change in WRONG_MODELS.items():
        e.mistake(hint, wrong_model(change))


def their_name(name):
    """Return what transformers calls our tensor `name`."""
    return expand(HUGGING_FACE_LLAMA, 12)[name]


@checks.exercise("07.3", reference=their_name, points=3, gradients=False)
def name_of_a_weight(e):
    """Every name of a block of one and of two digits, and those outside."""
    for name in ("embed.weight", "norm.weight", "head.weight"):
        e.case(name, name, hint="three names stand outside of the blocks: treat them first.")
    for i in (0, e.size(2, 9), 11):
        for name in HUGGING_FACE_LLAMA:
            if "{i}" in name:
                e.case(name.format(i=i), name.format(i=i))
    e.mistake("the norms are crossed: input_layernorm stands before attention, so it is norm_time.", _crossed_norms)
    e.mistake(
        "`norm.weight` without a block is `model.norm.weight`.",
        lambda name: their_name(name).replace("model.norm", "norm"),
    )
    e.mistake("`head.weight` is `lm_head.weight`.", lambda name: their_name(name).replace("lm_head", "model.head"))
    e.mistake("gate and up are crossed: the gate goes through silu.", _crossed_gate)
    e.mistake(
        "up and down are crossed: down comes last, back to d_model.", lambda n: _swapped(n, "up_proj", "down_proj")
    )
    e.mistake("key and value are crossed.", lambda name: _swapped(name, "k_proj", "v_proj"))
    e.mistake("one letter is left of our word there: q_proj, k_proj, v_proj, o_proj.", _whole_words)
    e.mistake("all blocks change their names, not the first alone.", _first_block_alone)
    e.mistake("`head` is `lm_head` there.", lambda name: their_name(name).replace("lm_head", "head"))
    e.mistake("the number of the block is lost.", lambda name: their_name(name).replace(".11.", ".1."))
    e.mistake("`model.` is missing in front.", lambda name: their_name(name).removeprefix("model."))
    e.mistake("`blocks.` becomes `model.layers.`, with `model.` in front.", _without_model)
    e.mistake("three names stand outside of the blocks, and change too: treat them first.", _blocks_alone)
    e.mistake("`replace` makes a new text: keep it, name = name.replace(...).", lambda name: name)
    e.mistake("the names of the MLP still stand as ours: `mix_channels` is `mlp`, with `_proj` behind.", _without_mlp)
    e.mistake("`embed` is `embed_tokens` there.", lambda name: their_name(name).replace("embed_tokens", "embed"))
    e.mistake("`.weight` at the end stays.", lambda name: their_name(name).removesuffix(".weight"))
    e.mistake("one name is asked for, as a text: return it alone.", lambda name: {name: their_name(name)})
    e.mistake(
        "`head` is a part of no other name there: `lm_head.weight`, without `model.`.",
        lambda name: their_name(name).replace("lm_head", "model.lm_head"),
    )


def _without_model(name):
    return their_name(name).replace("model.layers", "layers")


def _blocks_alone(name):
    return their_name(name) if name.startswith("blocks.") else name


def _without_mlp(name):
    return re.sub(r"mlp\.(\w+)_proj", r"mix_channels.\1", their_name(name))


def _whole_words(name):
    return re.sub(r"mix_time\.(\w+)", r"self_attn.\1_proj", name) if "mix_time" in name else their_name(name)


def _first_block_alone(name):
    return their_name(name) if ".0." in name else their_name(name).replace("layers.", "blocks.")


def _swapped(name, a, b):
    return their_name(name).replace(a, "\0").replace(b, a).replace("\0", b)


def _crossed_norms(name):
    return _swapped(name, "input_layernorm", "post_attention_layernorm")


def _crossed_gate(name):
    return _swapped(name, "gate_proj", "up_proj")


def count_parameters(config):
    """Return the number of parameters of a Llama: tables V C (two, or one if tied), blocks, and the last norm."""
    return count(config)


def count(config, kv=True, tied=True, matrices=3, norms=2, last=1, head=True):
    """Count, with one thing left out."""
    C, N = config.d_model, config.d_head
    attention = 2 * C * config.n_heads * N + 2 * C * (config.n_kv_heads if kv else config.n_heads) * N
    tables = 1 if (config.tied and tied) or not head else 2
    return (
        tables * config.vocab_size * C
        + config.n_layers * (attention + matrices * C * config.d_ff + norms * C)
        + last * C
    )


@checks.exercise("07.4", reference=count_parameters, points=3, gradients=False, call=counted)
def parameters(e):
    """Published models, one with tied tables, and one whose heads are not as wide as the model."""
    for name in ("llama-7b", "tinyllama-1.1b", "llama-2-70b"):
        e.case(name, PRESETS[name].config)
    e.case("tied", replace(SMALL, tied=True), hint="tied: the head is the embedding, count it once.")
    e.case(
        "n_heads * d_head is not d_model",
        replace(SMALL, d_head=10),
        hint="query and output have n_heads * d_head columns.",
    )
    some = replace(SMALL, vocab_size=e.size(40, 900), n_layers=e.size(2, 9), d_ff=e.size(20, 90))
    e.case("some model", some)
    e.mistake("key and value have n_kv_heads heads, not n_heads.", lambda c: count(c, kv=False))
    e.mistake("tied: the head is the embedding, count it once.", lambda c: count(c, tied=False))
    e.mistake("the MLP has three matrices: gate, up and down.", lambda c: count(c, matrices=2))
    e.mistake("each block has two norms.", lambda c: count(c, norms=1))
    e.mistake("the norms are missing: two in each block and one at the end.", lambda c: count(c, norms=0, last=0))
    e.mistake("the last norm is missing.", lambda c: count(c, last=0))
    e.mistake("the head is missing: it is a table of its own, where not tied.", lambda c: count(c, head=False))
    e.mistake("each block has its own attention and MLP: times n_layers.", lambda c: count(replace(c, n_layers=1)))
    e.mistake("tied: the one table is still there, count it once, not never.", _no_table)
    e.mistake("the embedding and the head are missing: vocab_size * d_model each.", lambda c: count(c) - _tables(c))
    e.mistake("the output matrix is missing: as large as the query's.", lambda c: count(c) - _query(c))
    e.mistake("the output matrix is as large as the query's: n_heads * d_head.", _narrow_output)
    e.mistake("LLaMA has no biases.", lambda c: count(c) + c.n_layers * 2 * (c.d_model + c.d_ff))
    e.mistake("heads times their size is n_heads * d_head, which need not be d_model.", _square)


def _tables(config):
    return (2 - config.tied) * config.vocab_size * config.d_model


def _query(config, heads=None):
    return config.n_layers * config.d_model * (heads or config.n_heads) * config.d_head


def _narrow_output(config):
    return count(config) - _query(config) + _query(config, config.n_kv_heads)


def _no_table(config):
    return count(config) - config.tied * config.vocab_size * config.d_model


def _square(config):
    return count(replace(config, d_head=config.d_model // config.n_heads))


def forward_of_llama(model, tokens, state=None):
    """Return a Llama's logits and its new state."""
    return assemble(model, tokens, state)


def run_repaired(forward, tokens, splits):
    """Run a forward over parts of tokens on one fixed random model; return logits and the position."""
    model = _fixed_model()
    state, logits = None, []
    with torch.no_grad():
        for part in tokens.split(splits, 1):
            y, state = going_on(lambda *given: forward(model, *given), part, state)
            logits.append(y)
    return torch.cat(logits, 1), state.position, len(state.layers)


def _fixed_model():
    held = torch.random.get_rng_state()
    torch.manual_seed(6)
    model = Llama(SMALL)
    torch.random.set_rng_state(held)
    return model


@checks.exercise("07.5", reference=forward_of_llama, points=4, kind="repair", call=run_repaired, gradients=False)
def repaired_forward(e):
    """Whole, in two parts, and step by step."""
    tokens = e.randint(31, 2, 9)
    e.case("all at once", tokens, [9])
    e.case("in two parts", tokens, [4, 5])
    e.case("token by token", tokens, [1] * 9)
    for hint, wrong in WRONG_FORWARDS.items():
        e.mistake(hint, wrong)
