# %% [markdown]
# # 15. The same data, the same budget
#
# A LLaMA and an RWKV of equal size read the same stories, token for token. Who gets more out of each token, and who out of
# each second? It is measured, with the noise beside it.
#
# **You build** the values with which RWKV's training starts, the rule for what decays and who learns how fast, and a comparison
# that can be trusted. **You need** lessons 08 (training) and 12 to 14. **Time:** 90 minutes.

# %% tags=["setup"]
start("15")

# %%
import json
import math
import statistics
from dataclasses import replace

import torch
from torch import nn

from lib.layers import rwkv7
from lib.models.llama import Llama, LlamaConfig
from lib.models.rwkv import Rwkv, RwkvConfig
from lib.models.rwkv_start import RATES
from lib.models.skeleton import n_params
from lib.run.checkpoint import load_bundle
from lib.run.sample import tell, tell_with_chances
from lib.run.train import Recipe, schedule, train
from lib.show import live, plots, theme, widgets
from lessons.exercises.lesson_15 import check
from lib.show.predict import predict
from lib.show.story import story
from lib.text import corpora
from lib.text.batches import DocumentBatches, encode_documents
from lib.text.published import load_tokenizer

# %% [markdown]
# ## The need
#
# Lesson 14 built RWKV-7's time mixer. Put two layers of RWKV-7 on the skeleton, and beside them a LLaMA of equal size. Equal
# means: the same width, the same number of layers, one table for embedding and head, and parameters within 1 %. The inner
# width `d_ff` is chosen so that the sums meet.

# %%
tokenizer, corpus = load_tokenizer("tales"), corpora.load("tales")
documents, V = corpus.documents_train[:4000], tokenizer.vocab_size
tokens, starts = encode_documents(tokenizer, documents)
bytes_per_token = sum(len(text.encode()) for text in documents) / len(tokens)
FLOOR = corpus.floor_bits_per_byte * math.log(2) * bytes_per_token
EIGHTS = (8, 8, 8, 16)  # the ranks of decay, rate, residual and gate


def new_llama():
    """A LLaMA with a table for embedding and head in one."""
    return Llama(LlamaConfig(V, 2, 64, n_heads=4, n_kv_heads=4, d_head=16, d_ff=168, context_length=512, tied=True))


def new_rwkv():
    """An RWKV-7 of the same size."""
    return Rwkv(RwkvConfig(7, V, n_layers=2, d_model=64, d_ff=208, d_head=16, ranks=EIGHTS, tied=True))


sizes = {"LLaMA": n_params(new_llama()), "RWKV-7": n_params(new_rwkv())}
print(sizes, f"{sizes['RWKV-7'] / sizes['LLaMA'] - 1:+.2%}; the floor: {FLOOR:.2f} nats a token")
assert abs(sizes["RWKV-7"] / sizes["LLaMA"] - 1) < 0.01

# %% [markdown]
# PyTorch's layers come with first values of their own: those of `nn.Linear` are small and evenly spread, those of
# `nn.Embedding` normal with spread 1. The mixers of lesson 14 start their vectors at one constant. Why not train from there?


# %%
def with_defaults(model, embedding=True):
    """Give the mixers of an RWKV-7 the first values that PyTorch and lesson 14 give; and the embedding, if asked."""
    c = model.config
    for i, block in enumerate(model.blocks):
        block.mix_time = rwkv7.TimeMix(c.d_model, c.d_head, c.ranks, i == 0)
        block.mix_channels = rwkv7.ChannelMix(c.d_model, c.d_ff)
    if embedding:
        nn.init.normal_(model.embed.weight)
    return model


STARTS = {
    "PyTorch's defaults": lambda: with_defaults(new_rwkv()),
    "but a small embedding": lambda: with_defaults(new_rwkv(), embedding=False),
    "RWKV-LM's": new_rwkv,
}
guess = predict(
    "15.a",
    f"A model that knows nothing has loss ln V = {math.log(V):.1f}. The RWKV with PyTorch's defaults begins at ...",
    ["about that", "below it", "far above it"],
)


# %%
def race(builders, recipe, seed=0, rows=2):
    """Train all side by side, a step of each in turn, on the same batches; return {name: [records]} and the models.

    The last one's training is shown, with a sentence of its own now and then.
    """
    models, runs = {}, {}
    for name, build in builders.items():
        torch.manual_seed(seed)
        models[name] = build()
        data = DocumentBatches(tokens, starts, rows, 256, seed)
        runs[name] = train(models[name], data, recipe, device="cpu", dtype="float32")
    speak, hue = lambda: tell(models[name], tokenizer, n_tokens=25, temperature=0.8, seed=1), theme.color_of("RWKV-7")
    runs[name] = live.follow(runs[name], recipe.steps, floor=FLOOR, speak=speak, hue=hue)
    steps = list(zip(*runs.values()))
    return {name: [step[i] for step in steps] for i, name in enumerate(runs)}, models


short = Recipe(steps=60, optimizer="muon", learning_rate=0.01, warmup=10, final_ratio=0.05)
begun, _ = race(STARTS, short)
for name, records in begun.items():
    print(f"{name:22} step 1: {records[0].loss:5.2f}   last ten: {statistics.fmean(r.loss for r in records[-10:]):.2f}")
first = begun["PyTorch's defaults"][0].loss
guess.reveal("far above it" if first > 1.5 * math.log(V) else "about that" if first > 7 else "below it")

# %% [markdown]
# A table with spread 1 is harmless as an embedding, because a norm follows. As a **head** it shouts: a token's own logit is
# the product of its row with itself, which is large. The step from the first line to the second shows how much of the harm
# that is, and a LLaMA with such a table has it too. (RWKV-LM has a separate head, and starts the embedding at 1e-4. Here one
# table is both, and starts with spread 0.02.)
#
# The rest of the difference, second line against third, is what this lesson is about: RWKV's own first values. These are two
# layers and 60 steps; RWKV-LM's README says that at full size it matters much.
#
# ## By hand: how long does a channel remember?
#
# In generations 4 and 5 a channel learns a number $d$, and keeps $w = e^{-e^d}$ of its memory at each token. Half of it is
# left after $\ln 2 / e^d$ tokens: the **[half-life](../lessons/GLOSSARY.md#half-life)**.

# %% tags=["nbval-check-output"]
for d in (-6, -5, -3, -1, 0, 1, 3):
    w = math.exp(-math.exp(d))
    left, halved = 1.0, 0
    while left > 0.5:  # count until half is gone
        left, halved = left * w, halved + 1
    formula = math.log(2) / math.exp(d)
    print(f"d = {d:2}: keeps {w:.5f} a token, half is gone after {halved:3} tokens; ln 2 / e^d = {formula:.1f}")

# %% [markdown]
# Look at $d = 0$: a constant start there gives **every** channel a memory of about one token. After ten tokens $e^{-10}$ is
# left, so hardly any gradient tells a channel about them. So each channel starts at a half-life of its own, from long to
# short, and the lower layers get more of the short ones. With $n$ the channel of $C$, $l$ the layer of $L$, both from 0:
#
# $$d_n = \text{low} + \text{span} \cdot \left(\frac{n}{C-1}\right)^{0.7 + 1.3\, l/(L-1)}$$
#
# RWKV-4: low -5, span 8. RWKV-5 and 6: low -6, span 5. RWKV-7 has a formula of the same kind.
#
# **Exercise 15.1** · implement · ●○○ · 10 min · 3 points · teaches where the decays start · needs nothing else
#
# Write the formula: the first $d$ of all channels of one layer, (C,).
#
# <details><summary>Hint 1</summary>
#
# `torch.arange(d_model)` are the channels. The whole is one line for all of them.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A model of one layer has $L - 1 = 0$: divide by `max(1, n_layers - 1)`.
#
# </details>


# %% tags=["exercise:15.1"]
def decay_start(d_model, layer, n_layers, low=-5.0, span=8.0):
    """The first d of each channel of a layer, (C,) in float32."""
    ### BEGIN SOLUTION
    channel = torch.arange(d_model) / max(1, d_model - 1)
    return low + span * channel ** (0.7 + 1.3 * layer / max(1, n_layers - 1))
    ### END SOLUTION


# %% tags=["check:15.1"]
decay_start = check("15.1", decay_start)

# %% [markdown] tags=["solution:15.1"]


# %%
def half_life(d):
    """Tokens until half is gone, for each d."""
    return math.log(2) / torch.as_tensor(d).double().exp()


layers = {f"layer {i}": half_life(decay_start(128, i, 4, -6.0, 5.0)) for i in range(4)}
for name, lives in layers.items():
    print(f"{name}: {sum(lives > 20):3} of 128 channels keep half for over 20 tokens, the longest {lives.max():.0f}")
plots.curves(
    layers,
    ylog=True,
    xlabel="channel",
    ylabel="half-life, tokens",
    alt="Half-life by channel for four layers, on a logarithmic axis. All begin at 280 tokens in channel 0 and end below 2 in"
    " channel 127. The first layer falls fastest, the last stays long for most of its channels.",
)

# %% [markdown]
# Look at the order of the lines. All layers span the same range, and the printed counts say how many more long memories the
# last layer has than the first.
#
# ## What begins at zero
#
# The last matrix of each branch is zero: the output of the time mixer, the value matrix of the channel mixer. So a fresh block
# passes its input on unchanged. But can it learn?

# %%
guess = predict(
    "15.b",
    "The outputs are zero, so nothing that a block computes can be seen. Which large matrices get a gradient at step 1?",
    ["all", "only those that are zero themselves", "none"],
)

# %%
torch.manual_seed(0)
fresh, batch = new_rwkv(), DocumentBatches(tokens, starts, 2, 256)[0]
moved = {}
for step in (1, 2):
    loss = nn.functional.cross_entropy(fresh(batch[0])[0].flatten(0, 1), batch[1].flatten())
    fresh.zero_grad()
    loss.backward()
    block = fresh.blocks[1]
    moved[step] = {n for n, w in block.named_parameters() if n.endswith(".weight") and w.ndim == 2 and w.grad.any()}
    print(f"step {step}:", *sorted(moved[step]))
    with torch.no_grad():
        for weight in fresh.parameters():
            weight -= 0.1 * weight.grad
zeros = {"mix_time.output.weight", "mix_channels.value.weight"}
guess.reveal("only those that are zero themselves" if moved[1] == zeros else "all" if zeros < moved[1] else "none")

# %% [markdown]
# One step later the others have gradients too. The low-rank products of RWKV-6 and 7, which are not among the large ones, use
# the same trick: `down` is zero, `up` is not. What if **both** were zero, as they are in lesson 14's mixers before RWKV's first
# values are set?

# %%
guess = predict(
    "15.c",
    "y = (x down) up with both matrices zero. After 100 steps of training ...",
    ["it has learned", "nothing has moved"],
)

# %% tags=["nbval-check-output"]
x, wanted = torch.randn(50, 8), torch.randn(50, 8)
learned = {}
for name, scale in {"both zero": 0.0, "down zero, up not": 0.3}.items():
    down, up = torch.zeros(8, 3, requires_grad=True), (scale * torch.randn(3, 8)).requires_grad_()
    optimizer = torch.optim.AdamW([down, up], lr=0.01, weight_decay=0.0)
    for _ in range(100):
        optimizer.zero_grad()
        ((x @ down) @ up - wanted).square().mean().backward()
        optimizer.step()
    learned[name] = bool(down.any())
    print(f"{name:18} down has moved: {learned[name]}")
guess.reveal(
    "it has learned" if learned["both zero"] else "nothing has moved",
    "The gradient of each is a product with the other.",
)

# %% [markdown]
# ## What decays, and what must not
#
# At each step AdamW takes away a share of each weight: rate times `weight_decay`. For a large matrix zero means
# "nothing known", so that does little harm. What does zero mean for $d$?

# %%
guess = predict(
    "15.d",
    "4,400 steps, peak rate 0.01, weight_decay 0.1, and no gradient at all. A channel starts at half-life 280. It ends near ...",
    ["280 tokens", "30 tokens", "1 token"],
)

# %% [markdown]
# **Exercise 15.2** · predict · ●●○ · 10 min · 3 points · teaches what weight decay does to a parameter that means something ·
# needs `schedule` of lesson 08
#
# Compute it. What is left of `value` after all steps of a recipe, if nothing but weight decay moves it? The rate at a step
# is `multiple * recipe.learning_rate * schedule(step, recipe)`.
#
# <details><summary>Hint 1</summary>
#
# At each step the value is multiplied by 1 minus (the rate times `recipe.weight_decay`). Steps count from 0.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A loop over `range(recipe.steps)` is good enough.
#
# </details>


# %% tags=["exercise:15.2"]
def faded(value, recipe, multiple=1.0):
    """What weight decay alone leaves of a value after a whole run."""
    ### BEGIN SOLUTION
    for step in range(recipe.steps):
        rate = multiple * recipe.learning_rate * schedule(step, recipe)
        value = value * (1 - rate * recipe.weight_decay)
    return value
    ### END SOLUTION


# %% tags=["check:15.2"]
faded = check("15.2", faded)

# %%
long = Recipe(steps=4400, learning_rate=0.01, weight_decay=0.1, warmup=100, final_ratio=0.02)
for multiple in (1, 2):
    d = faded(-6.0, long, multiple)
    before, after = half_life(-6.0), half_life(d)
    print(f"rate x {multiple}: d = -6 becomes {d:.2f}, half-life {before:.0f} becomes {after:.1f} tokens")
lives = half_life(faded(-6.0, long)).item()
guess.reveal("280 tokens" if lives > 150 else "30 tokens" if lives > 8 else "1 token")

# %% [markdown] tags=["solution:15.2"]

# %% [markdown]
# In a real run the gradients pull against this, at every step. **After how many steps does no channel have a memory longer
# than a sentence, some 15 tokens?** Move the steps, then the weight decay.


# %%
def draw_fading(steps, weight_decay):
    """Half-lives by channel, at the start and after so many steps of weight decay alone."""
    recipe = Recipe(steps=max(1, steps), learning_rate=0.01, warmup=100, final_ratio=1.0, weight_decay=weight_decay)
    share = faded(1.0, recipe) if steps else 1.0
    lives = {
        "at the start": half_life(decay_start(128, 3, 4, -6.0, 5.0)),
        "after the steps": half_life(share * decay_start(128, 3, 4, -6.0, 5.0)),
    }
    words = f"{steps} steps, weight decay {weight_decay}: longest half-life {lives['after the steps'].max():.0f} tokens"
    return plots.draw_curves(
        lives, ylog=True, xlabel="channel", ylabel="half-life, tokens", title=words, ylim=(0.5, 400),
        floors={"a sentence": 15}, alt=f"Half-lives of 128 channels, sinking towards less than one token. {words}.",
    )  # fmt: skip


widgets.explore(
    draw_fading,
    "After how many steps does no channel have a memory longer than a sentence?",
    steps=(0, 4400, 200, 600),
    weight_decay=([0.0, 0.01, 0.1, 0.3], 0.1),
)

# %% [markdown]
# <details><summary>What you find</summary>
#
# With weight decay 0.1 the longest half-life falls below 15 tokens after some 720 steps; with 0.3, before step 300; with 0.01,
# not on this slider. Only the product of rate, weight decay and steps counts, so three times the decay takes a third of the
# steps, but for the warmup.
#
# </details>

# %% [markdown]
# So RWKV-LM lets **only the large matrices** decay: projections, embedding, head. Vectors, (H, N) tables and low-rank matrices
# do not decay. And a few parameters learn at a multiple of the rate: the decays at twice the rate, RWKV-4's bonus at three
# times. The decays are logarithms of logarithms, and have far to go.
#
# **Exercise 15.3** · repair · ●●○ · 15 min · 4 points · teaches RWKV's weight-decay groups · needs 08.3
#
# Here is lesson 08's rule, which is right for LLaMA. See what it lets decay in an RWKV-5 and an RWKV-7. Repair it, and give
# each parameter its `rate`: `RATES[generation]` maps the end of a name to a multiple, and 1.0 is for the rest. Large
# matrices have two axes, and names that end in `.weight`.
#
# <details><summary>Hint 1</summary>
#
# A norm has a `weight` too, with one axis. `up`, `down`, `decay` and `bonus` can have two axes and are no `weight`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `next((rate for end, rate in RATES[g].items() if name.endswith(end)), 1.0)`. A group for each parameter will do.
#
# </details>


# %% tags=["nbval-check-output"]
def groups_of_lesson_08(model):
    """A list of {"params", "decays", "rate"}."""
    return [{"params": [w], "decays": w.ndim >= 2, "rate": 1.0} for w in model.parameters()]


for generation, ranks in ((5, ()), (7, EIGHTS)):
    model = Rwkv(RwkvConfig(generation, 300, 1, 64, 208, 16, ranks))
    decaying = {id(w) for group in groups_of_lesson_08(model) if group["decays"] for w in group["params"]}
    wrong = [n for n, w in model.blocks[0].named_parameters() if id(w) in decaying and not n.endswith(".weight")]
    print(f"RWKV-{generation}, and should not:", *wrong)
    print(f"RATES[{generation}] = {RATES[generation]}")


# %% tags=["exercise:15.3", "builds:lib.models.rwkv_start.learning_groups"]
def learning_groups(model):
    """An RWKV -> a list of {"params", "decays", "rate"}, every parameter in one of them."""
    ### BEGIN SOLUTION
    rates, groups = RATES[model.config.generation], []
    for name, weight in model.named_parameters():
        large = name.endswith(".weight") and weight.ndim == 2
        rate = next((rate for end, rate in rates.items() if name.endswith(end)), 1.0)
        groups.append({"params": [weight], "decays": large, "rate": rate})
    return groups
    ### END SOLUTION


# %% tags=["check:15.3"]
learning_groups = check("15.3", learning_groups)
print({(g["decays"], g["rate"]) for g in learning_groups(new_rwkv())})

# %% [markdown] tags=["solution:15.3"]

# %% [markdown]
# ## The race
#
# What has to be equal? The stories and their order, the tokens a step, the number of steps, the parameters, the optimizer and
# its recipe: here Muon, for both. (One learning rate for both may suit one of them better. A study would try several for each
# and compare the best.) What is not equal is shown: the seconds. A single run says little, so each model trains from
# three seeds, which change the first weights and the order of the stories. With one seed both models read the same stories
# in the same order. And they take steps in turn, on one thread, so that a busy machine slows both.

# %%
guess = predict(
    "15.e",
    "120 steps each. Who has the lower loss after the same tokens?",
    ["LLaMA", "RWKV-7", "too close to call"],
)
guess_seconds = predict(
    "15.f",
    "A step of RWKV-7 costs more. Who has the lower loss after the same seconds?",
    ["LLaMA", "RWKV-7", "too close to call"],
)

# %%
RECIPE = Recipe(steps=120, optimizer="muon", learning_rate=0.02, warmup=15, final_ratio=0.05)
BOTH, SEEDS, threads = {"LLaMA": new_llama, "RWKV-7": new_rwkv}, (0, 1, 2), torch.get_num_threads()
torch.set_num_threads(1)
raced = [race(BOTH, RECIPE, seed) for seed in SEEDS]
torch.set_num_threads(threads)
NAMES = ("LLaMA", "RWKV-7")
final = {name: [statistics.fmean(r.loss for r in records[name][-10:]) for records, _ in raced] for name in NAMES}
cost = {name: statistics.median(records[name][-1].seconds for records, _ in raced) for name in final}
for name in final:
    print(f"{name:7} last ten steps, by seed:", *(f"{loss:.2f}" for loss in final[name]), end="")
    print(f"   {1000 * cost[name] / RECIPE.steps:.0f} ms a step")

# %% [markdown]
# **Exercise 15.4** · measure · ●●● · 15 min · 4 points · teaches when a difference is one · needs nothing else
#
# Three numbers against three, in **pairs**: `a[i]` and `b[i]` come from one seed, so from the same stories in the same order.
# A seed with hard stories raises both, and that drops out of the difference $a_i - b_i$. Return the mean of these differences
# and its **[standard error](../lessons/GLOSSARY.md#standard-error)**: how far it would move if you took other seeds. The mean of $n$ differences has the variance
# $s^2/n$, with $s^2$ the variance of the single differences, computed with $n - 1$; the error is the root of that.
#
# <details><summary>Hint 1</summary>
#
# First the differences, one for each seed: `[x - y for x, y in zip(a, b)]`. All else is about these numbers alone.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `torch.tensor(d).var()` divides by $n - 1$. The error is $\sqrt{s^2 / n}$.
#
# </details>


# %% tags=["exercise:15.4"]
def gap(a, b):
    """Two lists of losses, a pair for each seed -> (mean of a[i] - b[i], standard error of that mean)."""
    ### BEGIN SOLUTION
    d = torch.tensor([x - y for x, y in zip(a, b, strict=True)], dtype=torch.float64)
    return d.mean().item(), (d.var() / len(d)).sqrt().item()
    ### END SOLUTION


# %% tags=["check:15.4"]
gap = check("15.4", gap)

# %% [markdown] tags=["solution:15.4"]
# With three seeds the error itself is known badly. Student's $t$ says how many errors to each side hold the truth in 95 of
# 100 such experiments: 4.30 for three pairs. If zero lies within, the seeds can't tell who is ahead: take more of them.


# %%
T95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}  # standard errors to each side for 95 %, by the number of pairs


def verdict(a, b):
    """Who is lower, in a word, and the interval."""
    difference, error = gap(a, b)
    reach = T95[len(a)] * error
    winner = "too close to call" if abs(difference) < reach else "LLaMA" if difference < 0 else "RWKV-7"
    return winner, f"LLaMA minus RWKV-7, in pairs: {difference:+.3f} ± {reach:.3f} (95 %)"


def loss_at(records, seconds):
    """The mean loss of the ten steps before that many seconds."""
    inside = [r.loss for r in records if r.seconds <= seconds]
    return statistics.fmean(inside[-10:])


budget = min(cost.values())  # what the cheaper one took for the whole run
same_time = {name: [loss_at(records[name], budget) for records, _ in raced] for name in final}
by_tokens, by_seconds = (verdict(result["LLaMA"], result["RWKV-7"]) for result in (final, same_time))
guess.reveal(*by_tokens)
guess_seconds.reveal(by_seconds[0], by_seconds[1] + f", at {budget:.1f} s")

# %% [markdown]
# The second answer is a little unfair to whoever is slower: its run was cut before its rate had come down. A fair comparison
# gives each as many steps as fit into the seconds.


# %%
def curves_of(raced, name):
    """The mean of the seeds, its lowest and its highest, each smoothed over ten steps: three of (steps,)."""
    losses = torch.tensor([[r.loss for r in records[name]] for records, _ in raced]).unfold(1, 10, 1).mean(-1)
    return losses.mean(0), losses.amin(0), losses.amax(0)


both = {name: curves_of(raced, name) for name in final}
seen = torch.arange(10, RECIPE.steps + 1) * 2 * 256
plots.curves(
    {name: (seen, mean) for name, (mean, _, _) in both.items()},
    bands={name: band for name, (_, *band) in both.items()},
    floors={"the floor": FLOOR},
    xlabel="tokens",
    ylabel="loss, nats a token",
    alt="Loss against tokens for LLaMA and RWKV-7, each a mean of three seeds in a band from the lowest to the highest. Both"
    " fall steeply from above 7; the dashed floor lies far below them.",
)

# %%
plots.curves(
    {name: (torch.linspace(0, cost[name], RECIPE.steps)[9:], mean) for name, (mean, _, _) in both.items()},
    bands={name: band for name, (_, *band) in both.items()},
    floors={"the floor": FLOOR},
    xlabel="seconds of training on this machine",
    ylabel="loss, nats a token",
    alt="The same curves against seconds. RWKV-7 takes longer for its steps, so its curve is stretched to the right.",
)

# %% [markdown]
# Look at the bands first, then at the lines. A band runs from the lowest to the highest of three seeds. Where you can hardly
# see one, the seeds agree. Then compare the pictures: the second stretches RWKV-7's curve by what its steps cost. On a GPU,
# with the fused kernels that both families have, the stretch is another one.
#
# Do the lines cross on the way? A possible reason, which this run can't prove: the first steps go into the table of words,
# which both have. Then comes "which word follows which". A LLaMA needs its attention for that; RWKV has the token before from
# the start, in the token shift.
#
# ## What an optimizer makes of a gap
#
# Both used Muon. Suppose one of them had not, which is easily overlooked when you take two runs from two papers. Here is the
# same race with AdamW for both, and then the comparison that mixes them.

# %%
torch.set_num_threads(1)
with_adamw = [race(BOTH, replace(RECIPE, optimizer="adamw"), seed)[0] for seed in SEEDS]
torch.set_num_threads(threads)
ends = {"muon": final} | {
    "adamw": {name: [statistics.fmean(r.loss for r in run[name][-10:]) for run in with_adamw] for name in NAMES}
}
for optimizer, result in ends.items():
    print(f"{optimizer:6}", *(f"{name} {statistics.fmean(result[name]):.2f}" for name in NAMES), end="   ")
    print(verdict(result["LLaMA"], result["RWKV-7"])[1])
mixed = gap(ends["adamw"]["LLaMA"], ends["muon"]["RWKV-7"])[0]
equal = statistics.fmean(gap(result["LLaMA"], result["RWKV-7"])[0] for result in ends.values())
print(
    f"LLaMA with AdamW minus RWKV-7 with Muon: {mixed:+.2f}; with equal optimizers, on the mean, {equal:+.2f}", end="; "
)
print(f"so {1 - equal / mixed:.0%} of the mixed gap is the optimizer")

# %% [markdown]
# The two equal races need not agree: an optimizer may suit one family better. But a comparison that gives each family another
# one answers no question about families at all. Keep it in mind for what follows.
#
# ## The long runs
#
# The curves on record come from runs of the course's own command, minutes long, with models of a million parameters. They
# start as above but for two things. The embedding of RWKV is drawn with a spread of 0.3. And each row of the head, in both
# families, begins in the direction of the same word's embedding: a copied word is one that the head knows (lesson 08).
#
# **They are not a race between families.** Read the commands below: where a command says `--recipe muon` the run used Muon,
# else AdamW. The number of steps differs too, because a step does not cost the same in each, and every run had about ten
# minutes. So a gap between two of these lines mixes family, optimizer and steps, and each has one seed. What they are good for
# is to see what a trained model of each family does. These are there:

# %%
PLACES = sorted(p.parent for p in (corpora.DATA / "checkpoints").glob("*-tales/record.json"))
RUNS = {}
for place in PLACES:
    family = json.loads((place / "config.json").read_text(encoding="utf-8"))
    record = json.loads((place / "record.json").read_text(encoding="utf-8"))
    if family["family"] in ("llama", "rwkv") and {"curve", "floor_bits_per_byte"} <= record.keys():
        name = "LLaMA" if family["family"] == "llama" else f"RWKV-{family['generation']}"
        RUNS[name] = record | {"place": place}
        print(record["command"])
        means = record["validation_bits_per_byte"] / record["floor_bits_per_byte"] - 1
        above = record.get("excess_over_truth", means)  # story by story, where the run kept it
        size, seconds = f"{record['parameters']:,} parameters", f"{record['cpu_seconds']:.0f} s of processor time"
        print(f"  {name}: {size}, {record['tokens']:,} tokens, {seconds}")
        heat = f" told at temperature {record['temperature']}" if "temperature" in record else ""
        print(f"  {above:.0%} above the floor; of {record['stories']} stories{heat}", end=" ")
        print(f"{record['share_stories']:.0%} are grammatical, in {record['share_facts_hold']:.0%} the facts hold")
if not any(name.startswith("RWKV") for name in RUNS):
    print("None of RWKV: python3 -m lib train rwkv --generation 7 --recipe muon --out data/checkpoints/rwkv-7-tales")


# %%
def in_nats(record):
    """Steps, losses, and the floor in nats a token, of a run on record."""
    steps, losses = zip(*record["curve"])
    return torch.tensor(steps), losses, record["floor_bits_per_byte"] * math.log(2) * record["bytes_per_token"]


floor = in_nats(RUNS["LLaMA"])[2]
for xlabel, unit in {"tokens": "tokens", "seconds of processor time": "cpu_seconds"}.items():
    lines = {}
    for name, record in RUNS.items():
        steps, losses, _ = in_nats(record)
        lines[name] = (steps * record[unit] / record["steps"], losses)
    plots.curves(
        lines,
        xlog=True,
        floors={"the floor": floor},
        xlabel=xlabel,
        ylabel="loss, nats a token",
        ylim=(0, 8),
        alt=f"Loss of the long runs against {xlabel}, counted in powers of ten, down towards the dashed floor:"
        f" {', '.join(RUNS)}.",
    )

# %% [markdown]
# Look at the steep part, then at the right end. In the steep part a model learns which kind of word comes next. After it,
# slowly, it learns to look back for **which** one. How much of a gap in the steep part is the optimizer? To know it at this
# size, both families need both optimizers and several seeds. Those long runs are not on record, so this page does not say;
# the short races above say how large such a share can be.
#
# Seconds are those of the whole command on one machine, the scores at its end included.
#
# ## Side by side
#
# The first ninety tokens of a story from each, temperature 0.8. Point at a word to see what else could have come.

# %%
for name, record in RUNS.items():
    model, tokens_of = load_bundle(record["place"])
    print(f"{name}:")
    story(tell_with_chances(model, tokens_of, n_tokens=90, temperature=0.8, seed=4), hue=theme.color_of(name))

# %% [markdown]
# Reading a story or two tells you little about which model is better. Ask where they differ instead.
#
# First by **place**. The runs trained on rows of 192 tokens. What happens further on in a row?

# %%
guess = predict(
    "15.g",
    "Trained on rows of 192 tokens, scored on rows of 512. Whose loss at least doubles behind token 256?",
    ["LLaMA's", "that of the RWKVs", "both", "neither"],
)


# %%
def loss_by_place(model, tokenizer, n=16, length=512, parts=8):
    """Nats a token in each of the equal parts of a row, a list."""
    stream, begins = encode_documents(tokenizer, corpus.documents_validation)
    x, y = DocumentBatches(stream, begins, n, length)[0]
    with torch.inference_mode():
        nats = nn.functional.cross_entropy(model.eval()(x)[0].transpose(1, 2), y, reduction="none")  # (B, T)
    return nats.view(n, parts, -1).mean((0, 2)).tolist()


places = {name: loss_by_place(*load_bundle(record["place"])) for name, record in RUNS.items()}
broken = {name for name, row in places.items() if statistics.fmean(row[4:]) > 2 * statistics.fmean(row[:3])}
recurrent = {name for name in places if name.startswith("RWKV")}
choice = "both" if "LLaMA" in broken and broken & recurrent else "LLaMA's" if "LLaMA" in broken else "that of the RWKVs"
guess.reveal(choice if broken else "neither", f"At least doubled: {', '.join(sorted(broken)) or 'none'}.")
plots.curves(
    {name: ([64 * i + 32 for i in range(8)], row) for name, row in places.items()},
    xlabel="place in the row, tokens",
    ylabel="loss, nats a token",
    alt="Loss by place in rows of 512 tokens, for each long run, in steps of 64 tokens. "
    + " ".join(f"{name} goes from {row[0]:.2f} to {row[-1]:.2f}." for name, row in places.items()),
)

# %% [markdown]
# Behind token 192 lie places that no training row had. A LLaMA knows places by the angles of RoPE, so there it meets distances
# it has never been trained on, although its context is built for 512. An RWKV has no places: a step at token 400 is the same
# sum as a step at token 4, if its memory has not filled up in a way that training never showed. Whether that makes a
# difference is what the lines say. Train on rows as long as you will use, or measure before you trust what lies behind.
#
# Then by **distance**, within the first 192 tokens. Each token of new stories is sorted by how far back the same token stood
# last. A token from far back can be copied by whoever still has it; a token that is new in the row must be guessed.


# %%
def by_distance(model, tokenizer, n=32, length=192):
    """Nats a token, by how far back in the row the same token last stood: {words: mean}."""
    stream, begins = encode_documents(tokenizer, corpus.documents_validation[:400])
    x, y = DocumentBatches(stream, begins, n, length)[0]
    with torch.inference_mode():
        nats = nn.functional.cross_entropy(model.eval()(x)[0].transpose(1, 2), y, reduction="none")  # (B, T)
    place = torch.arange(length)
    same = (y[:, :, None] == x[:, None, :]) & (place[:, None] >= place)  # (B, T, T)
    distance = place[:, None] + 1 - torch.where(same, place, -1).amax(-1, keepdim=True)  # (B, T, 1)
    distance = torch.where(same.any(-1), distance[:, :, 0], 0)
    bounds = {"1 to 8 back": (1, 8), "9 to 32": (9, 32), "33 to 96": (33, 96), "over 96": (97, length), "new": (0, 0)}
    return {words: nats[(distance >= low) & (distance <= high)].mean().item() for words, (low, high) in bounds.items()}


finals = {f"{name}, 120 steps": (model, tokenizer) for name, model in raced[0][1].items()}
finals |= {f"{name}, long run": load_bundle(record["place"]) for name, record in RUNS.items()}
table = {name: by_distance(*pair) for name, pair in finals.items()}
print(f"{'nats a token':20}", *(f"{words:>12}" for words in next(iter(table.values()))))
for name, row in table.items():
    print(f"{name:20}", *(f"{value:12.2f}" for value in row.values()))

# %% [markdown]
# Compare the two short runs column by column, then the long ones, bearing their optimizers in mind. Attention can copy from
# anywhere in its context at one price. A recurrence must have kept the word, and what it keeps fades. So if RWKV loses
# anywhere, expect it in the columns from far back; and if it wins, in those that local grammar decides. Does the table say
# so? Then hold RWKV-4 against RWKV-5, whose commands differ in little but the number of steps: one keeps two sums for each
# channel, the other a matrix for each head. In their stories above, who forgets a name? Lesson 17 takes this apart.
#
# ## An honest reading
#
# - **Per token**, after 120 steps, the verdict of the race stands, for this size, this rate and this optimizer. It is no law
#   about large models.
# - **Per second** the verdict is about this machine and this code. What a recurrence saves, it saves on long texts: lesson 16.
# - **At the end** of the long runs the records and the last table say what each model can do. They do not say which family
#   learns better, because optimizer and steps differ, and one seed each is one number each.
#
# ## In the wild
#
# transformers has RWKV-4, and sets its first values by the formula that you wrote. Look at `time_first`, its bonus, beside
# RWKV-LM's.

# %% tags=["nbval-check-output"]
import transformers

config = transformers.RwkvConfig(vocab_size=50, hidden_size=32, num_hidden_layers=3, context_length=16)
theirs = transformers.RwkvForCausalLM(config).rwkv
for i, block in enumerate(theirs.blocks):
    same = torch.allclose(block.attention.time_decay, decay_start(32, i, 3), atol=1e-5)
    print(f"layer {i}: its decays are yours: {same}; its bonuses:", block.attention.time_first.unique().tolist())
zigzag = math.log(0.3) + 0.5 * ((torch.arange(32) + 1) % 3 - 1)
print("RWKV-LM's bonuses:", [round(value, 2) for value in zigzag.unique().tolist()])

# %% [markdown]
# All ones means that `torch.ones_like` stands around the whole formula in place of its first part: a slip. Whoever trains
# from scratch with it starts elsewhere than RWKV-LM does; whoever loads weights does not notice.
#
# ## Recap
#
# RWKV starts with a half-life of its own for each channel and with every branch at zero, and only its large matrices decay,
# because zero means something to the others. Who learns more from the same tokens, or in the same seconds, is a question for a
# race in which all else is equal; and a difference counts when its interval, seed by seed, leaves zero out.
#
# ## Read on
#
# - BlinkDL, [RWKV-LM](https://github.com/BlinkDL/RWKV-LM), README, the part on initialising RWKV: its author on why it
#   matters, with the code beside it.
# - Peng et al., [RWKV](https://arxiv.org/abs/2305.13048), the appendix on the embedding: why it starts near zero.
# - Peng et al., [Goose](https://arxiv.org/abs/2503.14456): RWKV-7 against transformers on the same data, at sizes that count.
# - Bouthillier et al., [Accounting for Variance in Machine Learning Benchmarks](https://arxiv.org/abs/2103.03098): how many
#   seeds a comparison needs.
#
# **Next:** [16. Linear against quadratic](16_linear_vs_quadratic.ipynb).
