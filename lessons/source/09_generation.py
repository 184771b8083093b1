# %% [markdown]
# # 09. The same model, dull or mad
#
# A language model never writes a word. It gives each token a chance, and somebody draws. Always the likeliest: one dull
# story for ever. Everything as it comes: a story derails sooner or later. How you draw decides what the model is worth.
#
# **You build** `keep_top_p`, the loop with a cache, and a penalty for repeating. **You need** lessons 07 and 08.
# **Time:** 55 minutes.

# %% tags=["setup"]
start("09")

# %%
import math
import time

import torch

from lib.run.checkpoint import load_bundle
from lib.run.sample import sample
from lib.show import plots, widgets
from lessons.exercises.lesson_09 import check
from lib.show.predict import predict
from lib.text import corpora, tales

# %% [markdown]
# ## The need
#
# The model of lesson 08's longer run. `sample` is lib's loop: it draws a token, hands it to the model, and
# draws the next. (You write that loop below.) Temperature 0 means: always the likeliest token.

# %%
model, tokenizer = load_bundle(corpora.DATA / "checkpoints" / "llama-tales")
EOT = tokenizer.eot


def tell_many(n, length=360, **how):
    """Tell n stories at once, a row each, of at most `length` tokens."""
    rows = torch.stack([*sample(model, torch.full((n, 1), EOT), length, stop=EOT, **how)], 1).tolist()
    return [tokenizer.decode(row[: row.index(EOT)] if EOT in row else row) for row in rows]


guess = predict(
    "09.a",
    "Twenty stories, each from the very beginning, always with the likeliest token. How many different ones are there?",
    ["1", "about 10", "20"],
)

# %%
greedy = tell_many(20, temperature=0)
different = len(set(greedy))
print(greedy[0])
print("\nstories of the grammar:", sum(map(tales.is_story, greedy)), " different ones:", different)
guess.reveal(min(("1", "about 10", "20"), key=lambda words: abs(int(words.split()[-1]) - different)), "Nothing is left to chance.")

# %% [markdown]
# One story, twenty times, and no other for ever. The grammar has more stories than anyone could read, and the model gives
# a chance to each. So **draw**: each token as often as its chance says. That is what it was trained for.

# %%
guess = predict(
    "09.b",
    "Now each token is drawn with exactly the chance that the model gives it. How many of 20 stories keep to the grammar?",
    ["nearly all", "some", "hardly any"],
)

# %%
drawn = tell_many(20, temperature=1.0, seed=1)
good = sum(map(tales.is_story, drawn))
print("different ones:", len(set(drawn)), " stories of the grammar:", good)
bad = next((text for text in drawn if not tales.is_story(text)), drawn[0])
print("\none of them:", bad[:400], "...")
guess.reveal("nearly all" if good >= 18 else "some" if good >= 4 else "hardly any")

# %% [markdown]
# Why not all? The model spreads a little chance over a thousand tokens that can't come. A story is some 160 draws. If each
# has one chance in a thousand to go wrong, a story stays right with probability:

# %% tags=["nbval-check-output"]
for slip in (0.0001, 0.001, 0.01):
    print(f"{slip:.2%} wrong at each of 160 draws: {(1 - slip) ** 160:.0%} of the stories are right")

# %% [markdown]
# So you want something between the two: leave the likely ones to chance, and forbid the rest. **Where is the line?**
#
# ## By hand, on five words
#
# **[Temperature](../lessons/GLOSSARY.md#temperature)** $T$ divides the logits before they become chances: $p_i \propto e^{z_i / T}$. Below 1 the likely gets
# likelier, above 1 all get more alike. At 0 the likeliest takes all, so it is treated as a case of its own.

# %% tags=["nbval-check-output"]
WORDS, LOGITS = ["hat", "cap", "kite", "cow", "of"], [3.0, 2.0, 1.0, -1.0, -3.0]


def chances(logits):
    """The softmax of a list of numbers."""
    powers = [math.exp(z) for z in logits]
    return [power / sum(powers) for power in powers]


print("           ", *(f"{word:>6}" for word in WORDS))
for temperature in (0.5, 1.0, 2.0):
    print(f"temperature {temperature}", *(f"{p:6.3f}" for p in chances([z / temperature for z in LOGITS])))

# %% [markdown]
# Temperature alone never forbids anything. Two filters do:
#
# - **[top-k](../lessons/GLOSSARY.md#top-k-and-top-p)**: keep the $k$ likeliest. But sometimes one token is possible (`Great-uncle Am` goes on with `ir`), and
#   sometimes two hundred (a name at the start). No $k$ is right for both.
# - **top-p**: keep the smallest set of likeliest tokens whose chances sum to $p$ or more. The set is small where the model
#   is sure, and large where it is not.

# %%
guess = predict(
    "09.c",
    "The five chances are 0.66, 0.24, 0.09, 0.01, 0.00. With top-p = 0.8, how many words may still come?",
    ["1, since 2 of them sum to more than 0.8", "2", "3"],
)

# %% tags=["nbval-check-output"]
total, kept = 0.0, []
for word, p in zip(WORDS, chances(LOGITS)):  # they stand in falling order already
    if total >= 0.8:
        break
    kept.append(word)
    total += p
    print(f"{word:5} {p:.2f}   kept so far {total:.2f}")
guess.reveal(
    {1: "1, since 2 of them sum to more than 0.8", 2: "2", 3: "3"}[len(kept)],
    "A word stays if those before it sum to less than p. So the word that crosses the line stays, and the first one always.",
)

# %% [markdown]
# ## Build it
#
# **Exercise 09.1** · implement · ●●○ · 15 min · 4 points · teaches sorting there and back · needs nothing else
#
# Write `keep_top_p` for logits (..., V): those that fall out become $-\infty$, the others stay as they are, **in their old
# places**. A token stays if the chances of those before it, in falling order, sum to less than p; the first one always.
#
# <details><summary>Hint 1: there</summary>
#
# `ordered, place = logits.sort(dim=-1, descending=True)`, then softmax. `share.cumsum(-1)` includes the token itself: take its
# own share away again to get the sum of those before it.
#
# </details>
# <details><summary>Hint 2: and back</summary>
#
# `gone` is in sorted order. `place.argsort(-1)` says for each token at which rank it stands: gather with that.
#
# </details>
# <details><summary>Hint 3: out</summary>
#
# `logits.masked_fill(mask, -torch.inf)` makes a new tensor.
#
# </details>


# %% tags=["exercise:09.1", "builds:lib.run.sample.keep_top_p"]
def keep_top_p(logits, p):
    """(..., V), a number -> (..., V): -inf for all but the smallest set of likeliest tokens that sum to p or more."""
    ### BEGIN SOLUTION
    ordered, place = logits.sort(dim=-1, descending=True, stable=True)
    share = ordered.softmax(dim=-1)
    gone = share.cumsum(dim=-1) - share >= p
    gone[..., 0] = False
    return logits.masked_fill(gone.gather(-1, place.argsort(-1)), -torch.inf)
    ### END SOLUTION


# %% tags=["check:09.1"]
keep_top_p = check("09.1", keep_top_p)

# %% [markdown] tags=["solution:09.1"]

# %% [markdown]
# Two traps. A logit that is cut must become $-\infty$: a logit of **0** is a chance like any other. And the **order**
# matters: temperature comes first, then top-k, then top-p, so that top-p cuts the chances that are drawn from.

# %% tags=["nbval-check-output"]
z = torch.tensor(LOGITS)
cut = keep_top_p(z, 0.8)
print("cut with -inf:", cut.softmax(-1).numpy().round(3), "  cut with 0:", cut.clamp(min=0).softmax(-1).numpy().round(3))
for name, kept in {"temperature 2, then top-p": keep_top_p(z / 2, 0.8), "top-p, then temperature 2": keep_top_p(z, 0.8) / 2}.items():
    print(f"{name}: {[word for word, logit in zip(WORDS, kept.tolist()) if logit > -math.inf]}")

# %% [markdown]
# **Which tokens remain?** The chances of the model itself this time, at a place in a new story where much is open. Heat it
# up with top-p at 1, then find a top-p that keeps the nonsense out at any temperature.

# %%
story = torch.tensor([[EOT, *tokenizer.encode(corpora.load("tales").documents_validation[3])]])
with torch.no_grad():
    open_logits = model(story)[0][0, :120]
entropy = torch.distributions.Categorical(logits=open_logits).entropy()
words = [t for t in range(20, 120) if tokenizer.decode([int(open_logits[t].argmax())]).startswith(" ")]
spot = min(words, key=lambda t: abs(float(entropy[t]) - 2.0))  # where a word begins; neither sure nor at a loss
print(tokenizer.decode(story[0, 1 : spot + 1].tolist()), "...")
open_row = open_logits[spot]
top = open_row.topk(9).indices


# %%
def draw_remaining(temperature, top_p):
    """Bars of the nine likeliest tokens; those that are cut are pale."""
    hot = open_row / temperature
    kept = keep_top_p(hot, top_p)
    share, names = hot.softmax(-1), {int(i): repr(tokenizer.decode([int(i)])) for i in top}
    colors = {name: "LLAMA" if kept[i] > -math.inf else "#BBBBBB" for i, name in names.items()}
    words = f"{int((kept > -math.inf).sum()):,} of {len(open_row):,} tokens remain, with {share[kept > -math.inf].sum():.0%} of the chance"
    return plots.draw_bars(
        {name: share[i].item() for i, name in names.items()}, colors=colors, form="{:.3f}", xlabel="chance", title=words
    )


widgets.explore(
    draw_remaining,
    "Which tokens remain?",
    temperature=(0.2, 2.0, 0.1, 1.0),
    top_p=(0.1, 1.0, 0.05, 0.8, "top-p"),
)

# %% [markdown]
# ## The price of variety
#
# Sixteen stories at each temperature. Three things to count: how many keep to the grammar, in how many the facts hold as
# well (who has what, where it is), and how many begin in a way of their own.

# %%
TEMPERATURES = (0.0, 0.2, 0.5, 0.8, 1.0, 1.3)


def judge(stories):
    """Shares: of the grammar, with facts that hold, with an opening (six words) that no other one has."""
    openings = {tuple(text.split()[:6]) for text in stories}
    n = len(stories)
    return sum(map(tales.is_story, stories)) / n, sum(map(tales.facts_hold, stories)) / n, len(openings) / n


scores = torch.tensor([judge(tell_many(16, temperature=T, seed=2)) for T in TEMPERATURES])
names = ["in the grammar", "facts hold", "own opening"]
plots.curves(
    {name: (TEMPERATURES, scores[:, i]) for i, name in enumerate(names)},
    xlabel="temperature",
    ylabel="share of 16 stories",
    ylim=(0, 1.05),
    marks=True,
    alt="Shares of 16 stories by temperature: those in the grammar and those whose facts hold fall as it gets hotter; those"
    " with an opening of their own rise.",
)

# %%
for how in ({"temperature": 1.0}, {"temperature": 1.0, "top_p": 0.95}, {"temperature": 0.8}):
    grammar, facts, own = judge(tell_many(32, seed=3, **how))
    words = ", ".join(f"{name} {value}" for name, value in how.items())
    print(f"{words:30} in the grammar {grammar:4.0%}, facts hold {facts:4.0%}, own opening {own:4.0%}")

# %% [markdown]
# Read the figure from left to right: validity is sold for variety. Then read the table: top-p takes away the tail alone,
# and leaves the choices among the likely ones as they were. There is no best setting. A riddle needs temperature 0, a
# bedtime story does not.
#
# ## What the cache saves
#
# To draw one token the model needs one row of logits. Without a memory it must read the whole text again for it. With the
# KV cache of lesson 05 it reads the one new token, and looks back at keys and values that are there.

# %%
guess = predict(
    "09.d",
    "Without the cache, how long does the 400th token take, compared with the 20th?",
    ["about as long", "several times as long", "hundreds of times as long"],
)


# %%
def timed(cache, n=400):
    """n greedy tokens, and the milliseconds that each took."""
    tokens, times, began = [], [], time.perf_counter()
    for token in sample(model, torch.tensor([[EOT]]), n, temperature=0, cache=cache):
        tokens.append(token.item())
        times.append(1000 * (time.perf_counter() - began))
        began = time.perf_counter()
    return tokens, torch.tensor(times)


timed(True, 20)  # the first calls are slow
with_cache, quick = timed(True)
without, slow = timed(False)
assert with_cache == without
late, early = slow[380:].min(), slow[10:30].min()  # the fastest of 20: what else the machine does only adds
print(f"the same {len(without)} tokens; {quick.sum() / 1000:.1f} s with the cache, {slow.sum() / 1000:.1f} s without")
print(f"without: token 20 takes {early:.1f} ms, token 400 {late:.1f} ms")
guess.reveal(
    "about as long" if late < 1.5 * early else "several times as long" if late < 100 * early else "hundreds of times as long",
    "400 tokens at once are not 400 times as slow as one: a matrix product over many rows is cheap. The work still grows.",
)

# %%
middle = torch.arange(10, 400, 20)
plots.curves(
    {
        "without a cache": (middle, slow.unflatten(0, (20, 20)).amin(1)),
        "with the KV cache": (middle, quick.unflatten(0, (20, 20)).amin(1)),
    },
    xlabel="tokens so far",
    ylabel="milliseconds for one more",
    colors={"with the KV cache": "LLAMA", "without a cache": "#8C6D1F"},
    ylim=(0, 1.2 * float(late)),
    alt="Milliseconds for one more token against the tokens so far: rising steadily without a cache, nearly flat with it.",
)

# %% [markdown]
# The upper line rises, so the total, the area under it, grows with the **square** of the length. The lower one is nearly
# flat. Not quite: each new token still looks back at all keys, and for a text of a million tokens that is what costs. A
# recurrent model (lesson 11 on) has a line that is flat for ever.
#
# ## Exercises
#
# **Exercise 09.2** · implement · ●●○ · 10 min · 3 points · teaches another line between likely and unlikely · needs 09.1
#
# **[min-p](../lessons/GLOSSARY.md#min-p)** asks each token for a share $m$ of the best one's chance: keep those with $p_i \ge m \cdot \max_j p_j$. It needs no
# sorting. Write it for logits (..., V); the others become $-\infty$.
#
# <details><summary>Hint 1</summary>
#
# Softmax, then `amax(-1, keepdim=True)`: each row has its own best.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Or without softmax: $p_i / p_j = e^{z_i - z_j}$, so compare $z_i$ with $\max_j z_j + \ln m$.
#
# </details>


# %% tags=["exercise:09.2"]
def keep_min_p(logits, min_p):
    """(..., V), a number from 0 to 1 -> (..., V): -inf where the chance is below min_p times the row's largest."""
    ### BEGIN SOLUTION
    share = logits.softmax(dim=-1)
    return logits.masked_fill(share < min_p * share.amax(-1, keepdim=True), -torch.inf)
    ### END SOLUTION


# %% tags=["check:09.2"]
keep_min_p = check("09.2", keep_min_p)

# %% [markdown] tags=["solution:09.2"]

# %% [markdown]
# **Exercise 09.3** · implement · ●●● · 15 min · 5 points · teaches the loop, the state, and rows that end · needs 07
#
# Write the loop. `logits, state = model(new, state)` reads the tokens `new` (B, T) after those in `state`, None at first.
# Take the likeliest token each time, and read each token **once**. Rows that came to `stop` give `stop` for ever: a batch
# ends row by row.
#
# <details><summary>Hint 1</summary>
#
# The first call reads the whole prompt, each later one the one token that was chosen last, as (B, 1).
#
# </details>
# <details><summary>Hint 2</summary>
#
# `logits[:, -1].argmax(-1)` is (B,). Keep `ended`, a (B,) of bool: `token.masked_fill(ended, stop)`, and then
# `ended = ended | (token == stop)`.
#
# </details>


# %% tags=["exercise:09.3"]
def continue_greedily(model, tokens, n_tokens, stop):
    """(B, T) -> (B, n_tokens): what follows, always the likeliest; `stop` for ever after the first one in a row."""
    ### BEGIN SOLUTION
    state, new, told = None, tokens, []
    ended = torch.zeros(len(tokens), dtype=torch.bool)
    for _ in range(n_tokens):
        logits, state = model(new, state)
        token = logits[:, -1].argmax(-1).masked_fill(ended, stop)
        ended = ended | (token == stop)
        told.append(token)
        new = token[:, None]
    return torch.stack(told, dim=1)
    ### END SOLUTION


# %% tags=["check:09.3"]
continue_greedily = check("09.3", continue_greedily)
with torch.no_grad():
    told = continue_greedily(model, torch.tensor([[EOT, *tokenizer.encode("One")]]), 40, EOT)
print("One" + tokenizer.decode(told[0].tolist()))

# %% [markdown] tags=["solution:09.3"]

# %% [markdown]
# **Exercise 09.4** · predict · ●●○ · 5 min · 2 points · teaches why it is quadratic · needs 09.3
#
# A prompt of 100 tokens, 400 new ones. With the cache the model reads 499 tokens: the prompt, and each new one but the
# last. How many does it read without? Compute it.
#
# <details><summary>Hint 1</summary>
#
# For the first new token it reads 100, for the second 101.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `sum(range(...))`. The last new token is drawn after 499 were read.
#
# </details>

# %% tags=["exercise:09.4"]
### BEGIN SOLUTION
tokens_read = sum(range(100, 500))
### END SOLUTION

# %% tags=["check:09.4", "nbval-check-output"]
tokens_read = check("09.4", tokens_read)
print(f"{tokens_read:,} against 499: {tokens_read / 499:.0f} times the matrix products")

# %% [markdown] tags=["solution:09.4"]

# %% [markdown]
# Greedy text likes to go round in circles. CTRL, a model of 2019, had a cure that many programs took over: divide the logit
# of each token that stands in the text already by a **penalty** above 1. Here tokens 0 and 3 were used, the penalty is 2:


# %% tags=["nbval-check-output"]
def penalised(logits, seen, penalty):
    """(B, V), (B, T), a number -> (B, V): tokens that stand in a row of `seen` should get less likely. Broken."""
    return logits.scatter(1, seen, logits.gather(1, seen) / penalty)


row, used = torch.tensor([[2.0, 1.0, 0.5, -4.0]]), torch.tensor([[0, 3, 3]])
for name, logits in (("before", row), ("after", penalised(row, used, 2.0))):
    print(f"{name:6}", *(f"{p:6.3f}" for p in logits.softmax(-1)[0].tolist()))

# %% [markdown]
# **Exercise 09.5** · repair · ●●○ · 10 min · 3 points · teaches that a logit's sign means nothing · needs softmax
#
# Token 0 got less likely. Token 3 was used too, and got **more** likely. Repair the function: each token in `seen` must
# become less likely when the penalty is above 1, whatever its logit. A token that stands twice in the text is penalised
# once, as before.
#
# <details><summary>Hint 1</summary>
#
# Dividing by 2 brings a number nearer to 0. From which side does it come?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A positive logit is divided, a negative one multiplied: `torch.where(z > 0, z / penalty, z * penalty)`.
#
# </details>


# %% tags=["exercise:09.5"]
def penalised(logits, seen, penalty):
    """(B, V), (B, T), a number above 0 -> (B, V): what stands in a row of `seen` is less likely, if the number is above 1."""
    ### BEGIN SOLUTION
    z = logits.gather(1, seen)
    return logits.scatter(1, seen, torch.where(z > 0, z / penalty, z * penalty))
    ### END SOLUTION


# %% tags=["check:09.5", "nbval-check-output"]
penalised = check("09.5", penalised)
print(*(f"{p:6.3f}" for p in penalised(row, used, 2.0).softmax(-1)[0].tolist()))

# %% [markdown] tags=["solution:09.5"]
# It is a patch. Add 10 to all logits: no chance changes, but what this penalty does is another thing altogether. A penalty
# that **subtracts** has no such fault. Services that count how often a token came do it that way.

# %% [markdown]
# ## In the wild
#
# transformers calls the filters *warpers*, and `generate(do_sample=True, temperature=..., top_k=..., top_p=..., min_p=...)`
# applies them one after the other, temperature first. The same sets remain:

# %% tags=["nbval-check-output"]
from transformers import MinPLogitsWarper, RepetitionPenaltyLogitsProcessor, TopPLogitsWarper

for p in (0.05, 0.5, 0.9, 0.99):
    theirs, ours = TopPLogitsWarper(p)(None, open_logits), keep_top_p(open_logits, p)
    same_p = torch.equal(theirs > -math.inf, ours > -math.inf)
    same_min = torch.equal(MinPLogitsWarper(p)(None, open_logits), keep_min_p(open_logits, p))
    print(f"p = {p}: top-p as in transformers: {same_p}, min-p: {same_min}")
theirs = RepetitionPenaltyLogitsProcessor(2.0)(used, row.clone())
print("the penalty as in transformers:", torch.equal(theirs, penalised(row, used, 2.0)))

# %% [markdown]
# ## Recap
#
# A model gives chances; temperature shifts them, top-k, top-p and min-p cut off the tail, and the order is part of the
# definition. Greedy is safe and always the same, pure sampling derails in the long run. The cache reads each token once: the
# same tokens, and work that grows with the length and not with its square.
#
# ## Read on
#
# - Holtzman et al., [The Curious Case of Neural Text Degeneration](https://arxiv.org/abs/1904.09751): why the likeliest
#   text is dull, and where top-p comes from.
# - Nguyen et al., [Turning Up the Heat: Min-p Sampling](https://arxiv.org/abs/2407.01082): the case for min-p.
# - Pope et al., [Efficiently Scaling Transformer Inference](https://arxiv.org/abs/2211.05102): what the cache costs when
#   the model is large and the readers are many.
#
# **Next:** [10. Layers need not be alike](10_layerwise_scaling.ipynb).
