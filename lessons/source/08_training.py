# %% [markdown]
# # 08. Down to the floor
#
# Text from a known grammar has a known entropy, and in the long run no model's loss can be below it. So you can say of a
# loss how far it still has to go. In this lesson you build LLaMA's training recipe piece by piece, and watch how far down
# each piece takes you.
#
# **You build** `schedule`, clipping, the choice of what decays, bits per byte, and gradients in parts. **You need** lesson
# 07. **Time:** 90 minutes.

# %% tags=["setup"]
start("08")

# %%
import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F

from lib.models.llama import Llama, LlamaConfig
from lib.run.checkpoint import load_bundle
from lib.run.evaluate import document_nats, evaluate, paired_excess, token_nats
from lib.run.sample import tell
from lib.run.train import Recipe, fit, train
from lessons.figures import lesson_08 as figures
from lib.show import live, plots, training, widgets
from lessons.exercises.lesson_08 import check
from lib.show.predict import predict
from lib.text import corpora, tales
from lib.text.batches import DocumentBatches, WindowBatches, encode_documents
from lib.text.published import load_tokenizer
from tqdm.auto import tqdm, trange

# %% [markdown]
# ## The need
#
# Four thousand stories become one stream of tokens. A **[batch](../lessons/GLOSSARY.md#batch)** is a few rows of it: `x`,
# and `y`, the same row one token later. The loss is the mean of $-\ln p$, where $p$ is the chance that the model gave to
# the token that came, in **nats a token**. The floor is what the grammar itself leaves to chance, in the same unit, as a
# mean over all stories that it can write.

# %%
torch.set_num_threads(1)  # on a busy machine, small steps would wait for a second core
tokenizer, corpus = load_tokenizer("tales"), corpora.load("tales")
documents = corpus.documents_train[:4000]
tokens, starts = encode_documents(tokenizer, documents)
batches = DocumentBatches(tokens, starts, batch_size=4, length=256)
bytes_per_token = sum(len(text.encode()) for text in documents) / len(tokens)
FLOOR = corpus.floor_bits_per_byte * math.log(2) * bytes_per_token
x, y = batches[0]
print("x", tuple(x.shape), "begins:", repr(tokenizer.decode(x[0, 1:14].tolist())))
print(f"knows nothing: ln V = {math.log(tokenizer.vocab_size):.2f} nats a token; the floor: {FLOOR:.2f}")

# %% [markdown]
# Here is a small LLaMA, and the oldest recipe: **gradient descent**. Each weight takes a step against its gradient, and one
# **[rate](../lessons/GLOSSARY.md#learning-rate)** says for all weights how long the step is.


# %%
def new_model():
    """A LLaMA of 350 thousand weights, the same random ones each time."""
    torch.manual_seed(0)
    shape = dict(n_layers=2, d_model=64, n_heads=4, n_kv_heads=2, d_head=16, d_ff=168, context_length=512)
    return Llama(LlamaConfig(tokenizer.vocab_size, **shape))


def next_token_loss(model, x, y):
    """Nats a token for (B, T) tokens x and what came next, y."""
    return F.cross_entropy(model(x)[0].flatten(0, 1), y.flatten())


def descend(rate, steps=40, repair=lambda gradients: None, data=None):
    """Plain gradient descent from fresh weights; return the loss at each step. `repair` may change the gradients."""
    model, losses, data = new_model(), [], data or batches
    for step in trange(steps, leave=False):
        loss = next_token_loss(model, *data[step])
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        repair(gradients)
        with torch.no_grad():
            for weight, gradient in zip(model.parameters(), gradients):
                weight -= rate * gradient
        losses.append(loss.item())
    return losses


# %%
guess = predict(
    "08.a",
    "40 steps of gradient descent with rate 0.1, and 40 with rate 3. What happens?",
    ["both losses fall, and 3 is lower", "0.1 is lower, 3 still falls", "0.1 falls, 3 explodes"],
)

# %%
plain = {rate: descend(rate) for rate in (0.1, 0.5, 1.0, 3.0)}
print("rate   step 1  step 10  step 20  step 40")
for rate, losses in plain.items():
    print(f"{rate:4}", *(f"{losses[step - 1]:8.4g}" for step in (1, 10, 20, 40)))
explodes = not all(loss < 20 for loss in plain[3.0])
lower = plain[3.0][-1] < plain[0.1][-1]
best = min(plain, key=lambda rate: plain[rate][-1] if plain[rate][-1] > 0 else math.inf)  # NaN is above nothing
guess.reveal(
    "0.1 falls, 3 explodes"
    if explodes
    else "both losses fall, and 3 is lower"
    if lower
    else "0.1 is lower, 3 still falls",
    f"The best of these four rates is {best}: it ends at {plain[best][-1]:.2f}, and the floor is {FLOOR:.2f}.",
)

# %% [markdown]
# Even the best of these rates is far from the floor after 40 steps. One reason is that all weights share one rate. Look at
# the gradients. Their typical size differs from matrix to matrix, and a row of the embedding gets a gradient only when its
# token comes.

# %%
model, sizes = new_model(), {}
next_token_loss(model, x, y).backward()
for name in ("embed", "blocks.0.mix_time.value", "blocks.1.mix_time.key", "blocks.1.mix_channels.gate", "norm", "head"):
    sizes[name] = model.get_parameter(name + ".weight").grad.square().mean().sqrt()
    print(f"{name:28} gradients of size {sizes[name]:.4f}")
print(f"the largest of these is {max(sizes.values()) / min(sizes.values()):.0f} times the smallest")

# %% [markdown]
# ## By hand: AdamW on one number
#
# **Can each weight have a rate of its own?** Keep two running means for each weight: $m$ of its gradient, and $v$ of the
# square of its gradient. Then step by $m / \sqrt v$: the typical size of the gradients is divided out.
#
# $$m \leftarrow \beta_1 m + (1-\beta_1)\, g \qquad v \leftarrow \beta_2 v + (1-\beta_2)\, g^2 \qquad
# w \leftarrow w - \eta\, \frac{\hat m}{\sqrt{\hat v} + \epsilon} - \eta\, \lambda\, w$$
#
# $w$ is the weight, $g$ its gradient, $\eta$ the rate; $\beta_1 = 0.9$ and $\beta_2 = 0.95$ say how long the means remember;
# $\epsilon$, tiny, keeps the division finite. Both means begin at zero, so the hats divide by how much of a mean is there
# yet: $\hat m = m / (1 - \beta_1^t)$ at step $t$, and $\hat v = v / (1 - \beta_2^t)$. The last term is
# **[decay](../lessons/GLOSSARY.md#weight-decay)**: each step takes a share $\eta\lambda$ of the weight away. Adam with this
# last term is called AdamW.

# %%
guess = predict(
    "08.b",
    "The loss is multiplied by 1,000, and so is every gradient. How long are AdamW's steps now?",
    ["1,000 times as long", "about 30 times as long", "as long as before"],
)


# %% tags=["nbval-check-output"]
def adamw_by_hand(scale, steps=4, rate=0.1, betas=(0.9, 0.95), eps=1e-8, decay=0.0):
    """Go down scale * w^2 / 2 from w = 1; return w after each step."""
    w, m, v, places = 1.0, 0.0, 0.0, []
    for t in range(1, steps + 1):
        gradient = scale * w
        m = betas[0] * m + (1 - betas[0]) * gradient
        v = betas[1] * v + (1 - betas[1]) * gradient**2
        m_hat, v_hat = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
        w = w - rate * m_hat / (v_hat**0.5 + eps) - rate * decay * w
        places.append(round(w, 4))
    return places


print("loss         w =", adamw_by_hand(1.0))
print("loss x 1,000 w =", adamw_by_hand(1000.0))
ratio = round((1 - adamw_by_hand(1000.0)[0]) / (1 - adamw_by_hand(1.0)[0]))
guess.reveal(
    {1: "as long as before", 1000: "1,000 times as long"}.get(ratio, "about 30 times as long"),
    "The gradient's size stands above and below the line. At the first step only its sign is left: the step is the rate.",
)

# %% [markdown]
# Now a picture with two weights. The loss is 25 times as steep along the second one. "Momentum" steps by $10\,m$, without
# dividing by $\sqrt v$. **What is the largest rate with which each method still gets down?** Try gradient descent first.


# %%
def draw_descent(method, rate):
    """40 steps from the same start, along the two gradients (x, 25 y)."""
    place, m, v, path = torch.tensor([-4.0, 1.5]), torch.zeros(2), torch.zeros(2), []
    for t in range(1, 42):
        path.append(place)
        gradient = place * torch.tensor([1.0, 25.0])
        m, v = 0.9 * m + 0.1 * gradient, 0.95 * v + 0.05 * gradient**2
        adam = (m / (1 - 0.9**t)) / ((v / (1 - 0.95**t)).sqrt() + 1e-8)
        place = place - rate * {"gradient descent": gradient, "momentum": 10 * m, "AdamW": adam}[method]
    loss = (path[-1] ** 2 * torch.tensor([1.0, 25.0])).sum().item() / 2
    words = (
        f"{method}, rate {rate}: loss {loss:.2g} after 40 steps" if loss < 1e4 else f"{method}, rate {rate}: flies off"
    )
    return figures.draw_valley(torch.stack(path), title=words, alt=f"A path through a narrow valley. {words}.")


widgets.explore(
    draw_descent,
    "What is the largest rate with which each method still gets down?",
    method=["gradient descent", "momentum", "AdamW"],
    rate=([0.01, 0.03, 0.06, 0.078, 0.085, 0.2, 0.5, 1.0], 0.078),
)

# %% [markdown]
# The steep weight limits gradient descent. Each step multiplies it by 1 - 25 times the rate. Above 2/25 = 0.08 that is below -1:
# it flies off, and just below 0.08 the flat weight still moves slowly. Momentum bears about twice that rate, since gradients of
# changing sign cancel in its mean: 0.085 still gets down, 0.2 flies off. AdamW takes steps of about the same length along both,
# and flies off at none of these rates. That has a price: near the bottom the steps stay about as
# long as the rate, so at a high rate AdamW overshoots and swings around the bottom. Remember that for the end of the run.
#
# ## The first steps
#
# Now AdamW trains the model, at a high rate. `fit` is the course's own loop: the loop above, with AdamW and everything that
# you add in this lesson. (`train`, which you meet below, is the same loop, and hands out a record after each step.)


# %%
def run(data=None, **recipe):
    """Train fresh weights by a recipe; return the model and the loss of each step."""
    model = new_model()
    records = fit(model, data or batches, Recipe(**recipe), device="cpu", dtype="float32")
    return model, [record.loss for record in records]


def tail(losses, n=6):
    """The mean of the last n losses."""
    return sum(losses[-n:]) / n


guess = predict(
    "08.c",
    "AdamW at rate 0.03: at full rate from the first step on, or climbing to it over 20 steps. Which is lower at step 40?",
    ["the full rate", "no difference", "the climb"],
)

# %%
runs = {}
for rate, warmup in tqdm([(rate, warmup) for rate in (0.01, 0.03) for warmup in (0, 20)], leave=False):
    _, runs[rate, warmup] = run(steps=40, learning_rate=rate, warmup=warmup, final_ratio=1.0)
print("loss at step              2     5    10    20    40")
for (rate, warmup), losses in runs.items():
    words = f"rate {rate}, " + ("climbing" if warmup else "at once")
    print(f"{words:20}", *(f"{losses[step - 1]:5.2f}" for step in (2, 5, 10, 20, 40)))
gap = tail(runs[0.03, 0]) - tail(runs[0.03, 20])
guess.reveal(
    "the climb" if gap > 0.1 else "the full rate" if gap < -0.1 else "no difference",
    f"Over the last six steps they are {abs(gap):.2f} apart; at rate 0.01, {abs(tail(runs[0.01, 0]) - tail(runs[0.01, 20])):.2f}.",
)

# %% [markdown]
# At step 1 both means have seen one batch, so $\hat m / \sqrt{\hat v}$ is 1 or -1: every weight takes a full step, wherever
# that one batch sends it. A rate that climbs keeps the first steps short: this is
# **[warm-up](../lessons/GLOSSARY.md#warm-up)**. Compare the two rates in the table: the higher the rate, the more there is
# to protect. And because AdamW's steps do not get short by themselves near the bottom, the rate should fall towards the
# end. LLaMA's falls along half a [cosine](../lessons/GLOSSARY.md#cosine-schedule), to a tenth of its peak.
#
# **Exercise 08.1** · implement · ●○○ · 10 min · 3 points · teaches warm-up and cosine · needs nothing else
#
# Write `schedule`. It returns the share of the peak rate at one step of `recipe.steps`; steps are counted from 0. In the
# first $W$ = `recipe.warmup` steps the share is $(\text{step}+1)/W$. After them $p$ goes from 0 at step $W$ towards 1 at
# the end, and with $r$ = `recipe.final_ratio` the share is
#
# $$r + (1 - r)\,\frac{1 + \cos \pi p}{2}, \qquad p = \frac{\text{step} - W}{\text{steps} - W}$$
#
# <details><summary>Hint 1</summary>
#
# Two cases: `if step < recipe.warmup: return ...`. `math.cos` and `math.pi`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# When the whole run is warm-up, steps minus W is 0: divide by `max(1, ...)`.
#
# </details>


# %% tags=["exercise:08.1", "builds:lib.run.train.schedule"]
def schedule(step, recipe):
    """The share of the peak rate for a step from 0 on, a number from 0 to 1."""
    ### BEGIN SOLUTION
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.final_ratio + (1 - recipe.final_ratio) * (1 + math.cos(math.pi * progress)) / 2
    ### END SOLUTION


# %% tags=["check:08.1"]
schedule = check("08.1", schedule)

# %% [markdown] tags=["solution:08.1"]

# %%
shapes = {
    "LLaMA's": Recipe(steps=200, warmup=20),
    "to 0": Recipe(steps=200, warmup=20, final_ratio=0.0),
    "constant": Recipe(steps=200, warmup=0, final_ratio=1.0),
}
plots.curves(
    {name: [schedule(step, recipe) for step in range(200)] for name, recipe in shapes.items()},
    xlabel="step",
    ylabel="share of the peak",
    height=2.2,
    alt="Three schedules over 200 steps: a climb over 20 steps, then half a cosine down to 0.1 or to 0; and a constant 1.",
)

# %% [markdown]
# ## Clipping
#
# Text from the web is not clean. Imagine a page with one letter, ten thousand times. Put such a batch into step 21 of
# gradient descent, at the rate 0.5.


# %%
class OneBadBatch:
    """The batches as they are, but at one step a row of nothing but one token."""

    def __getitem__(self, step):
        if step == 20:
            return torch.full((4, 256), 700), torch.full((4, 256), 700)
        return batches[step]


hit = descend(0.5, data=OneBadBatch())
print("step         ", *(f"{step:5}" for step in (20, 21, 22, 23, 24, 30, 40)))
for name, losses in {"undisturbed  ": plain[0.5], "one bad batch": hit}.items():
    print(name, *(f"{losses[step - 1]:5.2f}" for step in (20, 21, 22, 23, 24, 30, 40)))

# %% [markdown]
# Think of all gradients together as one long vector. The bad batch makes it far longer than usual, and one step along it
# moves the weights far away. So look at its length, the **global norm**. Where it is above a limit, shrink the whole vector
# to that limit. Its direction stays. This is [clipping](../lessons/GLOSSARY.md#gradient-clipping).
#
# **Exercise 08.2** · implement · ●●○ · 10 min · 3 points · teaches clipping by the global norm · needs nothing else
#
# Return two things: the clipped gradients as a list, and the norm that they had before.
#
# <details><summary>Hint 1</summary>
#
# One norm for all: the root of the sum of all squares, over all tensors.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The factor is `max_norm / norm`, but never above 1: short gradients stay as they are. If all are zero, don't divide.
#
# </details>


# %% tags=["exercise:08.2"]
def clip(gradients, max_norm):
    """A list of tensors, a number -> the list, shrunk together to that norm where it is longer; and the norm it had."""
    ### BEGIN SOLUTION
    norm = sum(gradient.pow(2).sum() for gradient in gradients).sqrt()
    if norm > max_norm:
        gradients = [gradient * (max_norm / norm) for gradient in gradients]
    return list(gradients), norm
    ### END SOLUTION


# %% tags=["check:08.2"]
clip = check("08.2", clip)

# %% [markdown] tags=["solution:08.2"]


# %%
def clip_in_place(gradients):
    """Clip to norm 1, write the result back, and note the norm."""
    clipped, norm = clip(gradients, 1.0)
    norms.append(float(norm))
    for gradient, short in zip(gradients, clipped):
        gradient.copy_(short)


norms = []
saved = descend(0.5, repair=clip_in_place, data=OneBadBatch())
print(f"global norm: mostly about {sorted(norms)[20]:.1f}, at the bad batch {norms[20]:.1f}")
tamed = descend(3.0, repair=clip_in_place)
print(
    f"rate 0.5, a bad batch: at the next step {hit[21]:.2f}, clipped {saved[21]:.2f}; at the end {hit[-1]:.2f}, {saved[-1]:.2f}"
)
print(f"rate 3, no bad batch: at the end {plain[3.0][-1]:.4g}, clipped {tamed[-1]:.2f}")

# %% [markdown]
# Compare the numbers with and without clipping: at the step after the bad batch, and at the rate that exploded. AdamW needs
# clipping less, because $m / \sqrt v$ bounds its steps anyway. But a huge gradient stays in $v$ for dozens of steps, and
# shortens all of them. LLaMA clips at 1.0.
#
# ## What decays
#
# Decay pulls each weight towards zero, so that only what the gradients keep asking for stays. Not every weight should be
# pulled there. A matrix begins with small numbers around zero. A norm's weight begins at 1, and the nearer it gets to zero,
# the less of its channel passes.
#
# **Exercise 08.3** · implement · ●○○ · 5 min · 2 points · teaches which weights decay · needs 02, 07
#
# Return the names of the parameters that decay. The usual rule: those with two axes or more.
#
# <details><summary>Hint 1</summary>
#
# `model.named_parameters()` gives pairs of a name and a tensor. A tensor has `.ndim` axes.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Ask for the axes, not for the name: another model may have other names for its norms, or have biases.
#
# </details>


# %% tags=["exercise:08.3"]
def decaying(model):
    """A model -> the names of its parameters that decay, as a list."""
    ### BEGIN SOLUTION
    return [name for name, weight in model.named_parameters() if weight.ndim >= 2]
    ### END SOLUTION


# %% tags=["check:08.3", "nbval-check-output"]
decaying = check("08.3", decaying)
print(len(decaying(model)), "of", len(list(model.parameters())), "tensors decay; not:", end=" ")
print(
    *sorted(
        {name.split(".")[-2] for name, _ in model.named_parameters()}
        - {name.split(".")[-2] for name in decaying(model)}
    )
)

# %% [markdown] tags=["solution:08.3"]

# %% [markdown]
# ## Few long steps, or many short ones
#
# The same 40,960 tokens can be 10 batches of 16 rows or 160 batches of one row. The best rate may depend on the shape, so
# each gets two to choose from. What counts is the loss on stories that were not trained on.

# %%
stream, begins = encode_documents(tokenizer, corpus.documents_validation)
new_text = DocumentBatches(stream, begins, batch_size=16, length=192)
shapes, rates, scores = ((16, 10), (4, 40), (1, 160)), (0.01, 0.02), {}
for rows, steps, rate in tqdm([(*shape, rate) for shape in shapes for rate in rates], leave=False):
    some = DocumentBatches(tokens, starts, batch_size=rows, length=256)
    trained, _ = run(some, steps=steps, learning_rate=rate, warmup=steps // 10)
    scores[rows, rate] = evaluate(trained, new_text, n_batches=1).nats_per_token
print("loss on new stories, by rate ", *(f"{rate:6}" for rate in rates))
for rows, steps in shapes:
    print(f"{steps:3} steps of {rows:2} rows        ", *(f"{scores[rows, rate]:6.2f}" for rate in rates))

# %% [markdown]
# Compare the best number of each row. The tokens are the same, so the rows took about the same work. A batch of 16 rows has a
# better gradient, but you pay sixteen times as much for it. Large batches are for machines that compute 16 rows in the time
# of one: LLaMA had 4 million tokens a step, on 2,048 GPUs.
#
# ## A real run
#
# Same weights at the start, same batches, same number of steps: two constant rates, and LLaMA's schedule with a peak at the
# higher one. Each run shows itself while it learns: the loss on its way, and now and then what the model says.

# %%
PLANS = {
    "constant, 0.01": Recipe(steps=200, learning_rate=0.01, warmup=0, final_ratio=1.0),
    "constant, 0.02": Recipe(steps=200, learning_rate=0.02, warmup=0, final_ratio=1.0),
    "warm-up, cosine": Recipe(steps=200, learning_rate=0.02, warmup=20, final_ratio=0.1),
}


def says():
    """A few words of the model as it is now."""
    return tell(small, tokenizer, n_tokens=40, temperature=0.8, seed=1)


ways = {}
for name, plan in PLANS.items():
    small = new_model()
    print(name)
    records = train(small, batches, plan, device="cpu", dtype="float32")
    ways[name] = [record.loss for record in live.follow(records, plan.steps, floor=FLOOR, speak=says)]

# %%
print("mean of the last 20 losses:", ", ".join(f"{name}: {tail(losses, 20):.2f}" for name, losses in ways.items()))
plots.curves(
    {name: training.smooth(losses) for name, losses in ways.items()},
    xlabel="step",
    ylabel="loss, nats a token",
    floors={"the floor": FLOOR},
    ylim=(0, 5),
    alt="Loss of three runs over 200 steps: two constant rates, and a warm-up with a cosine. All three fall fast at first and"
    " then slowly, and end far above the dashed floor.",
)

# %% [markdown]
# Look at the right end. Which constant rate is the better one? And what does the schedule make of the higher rate? It adds
# a fall at the end, and the fall shortens AdamW's steps. (One run of each kind says nothing about small differences: another
# seed moves them. Try a peak of 0.01, too.) A run that you stop before its cosine is done looks worse than it is,
# because its rate has not fallen yet.
#
# All three are far above the floor. Is the recipe bad, or is the run short?
#
# ## A longer run
#
# The command below trained a larger model for thousands of steps with LLaMA's recipe: AdamW, warm-up, cosine, clipping. Two
# things differ. Its rate falls to 2 % of the peak, not to 10 %. And each row of the head starts in the direction of the
# same token's embedding. Think of a word that a block copies from earlier in the text: it arrives as that word's embedding,
# and such a head knows it from the first step on. (`--half` saves the weights in 16 bits each, half the size.) The losses of
# that run are on record.

# %%
FOLDER = corpora.DATA / "checkpoints" / "llama-tales"
record = json.loads((FOLDER / "record.json").read_text(encoding="utf-8"))
print(record["command"])
for at in (100, 400, record["steps"]):
    step, loss = min(record["curve"], key=lambda point: abs(point[0] - at))
    print(f"step {step:5,}: {loss:.2f} nats a token", end="   ")
training.descent(record["curve"], FLOOR, start=math.log(tokenizer.vocab_size))

# %% [markdown]
# Each stretch of this axis has ten times as many steps as the one before. Compare the three printed numbers: by far the most is
# gained in the first few hundred steps, and the thousands of steps after them take off little. What is learned there?
#
# (The dashed floor is a mean over whole stories. This run's rows begin with a story and have 192 tokens, so they hold more
# beginnings than a whole story does. Beginnings are the least certain part, as you see below, and the rows' own floor
# is a little above the dashed line.)

# %%
finished, _ = load_bundle(FOLDER)
asked = [one.questions[-1] for one in tales.stories(seed=8, n=100) if one.questions]
guess = predict(
    "08.d",
    "Who holds the lantern? Where was it put? Your 200-step model chooses among the words that fit. How often is it right?",
    ["as often as by chance", "somewhat more often", "nearly always"],
)


# %%
def answer(model, prefix, choices):
    """The choice that the model finds likeliest after the prefix."""
    scores = []
    for choice in choices:
        before, after = tokenizer.encode(prefix), tokenizer.encode(choice)
        row = torch.tensor([[tokenizer.eot, *before, *after]])
        with torch.no_grad():
            steps = model(row[:, :-1])[0][0, len(before) :].log_softmax(-1)
        scores.append(steps[range(len(after)), after].sum().item())
    return choices[scores.index(max(scores))]


chance = sum(1 / len(choices) for _, _, choices in asked) / len(asked)
right = {}
for name, one in {"200 steps": small, "the longer run": finished}.items():
    right[name] = sum(answer(one, prefix, choices) == word for prefix, word, choices in asked) / len(asked)
    print(f"{name}: {right[name]:.0%} of {len(asked)} questions right; by chance {chance:.0%}")
share, error = right["200 steps"], (chance * (1 - chance) / len(asked)) ** 0.5
words = "somewhat more often" if share > chance + 2 * error else "as often as by chance"
guess.reveal(
    "nearly always" if share > 0.85 else words,
    f"Guessing on {len(asked)} questions gives {chance:.0%} +- {2 * error:.0%} in 95 % of all tries.",
)

# %% [markdown]
# Compare both models with chance. Whoever knows only what **kind** of word must come, a name, a thing, a place, is about at
# chance here. Which one is right stands earlier in the story, and to use it a model has to **look back**. How much of that a model has
# learned, its loss doesn't tell you, because it is a mean over all tokens. Questions do.
#
# ## Where a row begins
#
# All rows above begin at a story's first word. Rows of real text are mostly cut anywhere. Both models now read new stories
# both ways.


# %%
def by_place(model, rows):
    """Nats a token at each place, (T,): the mean over the rows of the first batch."""
    return token_nats(model, *rows[0]).mean(0)


ways = {"from a story's start": new_text, "cut anywhere": WindowBatches(stream, batch_size=16, length=192)}
found = {name: by_place(finished, rows) for name, rows in ways.items()}
short = {name: by_place(small, rows).mean() for name, rows in ways.items()}
for name, losses in found.items():
    print(f"{name:20} first 64 tokens {losses[:64].mean():.2f}, all 192 {losses.mean():.2f};", end=" ")
    print(f"after 200 steps {short[name]:.2f}")
longer_pays, short_pays = (b.mean() - a.mean() for a, b in (found.values(), short.values()))
print(f"the cut costs the longer run {longer_pays:.2f} nats a token, the 200-step model {short_pays:.2f}")
plots.curves(
    {name: (torch.arange(8, 192, 16), losses.unflatten(0, (12, 16)).mean(1)) for name, losses in found.items()},
    xlabel="place in the row, in tokens",
    ylabel="loss, nats a token",
    floors={"the floor": FLOOR},
    ylim=(0, 4),
    alt="Loss of the longer run's model by place in the row, in groups of 16 tokens. Rows cut anywhere begin far higher, and"
    " come down to the others as the row goes on.",
)

# %% [markdown]
# Who holds the lantern was said before the cut. No model can know it, so the mean over rows that are cut anywhere stays above
# the floor for every model. The price is paid up to the place where the next story begins, so in rows of thousands of tokens
# it is small. The 200-step model pays, too. Two things are in the price, and these numbers can't tell them apart: what stood
# before the cut is missing, and neither model has learned from a row that begins in the middle. (Each point of the figure is
# a mean over 16 rows. A point below the floor is luck: these rows were easy there.)
#
# ## Longer than it has read
#
# The longer run never saw a row of more than 192 tokens. The model was **built** for 512. So let it read rows of 384. Beside
# it reads the tiny RWKV of lesson 00, which learned from rows of the same length.

# %%
guess = predict(
    "08.e",
    "The trained LLaMA reads on after token 192, the longest that it has learned from. What does its loss do there?",
    ["it falls: there is more to look back at", "it stays about as it was", "it rises to more than twice as much"],
)

# %%
longer = DocumentBatches(stream, begins, batch_size=8, length=384)
rwkv, _ = load_bundle(corpora.DATA / "checkpoints" / "rwkv-5-tales")
windowed = Llama(replace(finished.config, window=192))  # the same model, and no token sees more than 192
windowed.load_state_dict(finished.state_dict())
models = {"LLaMA": finished, "LLaMA, the last 192": windowed, "RWKV-5": rwkv}
lengths = {name: by_place(model, longer) for name, model in models.items()}
for name, losses in lengths.items():
    print(
        f"{name:20}", *(f"{a + 1:3} to {a + 64}: {losses[a : a + 64].mean():.2f}" for a in range(64, 384, 64)), sep="  "
    )
before, after = lengths["LLaMA"][64:192].mean(), lengths["LLaMA"][192:].mean()
guess.reveal(
    "it rises to more than twice as much"
    if after > 2 * before
    else "it falls: there is more to look back at"
    if after < 0.9 * before
    else "it stays about as it was",
    f"It goes from {before:.2f} to {after:.2f}. For the RWKV it goes from {lengths['RWKV-5'][64:192].mean():.2f} to"
    f" {lengths['RWKV-5'][192:].mean():.2f}, on the same text.",
)

# %% tags=["spoiler"]
plots.curves(
    {name: (torch.arange(16, 384, 32), losses.unflatten(0, (12, 32)).mean(1)) for name, losses in lengths.items()},
    xlabel="place in the row, in tokens; the models learned from rows of 192",
    ylabel="loss, nats a token",
    floors={"the floor": FLOOR},
    colors={"LLaMA": "LLAMA"},
    ylim=(0, 4),
    alt="Loss by place in rows of 384 tokens, for the trained LLaMA, the same LLaMA that sees its last 192 tokens alone, and"
    " the tiny RWKV. Up to place 192 they lie together; the printed table gives the numbers after it.",
)

# %% [markdown]
# Which part of LLaMA is at fault? RoPE makes scores depend on distances alone (lesson 04), so a high place is nothing new by
# itself. New are keys more than 191 tokens back. The table's second row is a test of that: the weights are the
# same, but those keys can't be seen. Compare it with the first row. So **a context length in a config says what a model
# accepts, not what it has learned**. Use it on rows as long as those it learned from, or train it on longer ones.
#
# ## Bits per byte
#
# "0.5 nats a token" means nothing without the tokenizer: longer tokens are fewer, and each is harder to guess. Here is one
# and the same floor in the tokens of three tokenizers, and a byte at a time.

# %% tags=["nbval-check-output"]
sample = corpus.documents_validation[:50]
n_bytes = sum(len(text.encode()) for text in sample)
nats = corpus.floor_bits_per_byte * math.log(2) * n_bytes
for name in ("tales", "gpt2", "world"):
    encode = load_tokenizer(name).encode
    print(f"{name:6} {nats / sum(len(encode(text)) for text in sample):.2f} nats a token")
print(f"bytes  {nats / n_bytes:.2f} nats a byte")

# %% [markdown]
# These three happen to cut the tales into nearly as many tokens. A byte is a quarter of such a token, and so is its loss.
#
# **Exercise 08.4** · implement · ●○○ · 5 min · 2 points · teaches a loss that compares across tokenizers · needs nothing else
#
# A model needed `nats` for all of some texts together. How many **bits per byte** is that? A bit is $\ln 2$ nats.
#
# <details><summary>Hint 1</summary>
#
# Count the bytes of all texts together, and divide once: long texts count more than short ones.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Bytes, not characters: `text.encode("utf-8")` has one to four bytes for each character.
#
# </details>


# %% tags=["exercise:08.4"]
def bits_per_byte(nats, texts):
    """Total nats, a list of texts -> bits per byte."""
    ### BEGIN SOLUTION
    return nats / math.log(2) / sum(len(text.encode("utf-8")) for text in texts)
    ### END SOLUTION


# %% tags=["check:08.4"]
bits_per_byte = check("08.4", bits_per_byte)

# %% [markdown] tags=["solution:08.4"]

# %% [markdown]
# Now measure the distance to the floor. One trap is left: these stories are drawn at random, and some are harder than others,
# for the model and for the grammar alike. The grammar tells exactly what each story cost **it**. So compare story by story.

# %%
sample, floor = corpus.documents_validation[:200], corpus.floor_bits_per_byte
for name, one in {"200 steps": small, "the longer run": finished}.items():
    costs = [nats for nats, _ in document_nats(one, tokenizer, sample)]
    bits, excess = bits_per_byte(sum(costs), sample), paired_excess(costs, sample)
    print(f"{name:15} {bits:.4f} bits a byte, {bits / floor - 1:.1%} above the floor of the whole corpus;")
    print(
        f"{'':15} {excess.share:.1%} +- {2 * excess.standard_error:.1%} above what these very stories cost the grammar"
    )

# %% [markdown]
# The two lines of a model differ by the luck of the draw: how hard these 200 stories are, compared with all stories. Only the
# second line is free of that luck, and it comes with its own uncertainty (two standard errors, about 95 %). That is the
# number to quote.
#
# ## Stop, and go on
#
# A run of weeks is stopped many times. Each time it must go on **as if it had not been stopped**: the same weights, the
# same two means of AdamW, the same place in the data and in the schedule. Then its losses are the same to the last bit.

# %% tags=["nbval-check-output"]
recipe = Recipe(steps=8, learning_rate=0.01, warmup=3)
_, whole = run(steps=8, learning_rate=0.01, warmup=3)
with tempfile.TemporaryDirectory() as folder:
    options = {"checkpoint": Path(folder) / "run.pt", "device": "cpu", "dtype": "float32"}
    pieces = []
    for record_of_step in train(new_model(), batches, recipe, **options):
        pieces.append(record_of_step.loss)
        if record_of_step.step == 5:
            break  # the power fails; what was done is kept
    pieces += [record_of_step.loss for record_of_step in train(new_model(), batches, recipe, **options)]
assert pieces == whole
print("stopped after 5 of 8 steps; all", len(pieces), "losses are the same, bit for bit:", pieces == whole)

# %% [markdown]
# ## Exercises
#
# **Exercise 08.5** · repair · ●●● · 20 min · 5 points · teaches gradient accumulation, and a bug that transformers had ·
# needs 08.2
#
# A batch that does not fit into memory goes through the model in parts, and the gradients of the parts are added up:
# **[gradient accumulation](../lessons/GLOSSARY.md#gradient-accumulation)**. The result must be that of the whole batch. The
# function below takes the mean of the parts' means. In instruction tuning (lesson 19) the tokens of the question do not
# count: their `y` is -100. Then that mean is wrong. In October 2024 transformers' own trainer was found to do just this.
#
# Repair the function: for any `y` the gradients and the loss are those of the whole batch, with no more than `rows` rows in
# the model at a time.
#
# <details><summary>Hint 1</summary>
#
# The loss of the batch is a sum over counted tokens divided by **their number in the whole batch**.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `F.cross_entropy(..., reduction="sum")` skips -100. Count `(y != -100).sum()` once, before the loop.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `backward` adds to the gradients that are there already. What is there from the step before?
#
# </details>


# %%
def accumulate_wrongly(model, x, y, rows):
    """Leave the batch's gradients in .grad, computed `rows` rows at a time; return its loss."""
    parts, total = list(zip(x.split(rows), y.split(rows))), 0.0
    for part_x, part_y in parts:
        loss = F.cross_entropy(model(part_x)[0].flatten(0, 1), part_y.flatten(), ignore_index=-100) / len(parts)
        loss.backward()
        total += loss.item()
    return total


x, y = batches[0]
hidden = y.clone()
hidden[0, :250] = -100  # the first row has 6 tokens that count, the others 256
for name, targets in {"all tokens count": y, "some do not": hidden}.items():
    wrong, whole_batch = accumulate_wrongly(new_model(), x, targets, 1), next_token_loss(new_model(), x, targets).item()
    print(f"{name:16}  whole batch {whole_batch:.4f}, in parts {wrong:.4f}")


# %% tags=["exercise:08.5"]
def accumulate(model, x, y, rows):
    """Leave the batch's gradients in .grad, computed `rows` rows at a time; return its loss as a float."""
    ### BEGIN SOLUTION
    model.zero_grad()
    counted, total = (y != -100).sum(), 0.0
    for part_x, part_y in zip(x.split(rows), y.split(rows)):
        logits, _ = model(part_x)
        loss = F.cross_entropy(logits.flatten(0, 1), part_y.flatten(), ignore_index=-100, reduction="sum") / counted
        loss.backward()
        total += loss.item()
    return total
    ### END SOLUTION


# %% tags=["check:08.5"]
accumulate = check("08.5", accumulate)

# %% [markdown] tags=["solution:08.5"]

# %% [markdown]
# ## In the wild
#
# LLaMA: AdamW with betas 0.9 and 0.95, decay 0.1, clipping at 1.0, 2,000 steps of warm-up, a cosine to 10 %, 4 million
# tokens a step; TinyLlama the same with 2 million. In transformers the schedule is
# `get_cosine_with_min_lr_schedule_with_warmup`. It differs in one thing: its first step has rate **zero**, and ours has the
# first share of the climb. So in the climb our step $s$ is its step $s + 1$. Clipping is torch's `clip_grad_norm_`.

# %% tags=["nbval-check-output"]
from transformers import get_cosine_with_min_lr_schedule_with_warmup

weights = [torch.nn.Parameter(torch.randn(3, 5)), torch.nn.Parameter(torch.randn(7))]
optimizer = torch.optim.SGD(weights, lr=1.0)
theirs = get_cosine_with_min_lr_schedule_with_warmup(optimizer, 20, 200, min_lr_rate=0.1)
ours = Recipe(steps=200, warmup=20, final_ratio=0.1)
climb = max(abs(theirs.lr_lambdas[0](step + 1) - schedule(step, ours)) for step in range(19))
fall = max(abs(theirs.lr_lambdas[0](step) - schedule(step, ours)) for step in range(20, 200))
print("the climb and the fall are transformers':", climb < 1e-12 and fall < 1e-12)
gradients = [torch.randn(3, 5), torch.randn(7)]
for weight, gradient in zip(weights, gradients):
    weight.grad = gradient.clone()
norm = torch.nn.utils.clip_grad_norm_(weights, 0.5)
short, ours_norm = clip(gradients, 0.5)
print("clipping is torch's:", all(torch.allclose(w.grad, g, atol=1e-5) for w, g in zip(weights, short)))

# %% [markdown]
# ## Recap
#
# AdamW divides the size of the gradients out, warm-up keeps the first steps short, the cosine shortens the last ones, and
# clipping limits what one batch can do. A low loss comes from long runs, and from rows that begin where stories begin; it
# holds for rows as long as those of the training. Count in bits per byte, and compare with what the same stories cost the
# grammar.
#
# ## Read on
#
# - Touvron et al., [LLaMA](https://arxiv.org/abs/2302.13971), section 2.3: the recipe in half a page.
# - Loshchilov and Hutter, [Decoupled Weight Decay Regularization](https://arxiv.org/abs/1711.05101): why the W in AdamW.
# - Olsson et al., [In-context Learning and Induction Heads](https://arxiv.org/abs/2209.11895): how larger models learn to
#   look back, and what appears inside them at that moment.
# - [Fixing Gradient Accumulation](https://huggingface.co/blog/gradient_accumulation): the bug of 08.5, told by the people
#   who had it.
#
# **Next:** [09. The same model, dull or mad](09_generation.ipynb).
