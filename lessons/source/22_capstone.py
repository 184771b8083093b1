# %% [markdown]
# # 22. A board that is hard to fool, and how not to fool yourself
#
# You know all the parts now. Here you make the best tiny model that a budget allows, and hand it in to a **board**. Every
# board of this kind can be cheated, often without meaning to. This one knows the floor, so some cheating proves
# itself. Against the rest there are habits, and you practise them here.
#
# **You build** a leak detector, a count of FLOPs, a check of records, a paired difference, and a plan. **You need** lessons
# 08 (training), 10 (seeds and pairs), 16 (FLOPs), 18 (errors). **Time:** 105 minutes.

# %% tags=["setup"]
start("22")

# %%
import copy
import json
import math
import statistics

import torch

from lib.run.checkpoint import load_bundle
from lib.run.evaluate import document_nats, true_nats
from lib.run.paired import t_value
from lib.run.recipes import recipe
from lib.run.train import train
from lib.show import widgets
from lib.show.predict import predict
from lib.teach import contest
from lib.text import corpora, tales
from lib.text.batches import DocumentBatches, encode_documents
from lessons.exercises.lesson_22 import check
from lessons.figures import lesson_22 as figures

# %% [markdown]
# ## The need
#
# Somebody hands in a model with a wonderful score. Should you believe it? Here are eight stories, and the LLaMA that comes
# with the course. Then the same LLaMA, trained for 30 more steps on these very stories.

# %%
torch.set_num_threads(1)
honest, tokenizer = load_bundle(corpora.DATA / "checkpoints" / "llama-tales")
known = [story.text for story in tales.stories(seed=2_000_000, n=8)]
fresh = [story.text for story in tales.stories(seed=3_000_000, n=40)]
truth = {name: [true_nats(i, text) for i, text in enumerate(texts)] for name, texts in {"known": known, "fresh": fresh}.items()}
print(known[0][:300], "...")
print("what this story costs by its own grammar:", f"{truth['known'][0]:.1f} nats")

# %%
guess = predict(
    "22.a",
    "After 30 steps on the eight stories, the model's nats for these eight are ...",
    ["a little above what the grammar needs", "just what the grammar needs", "less than the grammar needs"],
)

# %%
cheat = copy.deepcopy(honest)
rows = DocumentBatches(*encode_documents(tokenizer, known), batch_size=2, length=190)
for _ in train(cheat, rows, recipe("muon", 30), device="cpu", dtype="float32"):
    pass
cheat.eval()
nats = {}
for name, model in {"honest": honest, "cheat": cheat}.items():
    for texts, stories in {"known": known, "fresh": fresh}.items():
        nats[name, texts] = [cost for cost, _ in document_nats(model, tokenizer, stories)]
        above = sum(nats[name, texts]) / sum(truth[texts]) - 1
        print(f"{name:7} on the {texts} stories: {above:+8.1%} of what the grammar needs")
ratio = sum(nats["cheat", "known"]) / sum(truth["known"])
guess.reveal(guess.choices[2 if ratio < 0.98 else 1 if ratio < 1.02 else 0])

# %% [markdown]
# Whoever writes stories by the grammar throws dice. On average, nobody can guess dice better than by their odds. A model
# that seems to do so has seen the throws. On an ordinary board, with a text whose entropy nobody knows, this score would
# stand at the top. Here it is a **[proven leak](../lessons/GLOSSARY.md#proven-leak)**.
#
# And on stories that it has not seen? Read the last line. So this board has a second rule: **the stories are drawn when you
# are scored.** Nobody can learn by heart what does not exist yet.
#
# ## Below the floor, by more than its error
#
# Luck alone can take an honest model a little below the floor. With $d_i$ the nats of model minus grammar for story $i$ of $n$,
# mean $\bar d$ and standard deviation $s$ (with $n - 1$ below its root), the error of the mean is $s / \sqrt n$. The rules
# ask for more than three of these.

# %% tags=["nbval-check-output"]
by_hand = [-4, 1, -3, -2]  # four stories: nats of the model minus nats of the grammar
mean = sum(by_hand) / 4
s = math.sqrt(sum((d - mean) ** 2 for d in by_hand) / 3)
print(f"mean {mean:.2f}, s {s:.2f}, error of the mean {s / 2:.2f}: {-mean / (s / 2):.1f} errors below the floor")

# %% [markdown]
# **Exercise 22.1** · implement · ●○○ · 10 min · 4 points · teaches when a score is impossible · needs the text above
#
# Write the detector: is the mean difference below zero by more than `errors` standard errors?
#
# <details><summary>Hint 1</summary>
#
# Subtract story by story first. Some stories are harder than others, for the model and for the grammar alike.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `statistics.fmean` and `statistics.stdev`; then compare the mean with `-errors` times the error.
#
# </details>


# %% tags=["exercise:22.1"]
def is_leak(nats, truths, errors):
    """Nats of a model and of the grammar, one a story -> is the model below by more than so many standard errors?"""
    ### BEGIN SOLUTION
    differences = [a - b for a, b in zip(nats, truths)]
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return statistics.fmean(differences) < -errors * error
    ### END SOLUTION


# %% tags=["check:22.1"]
is_leak = check("22.1", is_leak)
for (name, texts), costs in nats.items():
    print(f"{name:7} on the {texts} stories: {'a leak' if is_leak(costs, truth[texts], 3) else 'no leak'}")

# %% [markdown] tags=["solution:22.1"]

# %% [markdown]
# A model that looks ahead is found in the same way: to see the next word is to need no bits for it. The board also changes the
# last token of a text, and looks whether anything before it moves.
#
# ## A budget that is counted
#
# "The best model that an hour can train" is a contest of machines. So the budget is counted in FLOPs, from the sizes alone.

# %%
rules = contest.load_rules()
for name in ("flops", "parameters", "seeds", "corpus", "scored_stories", "errors_below"):
    print(f"{name:15} {rules[name]}")

# %% [markdown]
# Lesson 16 counted the parts. For a LLaMA of $L$ layers, width $C$, inner width $F$, $H$ heads (as many for keys and values)
# and a vocabulary of $V$, one row of $T$ tokens takes, forward,
#
# $$2\,T\,\big(L\,(4 C^2 + 3 C F) + V C\big) + L\,\tfrac{T (T + 1)}{2}\,(4 C + 6 H)$$
#
# FLOPs: two for each weight and token, then for each pair of tokens two products and six operations of the softmax a
# head. The way back takes twice as much again.
#
# **Exercise 22.2** · implement · ●○○ · 10 min · 4 points · teaches to count, not to believe · needs lesson 16
#
# Count a whole training: `rows` rows, forward and back.
#
# <details><summary>Hint 1</summary>
#
# Forward once, back twice: three times the formula, for each row.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `pairs = T * (T + 1) // 2`. Python's whole numbers never overflow.
#
# </details>


# %% tags=["exercise:22.2"]
def training_cost(L, C, F, V, H, T, rows):
    """Sizes of a LLaMA and the number of rows of T tokens -> FLOPs of the training."""
    ### BEGIN SOLUTION
    weights = L * (4 * C * C + 3 * C * F) + V * C
    forward = 2 * T * weights + L * (T * (T + 1) // 2) * (4 * C + 6 * H)
    return 3 * rows * forward
    ### END SOLUTION


# %% tags=["check:22.2"]
training_cost = check("22.2", training_cost)

# %% [markdown] tags=["solution:22.2"]

# %%
HANDED_IN = {  # L, C, F, V, H, T, steps of 8 rows
    "the entry": (2, 64, 176, 2048, 4, 192, 83),
    "wider by half": (2, 96, 256, 2048, 6, 192, 57),
    "half the rows' length": (2, 64, 176, 2048, 4, 96, 172),
    "twice the layers": (4, 64, 176, 2048, 4, 192, 55),
}
for name, sizes in HANDED_IN.items():
    print(f"{name:22} {sizes[0]} layers, {sizes[1]} wide, rows of {sizes[5]} tokens, {sizes[6]} steps of 8 rows")
costs = {name: training_cost(*sizes[:-1], 8 * sizes[-1]) for name, sizes in HANDED_IN.items()}
guess = predict("22.b", "Four submissions, with sizes and steps as above. Which one is over the budget?", list(HANDED_IN))

# %%
over = [name for name, cost in costs.items() if cost > rules["flops"]]
for name, cost in costs.items():
    print(f"{name:22} {cost:.4g} FLOPs, {cost / rules['flops']:.1%} of the budget{'   OVER' if name in over else ''}")
step = {name: cost / HANDED_IN[name][-1] for name, cost in costs.items()}
deep, wide = (step[name] / step["the entry"] for name in ("twice the layers", "wider by half"))
guess.reveal(over[0], f"A step costs {deep:.2f} times as much with twice the layers, {wide:.2f} times with that width.")

# %% [markdown]
# ## A record that adds up
#
# A submission is a folder with three trained runs. Each has its weights and a record: the command, steps, tokens, FLOPs, the
# curve of the loss, the weights' SHA-256, a fingerprint. Nobody can see what happened on somebody else's machine. But a
# record says the same thing several times over, and whoever edits it has to edit all of them.
#
# **Exercise 22.3** · implement · ●●○ · 15 min · 4 points · teaches to find an edited record · needs the text above
#
# Return the names of what does not add up: `"tokens"` where tokens are not `steps * batch_size * length`; `"flops"` where
# they are not `row_flops` for each row (`tokens // length` of them); `"curve"` where its last point, `[step, loss]`, is not at
# the last step; `"loss"` where that last loss is more than a quarter away from `validation_nats_per_token`.
#
# <details><summary>Hint 1</summary>
#
# Four comparisons. The losses are of different texts, so they are near each other and never equal.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A quarter away: `abs(last / validation - 1) > 0.25`, so too low is caught, too.
#
# </details>


# %% tags=["exercise:22.3"]
def adds_up(record):
    """A record, a dict -> the set of names, among "tokens", "flops", "curve", "loss", of what does not add up."""
    ### BEGIN SOLUTION
    rows = record["tokens"] // record["length"]
    last_step, last_loss = record["curve"][-1]
    wrong = {
        "tokens": record["tokens"] != record["steps"] * record["batch_size"] * record["length"],
        "flops": record["flops"] != rows * record["row_flops"],
        "curve": last_step != record["steps"],
        "loss": abs(last_loss / record["validation_nats_per_token"] - 1) > 0.25,
    }
    return {name for name, is_wrong in wrong.items() if is_wrong}
    ### END SOLUTION


# %% tags=["check:22.3"]
adds_up = check("22.3", adds_up)

# %% [markdown] tags=["solution:22.3"]

# %% [markdown]
# ## Hand something in
#
# Now the whole way, under small rules: a LLaMA of two layers, 30 steps, three seeds. This is the command that you would type
# in a terminal; it takes a few seconds a seed.

# %%
import contextlib
import io
import tempfile
from pathlib import Path

from lib.run.commands import main as lib_command

folder = Path(tempfile.mkdtemp()) / "mine"
SMALL = "train llama --recipe muon --steps 30 --megabytes 0.4 --stories 0 --device cpu --dtype float32 --set n_layers=2"
SMALL += " --set d_model=32 --set n_heads=2 --set n_kv_heads=2 --set d_head=16 --set d_ff=88"
for seed in (0, 1, 2):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = lib_command([*SMALL.split(), "--seed", str(seed), "--out", str(folder / f"seed-{seed}")])
    (scored,) = (line for line in said.getvalue().splitlines() if line.startswith("validation"))
    print(f"seed {seed}, exit code {code}; {scored}")

# %%
small_rules = rules | {"flops": 3e10, "parameters": 200_000, "scored_stories": 60, "told_stories": 4, "curve_apart": 0.5}
runs = contest.load_runs(folder, small_rules)
print("objections:", contest.objections(runs, small_rules))
found = contest.score(runs, small_rules, seed=4_000_000)
entry = contest.entry_of("mine", "you", runs, found, {"seed": 4_000_000})
print([run["bits_above"] for run in found])
print(f"{entry['bits_above']:.3f} ± {entry['half']:.3f} bits a byte above the floor, {entry['flops']:.3g} FLOPs")

# %%
guess = predict(
    "22.c",
    "You multiply one matrix of seed 0 by 1.5, and write the new SHA-256 into the record. What does the board say?",
    ["nothing: the hash fits", "the loss is not that of the record", "the weights can't be read"],
)

# %%
from safetensors.torch import load_file, save_file

from lib.text.download import sha256_of
from lib.weights.files import write_json

changed = folder / "seed-0" / "model.safetensors"
before, record = changed.read_bytes(), json.loads((folder / "seed-0" / "record.json").read_text())
tensors = load_file(changed)
tensors["head.weight"] = 1.5 * tensors["head.weight"]
save_file(tensors, changed)
write_json(folder / "seed-0" / "record.json", record | {"weights_sha256": sha256_of(changed)})
said = contest.objections(contest.load_runs(folder, small_rules), small_rules)
print(*said, sep="\n")
nats_now = contest.remeasured(contest.load_runs(folder, {"seeds": [0]})[0], fresh)
better = nats_now < contest.remeasured(runs[0], fresh)
aside = "It even needs fewer: after so few steps a bolder model is a better one. An edit is an edit." if better else ""
guess.reveal(guess.choices[1 if any("nats a token" in s for s in said) else 0], aside)
changed.write_bytes(before)
write_json(folder / "seed-0" / "record.json", record | {"steps": 15, "tokens": record["tokens"] // 2})
print(*contest.objections(contest.load_runs(folder, small_rules), small_rules), sep="\n")

# %% [markdown]
# The last sentences are those of a record that was edited by hand, from 30 steps to 15: tokens and steps fit each other
# again, and the FLOPs, the curve and the command do not.
#
# **What can't be proven.** Whoever trains for twice the steps and forges the whole record, curve and all, is not found by
# reading it. `python3 -m lib submit FOLDER --rerun 0.1` trains the first tenth of a run again and compares the losses; only the
# whole command, run again, settles it. Nor does anybody see how many models you threw away before this one. The rest of this
# lesson is about the person whom that fools: you.
#
# ## A plan, before the run
#
# Here are two ideas that sound good. Both were written down before the first run, with what would decide.

# %%
study = json.loads((corpora.DATA / "records" / "idea.json").read_text(encoding="utf-8"))
for name, words in study["plan"]["ideas"].items():
    print(f"{name}: {words}")
for name in ("question", "measure", "seeds", "decision"):
    print(f"{name}: {study['plan'][name]}")
print("record:", study["command"], "|", study["machine"])

# %% [markdown]
# A plan has four lines: the question, the measure, the number of seeds, the rule of decision. **One change at a time**, or you
# never know which of two it was. (What the budget then forces, here the number of steps, belongs to the idea.) **[Paired seeds](../lessons/GLOSSARY.md#paired-seeds)**: in one seed, base and idea read the same rows in the same order.

# %%
seeds = study["plan"]["seeds"]
scores = {arm: [run["bits_above"] for seed in seeds for run in study["runs"] if (run["arm"], run["seed"]) == (arm, seed)]
          for arm in study["arms"]}  # fmt: skip
base = scores["base"]
print("base, seed by seed:", base)
print(f"the seeds of one and the same model lie up to {max(base) - min(base):.3f} apart")
guess = predict(
    "22.d",
    "Batches of 16 rows in place of 8: a quieter gradient, half as many steps, the same FLOPs. The distance from the floor ...",
    ["shrinks", "grows", "changes by less than can be told"],
)

# %% [markdown]
# **Exercise 22.4** · implement · ●○○ · 10 min · 4 points · teaches what pairs are for · needs 22.1
#
# Return the mean of idea minus base, seed by seed, and half of its interval: $t\, s / \sqrt n$. The $t$ is given; for eight
# seeds it is 2.36, for three 4.30.
#
# <details><summary>Hint 1</summary>
#
# As in 22.1: first the differences, then their mean and spread.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `zip(base, idea)` pairs what has the same seed. Sort nothing.
#
# </details>


# %% tags=["exercise:22.4"]
def paired_difference(base, idea, t):
    """Two lists, a score each seed -> (the mean of idea - base, half of its interval)."""
    ### BEGIN SOLUTION
    differences = [b - a for a, b in zip(base, idea)]
    return statistics.fmean(differences), t * statistics.stdev(differences) / math.sqrt(len(differences))
    ### END SOLUTION


# %% tags=["check:22.4"]
paired_difference = check("22.4", paired_difference)

# %% [markdown] tags=["solution:22.4"]


# %%
def verdict(idea):
    """What the plan's rule of decision says of an idea: a word, and the numbers."""
    mean, half = paired_difference(base, scores[idea], t_value(len(base) - 1))
    word = "taken" if mean < -half else "worse" if mean > half else "no difference at this size"
    return word, mean, half


for idea in study["plan"]["ideas"]:
    word, mean, half = verdict(idea)
    print(f"{idea:14} {mean:+.4f} ± {half:.4f} bits a byte, {len(base)} pairs: {word}")
answers = {"taken": "shrinks", "worse": "grows"}
guess.reveal(answers.get(verdict("batches of 16")[0], "changes by less than can be told"))
figures.pairs(base, {idea: scores[idea] for idea in study["plan"]["ideas"]})

# %% [markdown]
# Each thin line is a seed, the thick one the mean. Look whether the lines run side by side: then the luck of a seed is in both
# ends, and pairing takes it out.

# %%
failed = [idea for idea in study["plan"]["ideas"] if verdict(idea)[0] != "taken"]
for idea in failed:
    word, mean, half = verdict(idea)
    print(f"'{idea}' sounded good, and is reported as it was found: {word}, {mean:+.3f} ± {half:.3f}.")
if verdict("batches of 16")[0] == "worse":
    print("With so few steps, each one counts for more than a quieter gradient. At a larger budget that may turn round.")
for idea in set(study["plan"]["ideas"]) - set(failed):
    print(f"'{idea}' is taken: {verdict(idea)[1]:+.3f} ± {verdict(idea)[2]:.3f}.")
steps = {run["arm"]: run["steps"] for run in study["runs"]}
print("steps that the same FLOPs paid for:", steps)

# %% [markdown]
# An idea that fails is a result. Leave it out, and the next person loses a week on it, too. So a capstone is marked for its plan and
# its report, not for its place.
#
# ## How many seeds?
#
# Too few, and a good idea drowns in luck. Too many, and the budget is gone. You can compute it before you begin, from the
# spread of a few differences.
#
# **Exercise 22.5** · implement · ●●○ · 15 min · 4 points · teaches to choose a number of seeds · needs 22.4
#
# Return the least $n \ge 2$ with $t_{n-1}\, s / \sqrt n < $ effect. `t_value(df)` gives $t$ for 95 %, with `df`
# degrees of freedom, $n - 1$ of them for $n$ seeds.
#
# <details><summary>Hint 1</summary>
#
# Try one n after the other: there is no formula, since t depends on n.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `for n in range(2, most + 1)`, and return None after the loop.
#
# </details>


# %% tags=["exercise:22.5"]
def seeds_needed(effect, spread, most=1000):
    """The difference that you expect, and the spread of paired differences -> the number of seeds; None: over `most`."""
    ### BEGIN SOLUTION
    for n in range(2, most + 1):
        if t_value(n - 1) * spread / math.sqrt(n) < effect:
            return n
    return None
    ### END SOLUTION


# %% tags=["check:22.5"]
seeds_needed = check("22.5", seeds_needed)
for idea in study["plan"]["ideas"]:
    s = statistics.stdev(b - a for a, b in zip(base, scores[idea]))
    print(f"{idea}: s = {s:.4f};", {effect: seeds_needed(effect, s) for effect in (0.1, 0.03, 0.01, 0.003)})

# %% [markdown] tags=["solution:22.5"]

# %%
widgets.explore(figures.draw_seeds, "How many seeds does it take until most studies see the effect?",
                effect=(5, 60, 5, 20, "effect, thousandths"), spread=(5, 60, 5, 30, "spread, thousandths"), seeds=(2, 24, 1, 3, "seeds"))  # fmt: skip

# %% [markdown]
# Each bar is a whole study, of an idea that does help: the thin upright line is the truth. Green squares see it. With the
# number of 22.5, about half of them do: an interval that is just narrow enough for the expected effect misses whenever luck is
# against you. Plan for some more.
#
# ## A test that was not looked at
#
# You try twenty things, all exactly as good as the base. Each is scored with some error, and you hand in the best.
#
# **Exercise 22.6** · predict · ●●○ · 5 min · 2 points · teaches what choosing does to a score · needs nothing else
#
# By how many standard errors does the best of twenty seem better than it is, on average? Guess, or find out with
# `torch.randn(100_000, 20)`.
#
# <details><summary>Hint 1</summary>
#
# An error is a draw of a normal distribution with deviation 1. You take the largest of twenty.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `.max(1).values.mean()`
#
# </details>

# %% tags=["exercise:22.6"]
seems_better = ...
### BEGIN SOLUTION
seems_better = torch.randn(100_000, 20, generator=torch.Generator().manual_seed(0)).max(1).values.mean().item()
### END SOLUTION

# %% tags=["check:22.6"]
seems_better = check("22.6", seems_better)

# %% [markdown] tags=["solution:22.6"]

# %%
luck = torch.Generator().manual_seed(1)
error = statistics.fmean(run["error"] for run in study["runs"])
shown, real = [], []
for _ in range(2000):
    looked_at = statistics.fmean(base) + error * torch.randn(20, generator=luck)  # twenty equal tries, the test you look at
    once_more = statistics.fmean(base) + error * torch.randn(20, generator=luck)  # the same twenty, on a test kept back
    best = looked_at.argmin()
    shown.append(looked_at[best].item())
    real.append(once_more[best].item())
print(f"all are {statistics.fmean(base):.3f} above the floor; the one that you choose shows {statistics.fmean(shown):.3f}")
print(f"and on a test that nobody had looked at {statistics.fmean(real):.3f}: the lead of the best try was luck")

# %% [markdown]
# So keep two sets. On one, look as often as you like: it is for choosing. On the other, look once, at the end: it is for the
# report. The board's drawn stories are such a test, **once**. Whoever hands in twenty times and keeps the best has made them
# into a set for choosing.
#
# ## The board
#
# The course's own entries: equal FLOPs, equal parameters to a percent or so, three seeds each, every command on
# [a page](../lessons/BOARD.md). Where bars do not overlap, two entries differ. Where they do, the bars can't decide: pair the
# seeds, and look at the interval of the difference. Which neighbours can you tell apart at a glance?

# %%
entries = contest.load_entries()
for place, entry in enumerate(entries, 1):
    print(f"{place}  {entry['name']:13} {entry['bits_above']:.4f} ± {entry['half']:.4f}   facts hold in {entry['facts']:.1%}")
figures.board(entries)

# %%
overlap = sum(a["bits_above"] + a["half"] > b["bits_above"] - b["half"] for a, b in zip(entries, entries[1:]))
print(f"of {len(entries) - 1} pairs of neighbours {overlap} have intervals that overlap")
by_name = {entry["name"]: entry for entry in entries}
adamw, muon = (by_name[f"LLaMA, {name}"] for name in ("AdamW", "Muon"))
gap = [b["bits_above"] - a["bits_above"] for a, b in zip(adamw["runs"], muon["runs"])]  # not scored on the same stories
families = [entry["bits_above"] for entry in entries if entry["name"] != "LLaMA, AdamW"]
print(f"Muon minus AdamW, one and the same LLaMA: {statistics.fmean(gap):+.3f}")
print(f"the best and the worst of the seven that were trained with Muon: {max(families) - min(families):.3f} apart")
larger = abs(statistics.fmean(gap)) > max(families) - min(families)
print("So for this LLaMA, with these rates, the optimizer decides more than the family." if larger else "So here the family decides more than the optimizer.")
if max(entry["facts"] for entry in entries) < 0.05:
    print("Facts hold in hardly any story: at this budget a model learns the words, and not yet to look back.")

# %% [markdown]
# Look at the rings first: three runs of one model. Then at the bars. With three seeds $t$ is 4.3, so a bar is wide, and a
# place on the board is no proof of an order.
#
# **Your turn.** Copy one of the commands of [the board's page](../lessons/BOARD.md), change **one** thing, write your plan down, and train three seeds.
# Then `python3 -m lib submit FOLDER --name "my idea"` scores it, and `python3 -m lib board` shows where it stands. With
# `--board DIR` a class keeps a board of its own, and rules of its own in `DIR/rules.json`.
#
# ## In the wild
#
# Contests of this kind have taught the field a good deal. `modded-nanogpt` counts the seconds to a given loss, `nanochat`
# the time to a score of tasks, `parameter-golf` the bits a byte of a model that fits into 16 MB. None of
# them knows the floor of its measure, and so none can say that a score is impossible. `parameter-golf` asks for the mean of several
# seeds, as this board does.
#
# ## Recap
#
# A score says nothing about how it was reached, but one below the floor by more than its error proves a leak. What can be
# counted is counted, what is said twice is compared, and what can't be proven is said. You do not fool yourself where you
# change one thing, pair the seeds, write the plan first, and look at the last test once.
#
# ## Read on
#
# - [modded-nanogpt](https://github.com/KellerJordan/modded-nanogpt): a record is a log, a script, and enough runs for its claim.
# - [parameter-golf](https://github.com/openai/parameter-golf): bits a byte under a limit of size and time.
# - [nanochat](https://github.com/karpathy/nanochat): a whole pipeline, with time as the budget.
# - Bouthillier et al., [Accounting for Variance in Machine Learning Benchmarks](https://arxiv.org/abs/2103.03098): what a seed decides.
#
# **You are through.** What you found here, you can show: the plan, the pairs, the interval, and the floor.
