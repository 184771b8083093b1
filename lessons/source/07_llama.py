# %% [markdown]
# # 07. Five parts make a LLaMA
#
# You have built the norm, the gated MLP, the rotation, and attention with its cache. Put together in some forty lines they are
# LLaMA: the same numbers as transformers to the fifth decimal, and the same parameter count as the published models, to the
# last one.
#
# **You build** `Block` and `Llama`. **You need** lessons 02 to 06. **Time:** 100 minutes.

# %% tags=["setup"]
start("07")

# %%
from collections import Counter
from dataclasses import asdict, replace

import torch
import torch.nn.functional as F
from torch import nn

from lib.layers.attention import GroupedAttention
from lib.layers.mlp import SwiGLU, llama_d_ff
from lib.layers.norm import RMSNorm
from lib.layers.rope import rope_table
from lib.layers.shared import Shared
from lib.models.llama import LlamaConfig
from lib.models.presets import PRESETS
from lib.models.skeleton import State
from lib.show import plots, widgets
from lessons.exercises.lesson_07 import check
from lib.show.predict import predict
from lib.text import corpora
from lib.text.published import load_tokenizer

# %% [markdown]
# ## The need
#
# A very simple language model is a table: how often did each token follow each other token? Count it in a thousand stories of
# *tales*, and let it write.

# %%
tokenizer = load_tokenizer("tales")
corpus = corpora.load("tales")
rows = [torch.tensor([tokenizer.eot, *tokenizer.encode(text), tokenizer.eot]) for text in corpus.documents_train[:1000]]
V = tokenizer.vocab_size
counts = torch.zeros(V, V)
for row in rows:
    counts.index_put_((row[:-1], row[1:]), torch.tensor(1.0), accumulate=True)

# %%
torch.manual_seed(3)
written = [tokenizer.eot]
for _ in range(60):
    written.append(int(torch.multinomial(counts[written[-1]], 1)))
print(tokenizer.decode(written[1:]))

# %% [markdown]
# Each two neighbours have stood side by side in some story, and the whole is nonsense. Who has what, and where, was said many
# words ago, and the table looks back one token. How far from the best possible is that? A grammar makes these stories, so
# their entropy is known. It is the floor: on average, no model can be better on new stories.

# %%
table = counts + 0.01  # a little for pairs that were never seen
table /= table.sum(-1, keepdim=True)
test = [
    torch.tensor([tokenizer.eot, *tokenizer.encode(text), tokenizer.eot]) for text in corpus.documents_validation[:200]
]
nats = sum(-table[row[:-1], row[1:]].log().sum() for row in test)
n_bytes = sum(len(text.encode()) for text in corpus.documents_validation[:200])
bigram = float(nats / torch.tensor(2.0).log() / n_bytes)
print(f"the table needs {bigram:.2f} bits a byte; the floor is {corpus.floor_bits_per_byte:.2f}")

# %% [markdown]
# A model must look further back, and make something of what it finds. You have the parts:
#
# | part | lesson | what it does |
# |---|---|---|
# | `RMSNorm` | 02 | brings each vector to the same length |
# | `SwiGLU` | 03 | works on each token by itself: **mixes channels** |
# | RoPE | 04 | tells attention how far apart two tokens are |
# | `GroupedAttention` | 05 | lets a token look back: **mixes time** |
# | KV cache | 05 | keeps what attention has seen, for the tokens to come |
#
# ## One block
#
# Each part reads a normed copy of the token's vector $x$, and *adds* to it what it made:
#
# $$x \leftarrow x + \mathrm{mix\_time}(\mathrm{norm}(x)) \qquad x \leftarrow x + \mathrm{mix\_channels}(\mathrm{norm}(x))$$
#
# The vector $x$, as it runs from the embedding through all blocks, is the
# **[residual stream](../lessons/GLOSSARY.md#residual-stream)**. Think of a road on which every block leaves a note.
#
# **Exercise 07.1** · implement · ●○○ · 10 min · 3 points · teaches pre-norm and the contract of state · needs 02 to 05
#
# Both mixers are called in the same way: `y, state = mixer(x, state, shared)`. For attention the state is its KV cache; for
# `SwiGLU` it is None, but another channel mixer may keep something. `shared` holds what is computed once for all blocks, here
# RoPE's angles. Return the new x, and the pair of the new states.
#
# <details><summary>Hint 1</summary>
#
# The norm is on the branch, not on the road: `x + mixer(norm(x))`, not `norm(x) + mixer(norm(x))`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Time first. The second norm reads the x to which the first mixer has already added.
#
# </details>


# %% tags=["exercise:07.1", "builds:lib.models.skeleton.Block"]
class Block(nn.Module):
    """One layer: x + mix_time(norm(x)), then x + mix_channels(norm(x))."""

    def __init__(self, norm_time, mix_time, norm_channels, mix_channels):
        super().__init__()
        self.norm_time, self.mix_time = norm_time, mix_time
        self.norm_channels, self.mix_channels = norm_channels, mix_channels

    def forward(self, x, state, shared):
        """(B, T, C), a pair of states -> (B, T, C), the pair of new states."""
        time_state, channel_state = state
        ### BEGIN SOLUTION
        y, time_state = self.mix_time(self.norm_time(x), time_state, shared)
        x = x + y
        y, channel_state = self.mix_channels(self.norm_channels(x), channel_state, shared)
        return x + y, (time_state, channel_state)
        ### END SOLUTION


# %% tags=["check:07.1"]
Block = check("07.1", Block)

# %% [markdown] tags=["solution:07.1"]

# %%
plots.blocks(
    {
        "embed": (0, 0, "embed"),
        "x": (0, 1, "x"),
        "norm time": (1, 1, "RMSNorm"),
        "attention": (1, 2, "attention"),
        "cache": (2, 2, "KV cache"),
        "RoPE": (2, 1, "RoPE angles"),
        "plus": (0, 2, "+"),
        "norm channels": (1, 3, "RMSNorm"),
        "SwiGLU": (1, 4, "SwiGLU"),
        "x'": (0, 3, "x"),
        "plus'": (0, 4, "+"),
        "norm": (0, 5, "RMSNorm"),
        "head": (0, 6, "head"),
    },
    [("embed", "x"), ("x", "norm time"), ("norm time", "attention"), ("cache", "attention"), ("RoPE", "attention")]
    + [("attention", "plus"), ("x", "plus"), ("plus", "x'"), ("x'", "norm channels"), ("norm channels", "SwiGLU")]
    + [("SwiGLU", "plus'"), ("x'", "plus'"), ("plus'", "norm"), ("norm", "head")],
    colors={"attention": "LLAMA", "SwiGLU": "LLAMA", "cache": "LLAMA"},
    alt="From below: embed, then a road straight up to the last RMSNorm and the head. Beside it one block: a copy of x goes"
    " through RMSNorm and attention, which reads the KV cache and the angles, and is added; another through RMSNorm and"
    " SwiGLU, and is added.",
)

# %% [markdown]
# Read the picture from below, as the numbers flow. From `x` to the second `+` is one block, and a model has many, one above the
# other. The road on the left is never interrupted: every part stands beside it and adds to it. That helps gradients to reach
# the lowest of many blocks; LLaMA-65B has 80.
#
# ## The whole model
#
# Embed, blocks, a last norm, and a head that gives each of the $V$ tokens a score, its **logit**. Everything that the
# model remembers between calls is its *[state](../lessons/GLOSSARY.md#state)*: how many tokens it has seen, and one KV cache for each block.
#
# **Exercise 07.2** · implement · ●●○ · 15 min · 5 points · teaches how a model is wired, and where position enters ·
# needs 07.1
#
# Fill in `forward`. The angles of RoPE are the same in all blocks, so compute them once, and hand them to each block as
# `Shared(cos, sin)`. When a state is given, the first new token does not stand at position 0.
#
# <details><summary>Hint 1</summary>
#
# `rope_table(d_head, T, theta, offset=...)` gives cos and sin of the new tokens alone. Where do they begin?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Without a state, start with `State(0, [(None, None)] * len(self.blocks))`. Collect each block's new state in a list. The
# new position is the old one plus T.
#
# </details>


# %%
def make_block(config):
    """One block of that config, with fresh weights."""
    return Block(
        RMSNorm(config.d_model, config.norm_eps),
        GroupedAttention(config.d_model, config.n_heads, config.n_kv_heads, config.d_head),
        RMSNorm(config.d_model, config.norm_eps),
        SwiGLU(config.d_model, config.d_ff),
    )


# %% tags=["exercise:07.2", "builds:lib.models.llama.Llama"]
class Llama(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(make_block(config) for _ in range(config.n_layers))
        self.norm = RMSNorm(config.d_model, config.norm_eps)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)

    def forward(self, tokens, state=None):
        """Token ids (B, T) -> logits (B, T, V), and the new state."""
        ### BEGIN SOLUTION
        T = tokens.shape[1]
        state = state or State(0, [(None, None)] * len(self.blocks))
        cos, sin = rope_table(self.config.d_head, T, self.config.rope_theta, offset=state.position)
        x, layers = self.embed(tokens), []
        for block, layer in zip(self.blocks, state.layers):
            x, layer = block(x, layer, Shared(cos, sin))
            layers.append(layer)
        return self.head(self.norm(x)), State(state.position + T, layers)
        ### END SOLUTION


# %% tags=["check:07.2"]
Llama = check("07.2", Llama)

# %% [markdown] tags=["solution:07.2"]

# %% [markdown]
# ## Whole, or step by step
#
# There are two ways to run a model. In training all tokens of a story go in at once. In generation they come one by one, and
# the state carries what was seen. Both must give the same logits, or the model that you train is not the one that you use.

# %%
TINY = LlamaConfig(
    vocab_size=V, n_layers=4, d_model=128, n_heads=8, n_kv_heads=4, d_head=16, d_ff=344, context_length=512
)
torch.manual_seed(0)
model = Llama(TINY)
story = test[0][None, :40]
with torch.no_grad():
    whole, _ = model(story)
    state, steps = None, []
    for t in range(story.shape[1]):
        logits, state = model(story[:, t : t + 1], state)
        steps.append(logits)
difference = (whole - torch.cat(steps, 1)).abs().max()
assert difference < 1e-4
print(f"{story.shape[1]} steps of one token, largest difference to all at once: {difference:.0e}")

# %% [markdown]
# ## What does a model know that has learned nothing?

# %%
guess = predict(
    "07.a",
    "Fresh random weights, 2,048 tokens in the vocabulary. What is the loss on a story, in nats a token?",
    ["about 2", "about 8", "about 11"],
)

# %%
with torch.no_grad():
    loss = F.cross_entropy(model(story[:, :-1])[0][0], story[0, 1:]).item()
print(f"loss {loss:.2f}, ln V {torch.tensor(float(V)).log():.2f}")
near = min((2, 8, 11), key=lambda number: abs(number - loss))
guess.reveal(f"about {near}", "With the same chance for each token it would be ln V; in bits that would be 11.")

# %% [markdown]
# Look at this number first when you train. If the loss of a fresh model is far from $\ln V$, something is probably wrong, in
# its norms or its initialisation for example.
#
# ## Does it equal the published code?
#
# `LlamaForCausalLM` of the package transformers is in wide use. Give it the same numbers in the config, and the same weights
# under its own names. (Weights in the other pairing of RoPE, as in Meta's own files, would need the permutation of lesson 04.)
#
# **Exercise 07.3** · implement · ●●○ · 10 min · 3 points · teaches how weights travel between programs · needs 07.2
#
# Write the function that turns our name of a tensor into theirs. The next two cells print the first names of both, and the
# last two. (transformers takes a few seconds to load.)
#
# <details><summary>Hint 1</summary>
#
# Replace piece by piece: `blocks.` becomes `model.layers.`, and so on, with `str.replace` and a dictionary.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `norm.weight` alone is `model.norm.weight`, but `norm_time.weight` is `input_layernorm.weight`. Treat the names outside
# the blocks first.
#
# </details>

# %% tags=["nbval-check-output"]
from transformers import LlamaConfig as TheirConfig
from transformers import LlamaForCausalLM

their_config = TheirConfig(
    vocab_size=V,
    num_hidden_layers=TINY.n_layers,
    hidden_size=TINY.d_model,
    num_attention_heads=TINY.n_heads,
    num_key_value_heads=TINY.n_kv_heads,
    head_dim=TINY.d_head,
    intermediate_size=TINY.d_ff,
    rms_norm_eps=TINY.norm_eps,
    tie_word_embeddings=False,
)
theirs = LlamaForCausalLM(their_config).eval()
their_weights = [*theirs.state_dict().items()]
for name, tensor in their_weights[:10] + their_weights[-2:]:
    print(f"{name:50} {tuple(tensor.shape)}")

# %% tags=["nbval-check-output"]
our_weights = [*model.state_dict().items()]
for name, tensor in our_weights[:10] + our_weights[-2:]:
    print(f"{name:50} {tuple(tensor.shape)}")


# %% tags=["exercise:07.3"]
def their_name(name):
    """Our name of a tensor, such as "blocks.3.mix_time.query.weight" -> transformers' name."""
    ### BEGIN SOLUTION
    outside = {
        "embed.weight": "model.embed_tokens.weight",
        "norm.weight": "model.norm.weight",
        "head.weight": "lm_head.weight",
    }
    if name in outside:
        return outside[name]
    pieces = {
        "blocks.": "model.layers.",
        "norm_time": "input_layernorm",
        "norm_channels": "post_attention_layernorm",
        "mix_time.query": "self_attn.q_proj",
        "mix_time.key": "self_attn.k_proj",
        "mix_time.value": "self_attn.v_proj",
        "mix_time.output": "self_attn.o_proj",
        "mix_channels.gate": "mlp.gate_proj",
        "mix_channels.up": "mlp.up_proj",
        "mix_channels.down": "mlp.down_proj",
    }
    for ours, others in pieces.items():
        name = name.replace(ours, others)
    return name
    ### END SOLUTION


# %% tags=["check:07.3"]
their_name = check("07.3", their_name)

# %% [markdown] tags=["solution:07.3"]

# %%
theirs.load_state_dict({their_name(name): tensor for name, tensor in model.state_dict().items()})
with torch.no_grad():
    difference = (model(story)[0] - theirs(story).logits).abs().max()
assert difference < 1e-5
print(f"largest difference between your logits and transformers': {difference:.0e}")

# %% [markdown]
# This is LLaMA, and not something like it.
#
# ## Count it
#
# The published sizes are other numbers in the same config. LLaMA-7B has 32 blocks of width 4,096.

# %%
guess = predict(
    "07.b",
    "Which part of LLaMA-7B holds most of its parameters?",
    ["the embedding and the head", "attention", "the gated MLP"],
)


# %%
def by_part(config):
    """Parameters of each part of the model of that config, built without memory on torch's meta device."""
    with torch.device("meta"):
        named = Llama(config).named_parameters()
    part = {"embed": "embedding and head", "head": "embedding and head", "mix_time": "attention", "mix_channels": "MLP"}
    total = Counter()
    for name, weight in named:
        found = [part[piece] for piece in name.split(".") if piece in part]
        total[found[0] if found else "norms"] += weight.numel()
    return total


parts = by_part(PRESETS["llama-7b"].config)
for name, number in parts.most_common():
    print(f"{name:20} {number:15,}   {number / parts.total():5.1%}")
largest = parts.most_common(1)[0][0]
guess.reveal({"MLP": "the gated MLP", "attention": "attention"}.get(largest, "the embedding and the head"))

# %% tags=["nbval-check-output"]
for name in ("llama-7b", "llama-13b", "llama-33b", "llama-65b", "tinyllama-1.1b", "litellama-460m", "llama-2-70b"):
    counted, published = by_part(PRESETS[name].config).total(), PRESETS[name].n_params
    print(f"{name:15} {counted:14,}   published {published:14,}   {'equal' if counted == published else 'DIFFERENT'}")

# %% [markdown]
# To the last parameter. LLaMA's paper gives them as 6.7B, 13.0B, 32.5B and 65.2B; what is widely called "30B" has 32.5.
#
# **Exercise 07.4** · implement · ●●○ · 10 min · 3 points · teaches where parameters are, without building anything ·
# needs 07.2
#
# Write the count as a formula of the config. There are no biases. Mind the key/value heads, and `tied`: where it is True, the
# head *is* the embedding.
#
# <details><summary>Hint 1</summary>
#
# Attention: query and output are `d_model * n_heads * d_head` each, key and value have `n_kv_heads` instead.
#
# </details>
# <details><summary>Hint 2</summary>
#
# MLP: three matrices of `d_model * d_ff`. Two norms a block and one at the end, `d_model` each.
#
# </details>


# %% tags=["exercise:07.4"]
def count_parameters(config):
    """The number of parameters of a Llama of that config, as an int."""
    ### BEGIN SOLUTION
    C, N = config.d_model, config.d_head
    attention = 2 * C * config.n_heads * N + 2 * C * config.n_kv_heads * N
    block = attention + 3 * C * config.d_ff + 2 * C
    tables = 1 if config.tied else 2
    return tables * config.vocab_size * C + config.n_layers * block + C
    ### END SOLUTION


# %% tags=["check:07.4"]
count_parameters = check("07.4", count_parameters)

# %% [markdown] tags=["solution:07.4"]

# %% [markdown]
# ## Try it
#
# **Where do the parameters of a small model sit?** Start from the tiny model of this course. Make it wider, deeper, and
# give it a large vocabulary.


# %%
def draw_parts(d_model, n_layers, vocabulary):
    """Bars of the parameters by part, in millions."""
    config = replace(TINY, d_model=d_model, n_layers=n_layers, vocab_size=vocabulary, d_ff=llama_d_ff(d_model, 8))
    parts = by_part(replace(config, d_head=d_model // config.n_heads))
    return plots.draw_bars(
        {name: parts[name] / 1e6 for name in ("embedding and head", "attention", "MLP", "norms")},
        xlabel=f"million parameters, {parts.total() / 1e6:.1f} in all",
        form="{:.2f}",
        alt=f"{parts['embedding and head'] / parts.total():.0%} of the parameters are in the embedding and the head.",
    )


widgets.explore(
    draw_parts,
    "Where do the parameters of a small model sit?",
    d_model=(64, 1024, 64, 128, "width"),
    n_layers=(1, 32, 1, 4, "layers"),
    vocabulary=([2048, 32000, 65536], 2048, "vocabulary"),
)

# %% [markdown]
# With a vocabulary of 32,000 tokens, over nine tenths of the tiny model are its two tables. That is why this course uses 2,048,
# and why OpenELM and many small models **[tie](../lessons/GLOSSARY.md#tied-embeddings)** the two tables.
#
# ## Exercises
#
# **Exercise 07.5** · repair · ●●● · 15 min · 4 points · teaches the bug that no training shows · needs 07.2
#
# This `forward` trains well, because training never passes a state. But when the model writes, each new token goes in with the
# state, and the story goes wrong. Find out why, and return the logits and the state as they should be. Change as little as
# you can.
#
# <details><summary>Hint 1</summary>
#
# Compare whole and step by step, as above. The first call agrees, the second does not.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Two mistakes: where the angles begin, and what becomes of each block's new state.
#
# </details>


# %%
def broken_forward(model, tokens, state=None):
    """A forward that forgets."""
    T = tokens.shape[1]
    state = state or State(0, [(None, None)] * len(model.blocks))
    cos, sin = rope_table(model.config.d_head, T, model.config.rope_theta)
    x = model.embed(tokens)
    for block, layer in zip(model.blocks, state.layers):
        x, _ = block(x, layer, Shared(cos, sin))
    return model.head(model.norm(x)), State(state.position + T, state.layers)


# %% tags=["exercise:07.5"]
def repaired_forward(model, tokens, state=None):
    """Token ids (B, T) -> logits (B, T, V), and the new state, for a Llama."""
    ### BEGIN SOLUTION
    T = tokens.shape[1]
    state = state or State(0, [(None, None)] * len(model.blocks))
    cos, sin = rope_table(model.config.d_head, T, model.config.rope_theta, offset=state.position)
    x, layers = model.embed(tokens), []
    for block, layer in zip(model.blocks, state.layers):
        x, layer = block(x, layer, Shared(cos, sin))
        layers.append(layer)
    return model.head(model.norm(x)), State(state.position + T, layers)
    ### END SOLUTION


# %% tags=["check:07.5"]
repaired_forward = check("07.5", repaired_forward)

# %% [markdown] tags=["solution:07.5"]

# %% [markdown]
# ## In the wild
#
# Meta's `llama/model.py` calls the block `TransformerBlock`, its mixers `attention` and `feed_forward`, and its norms
# `attention_norm` and `ffn_norm`. It hands `start_pos` down where our state carries `position`. TinyLlama and LiteLlama are
# LLaMA with fewer key/value heads; Mistral has fewer, too, and adds a window. One class, many configs:

# %% tags=["nbval-check-output"]
for name in ("llama-7b", "tinyllama-1.1b", "litellama-460m", "mistral-7b-v0.1"):
    shown = asdict(PRESETS[name].config)
    print(
        f"{name:16}",
        *(f"{key} {shown[key]}" for key in ("d_model", "n_layers", "n_heads", "n_kv_heads", "d_ff", "window")),
    )

# %% [markdown]
# ## Recap
#
# A LLaMA is an embedding, blocks that each add twice to the residual stream, a norm and a head. Its state is a position and one
# KV cache a block, and at once or step by step it gives the same. Your code gives transformers' logits, and the published
# counts from 460 million to 69 billion parameters with other numbers in the config.
#
# ## Read on
#
# - Touvron et al., [LLaMA](https://arxiv.org/abs/2302.13971), section 2.2: the four changes to the transformer, in a page.
# - Zhang et al., [TinyLlama](https://arxiv.org/abs/2401.02385): the same model at 1.1B, and how it was trained in the open.
# - Elhage et al., [A Mathematical Framework for Transformer Circuits](https://transformer-circuits.pub/2021/framework/index.html):
#   where the picture of the residual stream comes from, and what it explains.
#
# **Next:** [08. Down to the floor](08_training.ipynb).
