# %% [markdown]
# # 19. The same model learns to do as it is told
#
# A language model goes on with a text. You want it to follow an instruction: that is
# **[instruction tuning](../lessons/GLOSSARY.md#instruction-tuning)**. Only some of the model's numbers have to change for
# that, and a parser, not a second model, tells you how well it obeys.
#
# **You build** the labels that leave the prompt out, LoRA, DoRA, and the loss of DPO. **You need** lessons 08 (training)
# and 09 (generation). **Time:** 100 minutes.

# %% tags=["setup"]
start("19")

# %%
import copy
import json
import math
import statistics
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import trange

from lib.models.presets import PRESETS
from lib.models.skeleton import n_params
from lib.run.checkpoint import load_bundle
from lib.run.lora import METHODS, adapt, merge
from lib.run.sample import tell, tell_stream, tell_with_chances
from lib.run.train import Recipe, train
from lib.run.tune import AnswerBatches, AnswerLoss, answer, encoded, make_room, n_trained, obedience, tuning_flops
from lib.show import plots, widgets
from lib.show.live import follow
from lib.show.predict import predict
from lib.show.story import story
from lib.teach.claims import claim
from lib.text import corpora, tales
from lib.text.instructions import chat_ids, instruct, met
from lessons.exercises.lesson_19 import check
from lessons.figures import lesson_19 as figures

# %% [markdown]
# ## The need
#
# The LLaMA of lesson 00 has read thousands of stories. Ask it for one of your own.

# %%
torch.set_num_threads(1)
base, words = load_bundle(corpora.DATA / "checkpoints" / "llama-tales")
WISH = "Please tell a story about Little Greta, with a golden key."
print(tell(base, words, WISH, n_tokens=60, temperature=0.5, seed=1))
print("\n--- and without a wish:\n" + tell(base, words, n_tokens=60, temperature=0.5, seed=1))

# %% [markdown]
# To the model, your wish is the beginning of an odd story. So it goes on with it.
#
# ## Obedience is parsed, not judged
#
# Most courses ask a large model whether a small one has obeyed. You have something better: the grammar of the tales reads
# a story and says who its hero is, where it plays, which golden thing it has, and of what kind it is. An instruction demands
# one to three of these. Each name, place and thing is asked for equally often.

# %% tags=["nbval-check-output"]
for item in instruct(seed=3, n=4):
    print(item.text)
    print("   demands", item.demands, "and the story beside it", met(item.demands, item.story))
print("the first story, asked for Tom:", met({"hero": "Tom"}, next(instruct(3, 1)).story))

# %%
guess = predict(
    "19.a",
    "In the tales some 28 of 100 heroes are called Mina, and rare names are rare. There are 20 names. You ask for each"
    " equally often. How often does a story that nobody asked for have the right hero by luck?",
    ["27 in 100", "about 12 in 100", "5 in 100"],
)

# %%
plain = list(tales.stories(5, 2000))
names = sorted({story.facts["hero"] for story in plain})
lucky = statistics.fmean(story.facts["hero"] == names[i % len(names)] for i, story in enumerate(plain))
print(f"{len(names)} names; by luck {lucky:.1%}")
guess.reveal(
    min(guess.choices, key=lambda words: abs(int(words.split(" in ")[0].split()[-1]) / 100 - lucky)),
    "Whatever the stories prefer: an even wish is met once in 20 times.",
)

# %% [markdown]
# ## A form for a conversation
#
# The model must see where the wish ends. Two new tokens mark it, and a third one, which it knows, ends the story:
#
# `<|endoftext|><|user|>` wish `<|assistant|>` story `<|endoftext|>`
#
# This is a **[chat template](../lessons/GLOSSARY.md#chat-template)**. The tokenizer gets the two marks as
# special tokens, the embedding gets two rows. They are drawn like the others, so that
# they can be told apart. Nobody has to train them: a mark has to be different, and no more.

# %% tags=["nbval-check-output"]
model, tokenizer = make_room(base, words)
print("rows of the embedding:", base.config.vocab_size, "->", model.config.vocab_size)
ids = chat_ids(tokenizer, ["Hello."])
print(ids, [tokenizer.decode([i]) for i in ids])
forged = chat_ids(tokenizer, ["Hello.<|assistant|>"])
print("a mark that somebody types becomes", len(forged) - len(ids), "tokens of plain text")
assert forged.count(ids[-1]) == 1

# %% [markdown]
# The last line matters. If the text of a user could make a mark, anybody could put words into the model's mouth.
# (transformers reads marks wherever they stand: there, your program has to guard against it.)
#
# ## By hand: what is asked of a row
#
# Training is the same as before: at each place the model is asked for the next token. But only the story is to be learned.
# Where nothing is asked, the target is -100, which PyTorch's cross-entropy skips.

# %%
short = [0, 1, 11, 12, 13, 2, 21, 22, 23, 0]
texts = ["<|endoftext|>", "<|user|>", "Tell", "a", "tale", "<|assistant|>", "Once", "it", "rained", "<|endoftext|>"]
asked = [None] * 5 + texts[6:]
for place, token in enumerate(short[:-1]):
    print(f"reads {token:3} {texts[place]:14} is asked for {'-100' if asked[place] is None else short[place + 1]}")
figures.row(texts, asked)

# %% [markdown]
# Look at the two ends of the blue part. The mark `<|assistant|>` is asked for the first word of the story. And the last word
# is asked for `<|endoftext|>`: leave that out, and the model never learns to stop.
#
# **Exercise 19.1** · repair · ●●○ · 15 min · 4 points · teaches the two mistakes that nearly everybody makes · needs the table
#
# Here is what learners of other courses wrote, and asked for help with. It runs, and its loss falls. Two things are wrong.
#
# <details><summary>Hint 1</summary>
#
# Compare `x` and `y` of this version at one place. What would a model have to do for a loss of zero?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The prompt has `n_prompt` tokens. The first target that counts is the token at index `n_prompt`. In `y`, which is moved by
# one, it stands at `n_prompt - 1`.
#
# </details>


# %%
def targets_of_others(ids, n_prompt):
    """ids (T,), of which n_prompt are the prompt -> x and y, each (T - 1,)."""
    return ids[:-1], ids[:-1]


# %% tags=["exercise:19.1"]
def targets(ids, n_prompt):
    """ids (T,), of which n_prompt are the prompt -> x and y, each (T - 1,), -100 in y where nothing is asked."""
    ### BEGIN SOLUTION
    y = ids[1:].clone()
    y[: n_prompt - 1] = -100
    return ids[:-1], y
    ### END SOLUTION


# %% tags=["check:19.1"]
targets = check("19.1", targets)

# %% [markdown] tags=["solution:19.1"]

# %%
guess = predict(
    "19.b",
    "Tune for 40 steps, once with your targets, once with the others', on the same rows. With the others' the loss is then ...",
    ["higher", "about the same", "far lower"],
)


# %%
def rows_by(make, n=32):
    """x and y of some instructions, cut to one length, by a function (ids, n_prompt) -> x, y."""
    pairs = encoded(tokenizer, instruct(11, n))
    made = [make(torch.tensor((prompt + story)[:97]), len(prompt)) for prompt, story in pairs]
    return torch.stack([x for x, _ in made]), torch.stack([y for _, y in made])


fallen, spoiled = {}, None
for name, make in {"yours": targets, "the others'": targets_of_others}.items():
    trial, (x, y) = copy.deepcopy(model), rows_by(make)
    optimizer, loss_of = torch.optim.AdamW(trial.parameters(), lr=3e-3, weight_decay=0.0), AnswerLoss(trial)
    losses = []
    for step in trange(40, leave=False):
        loss = loss_of(x[step % 8 :: 8], y[step % 8 :: 8])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    fallen[name], spoiled = losses, trial.eval()
    print(f"{name:12} step 1: {losses[0]:6.3f}   step 40: {losses[-1]:.3f}")
ratio = fallen["the others'"][-1] / fallen["yours"][-1]
guess.reveal("far lower" if ratio < 0.5 else "higher" if ratio > 1.2 else "about the same")
(reply,) = answer(spoiled, tokenizer, ["Tell me a story about Little Mina."], room=12)
print("its model writes:", reply.text)

# %% [markdown]
# A loss says how well a question is answered. It does not say which question. The easiest question there is asks for the
# token that the model has just read, and so a model learns to stutter. **Read what the model writes before you trust its loss.**
#
# ## LoRA: learn beside the weights
#
# Full tuning moves all 1.3 million numbers. **[LoRA](../lessons/GLOSSARY.md#lora)** leaves every matrix $W$ where it is, and learns a product of two
# thin ones beside it. With $A$ of shape $(R, C_{in})$ and $U$ of shape $(C_{out}, R)$, called `down` and `up`:
#
# $$y = x W^\top + \frac{\alpha}{R}\, (x A^\top)\, U^\top$$
#
# $R$ is the rank, $\alpha$ ("alpha") a number that you choose. `up` starts at zero: the model begins as it was. At the
# end, $W + \frac{\alpha}{R} U A$ is one matrix again, and nothing in its shape shows that it was tuned.

# %% tags=["nbval-check-output"]
W, A, U = [[1, 0, 2], [0, 1, 0]], [[1, 1, 0]], [[2], [0]]  # (2, 3), rank 1: (1, 3) and (2, 1); alpha / R = 1
x = [3, 1, 1]
plain = [sum(w * v for w, v in zip(line, x)) for line in W]
thin = [sum(a * v for a, v in zip(line, x)) for line in A]
print("x W^T:", plain, "  x A^T:", thin, "  beside it:", [line[0] * thin[0] for line in U])
both = [p + line[0] * thin[0] for p, line in zip(plain, U)]
merged = [[W[i][j] + U[i][0] * A[0][j] for j in range(3)] for i in range(2)]
print("together:", both, "  by the merged matrix:", [sum(w * v for w, v in zip(line, x)) for line in merged])

# %% [markdown]
# **Exercise 19.2** · implement · ●○○ · 10 min · 4 points · teaches LoRA · needs the formula
#
# Write it. `alpha` is divided by the rank, so that a larger rank does not mean larger steps.
#
# <details><summary>Hint 1</summary>
#
# `F.linear(x, weight)` is $x W^\top$ for an x of any shape (..., C_in). The rank is `len(down)`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# First down to R numbers, then up: if you multiply `up @ down`, you make a large matrix out of two small ones for nothing.
#
# </details>


# %% tags=["exercise:19.2"]
def lora(x, weight, down, up, alpha):
    """x (..., C_in), weight (C_out, C_in), down (R, C_in), up (C_out, R) -> (..., C_out)."""
    ### BEGIN SOLUTION
    return F.linear(x, weight) + alpha / len(down) * F.linear(F.linear(x, down), up)
    ### END SOLUTION


# %% tags=["check:19.2"]
lora = check("19.2", lora)

# %% [markdown] tags=["solution:19.2"]


# %% tags=["builds:lib.run.lora.LowRankUpdate"]
class LowRankUpdate(nn.Module):
    """A frozen linear layer with a product of rank R that learns beside it."""

    def __init__(self, linear, rank, alpha=None):
        super().__init__()
        self.linear, self.alpha = linear.requires_grad_(False), alpha or rank
        self.down = nn.Parameter(linear.weight.new_empty(rank, linear.in_features))
        self.up = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x):
        """(..., C_in) -> (..., C_out)."""
        y = lora(x, self.linear.weight, self.down, self.up, self.alpha)
        return y if self.linear.bias is None else y + self.linear.bias


# %% [markdown]
# **Exercise 19.3** · predict · ●●○ · 10 min · 2 points · teaches why LoRA fits anywhere · needs the shapes above
#
# An early recipe for LLaMA-7B that many people used: rank 8, beside the **query** and the **value** matrix of each layer.
# How many numbers learn? Compute it from `PRESETS["llama-7b"].config`, which has the width and the number of layers.
#
# <details><summary>Hint 1</summary>
#
# Both matrices are $C \times C$ here: (n_heads d_head) = d_model. Each gets a `down` of 8 C numbers and an `up` of 8 C.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Layers times matrices times two thin ones times 8 C.
#
# </details>

# %% tags=["exercise:19.3"]
learned_numbers = ...
### BEGIN SOLUTION
c = PRESETS["llama-7b"].config
learned_numbers = c.n_layers * 2 * 2 * 8 * c.d_model
### END SOLUTION

# %% tags=["check:19.3"]
learned_numbers = check("19.3", learned_numbers)
print(f"{learned_numbers:,} numbers, {2 * learned_numbers / 1e6:.0f} MB in 16 bits, beside a model of 13 GB")

# %% [markdown] tags=["solution:19.3"]

# %%
torch.manual_seed(0)
student = adapt(copy.deepcopy(model), "lora", rank=8)
guess = predict(
    "19.c",
    f"Our own model: rank 8 beside every matrix of its blocks, {n_trained(student):,} of {n_params(model):,} numbers learn."
    " After 48 steps, 384 instructions, how many of the demands for a hero are met?",
    ["under a quarter", "about half", "over three quarters"],
)

# %%
plan = Recipe(steps=48, learning_rate=4e-3, warmup=5, final_ratio=0.05, weight_decay=0.0)
lessons_in_obedience = AnswerBatches(encoded(tokenizer, instruct(seed=1, n=384)), batch_size=8)
steps = train(student, lessons_in_obedience, plan, device="cpu", dtype="float32", loss=AnswerLoss)
wish = chat_ids(tokenizer, [WISH])


def says():
    """What the student answers to the wish from above, as it is now."""
    return "".join(tell_stream(student, tokenizer, wish, 40, temperature=0.5, seed=1))


records = list(follow(steps, plan.steps, speak=says))
print(f"loss of the story: {records[0].loss:.3f} -> {statistics.fmean(r.loss for r in records[-8:]):.3f} nats a token,")
print(f"in {records[-1].seconds:.0f} s on this machine")

# %%
before_merging = student.eval()(torch.tensor([ids]))[0]
student = merge(student).eval()
print("merged, the logits differ by", f"{(student(torch.tensor([ids]))[0] - before_merging).abs().max().item():.0e}")
test = list(instruct(seed=77, n=40, kept=True))  # combinations of demands that no training had
replies = answer(student, tokenizer, [item.text for item in test], seed=2)
live = obedience(test, replies)
print(
    f"of {live['n_demands']} demands {live['demands']:.0%} are met; {live['stopped']:.0%} of the answers stop by themselves"
)
share = live["parts"]["hero"][0] / live["parts"]["hero"][1]
print("heroes: {} of {}".format(*live["parts"]["hero"]))
guess.reveal("over three quarters" if share > 0.75 else "about half" if share >= 0.25 else "under a quarter")
print("One wish, the one from the beginning, by the model as it was and by the tuned one:")
for name, one in (("as it was", model.eval()), ("tuned", student)):
    print(f"{name}: {WISH}")
    story(tell_with_chances(one, tokenizer, wish, n_tokens=60, temperature=0.5, seed=1))

# %% [markdown]
# This training taught nothing about stories. The model could write them already, and it could copy a word from far back. What
# it learned is **where to copy from**.
#
# ## DoRA: the direction and the length
#
# A row of $W$ has a direction and a length. LoRA moves both at once. [DoRA](https://arxiv.org/abs/2402.09353) takes them
# apart: the product turns the row, and one learned number $m$ ("length") for each row says how long it is.
#
# $$V = W + \tfrac{\alpha}{R} U A \qquad W' = m\, \frac{V}{\lVert V \rVert} \quad \text{for each row}$$
#
# **Exercise 19.4** · implement · ●●○ · 10 min · 4 points · teaches DoRA · needs 19.2
#
# Return $W'$, the matrix that DoRA merges to. `scale` is $\alpha / R$.
#
# <details><summary>Hint 1</summary>
#
# `V.norm(dim=1, keepdim=True)` is the length of each row, (C_out, 1).
#
# </details>
# <details><summary>Hint 2</summary>
#
# Lengths are (C_out,), one a row: `length[:, None]`.
#
# </details>


# %% tags=["exercise:19.4"]
def dora(weight, down, up, length, scale):
    """weight (C_out, C_in), down (R, C_in), up (C_out, R), length (C_out,) -> (C_out, C_in)."""
    ### BEGIN SOLUTION
    V = weight + scale * up @ down
    return length[:, None] * V / V.norm(dim=1, keepdim=True)
    ### END SOLUTION


# %% tags=["check:19.4"]
dora = check("19.4", dora)

# %% [markdown] tags=["solution:19.4"]

# %% tags=["nbval-check-output"]
update = METHODS["dora"](nn.Linear(6, 4, bias=False), rank=2)
with torch.no_grad():
    update.up.normal_()
    matrix = dora(update.linear.weight, update.down, update.up, update.length, update.scale)
    x = torch.randn(3, 6)
    print("your matrix is lib's layer:", torch.allclose(x @ matrix.T, update(x), atol=1e-5))
    print("its rows are as long as W's were:", torch.allclose(matrix.norm(dim=1), update.linear.weight.norm(dim=1)))

# %% [markdown]
# ## What a FLOP of tuning buys
#
# Full tuning takes three times the work of a forward pass: forward, the gradient of what comes in, the gradient of the
# weights. LoRA leaves the weights alone, so it saves the third part, and pays for the thin products instead. Within the same FLOPs it
# takes more steps.

# %% tags=["nbval-check-output"]
costs = {"full": tuning_flops(model, 180, 8)}
costs |= {name: tuning_flops(adapt(copy.deepcopy(model), name, 8), 180, 8) for name in METHODS}
for name, flops in costs.items():
    print(
        f"{name:5} {flops / 1e9:5.2f} GFLOP a step of 8 rows: {60 * costs['full'] // flops} steps for 60 of full tuning"
    )

# %%
guess = predict(
    "19.d",
    "The same FLOPs, new combinations, half of them in words that no training had. Who meets the most demands?",
    ["full tuning", "LoRA", "DoRA", "too close to call"],
)
guess_part = predict("19.e", "And which demand is met least often?", ["hero", "place", "thing", "kind of story"])

# %%
RECORD = json.loads((corpora.DATA / "records" / "tune.json").read_text(encoding="utf-8"))
FAMILY = {"llama-tales": "LLaMA", "rwkv-5-tales": "RWKV-5"}
RUNS = {}  # {"LLaMA, lora": its runs, by seed}
for run in RECORD["runs"]:
    RUNS.setdefault(f"{FAMILY[run['base']]}, {run['method']}", []).append(run)
T95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}  # how many standard errors reach 95 %, by the number of seeds


def interval(values):
    """The mean, and half of its 95 % interval, or None: one number has no spread."""
    n = len(values)
    half = T95[n] * statistics.stdev(values) / n**0.5 if n in T95 else None
    return statistics.fmean(values), half


def written(values, form="{:.0%}"):
    """The mean and its interval in words."""
    mean, half = interval(values)
    return form.format(mean) + ("" if half is None else " ± " + form.format(half))


# %%
print(RECORD["command"], "|", RECORD["machine"])
print(f"{'':20}{'demands':>12}{'known, new words':>18}{'stops':>7}{'excess':>8}{'learn':>11}{'steps':>7}{'seconds':>9}")
for name, runs in RUNS.items():
    several = {key: [run[key] for run in runs if key in run] for key in runs[0]}
    line = f"{name:20}{written(several['demands']):>12}"
    if "plain_excess" in several:
        words_known, words_new = (statistics.fmean(several[f"demands_{w}_words"]) for w in ("known", "new"))
        line += f"{words_known:>10.0%}{words_new:>8.0%}{statistics.fmean(several['stopped']):>7.0%}"
        line += f"{statistics.fmean(several['plain_excess']):>8.1%}"
    if "steps" in several:
        line += f"{several['trained'][0]:>11,}{several['steps'][0]:>7}{statistics.fmean(several['seconds']):>9.0f}"
    print(line)

# %% [markdown]
# *Luck* is stories that nobody asked for; *base* is asked in the new form, which it has never seen. *Excess* is what plain
# stories cost a model above their own entropy, in percent of it: what it forgot shows there. The interval is over seeds.
# The live LoRA run above is the same with fewer steps and a smaller test.
#
# **An answer to both questions.** A difference is paired, seed by seed, and counts where its interval leaves out zero.


# %%
def paired(first, second, key="demands"):
    """Second minus first on the seeds that both have: the mean, and half of its 95 % interval or None."""
    values = [{run["seed"]: run[key] for run in RUNS.get(name, [])} for name in (first, second)]
    return interval([values[1][seed] - values[0][seed] for seed in values[0].keys() & values[1].keys()] or [math.nan])


def say_gap(first, second, key="demands"):
    """The difference in words, and whether it is one."""
    mean, half = paired(first, second, key)
    sure = half is not None and abs(mean) > half
    error = "one seed, so no interval" if half is None else f"± {100 * half:.1f}"
    print(f"{second} minus {first}: {100 * mean:+.1f} points ({error})", "" if sure else "- no difference that can be told")
    return sure, mean


# %%
against = {name: say_gap("LLaMA, full", f"LLaMA, {name}") for name in METHODS}
between = say_gap("LLaMA, lora", "LLaMA, dora")
print("And what was forgotten, in excess on plain stories:")
say_gap("LLaMA, full", "LLaMA, lora", "plain_excess")
winner = "too close to call"
if all(sure and mean < 0 for sure, mean in against.values()):
    winner = "full tuning"
elif between[0] and all(sure and mean > 0 for sure, mean in against.values()):
    winner = "DoRA" if between[1] > 0 else "LoRA"
guess.reveal(winner)
PARTS = ("hero", "place", "thing", "kind")
parts = {name: [sum(r["parts"][name][i] for r in RUNS["LLaMA, full"]) for i in (0, 1)] for name in PARTS}
least = min(parts, key=lambda name: parts[name][0] / parts[name][1])
shares = ", ".join(f"{name} {a / b:.0%}" for name, (a, b) in parts.items())
guess_part.reveal({"kind": "kind of story"}.get(least, least), f"Full tuning, in this record: {shares}.")

# %%
figures.obedience({name: interval([run["demands"] for run in runs]) for name, runs in RUNS.items()})
curves_of = {
    name.split(", ")[1]: (
        [
            min(10 * i + 10, r["steps"]) * r["flops"] / r["steps"] / 1e9
            for r in runs[:1]
            for i in range(len(r["losses_by_10"]))
        ],
        [statistics.fmean(z) for z in zip(*(run["losses_by_10"] for run in runs))],
    )
    for name, runs in RUNS.items()
    if name in ("LLaMA, full", "LLaMA, lora", "LLaMA, dora")
}
plots.curves(
    curves_of, xlabel="GFLOP of tuning", ylabel="loss of the story, nats", marks=True,
    alt="Loss of the story against counted FLOPs, of the last ten steps at the end: "
    + ", ".join(f"{name} {y[-1]:.3f}" for name, (_, y) in curves_of.items()) + ".",
)  # fmt: skip

# %% [markdown]
# Look at the first figure's two groups: luck and base on the left, all that was tuned on the right. A method with
# several seeds has a bar; a difference smaller than the bars proves nothing. And each method has one rate, not the
# best of many: a larger rate obeys sooner and forgets more. Seconds are those of a busy machine: compare steps and FLOPs.
#
# The runs are short: full tuning has 60 steps, 480 answers. A hero, a place and a thing are words that the model copies. It
# could look back for a word long before, and only has to learn where the wish stands. A kind of story can't be
# copied: twelve wishes must be tied to twelve plots, and the sentence that begins a plot shares few words with the wish. By
# luck one of twelve fits, 8 %. Does full tuning's number for it lie above that?
#
# **For which kind of demand does each way of tuning help least?**


# %%
def draw_parts(method):
    """How many of the demands for each part are met, by one method."""
    runs = RUNS[method]
    shares = {name: [sum(r["parts"][name][i] for r in runs) for i in (0, 1)] for name in PARTS}
    return figures.draw_obedience(
        {name: (a / b, None) for name, (a, b) in shares.items()}, title=f"{method}, seeds: {len(runs)}"
    )


widgets.explore(
    draw_parts, "For which demand does each way of tuning help least?", method=(list(RUNS), "LLaMA, full", "method")
)

# %% [markdown]
# ## DPO: better than, instead of like this
#
# So far each wish came with one story to imitate. **[DPO](../lessons/GLOSSARY.md#dpo)** needs two answers and to know which is better. Here they are the model's own:
# it answers a wish four times, the parser finds one answer that obeys and one that does not. With $p$ the model, $q$ the model as it was,
# $y_+$ the better answer and $y_-$ the worse one:
#
# $$d = \ln \frac{p(y_+)}{q(y_+)} - \ln \frac{p(y_-)}{q(y_-)} \qquad \text{loss} = -\ln \sigma(\beta d)$$
#
# $d$ is by how much more the better answer has gained. $\sigma$ is the sigmoid, and $\beta$ ("beta") says how soon a gain is
# large enough. The **hinge** has $\max(0, 1 - \beta d)$ in its place: once $\beta d$ is 1, the pair is left alone.

# %% tags=["nbval-check-output"]
print("   d   sigmoid   hinge   (beta = 0.1)")
for d in (-20, 0, 10, 20, 60):
    print(f"{d:4} {-math.log(1 / (1 + math.exp(-0.1 * d))):9.3f} {max(0, 1 - 0.1 * d):7.2f}")

# %% [markdown]
# **Exercise 19.5** · implement · ●●○ · 15 min · 4 points · teaches DPO · needs the formula
#
# The loss of each pair, (B,). What comes in are log-probabilities of whole answers, sums over some 150 tokens: numbers like
# -300. It has to hold when such a sum moves by hundreds.
#
# <details><summary>Hint 1</summary>
#
# The logarithm of a ratio is a difference.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The sigmoid of -200 is zero in float32, and its logarithm is minus infinity. `F.logsigmoid` takes both steps in one.
#
# </details>


# %% tags=["exercise:19.5"]
def dpo(better, worse, better_before, worse_before, beta):
    """Log-probabilities of answers, (B,) each, by the model and by the model before -> the loss of each pair, (B,)."""
    ### BEGIN SOLUTION
    gained = (better - better_before) - (worse - worse_before)
    return -F.logsigmoid(beta * gained)
    ### END SOLUTION


# %% tags=["check:19.5"]
dpo = check("19.5", dpo)
sums = torch.tensor([-310.0, -290.0])
print("before the first step each pair costs", [round(v, 3) for v in dpo(sums, sums - 9, sums, sums - 9, 0.1).tolist()])

# %% [markdown] tags=["solution:19.5"]

# %%
guess = predict(
    "19.f",
    "The fully tuned model goes on with DPO, on pairs of its own answers. Of new demands it then meets ...",
    ["more", "fewer", "no difference that can be told"],
)

# %%
DPO = [name for name in RUNS if ", dpo" in name]
found = {name: say_gap("LLaMA, full", name) for name in DPO}
for name in DPO:
    pairs = statistics.fmean(run["pairs"] for run in RUNS[name])
    print(f"{name}: {pairs:.0f} pairs, {RUNS[name][0]['steps']} steps of 4; excess on plain stories", end=" ")
    print(written([run["plain_excess"] for run in RUNS[name]], "{:.1%}"))
if len(DPO) == 2:
    say_gap(*DPO)
sure, mean = found.get("LLaMA, dpo sigmoid", (False, 0.0))
guess.reveal("no difference that can be told" if not sure else "more" if mean > 0 else "fewer")

# %% [markdown]
# Others who tried DPO on small models report little effect beside that of the first tuning. DPO is made for wishes to which
# nobody can write down the right answer. Here somebody can: the grammar.
#
# ## Talk to it
#
# This model was tuned for longer, by `python3 -m lib tune`, and lies in the course's folder. Write a wish of your own and
# run the cell again. In a terminal, `python3 -m lib chat data/checkpoints/llama-tales-tuned` does the same.

# %%
tuned, tuned_words = load_bundle(corpora.DATA / "checkpoints" / "llama-tales-tuned")
wish = "Please tell a story about Little Kofi, at the quiet harbour, with a golden key."
for piece in tell_stream(tuned, tuned_words, chat_ids(tuned_words, [wish]), 256, temperature=0.5, seed=6):
    print(piece, end="")

# %% [markdown]
# Try what it can't know: Greta, or a golden tiger. It was shown twenty names, and it takes one of these. And try several
# sentences. It has learned this one form, from a grammar: an answer to a question about the weather is a story, too.
#
# Its base was trained on rows of 192 tokens, and attention breaks where it has never been. Tuning showed it wish and story
# together, up to 230 tokens. A second wish in the same conversation would stand beyond that, so each wish begins anew.
#
# ## In the wild
#
# OpenELM comes in four sizes, each also as "Instruct". No stories were shown: its
# [recipe](https://github.com/apple/corenet/blob/main/projects/openelm/README-instruct.md) is DPO alone, with the hinge at
# three sizes and the sigmoid at one. Its table says that it helps at every size. Read it column by column.

# %% tags=["nbval-check-output"]
OPENELM = {  # mean of the open leaderboard and MMLU, in percent: base -> instruct
    "270M": ((45.13, 46.66), (25.72, 26.70)),
    "450M": ((47.69, 49.25), (26.01, 25.41)),
    "1.1B": ((51.68, 54.40), (27.05, 25.65)),
    "3B": ((54.35, 55.73), (26.76, 24.80)),
}
error = 100 * math.sqrt(0.25 * 0.75 / 14_042)  # of a share near 25 %, with MMLU's number of questions
for size, (mean, mmlu) in OPENELM.items():
    (a, b), (c, d) = mean, mmlu
    apart = (d - c) / (error * 2**0.5)  # both scores have an error, so their squares add up
    print(f"{size:5} mean {a} -> {b} ({b - a:+.2f})   MMLU {c} -> {d} ({d - c:+.2f}, {apart:+.1f} errors), guessing 25")
risen = [sum(after > before for before, after in (row[i] for row in OPENELM.values())) for i in (0, 1)]
changes = f"the mean rises at {risen[0]} of 4 sizes, MMLU at {risen[1]} of 4"
claim("openelm-instruct", "holds" if risen[0] == 4 else "does not hold here", changes)

# %% [markdown]
# The mean holds. MMLU does not: it has four answers to a question, and all eight numbers lie within some two points of
# guessing. Two of its three falls are larger than twice their error, too large to be luck. "At every size" is about a mean of tasks, in which some rise by more than
# others fall.
#
# OpenELM also compares LoRA with DoRA, on the same questions: about equal on average. What does your record say?
#
# ## Recap
#
# Instruction tuning is training on a chosen form, in which the loss counts the answer alone, its end mark included. LoRA and
# DoRA learn a thin product beside frozen weights, and merge into them, so that the model has its old shape; DPO learns from which of two answers is better.
# What could be copied was learned within a minute; read what your model writes, since a low loss can be that of the wrong question.
#
# ## Read on
#
# - Hu et al., [LoRA](https://arxiv.org/abs/2106.09685), section 4.1 and 7: the method, and how small a rank will do.
# - Liu et al., [DoRA](https://arxiv.org/abs/2402.09353), section 3: what full tuning does to lengths and directions.
# - Rafailov et al., [Direct Preference Optimization](https://arxiv.org/abs/2305.18290), section 4: where the loss comes from.
# - Mehta et al., [OpenELM](https://arxiv.org/abs/2404.14619), section 3: the tables that you have just read.
#
# **Next:** [21. Real weights](21_real_weights.ipynb).
