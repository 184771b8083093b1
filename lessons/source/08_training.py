# %% [markdown]
# # 08. Down to the floor
#
# Text from a known grammar has a known entropy: no model can get below it. So a loss is no longer just a number. It has a
# distance to go. A bad recipe stays far up or flies off. LLaMA's recipe, piece by piece, goes down.
#
# **You build** `schedule`, clipping, the choice of what decays, and bits per byte. **You need** lesson 07.
# **Time:** 60 minutes.

# %% tags=["setup"]
start("08")

# %%
import json
import math
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F

from lib.models.llama import Llama, LlamaConfig
from lib.run.checkpoint import load_bundle
from lib.run.evaluate import evaluate_documents
from lib.run.train import Recipe, fit, train
from lessons.figures import lesson_08 as figures
from lib.show import plots, training, widgets
from lessons.exercises.lesson_08 import check
from lib.show.predict import predict
from lib.text import corpora, tales
from lib.text.batches import DocumentBatches, WindowBatches, encode_documents
from lib.text.published import load_tokenizer

# %% [markdown]
# ## The need
#
# Four thousand stories become one stream of tokens. A **[batch](../lessons/GLOSSARY.md#batch)** is a few rows of it: `x`, and `y`, the same moved by one.
# The loss is the mean of $-\ln p$ over the tokens that came, in **nats a token**. The floor is the mean of what the grammar
# itself leaves to chance, in the same unit.

# %%
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
# A small LLaMA, and the oldest recipe: **gradient descent**. Each weight goes a step against its gradient, and the same
# **[rate](../lessons/GLOSSARY.md#learning-rate)** says for all of them how far.


# %%
def new_model():
    """A LLaMA of 350 thousand weights, the same random ones each time."""
    torch.manual_seed(0)
    V = tokenizer.vocab_size
    return Llama(LlamaConfig(V, n_layers=2, d_model=64, n_heads=4, n_kv_heads=2, d_head=16, d_ff=168, context_length=512))


def next_token_loss(model, x, y):
    """Nats a token for (B, T) tokens x and what came next, y."""
    return F.cross_entropy(model(x)[0].flatten(0, 1), y.flatten())


def descend(rate, steps=40, repair=lambda gradients: None, data=None):
    """Plain gradient descent from fresh weights; return the loss at each step. `repair` may change the gradients."""
    model, losses, data = new_model(), [], data or batches
    for step in range(steps):
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
    ["both fall, 3 is faster", "0.1 crawls, 3 gets near the floor", "0.1 crawls, 3 explodes"],
)

# %%
plain = {rate: descend(rate) for rate in (0.1, 0.5, 3.0)}
print("rate   step 1  step 10  step 20  step 40")
for rate, losses in plain.items():
    print(f"{rate:4}", *(f"{losses[step - 1]:8.4g}" for step in (1, 10, 20, 40)))
last = plain[3.0][-1]
explodes = not all(loss < 20 for loss in plain[3.0])
guess.reveal(
    "0.1 crawls, 3 explodes" if explodes else "0.1 crawls, 3 gets near the floor" if last < 1 else "both fall, 3 is faster",
    "And no rate in between is good: 0.5 is already near the one that explodes.",
)

# %% [markdown]
# Still far from the floor. One rate for all weights is the trouble. Look at the gradients: the typical size differs from
# weight to weight by more than a factor of ten, and a row of the embedding gets one only when its token comes.

# %%
model = new_model()
next_token_loss(model, x, y).backward()
for name in ("embed", "blocks.0.mix_time.value", "blocks.1.mix_time.key", "blocks.1.mix_channels.gate", "norm", "head"):
    print(f"{name:28} gradients of size {model.get_parameter(name + '.weight').grad.square().mean().sqrt():.4f}")

# %% [markdown]
# ## By hand: AdamW on one number
#
# **Can each weight have a rate of its own?** Keep two running means for each weight: of its gradient, $m$, and of the
# square of its gradient, $v$. Step by their ratio.
#
# $$m \leftarrow \beta_1 m + (1-\beta_1)\, g \qquad v \leftarrow \beta_2 v + (1-\beta_2)\, g^2 \qquad
# w \leftarrow w - \eta\, \frac{\hat m}{\sqrt{\hat v} + \epsilon} - \eta\, \lambda\, w$$
#
# $w$ is the weight, $g$ its gradient, $\eta$ the rate; $\beta_1 = 0.9$ and $\beta_2 = 0.95$ say how long the means remember;
# $\epsilon$, tiny, keeps the division finite. Both means begin at zero, so the hats divide by how much of a mean is there
# yet: $\hat m = m / (1 - \beta_1^t)$ at step $t$, and $\hat v$ alike. The last term is
# **[decay](../lessons/GLOSSARY.md#weight-decay)**: a share $\eta\lambda$ of the weight itself is taken away.

# %%
guess = predict(
    "08.b",
    "The whole loss is multiplied by 1,000, so every gradient is. AdamW's steps become ...",
    ["1,000 times longer", "about 30 times longer", "not longer at all"],
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
    {1: "not longer at all", 1000: "1,000 times longer"}.get(ratio, "about 30 times longer"),
    "The size of the gradients is divided out. The first step is the rate itself, whatever the loss.",
)

# %% [markdown]
# The picture has two weights, and the loss is 25 times as steep along the second. **What is the largest rate with which
# each method still gets down?** Try gradient descent first.


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
    words = f"{method}, rate {rate}: loss {loss:.2g} after 40 steps" if loss < 1e4 else f"{method}, rate {rate}: flies off"
    return figures.draw_valley(torch.stack(path), title=words, alt=f"A path through a narrow valley. {words}.")


widgets.explore(
    draw_descent,
    "What is the largest rate with which each method still gets down?",
    method=["gradient descent", "momentum", "AdamW"],
    rate=([0.01, 0.03, 0.06, 0.078, 0.085, 0.2, 0.5, 1.0], 0.078),
)

# %% [markdown]
# Gradient descent is bound by the steep weight: at 2/25 = 0.08 it flies off, and the flat weight still crawls. AdamW
# goes both ways at one speed. But it never comes to rest by itself: near the bottom it runs about, as far as the rate
# says. Keep that in mind for the end of the run.
#
# ## Warm-up
#
# AdamW on the model now, at a high rate. (`train` is lib's loop: the one above, with AdamW and what this lesson adds.)


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
    "AdamW at rate 0.03: all of it from the first step on, or a climb from 0 over 20 steps. Who is lower after 40 steps?",
    ["the full rate, since it does more", "no difference", "the climb"],
)

# %%
_, at_once = run(steps=40, learning_rate=0.03, warmup=0, final_ratio=1.0)
_, climbing = run(steps=40, learning_rate=0.03, warmup=20, final_ratio=1.0)
for step in (2, 5, 10, 20, 40):
    print(f"step {step:2}: at once {at_once[step - 1]:.2f}, climbing {climbing[step - 1]:.2f}")
gap = tail(at_once) - tail(climbing)
guess.reveal(
    "the climb" if gap > 0.1 else "the full rate, since it does more" if gap < -0.1 else "no difference",
    "The first means are one batch old. Ratio 1 for every weight: all go a full step where a single batch sends them.",
)

# %% [markdown]
# Both are far below gradient descent. But the damage of the first steps is not made good for a long time. So the rate
# climbs: that is **[warm-up](../lessons/GLOSSARY.md#warm-up)**. And since AdamW runs about near the bottom, the rate should fall at the end.
# LLaMA's way down is half a [cosine](../lessons/GLOSSARY.md#cosine-schedule), to a tenth.
#
# **Exercise 08.1** · implement · ●○○ · 10 min · 3 points · teaches warm-up and cosine · needs nothing else
#
# Write `schedule`: the share of the peak rate at a step, counted from 0, of `recipe.steps`. In the first $W$ =
# `recipe.warmup` steps it is $(\text{step}+1)/W$. After them, with $p$ going from 0 at step $W$ towards 1 at the end and
# $r$ = `recipe.final_ratio`:
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
# Somewhere in a terabyte of text is a page with one letter, ten thousand times. Put such a batch into step 21 of
# gradient descent, at the rate that held, 0.5.


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
# All gradients together are one long vector. The bad batch makes it far longer than usual, and one step along it throws
# the weights away. So look at its length, the **global norm**: where it is above a limit, shrink the whole vector to the
# limit. The direction stays. This is [clipping](../lessons/GLOSSARY.md#gradient-clipping).
#
# **Exercise 08.2** · implement · ●●○ · 10 min · 3 points · teaches clipping by the global norm · needs nothing else
#
# Return the clipped gradients as a list, and the norm that they had before.
#
# <details><summary>Hint 1</summary>
#
# One norm for all: the root of the sum of all squares, over all tensors.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The factor is `max_norm / norm`, but never above 1: short gradients stay as they are. If all are zero, divide by nothing.
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
print(f"rate 0.5, a bad batch: at the next step {hit[21]:.2f}, clipped {saved[21]:.2f}; at the end {hit[-1]:.2f}, {saved[-1]:.2f}")
print(f"rate 3, no bad batch: at the end {plain[3.0][-1]:.4g}, clipped {tamed[-1]:.2f}")

# %% [markdown]
# Clipping undoes the harm of one batch, and it tames a rate that exploded. AdamW needs it less, since its steps are bounded
# anyway; but a huge gradient stays in $v$ for dozens of steps and makes them short. LLaMA clips at 1.0.
#
# ## What decays
#
# Decay pulls each weight towards zero, so that only what the gradients keep asking for stays. For a matrix zero is
# harmless: it forgets. A norm's weight starts at 1, and at zero it shuts its channel for good.
#
# **Exercise 08.3** · implement · ●○○ · 5 min · 2 points · teaches which weights decay · needs 02, 07
#
# Return the names of the parameters that decay: those with two axes or more.
#
# <details><summary>Hint 1</summary>
#
# `model.named_parameters()` gives pairs of a name and a tensor. A tensor has `.ndim` axes.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Ask for the axes, not for the name: the next model may call its norms otherwise, or have biases.
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
print(*sorted({name.split(".")[-2] for name, _ in model.named_parameters()} - {name.split(".")[-2] for name in decaying(model)}))

# %% [markdown] tags=["solution:08.3"]

# %% [markdown]
# ## Few long steps, or many short ones
#
# The same 40,960 tokens can be 10 batches of 16 rows or 160 batches of one row.

# %%
for rows, steps in ((16, 10), (4, 40), (1, 160)):
    some = DocumentBatches(tokens, starts, batch_size=rows, length=256)
    _, losses = run(some, steps=steps, learning_rate=0.01, warmup=steps // 10)
    print(f"{steps:3} steps of {rows:2} rows: loss {tail(losses, max(2, steps // 10)):.2f}")

# %% [markdown]
# On one slow processor many small steps win by far. A batch of 16 has a better gradient, but not sixteen times better. Large
# batches are for machines that compute 16 rows in the time of one. LLaMA had 4 million tokens a step, and 2,048 GPUs.
#
# ## A real run, and an honest comparison
#
# Same weights at the start, same batches, same number of steps. One run has a constant rate, the other LLaMA's schedule
# at twice that rate, which the constant run does not stand. (0.01 is the better constant rate: try 0.02 yourself.)

# %%
_, constant = run(steps=200, learning_rate=0.01, warmup=0, final_ratio=1.0)
small, cosine = run(steps=200, learning_rate=0.02, warmup=20, final_ratio=0.1)
print(f"after 200 steps: constant {tail(constant, 20):.2f}, warm-up and cosine {tail(cosine, 20):.2f}, floor {FLOOR:.2f}")
plots.curves(
    {"constant": training.smooth(constant), "cosine": training.smooth(cosine)},
    xlabel="step",
    ylabel="loss, nats a token",
    floors={"the floor": FLOOR},
    ylim=(0, 5),
    alt="Loss of two runs over 200 steps. Both fall fast at first and then slowly, and end close together, far above the"
    " dashed floor.",
)

# %% [markdown]
# Look at the end. The constant rate was chosen for this run, so it does well. The fall allows a rate twice as high in the
# middle, and lets the weights come to rest. In 200 steps that gains little or nothing; over thousands it is the rule. And a
# run that is stopped before its cosine is done looks worse than it is.
#
# Both are far above the floor. Is the recipe bad, or is the run short?
#
# ## A longer run
#
# The command in the record below trained a larger model for thousands of steps with LLaMA's recipe: AdamW, warm-up,
# cosine, clipping. Two things differ. The rate is higher, for a small model, and falls to 2 % of its peak, not to 10 %. And
# each row of the head starts in the direction of the same word's embedding: then a word that a block **copies** is one that
# the head knows from the first step on, and copying is learned sooner. The losses of that run are on record.

# %%
FOLDER = corpora.DATA / "checkpoints" / "llama-tales"
record = json.loads((FOLDER / "record.json").read_text(encoding="utf-8"))
print(record["command"])
training.descent(record["curve"], FLOOR, start=math.log(tokenizer.vocab_size))

# %% [markdown]
# Look at the right end. On this axis each stretch is ten times as many steps as the one before. The loss falls from $\ln V$
# to about 3 within the first hundred steps, and to half of that in the next two or three hundred: which word follows
# which, the **grammar** of a sentence. Then come thousands of steps in which the curve hardly seems to move. What is
# learned there?

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
share = right["200 steps"]
guess.reveal(
    "nearly always" if share > 0.85 else "somewhat more often" if share > chance + 0.1 else "as often as by chance"
)

# %% [markdown]
# Your model has the first part. It knows what **kind** of word must come, a name, a thing, a place, and little more. In the
# long flat stretch a model learns to **look back** for which one. You can hardly see that in a loss: few words in a story
# are copies, and the others stay as uncertain as the grammar made them. That is why one asks questions.
#
# ## Where a row begins
#
# All rows above begin at a story's first word. Rows of real text are mostly cut anywhere. The finished model now reads
# new stories both ways.

# %%
stream, begins = encode_documents(tokenizer, corpus.documents_validation)
ways = {
    "from a story's start": DocumentBatches(stream, begins, batch_size=64, length=256),
    "cut anywhere": WindowBatches(stream, batch_size=64, length=256),
}
by_place = {}
for name, rows in ways.items():
    x, y = rows[0]
    with torch.inference_mode():
        by_place[name] = F.cross_entropy(finished(x)[0].transpose(1, 2), y, reduction="none").mean(0)  # (T,)
    print(f"{name:20} {by_place[name].mean():.2f} nats a token")
places = torch.arange(8, 256, 16)
plots.curves(
    {name: (places, loss.unflatten(0, (16, 16)).mean(1)) for name, loss in by_place.items()},
    xlabel="place in the row, in tokens",
    ylabel="loss, nats a token",
    floors={"the floor": FLOOR},
    ylim=(0, 4),
    alt="Loss by place in the row, in groups of 16 tokens. Rows cut anywhere begin far higher and come down to the others"
    " after about a hundred tokens.",
)

# %% [markdown]
# Who holds the lantern was said before the cut. No model can know it, so with rows that are cut anywhere **the floor can't
# be reached**. The price is paid up to the place where the next story begins; a row of 2,000 tokens would hardly feel it.
# In 200 steps you would not notice either: the small model looks at its last few words anyway.
#
# ## Bits per byte
#
# "0.5 nats a token" means nothing without the tokenizer. Longer tokens are fewer and harder. Here is one and the same
# floor, counted in the tokens of three tokenizers.

# %% tags=["nbval-check-output"]
sample = corpus.documents_validation[:50]
n_bytes = sum(len(text.encode()) for text in sample)
nats = corpus.floor_bits_per_byte * math.log(2) * n_bytes
for name in ("tales", "gpt2", "world"):
    encode = load_tokenizer(name).encode
    print(f"{name:6} {nats / sum(len(encode(text)) for text in sample):.2f} nats a token")
print(f"bytes  {nats / n_bytes:.2f} nats a byte")

# %% [markdown]
# **Exercise 08.4** · implement · ●○○ · 5 min · 2 points · teaches a loss that compares across tokenizers · needs nothing else
#
# A model needed `nats` in all for some texts. How many **bits per byte** is that? A bit is $\ln 2$ nats.
#
# <details><summary>Hint 1</summary>
#
# Sum over all texts first, divide once: long texts count more than short ones.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Bytes, not characters: `text.encode("utf-8")` has one to four of them for a character.
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

# %%
floor = corpus.floor_bits_per_byte
for name, one in {"200 steps": small, "the longer run": finished}.items():
    score = evaluate_documents(one, tokenizer, sample)
    bits = bits_per_byte(score.nats_per_token * score.n_tokens, sample)
    print(f"{name:13} {bits:.3f} bits a byte, {bits / floor:.2f} times the floor")

# %% [markdown]
# ## Stop, and go on
#
# A run of weeks is stopped many times. It must go on **as if it had not**: the same weights, AdamW's two means, the same
# place in the data, the same place in the schedule. Then the losses are the same to the last bit.

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
# A batch that does not fit into memory is taken in parts, and the parts' gradients are added up:
# **[gradient accumulation](../lessons/GLOSSARY.md#gradient-accumulation)**. It must give what the whole batch gives. The function below takes the mean of the parts' means. In
# instruction tuning (lesson 19) the tokens of the question are not counted: their `y` is -100. Then the result is wrong.
# In October 2024 transformers' own trainer was found to do just that.
#
# Repair it: for any `y` the gradients and the loss are those of the whole batch, with no more than `rows` rows in the
# model at a time.
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
# `backward` adds to the gradients that are there. What is there from the last step?
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
# `get_cosine_with_min_lr_schedule_with_warmup`. It differs in one thing: its first step has rate **zero**, ours the first
# share of the climb. So our step $s$ is its step $s + 1$ in the climb. Clipping is torch's `clip_grad_norm_`.

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
# AdamW gives each weight its own step, warm-up keeps the first batches from spoiling it, the cosine brings it to rest, and
# clipping bounds what one batch can do. Start rows where stories start, take many small steps, and the loss falls twice:
# first the grammar, then the looking back. Count in bits per byte, and you know how far the floor is.
#
# ## Read on
#
# - Touvron et al., [LLaMA](https://arxiv.org/abs/2302.13971), section 2.3: the recipe in half a page.
# - Loshchilov and Hutter, [Decoupled Weight Decay Regularization](https://arxiv.org/abs/1711.05101): why the W in AdamW.
# - Olsson et al., [In-context Learning and Induction Heads](https://arxiv.org/abs/2209.11895): the sudden drop in large
#   models, and what appears inside them at that moment.
# - [Fixing Gradient Accumulation](https://huggingface.co/blog/gradient_accumulation): the bug of 08.5, told by those who
#   had it.
#
# **Next:** [09. The same model, dull or mad](09_generation.ipynb).
