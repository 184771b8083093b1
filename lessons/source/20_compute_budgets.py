# %% [markdown]
# # 20. A FLOP buys parameters or tokens, and you choose
#
# A training budget is a number of FLOPs. You can spend it on a large model that reads little, or on a small one that reads
# much. Somewhere in between lies the best model that this budget can buy, and a law fitted to small runs says where.
#
# **You build** the count of a run's FLOPs, the law's best size, a fit that can be trusted, and the cheapest model over a
# lifetime. **You need** lessons 08 (training) and 15 (runs that can be compared). **Time:** 105 minutes.

# %% tags=["setup"]
start("20")

# %%
import json
import math
import time

import torch
from tqdm.auto import tqdm

from lib.models.llama import Llama, LlamaConfig
from lib.models.presets import PRESETS
from lib.models.skeleton import n_params
from lib.run import cost
from lib.run.evaluate import document_nats
from lib.run.recipes import recipe
from lib.run.measure import fit_power
from lib.run.scaling import Law, fit, middle, resampled
from lib.run.train import train
from lib.show import widgets
from lib.show.predict import predict
from lib.teach.claims import claim
from lib.text import corpora, tales
from lib.text.batches import DocumentBatches, encode_documents
from lib.text.bpe import BPE
from lib.text.published import load_tokenizer
from lessons.exercises.lesson_20 import check
from lessons.figures import lesson_20 as figures

# %% [markdown]
# ## The need
#
# [TinyLlama](https://github.com/jzhang38/TinyLlama) has 1.1 billion parameters and read 3 trillion tokens. The
# [Chinchilla](https://arxiv.org/abs/2203.15556) paper had found that a model should read about 20 tokens a parameter: 22
# billion, 136 times fewer. Training costs about 6 FLOPs for each parameter and token. (You count that below.)
#
# In this lesson, as in the papers, $N$ is the number of parameters, $D$ the number of tokens that a model is trained on, and
# $C$ the FLOPs that this takes. (Elsewhere in the course $N$ is a head's size and $C$ a width.)

# %% tags=["nbval-check-output"]
N, D = 1.1e9, 3e12
print(f"tokens a parameter: {D / N:,.0f}, {D / 22e9:.0f} times what Chinchilla's rule gives")
print(f"FLOPs: {6 * N * D:.2e}; with 22 billion tokens {6 * N * 22e9:.2e}")

# %%
guess = predict(
    "20.a",
    "Chinchilla's rule spends TinyLlama's FLOPs on another model: 20 tokens a parameter. How many parameters has it?",
    ["about 3 billion", "about 13 billion", "about 150 billion"],
)

# %%
best = math.sqrt(6 * N * D / (6 * 20))  # C = 6 N D with D = 20 N
guess.reveal(min(guess.choices, key=lambda words: abs(math.log(float(words.split()[1]) * 1e9 / best))), f"{best / 1e9:.1f} billion.")

# %% [markdown]
# A model twelve times as large, for the same training. So did TinyLlama waste its FLOPs? To answer that you need to know what
# a FLOP buys, and what happens after training.
#
# ## Count the FLOPs of a run
#
# A weight of a matrix multiplies once for each token, and the product is added up: 2 FLOPs. The backward pass needs two
# products of that size for each product of the forward pass, so training takes three times as much: **6 FLOPs a weight and
# token**. For a run with $N$ weights and $D$ tokens that gives the rule
#
# $$C \approx 6 N D$$
#
# It leaves out attention's products with the past. In a causal row of $T$ tokens a query looks at $(T + 1) / 2$ keys on
# average. In each layer, each of these costs 2 FLOPs a channel to compare with, and 2 to add up its value.
#
# **Exercise 20.1** · implement · ●●○ · 15 min · 4 points · teaches what a training run costs · needs lessons 03 and 05
#
# Count the FLOPs in matrix products of training a LLaMA on `tokens` tokens, in rows of `T`. Each layer has four square
# attention matrices and the three of SwiGLU. The output head counts. The embedding looks up a row, and multiplies nothing.
#
# <details><summary>Hint 1</summary>
#
# Weights that multiply: `n_layers * (4 * d_model**2 + 3 * d_model * d_ff) + vocab_size * d_model`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Forward, a token: `2 * weights + n_layers * 4 * d_model * (T + 1) / 2`. Training takes three times that.
#
# </details>


# %% tags=["exercise:20.1"]
def run_flops(n_layers, d_model, d_ff, vocab_size, T, tokens):
    """Sizes of a LLaMA, tokens in a row, tokens in all -> FLOPs in matrix products."""
    ### BEGIN SOLUTION
    weights = n_layers * (4 * d_model**2 + 3 * d_model * d_ff) + vocab_size * d_model
    forward = 2 * weights + n_layers * 4 * d_model * (T + 1) / 2
    return 3 * forward * tokens
    ### END SOLUTION


# %% tags=["check:20.1"]
run_flops = check("20.1", run_flops)

# %% [markdown] tags=["solution:20.1"]

# %% tags=["nbval-check-output"]
for name, T in (("tiny-llama", 192), ("llama-7b", 2048), ("llama-65b", 2048)):
    c = PRESETS[name].config
    exact = run_flops(c.n_layers, c.d_model, c.d_ff, c.vocab_size, T, tokens=1)
    rule = 6 * cost.n_parameters(c)
    assert math.isclose(exact, cost.training_flops(c, T).products / T, rel_tol=1e-9)
    print(f"{name:10} {exact:.3e} FLOPs a token, by the rule 6 N {rule:.3e}: {rule / exact - 1:+.0%}")

# %% [markdown]
# For large models the rule is close. For tiny ones it counts an embedding that does no work, and leaves out attention.
#
# ## Equal FLOPs, different sizes
#
# Now spend one small budget on three sizes. Each run gets as many tokens as the budget pays for, and **its own full
# schedule**, from warm-up to the last small steps.

# %%
torch.set_num_threads(1)
tokenizer = BPE(list(load_tokenizer("tales").merges)[:255])  # 512 tokens: a small table for small models
LENGTH, ROWS = 384, 2  # tokens in a row, rows a step
NEW = list(tales.stories(20_500_000, 100))


def small_model(d_model, n_layers):
    """A LLaMA with heads of 16 channels."""
    heads, d_ff = d_model // 16, 8 * math.ceil(2.75 * d_model / 8)
    return Llama(LlamaConfig(512, n_layers, d_model, heads, heads, 16, d_ff, context_length=LENGTH))


def spend(budget, d_model, n_layers):
    """Train for so many FLOPs; return the parameters, the tokens, and nats a token on new stories."""
    torch.manual_seed(0)
    model = small_model(d_model, n_layers)
    steps = round(budget / cost.training_flops(model.config, LENGTH, ROWS).total)
    rows = encode_documents(tokenizer, [story.text for story in tales.stories(20_000_000, 2 * ROWS * steps)])
    plan = recipe("adamw", steps, learning_rate=min(0.03, 0.8 / d_model))
    run = train(model, DocumentBatches(*rows, ROWS, LENGTH), plan, device="cpu", dtype="float32")
    *_, last = tqdm(run, total=steps, leave=False)
    costs = document_nats(model, tokenizer, [story.text for story in NEW])
    return n_params(model), last.tokens, sum(nats for nats, _ in costs) / sum(n for _, n in costs)


# %%
live = {}
for size in ((16, 1), (32, 1), (64, 4)):
    parameters, tokens, nats = spend(4e10, *size)
    live[parameters] = nats
    print(f"{parameters:7,} parameters, {tokens:7,} tokens: {nats:.2f} nats a token")
place = ("smallest", "middle one", "largest")[sorted(live).index(min(live, key=live.get))]
print(f"Of these three sizes, the {place} is the best that this budget buys.")

# %% [markdown]
# On record is a grid of such runs: five budgets over two decades, several sizes in each, LLaMA and RWKV-5, the same recipe,
# AdamW, a rate by width. No story is read twice. All are scored on the same new stories.

# %%
guess = predict(
    "20.b",
    "You get 100 times the FLOPs. How many times as large is the best model?",
    ["about 2 times", "about 10 times", "about 50 times"],
)

# %%
RECORD = json.loads((corpora.DATA / "records" / "scaling.json").read_text(encoding="utf-8"))
FAMILIES = {"llama": "LLaMA", "rwkv": "RWKV-5"}
RUNS = {name: [run for run in RECORD["runs"] if run["family"] == family] for family, name in FAMILIES.items()}
TRUTH = RECORD["runs"][0]["truth"]
hours = sum(run["cpu_seconds"] for run in RECORD["runs"]) / 3600
print(f"`{RECORD['command']}`: {len(RECORD['runs'])} runs, {hours:.1f} hours of one core, torch {RECORD['torch']}")


def by_budget(runs, count="parameters"):
    """{budget: [(parameters, nats)]}."""
    return {b: [(r[count], r["nats"]) for r in runs if r["budget"] == b] for b in sorted({r["budget"] for r in runs})}


figures.valleys({name: by_budget(runs) for name, runs in RUNS.items()}, TRUTH)

# %% [markdown]
# Look at one line from left to right. The loss falls while more parameters help, and rises when too few tokens are left to
# train them. The ring is the lowest point of a parabola, fitted to up to five runs around the best one. (A line without a ring
# has its lowest run at its end: there is no valley.) The step near 46,000 parameters is a change of shape. The left one of the
# two has most of its parameters in its tables, and costs fewer FLOPs a token. Chinchilla's authors call
# such lines **[isoFLOP curves](../lessons/GLOSSARY.md#isoflop-curve)**.

# %%
VALLEYS = {name: {b: figures.lowest(*zip(*sorted(line))) for b, line in by_budget(runs).items()} for name, runs in RUNS.items()}
grown = {}
for name, lows in VALLEYS.items():
    found = {budget: low for budget, low in lows.items() if low is not None}
    slope, _ = fit_power(list(found), [low.N for low in found.values()])
    grown[name] = 100**slope
    print(f"{name}: best size for each budget", *(f"{b:.1e}: {low.N:,.0f};" for b, low in found.items()))
    print(f"   grows as C to the power {slope:.2f}: 100 times the FLOPs, {grown[name]:.0f} times the parameters")
nearest = min(guess.choices, key=lambda words: abs(math.log(float(words.split()[1]) / grown["LLaMA"])))
guess.reveal(nearest, "By LLaMA's valleys.")

# %% [markdown]
# Chinchilla found a power near 0.5: for each doubling of the parameters, double the tokens. These models are tiny, and the
# count matters, too: the same valleys, without the embedding and the head among the parameters:

# %%
for name, runs in RUNS.items():
    lines = by_budget(runs, "without_tables")
    lows = {b: figures.lowest(*zip(*sorted(line))) for b, line in lines.items()}
    lows = {b: low.N for b, low in lows.items() if low is not None}
    print(f"{name}: without the tables, C to the power {fit_power(list(lows), list(lows.values()))[0]:.2f}")

# %% [markdown]
# Same runs, another count. When you read such a power, ask what was counted. (The log of nanochat, a course on building a
# chat model, gives 0.54, 0.37 and 0.70 for the same runs, counted in three ways.)
#
# ## A law
#
# Chinchilla's third way takes all runs at once. Its **[scaling law](../lessons/GLOSSARY.md#scaling-law)** says that a loss has
# three parts:
#
# $$L(N, D) = E + \frac{A}{N^{\alpha}} + \frac{B}{D^{\beta}}$$
#
# $E$ is what even an endless model with endless tokens pays: the entropy of the text. The second part is the price of few
# parameters, the third that of few tokens: $A$ and $B$ say how high each price is, $\alpha$ and $\beta$ how fast it falls. All
# five numbers are fitted. By hand, with easy numbers: $A = B = 100$, $\alpha = \beta = 0.5$, and a budget with
# $N D = 10^6$.

# %% tags=["nbval-check-output"]
for n in (10, 100, 1_000, 10_000, 100_000):
    few_parameters, few_tokens = 100 / n**0.5, 100 / (1e6 / n) ** 0.5
    print(f"N {n:7,}  D {1e6 / n:9,.0f}  {few_parameters:6.2f} + {few_tokens:6.2f} = {few_parameters + few_tokens:6.2f}")

# %% [markdown]
# The sum is lowest where a little more $N$ takes off as much of the first part as it adds to the second. Write $D = C / (6N)$, set the derivative by $N$ to zero, and out comes
#
# $$N = G \left(\frac{C}{6}\right)^{\frac{\beta}{\alpha + \beta}} \qquad D = \frac{C}{6 N} \qquad G = \left(\frac{\alpha A}{\beta B}\right)^{\frac{1}{\alpha + \beta}}$$
#
# **Exercise 20.2** · implement · ●●○ · 15 min · 4 points · teaches what a law says to do · needs the formula
#
# Write it. Then see what three versions of Chinchilla's own law say.
#
# <details><summary>Hint 1</summary>
#
# `G = (alpha * A / (beta * B)) ** (1 / (alpha + beta))`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `N = G * (C / 6) ** (beta / (alpha + beta))`. All that is left of the FLOPs buys tokens: `C / (6 * N)`.
#
# </details>


# %% tags=["exercise:20.2"]
def optimum(A, B, alpha, beta, C):
    """The law's numbers and a budget of FLOPs -> (parameters, tokens)."""
    ### BEGIN SOLUTION
    G = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    N = G * (C / 6) ** (beta / (alpha + beta))
    return N, C / (6 * N)
    ### END SOLUTION


# %% tags=["check:20.2"]
optimum = check("20.2", optimum)

# %% [markdown] tags=["solution:20.2"]

# %%
guess = predict(
    "20.c",
    "The paper prints alpha = 0.34 and beta = 0.28. In its source files they are 0.3392 and 0.2849. How much does that change"
    " the tokens a parameter for Chinchilla's own budget?",
    ["by under 5 %", "by about 10 %", "by more than a third"],
)

# %%
LAWS = {
    "printed": Law(1.69, 406.4, 410.7, 0.34, 0.28),
    "two more digits": Law(1.69, 406.4, 410.7, 0.3392, 0.2849),
    "fitted again": Law(1.8172, 482.01, 2085.43, 0.3478, 0.3658),
}
C = 5.76e23
per = {name: (lambda n, d: d / n)(*optimum(law.A, law.B, law.alpha, law.beta, C)) for name, law in LAWS.items()}
for name, value in per.items():
    print(f"{name:16} {value:5.1f} tokens a parameter")
change = per["printed"] / per["two more digits"] - 1
guess.reveal(guess.choices[2 if change > 1 / 3 else 1 if change > 0.07 else 0], f"From {per['two more digits']:.0f} to {per['printed']:.0f}.")

# %% [markdown]
# Rounding alone makes that difference, because an exponent works on numbers like $10^{11}$. The third line is a
# [second fit](https://arxiv.org/abs/2404.10102) to the same runs by other people, and it agrees with what Chinchilla did: 20
# tokens a parameter. **Never compute with the rounded exponents of a paper.**
#
# ## Which points belong in a fit
#
# You could get many more points from the same runs: each has a loss in its middle, too.
#
# **Exercise 20.3** · repair · ●●○ · 10 min · 4 points · teaches that only a finished schedule counts · needs lesson 08
#
# This function takes all of them, and the points of runs that were stopped. Repair it: one point a run, its last, and only
# from runs that got to the tokens that were `planned`. A run is `{"parameters", "planned", "curve": [(tokens, nats), ...]}`.
#
# <details><summary>Hint 1</summary>
#
# `run["curve"][-1]` is the last point, a pair.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A run has ended if the tokens of its last point are at least `run["planned"]`.
#
# </details>


# %%
def all_points(runs):
    """Runs -> [(parameters, tokens, nats)]: every point that there is."""
    return [(run["parameters"], tokens, nats) for run in runs for tokens, nats in run["curve"]]


# %% tags=["exercise:20.3"]
def points(runs):
    """Runs -> [(parameters, tokens, nats)]: the last point of each run that ended."""
    ### BEGIN SOLUTION
    ended = [run for run in runs if run["curve"][-1][0] >= run["planned"]]
    return [(run["parameters"], *run["curve"][-1]) for run in ended]
    ### END SOLUTION


# %% tags=["check:20.3"]
points = check("20.3", points)

# %% [markdown] tags=["solution:20.3"]


# %%
def with_curves(runs):
    """The runs on record in the exercise's form."""
    halves = [[(m["tokens"], m["nats"]) for m in run["middle"]] for run in runs]
    return [
        {"parameters": run["parameters"], "planned": run["tokens"], "curve": [*half, (run["tokens"], run["nats"])]}
        for run, half in zip(runs, halves)
    ]


FITS = {}
for name, runs in RUNS.items():
    for words, choose in (("last points", points), ("all points", all_points)):
        law = FITS[name, words] = fit(*zip(*choose(with_curves(runs))))
        ratio = (lambda n, d: d / n)(*law.optimum(1e12))
        print(f"{name:7} {words:12} alpha {law.alpha:.2f}, beta {law.beta:.2f}; at 1e12 FLOPs {ratio:6.1f} tokens a parameter")

# %% [markdown]
# In the middle of a schedule the rate is still high. Here are two runs that have read equally many tokens. One is in its
# middle, the other was planned to end there. With points of the first kind the fit answers your question differently.

# %%
for one in RECORD["predicted"]:
    for run in RECORD["runs"]:
        halfway = one["outcome"]["middle"][-1]
        same = (run["family"], run["parameters"]) == (one["family"], one["outcome"]["parameters"])
        if same and abs(run["tokens"] / halfway["tokens"] - 1) < 0.01:
            print(f"{FAMILIES[run['family']]}, {run['parameters']:,} parameters, {run['tokens']:,} tokens:"
                  f" {halfway['nats']:.2f} nats in the middle of a schedule, {run['nats']:.2f} at the end of one")  # fmt: skip
for name in RUNS:
    one, other = ((lambda n, d: d / n)(*FITS[name, words].optimum(1e12)) for words in ("last points", "all points"))
    print(f"{name}: points from the middle ask for {abs(other / one - 1):.0%} {'more' if other > one else 'fewer'} tokens a parameter")

# %% [markdown]
# ## Is E the entropy?
#
# Here is what nobody can do with text from the web: look up whether $E$ is right. The stories come from a grammar, so their
# entropy is known.

# %%
guess = predict(
    "20.d",
    f"The entropy is {TRUTH:.3f} nats a token. LLaMA's runs are drawn anew many times, and fitted. Most of the E ...",
    ["lie around it", "lie below it", "lie above it"],
)

# %%
intervals, verdicts = {}, {}
for name, runs in RUNS.items():
    for words, count in (("all parameters", "parameters"), ("without tables", "without_tables")):
        columns = [run[count] for run in runs], [run["tokens"] for run in runs], [run["nats"] for run in runs]
        law = fit(*columns)
        low, high = middle([other.E for other in resampled(*columns, law, draws=60)])
        intervals[f"{name}, {words}"] = (law.E, low, high)
        verdicts[name, words] = "lie around it" if low <= TRUTH <= high else "lie below it" if high < TRUTH else "lie above it"
        print(f"{name:7} {words:15} E = {law.E:.3f}, 95 % of the others {low:.3f} to {high:.3f}: they {verdicts[name, words]}")
figures.floors(intervals, TRUTH)
guess.reveal(verdicts["LLaMA", "all parameters"])

# %% [markdown]
# Each interval comes from 60 fits to runs drawn with replacement (the bootstrap). It tells how the fit wanders with the choice
# of runs. It can't tell whether the formula is right. So look at the misfit, too, with $E$ free and with $E$ held at the
# entropy, and leave out the smallest budgets one after the other.

# %%
for name, runs in RUNS.items():
    for out in range(4):
        budgets = sorted({run["budget"] for run in runs})[out:]
        columns = list(zip(*[(run["parameters"], run["tokens"], run["nats"]) for run in runs if run["budget"] in budgets]))
        free, held = fit(*columns), fit(*columns, floor=TRUTH)
        print(f"{name:7} without the {out} smallest budgets: E {free.E:.3f}, beta {free.beta:.2f}, misfit {free.error:.1%};"
              f" E held at {TRUTH:.3f}: {held.error:.1%}")  # fmt: skip
    lowest = min(run["nats"] for run in runs)
    print(f"   its lowest loss, {lowest:.2f}, is {lowest / TRUTH:.1f} times the entropy")

# %%
ends = {name: intervals[f"{name}, all parameters"] for name in RUNS}
missed = [name for name, (_, low, high) in ends.items() if not low <= TRUTH <= high]
if missed:
    print(f"The interval of {' and '.join(missed)} misses the truth. These fits are sure of themselves, and wrong.")
    at_zero = [name for name in missed if ends[name][2] < 0.01]
    if at_zero:
        print(f"{' and '.join(at_zero)}: E is pushed to zero, the least that it can be, and so the interval has no width.")
else:
    print("Both intervals hold the truth.")

# %% [markdown]
# When an interval misses, the formula does not describe these runs. Tiny models learn in spurts: first words, then who is
# who. While a loss is on its way through a spurt it falls faster than a power of the tokens, and the fit concludes that it will
# fall for ever. $E$ lies far beyond the data, so nothing in the data stops it. Published values of $E$ are found in the same
# way, by a fit that looks far beyond its runs, and nobody can draw the dashed line beside them.
#
# ## Predict a run, then run it
#
# A law earns trust when it predicts. With **twice** the largest budget of the grid, each law was asked which of the grid's
# sizes, or of two larger ones, is the best, and what it should reach. The answer went into the record first. Then the run was made.

# %%
guess = predict(
    "20.e",
    "How did the predictions of the two larger runs come out?",
    ["both runs lie in their intervals", "one of them does", "none of them does"],
)

# %%
inside = 0
for one in RECORD["predicted"]:
    came = one["outcome"]["nats"]
    hit = one["low"] <= came <= one["high"]
    inside += hit
    print(f"{FAMILIES[one['family']]}: {one['d_model']} channels, {one['n_layers']} layers, {one['outcome']['tokens']:,} tokens, "
          f"{one['budget']:.0e} FLOPs\n   predicted {one['made']} from {one['runs']} runs: {one['predicted_nats']:.3f}, "
          f"{one['low']:.3f} to {one['high']:.3f} nats\n   reached {came:.3f}: {came / one['predicted_nats'] - 1:+.1%}, "
          f"{'inside' if hit else 'below' if came < one['low'] else 'above'}")  # fmt: skip
    law = FITS[FAMILIES[one["family"]], "last points"]
    size, power = law.optimum(one["budget"])[0], law.beta / (law.alpha + law.beta)
    print(f"   by the law the best size is {size:,.0f} and grows as C to the power {power:.2f}; look at the valleys' power above")
words = guess.choices[0 if inside == len(RECORD["predicted"]) else 1 if inside else 2]
guess.reveal(words, f"{inside} of {len(RECORD['predicted'])}.")

# %% [markdown]
# The interval knows how the fit wanders when other runs are drawn. It does not know whether the formula bends, or whether a
# rate chosen for small runs suits a larger one. A run can miss it on either side. That is why laws are checked like this.
#
# ## The life of a model
#
# Training is paid once. Then the model is used, and each token that it reads or writes costs about $2N$ FLOPs. A small model
# that was trained for longer reaches the same loss, and is cheaper each time. LLaMA's and TinyLlama's authors say this in
# their papers. How much is it worth?
#
# **Exercise 20.4** · implement · ●●○ · 15 min · 4 points · teaches when a small model is the cheap one · needs 20.2
#
# `law` is $(E, A, B, \alpha, \beta)$. For each size $N$, find the tokens $D$ with which it reaches `loss`. Leave out sizes that
# never do. Return the $(N, D)$ with the least $6ND + 2N \cdot$ `served`.
#
# <details><summary>Hint 1</summary>
#
# Solve the law for $D$: `(B / (loss - E - A / N**alpha)) ** (1 / beta)`. If the bracket's lower part is not above zero, no number of
# tokens is enough.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Collect pairs `(N, D)`, then `min(pairs, key=lambda pair: ...)`.
#
# </details>


# %% tags=["exercise:20.4"]
def cheapest(law, loss, served, sizes):
    """A law, a loss to reach, tokens to serve, sizes to choose from -> (parameters, tokens of training)."""
    ### BEGIN SOLUTION
    E, A, B, alpha, beta = law
    left = {N: loss - E - A / N**alpha for N in sizes}
    pairs = [(N, (B / rest) ** (1 / beta)) for N, rest in left.items() if rest > 0]
    return min(pairs, key=lambda pair: 6 * pair[0] * pair[1] + 2 * pair[0] * served)
    ### END SOLUTION


# %% tags=["check:20.4"]
cheapest = check("20.4", cheapest)

# %% [markdown] tags=["solution:20.4"]

# %%
second = LAWS["fitted again"]
SIZES = [1e8 * 1.05**i for i in range(120)]
goal = second.loss(1.1e9, 3e12)
print(f"By the law fitted again, TinyLlama's size and tokens reach {goal:.3f} nats.")
for served in (0, 1e12, 1e13, 1e14):
    n, d = cheapest(second[:5], goal, served, SIZES)
    print(f"{served:7.0e} tokens served: {n / 1e9:5.2f} billion parameters, {d / 1e12:6.2f} trillion tokens of training ({d / n:,.0f} each)")

# %% [markdown]
# With nothing to serve, Chinchilla's way is cheapest. With enough to serve, TinyLlama's size is. (The law was fitted to other
# models and other text, and to at most some hundred tokens a parameter. Far beyond that it is a guess.)
#
# **How many tokens must be served until TinyLlama's 1.1 billion parameters are the cheapest size?** Move the slider.


# %%
def draw_life(served):
    """The cost of all sizes that reach TinyLlama's loss."""
    return figures.draw_lifetime(second, goal, 10.0**served, SIZES)


widgets.explore(
    draw_life,
    "How many tokens must be served until 1.1 billion parameters are the cheapest size?",
    served=(10, 16, 0.25, 12, "log10 of the tokens served"),
)

# %%
least = next(power for power in (10 + i / 4 for i in range(25)) if cheapest(second[:5], goal, 10**power, SIZES)[0] <= 1.1e9)
print(f"From about 10^{least:g} tokens on, {10**least / 3e12:.0f} times what TinyLlama read itself.")

# %% [markdown]
# ## What a machine makes of its FLOPs
#
# A graphics card has a peak: so many FLOPs a second, if it does nothing but multiply. The share of it that the model's own FLOPs
# make up is its **[MFU](../lessons/GLOSSARY.md#mfu)**, for model FLOPs utilisation.
#
# **Exercise 20.5** · measure · ●○○ · 10 min · 2 points · teaches how well a machine is used · needs 20.1
#
# Write it. Then measure it for this machine.
#
# <details><summary>Hint 1</summary>
#
# FLOPs a token times tokens a second are FLOPs a second.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Divide them by the peak.
#
# </details>


# %% tags=["exercise:20.5"]
def utilisation(flops_per_token, tokens_per_second, peak):
    """FLOPs of training a token, tokens a second, the machine's FLOPs a second -> a share of 1."""
    ### BEGIN SOLUTION
    return flops_per_token * tokens_per_second / peak
    ### END SOLUTION


# %% tags=["check:20.5"]
utilisation = check("20.5", utilisation)

# %% [markdown] tags=["solution:20.5"]

# %%
A100 = 312e12  # NVIDIA's datasheet: dense, bfloat16
PUBLISHED = {"TinyLlama": (1.1e9, 24_000), "LLaMA-65B": (65.2e9, 380)}  # parameters, tokens a second on one A100
for name, (n, speed) in PUBLISHED.items():
    print(f"{name:9} {utilisation(6 * n, speed, A100):.0%} of an A100, by 6 N")
a = torch.randn(768, 768)


def seconds_of(call, times=5):
    """The least of some measurements: what else the machine does can only add to it."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        call()
        found.append(time.perf_counter() - begun)
    return min(found)


peak = 2 * 768**3 / seconds_of(lambda: a @ a)
model, rows = small_model(64, 4), encode_documents(tokenizer, [story.text for story in NEW])
run = train(model, DocumentBatches(*rows, ROWS, LENGTH), recipe("adamw", 20), device="cpu", dtype="float32")
steps = list(tqdm(run, total=20, leave=False))
speed = (steps[-1].tokens - steps[9].tokens) / (steps[-1].seconds - steps[9].seconds)  # the first ten warm up
own = utilisation(cost.training_flops(model.config, LENGTH).products / LENGTH, speed, peak)
print(f"this machine, one thread: {peak / 1e9:.0f} GFLOP/s in a large product, {speed:,.0f} tokens/s in training: {own:.0%}")

# %% [markdown]
# A tiny model has tiny matrices, and between the products lie softmax, norms and a start-up time for each call. That is what
# the rest goes to.
#
# ## What it costs
#
# Dollars and kilowatt hours follow from hours. The assumptions are yours to change: run the cell again with your own.

# %% tags=["nbval-check-output"]
DOLLARS_AN_HOUR, WATTS, OVERHEAD = 1.5, 400, 1.2  # of one A100: rent; its maximum; cooling and the rest of the house
TOKENS = {"TinyLlama": (3e12, 24_000), "LLaMA-65B": (1.4e12, 380)}
for name, (tokens, speed) in TOKENS.items():
    hours = tokens / speed / 3600
    kwh = hours * WATTS * OVERHEAD / 1000
    print(f"{name:9} {hours:9,.0f} hours of one A100: {DOLLARS_AN_HOUR * hours:9,.0f} dollars, {kwh:7,.0f} kWh")
for name, hours in {"TinyLlama": 3456, "Pythia-1.0B": 4830, "MPT-1.3B": 7920}.items():
    print(f"300 billion tokens, {name:11} {hours:5,} hours as published: {DOLLARS_AN_HOUR * hours:7,.0f} dollars")

# %% [markdown]
# ## In the wild
#
# So was TinyLlama a waste? By Chinchilla's measure, the best loss for the FLOPs of training, yes: a model of 13 billion would be
# better. But such a model is too large for most phones. The rule answers one question, "what is the best model for this training?", and
# a project may ask another one. What does our own grid say of the rule itself?

# %%
def tokens_at(runs, budget, N):
    """The tokens that a budget pays for at N parameters: those of the run next to it, scaled."""
    run = min((run for run in runs if run["budget"] == budget), key=lambda run: abs(math.log(run["parameters"] / N)))
    return run["tokens"] * run["parameters"] / N


lows = {name: {b: low for b, low in found.items() if low is not None} for name, found in VALLEYS.items()}
ratios = {name: {b: tokens_at(RUNS[name], b, low.N) / low.N for b, low in found.items()} for name, found in lows.items()}
for name, values in ratios.items():
    print(f"{name}: tokens a parameter at the valley", *(f"{b:.1e}: {v:.0f};" for b, v in values.items()))
every = [value for values in ratios.values() for value in values.values()]
near = all(10 <= value <= 40 for value in every)
claim("chinchilla-20", "holds" if near else "does not hold here", f"{min(every):.0f} to {max(every):.0f} at the valleys of two families, 5e10 to 5e12 FLOPs")

# %% [markdown]
# The number 20 belongs to one kind of text, one tokenizer and one range of sizes. Another kind of text has
# its own. The way to find it is what carries over: small runs, equal FLOPs, full schedules, a law, and a prediction that is tested.
#
# ## Recap
#
# Training costs about six FLOPs for each parameter and token, so a budget is a choice between the two. Runs of equal FLOPs have
# a best size in between, and a law with five numbers says how it grows; its $E$ can be held against a known entropy here, and
# its exponents must not be rounded. Over a lifetime of serving, a smaller model that read more can be the cheaper one.
#
# ## Read on
#
# - Hoffmann et al., [Chinchilla](https://arxiv.org/abs/2203.15556), section 3: the three ways, with their figures.
# - Besiroglu et al., [Chinchilla scaling: a replication attempt](https://arxiv.org/abs/2404.10102): how a fit can go wrong in print.
# - Sardana et al., [Beyond Chinchilla-optimal](https://arxiv.org/abs/2401.00448): the lifetime of a model, with real prices.
# - Kaplan et al., [Scaling laws](https://arxiv.org/abs/2001.08361), section 2: where 6 N D comes from.
#
# **Next:** [21. Real weights](21_real_weights.ipynb).
