# %% [markdown]
# # 09. The same model, dull or mad
#
# A language model doesn't write words. It gives every token a chance, and then somebody has to draw one. There are many ways
# to draw, and the same model tells dull stories with one and mad ones with another. In this lesson you build the usual
# ways, and measure what each does to the stories.
#
# **You build** `keep_top_p`, `keep_min_p`, the loop with a cache, and a penalty for repeating. **You need** lessons 07 and
# 08. **Time:** 90 minutes.

# %% tags=["setup"]
start("09")

# %%
import math
import time

import torch

from lib.run.checkpoint import load_bundle
from lib.run.sample import sample, tell_with_chances
from lib.show import plots, widgets
from lessons.exercises.lesson_09 import check
from lib.show.predict import predict
from lib.show.story import story
from lib.text import corpora, tales
from tqdm.auto import tqdm

# %% [markdown]
# ## The need
#
# Here is the model of lesson 08's longer run. `sample` is the course's loop: it draws a token, hands it to the model, and
# draws the next one. (You write that loop below.) "Temperature 0" means: always take the likeliest token.

# %%
model, tokenizer = load_bundle(corpora.DATA / "checkpoints" / "llama-tales")
EOT = tokenizer.eot  # the end of a text, and the token that each new one begins with (lesson 08)


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
print("stories of the grammar:", sum(map(tales.is_story, greedy)), " different ones:", different)
guess.reveal(min(("1", "about 10", "20"), key=lambda words: abs(int(words.split()[-1]) - different)))

# %% [markdown]
# The same beginning gives the same chances, and the likeliest token is the same each time. But the grammar has more stories
# than anyone could read, and the model gives each of them a chance. So **draw**: each token as often as its chance says.
# That is what the model was trained for.

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
guess.reveal("nearly all" if good >= 18 else "some" if good >= 4 else "hardly any")

# %% [markdown]
# See one as it is told. Point at a word, click on it, or go there with Tab: a box shows the five likeliest tokens at that
# place, with the chances that the model gave them. **Where does the story leave the road, and how likely was the word that
# led it away?** (A word that is not in its own box had less chance than the fifth.)

# %%
told = list(tell_with_chances(model, tokenizer, temperature=1.0, seed=2))
text = story(told)
print("a story of the grammar:", tales.is_story(text))

# %% [markdown]
# Two things can be seen. At many places one token has nearly all the chance, and at the others the story is open. And one bad
# word is enough. The model spreads a little chance over two thousand tokens, most of which can't come, and it draws
# again and again. If each draw goes wrong with the same small probability, how many stories stay right?

# %%
draws = sum(len(tokenizer.encode(text)) for text in drawn) / len(drawn)
for slip in (0.0001, 0.001, 0.01):
    print(f"{slip:.2%} wrong at each of {draws:.0f} draws: {(1 - slip) ** draws:.0%} of the stories are right")
open_places = sum(choices[0][1] < 0.9 for _, choices in told if choices)
print(f"the story above: {open_places} of {len(told)} places where no token has 90 % of the chance")

# %% [markdown]
# So you want something in between: leave the likely tokens to chance, and forbid the rest. **Where is the line?**
#
# ## By hand, on five words
#
# **[Temperature](../lessons/GLOSSARY.md#temperature)** $T$ divides the logits $z_i$ before they become chances: $p_i \propto
# e^{z_i / T}$. Below 1 the likely tokens get likelier, and above 1 all chances get more alike. Nothing can be divided by 0,
# so temperature 0 is a case of its own: the likeliest token takes all.

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
# What does that do to a story? Below is one at temperature 0.3. Its boxes still show the model's own chances, those of
# temperature 1: only the drawing has changed. Compare it with the story above. **How often does a word come that is not the
# first one in its box?**

# %%
cool = list(tell_with_chances(model, tokenizer, temperature=0.3, seed=2))
story(cool)
for name, pieces in {"temperature 1  ": told, "temperature 0.3": cool}.items():
    drawn_here = [(text, choices) for text, choices in pieces if choices]
    other = sum(text != choices[0][0] for text, choices in drawn_here)
    print(f"{name}: not the likeliest token at {other} of {len(drawn_here)} places")

# %% [markdown]
# So temperature changes how often each token comes, and leaves every token a chance. Two filters forbid some:
#
# - **[top-k](../lessons/GLOSSARY.md#top-k-and-top-p)**: keep the $k$ likeliest tokens. But at some places a single token is
#   possible, and at others twenty are. No $k$ fits both.
# - **top-p**: keep the smallest set of likeliest tokens whose chances sum to $p$ or more. The set is small where the model
#   is sure, and large where it is not.

# %%
guess = predict(
    "09.c",
    "The five chances are 0.66, 0.24, 0.09, 0.01, 0.00. With top-p = 0.8, how many words may still come?",
    ["1", "2", "3"],
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
    str(len(kept)),
    "A word stays if those before it sum to less than p. So the word that crosses the line stays, and so does the first one.",
)

# %% [markdown]
# ## Build it
#
# **Exercise 09.1** · implement · ●●○ · 15 min · 4 points · teaches sorting there and back · needs nothing else
#
# Write `keep_top_p` for logits (..., V). The logits that fall out become $-\infty$; the others stay as they are, **in their
# old places**. A token stays if the chances of those before it, in falling order, sum to less than $p$. The likeliest one
# always stays. $p$ is above 0 and at most 1.
#
# <details><summary>Hint 1: there</summary>
#
# `ordered, place = logits.sort(dim=-1, descending=True)`, then softmax. `share.cumsum(-1)` includes the token itself: take its
# own share away again to get the sum of those before it.
#
# </details>
# <details><summary>Hint 2: and back</summary>
#
# The mask of what falls out is in sorted order. `place.argsort(-1)` says at which rank each token stands: gather with that.
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
# matters. The usual order is temperature, then top-k, then top-p, so that top-p cuts the very chances that are drawn from.

# %% tags=["nbval-check-output"]
z = torch.tensor(LOGITS)
cut = keep_top_p(z, 0.8)
print(
    "cut with -inf:", cut.softmax(-1).numpy().round(3), "  cut with 0:", cut.clamp(min=0).softmax(-1).numpy().round(3)
)
for name, kept in {
    "temperature 2, then top-p": keep_top_p(z / 2, 0.8),
    "top-p, then temperature 2": keep_top_p(z, 0.8) / 2,
}.items():
    print(f"{name}: {[word for word, logit in zip(WORDS, kept.tolist()) if logit > -math.inf]}")

# %% [markdown]
# **Which tokens remain?** These are the chances of the model itself, at a place in a new story where much is open. Raise the
# temperature with top-p at 1, and see how much of the chance the nine likeliest tokens lose. Then look for a top-p that
# keeps all seven words that fit at temperature 1, and try the same one at 2.

# %%
some_story = torch.tensor([[EOT, *tokenizer.encode(corpora.load("tales").documents_validation[3])]])
with torch.no_grad():
    open_logits = model(some_story)[0][0, :120]
remaining = (keep_top_p(open_logits, 0.95) > -math.inf).sum(-1)
print(f"top-p 0.95 leaves one token at {(remaining == 1).sum()} of 120 places, and at most {remaining.max()}")
entropy = torch.distributions.Categorical(logits=open_logits).entropy()
words = [t for t in range(20, 120) if tokenizer.decode([int(open_logits[t].argmax())]).startswith(" ")]
spot = min(words, key=lambda t: abs(float(entropy[t]) - 2.0))  # where a word begins; neither sure nor at a loss
print(tokenizer.decode(some_story[0, 1 : spot + 1].tolist()), "...")
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
# At temperature 1 the nine bars hold 99 % of the chance, and at 2 little more than half. So at temperature 1 a top-p of 0.9
# or 0.95 keeps the words that fit, and cuts what does not. At temperature 2 the same top-p lets hundreds of tokens through,
# because the tail has grown. The two settings depend on each other.
#
# ## The price of variety
#
# Now measure it, with 64 stories at each temperature. Count three things: how many keep to the grammar; in how many the
# facts hold as well (who has what, and where it is); and how many different openings there are, as a share of 64.

# %%
TEMPERATURES, N = (0.0, 0.3, 0.6, 0.8, 1.0, 1.3), 64


def judge(stories):
    """Shares: of the grammar, with facts that hold, of different openings (the first six words)."""
    openings = {tuple(text.split()[:6]) for text in stories}
    n = len(stories)
    return sum(map(tales.is_story, stories)) / n, sum(map(tales.facts_hold, stories)) / n, len(openings) / n


def around(share, n):
    """The ends of Wilson's 95 % interval for a share of n independent trials."""
    z = 1.96
    middle, half = share + z * z / (2 * n), z * (share * (1 - share) / n + (z / (2 * n)) ** 2) ** 0.5
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


told_at = {T: tell_many(N, temperature=T, seed=2) for T in tqdm(TEMPERATURES, leave=False)}
scores = torch.tensor([judge(stories) for stories in told_at.values()])

# %%
names = ["in the grammar", "facts hold", "different openings"]
ends = {name: zip(*(around(share, N) for share in scores[:, i].tolist())) for i, name in enumerate(names[:2])}
ways = [f"{name}: {', '.join(f'{share:.2f}' for share in scores[:, i])}" for i, name in enumerate(names)]
plots.curves(
    {name: (TEMPERATURES, scores[:, i]) for i, name in enumerate(names)},
    bands={name: tuple(band) for name, band in ends.items()},
    xlabel="temperature; bands: 95 % intervals",
    ylabel=f"share of {N} stories",
    ylim=(0, 1.05),
    marks=True,
    alt=f"Shares of {N} stories by temperature, the first two with 95 % intervals. {'; '.join(ways)}.",
)

# %%
more = {"temperature 1, top-p 0.95": tell_many(N, temperature=1.0, top_p=0.95, seed=2)}
for name, stories in {"temperature 1": told_at[1.0], **more, "temperature 0.8": told_at[0.8]}.items():
    grammar, facts, own = judge(stories)
    low, high = around(grammar, N)
    print(
        f"{name:26} in the grammar {grammar:4.0%} ({low:.0%} to {high:.0%}), facts hold {facts:4.0%}, openings {own:4.0%}"
    )

# %% [markdown]
# Read the figure from left to right: you pay for variety with stories that break. Temperature 0 tells one story 64 times,
# so there the shares are all or nothing, and the interval means nothing. The line of the facts may surprise you: cool
# stories are near copies of the likeliest one, so they share its fault, if it has one:

# %%
likeliest = told_at[0.0][0]
print(likeliest, "\nin the grammar:", tales.is_story(likeliest), "  facts hold:", tales.facts_hold(likeliest))

# %% [markdown]
# Now read the table above. A lower temperature makes all likely tokens still likelier. Top-p removes the tail, and changes
# the choice among the likely tokens little. Compare both with temperature 1. And compare the columns: a story can keep to
# the grammar and still forget who is who, or who has the lantern. Say both numbers, and the temperature with them.
#
# ## What the cache saves
#
# To draw one token the model needs one row of logits. Without a memory it must read the whole text again for that row. With
# the KV cache of lesson 05 it reads the one new token, and looks back at keys and values that are there already.

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


threads = torch.get_num_threads()
torch.set_num_threads(1)  # two threads wait for each other where the machine is busy
timed(True, 20)  # the first calls are slow
(with_cache, quick), *again = [timed(True) for _ in range(3)]
quick = torch.stack([quick, *(times for _, times in again)]).amin(0)
(without, slow), (_, more_slow) = timed(False), timed(False)
slow = torch.minimum(slow, more_slow)
torch.set_num_threads(threads)
late, early = slow[380:].min(), slow[10:30].min()  # minima: whatever else the machine does only adds
print(
    f"the same tokens: {with_cache == without}; {quick.sum() / 1000:.1f} s with the cache, {slow.sum() / 1000:.1f} s without"
)

# %%
print(f"without: token 20 takes {early:.1f} ms, token 400 {late:.1f} ms")
guess.reveal(
    "about as long"
    if late < 1.5 * early
    else "several times as long"
    if late < 100 * early
    else "hundreds of times as long",
    f"It reads 20 times as many tokens, and takes {late / early:.1f} times as long."
    + (" Many rows in one matrix product are cheap." if late < 15 * early else ""),
)

# %% tags=["spoiler"]
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
# Without a cache each token reads the whole text, so the work for all of them grows with the **square** of the length: the
# area under the upper line. With the cache a token reads itself. It still looks back at all keys, which costs little here
# and is the larger part for very long texts. A recurrent model (from lesson 11 on) does the same work for each
# token, however long the text.
#
# ## Exercises
#
# **Exercise 09.2** · implement · ●●○ · 10 min · 3 points · teaches another line between likely and unlikely · needs 09.1
#
# **[min-p](../lessons/GLOSSARY.md#min-p)** asks each token for a share $m$ of the best one's chance: keep those with
# $p_i \ge m \cdot \max_j p_j$. It needs no sorting. Write it for logits (..., V); those that fall out become $-\infty$.
#
# <details><summary>Hint 1</summary>
#
# Softmax, then `amax(-1, keepdim=True)`: each row has its own best.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Or without softmax: $p_i / p_j = e^{z_i - z_j}$, so compare $z_i$ with $\max_j z_j + \ln m$. (For $m = 0$
# `math.log` fails, and `torch.tensor(m).log()` gives $-\infty$.)
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
# Write the loop. `logits, state = model(new, state)` reads the tokens `new` (B, T) after those in `state`, which is None at
# first. Take the likeliest token each time, and let the model read each token **once**. The rows of a batch end at
# different times: a row that came to `stop` gives `stop` from then on.
#
# <details><summary>Hint 1</summary>
#
# The first call reads the whole prompt. Each later call reads the one token that was chosen last, as (B, 1).
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
    """(B, T) -> (B, n_tokens): what follows, always the likeliest; after a row's first `stop`, `stop` again and again."""
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
# A prompt of 100 tokens, and 400 new ones. With the cache the model reads 499 tokens: the prompt, and each new one but the
# last. How many does it read without the cache? Compute it.
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
print(f"{tokens_read:,} against 499: {tokens_read / 499:.0f} times as many")

# %% [markdown] tags=["solution:09.4"]

# %% [markdown]
# Greedy text often goes round in circles. [CTRL](https://arxiv.org/abs/1909.05858), a model of 2019, had a cure that many programs took over: divide the logit of
# each token that stands in the text already by a **penalty** above 1. Here tokens 0 and 3 were used, and the penalty is 2:


# %% tags=["nbval-check-output"]
def penalised(logits, seen, penalty):
    """(B, V), (B, T), a number -> (B, V): tokens that stand in a row of `seen` should get less likely. Not right yet."""
    return logits.scatter(1, seen, logits.gather(1, seen) / penalty)


row, used = torch.tensor([[2.0, 1.0, 0.5, -4.0]]), torch.tensor([[0, 3, 3]])
for name, logits in (("before", row), ("after", penalised(row, used, 2.0))):
    print(f"{name:6}", *(f"{p:6.3f}" for p in logits.softmax(-1)[0].tolist()))

# %% [markdown]
# **Exercise 09.5** · repair · ●●○ · 10 min · 3 points · teaches that a logit's sign means nothing · needs softmax
#
# Token 0 got less likely. Token 3 was used too, and got **more** likely. Repair the function: when the penalty is above 1, it
# must lower the logit of each token in `seen`, whatever its sign, and **by that factor**: nothing is subtracted. A token that stands twice in the text is penalised once,
# as before.
#
# <details><summary>Hint 1</summary>
#
# Dividing by 2 brings a number nearer to 0. Is that down or up?
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
# It is a patch. Add 10 to all logits: no chance changes, and yet this penalty now does something else. A penalty that
# **subtracts** a number from the logit has no such fault.

# %% [markdown]
# ## In the wild
#
# transformers calls the filters *warpers*. `generate(do_sample=True, temperature=..., top_k=..., top_p=..., min_p=...)`
# applies them one after the other, temperature first. Yours keep the same sets:

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
# A model gives chances. Temperature makes them more or less even, and top-k, top-p and min-p cut off the tail; the order of
# these steps matters. Greedy decoding tells one story; drawing from all chances tells many, and breaks more of them. With the
# cache each token is read once: the tokens are the same, and what is read grows with the length, not with its square.
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
