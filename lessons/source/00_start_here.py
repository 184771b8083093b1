# %% [markdown]
# # 00. A model tells you a story, and you will build it
#
# A language model is a function: text in, chances for the next piece of text out. In this course you build two families of
# them from nothing, **LLaMA** and **RWKV**, train a small one of each on this machine, and measure what each costs.
#
# **In this lesson** a finished small model tells you a story, and you question it. **You need** Python, and to know what a
# matrix product is. **Time:** 60 minutes.
#
# **Run All** (in the menu *Run*) runs every cell from top to bottom, and it always gets to the end: what you have not
# answered or written yet stays open, and the lesson goes on with the course's own version of it.

# %% tags=["setup"]
start("00")

# %%
import json

import torch
from tqdm.auto import tqdm

from lib.models.presets import PRESETS
from lib.models.skeleton import n_params
from lib.run.checkpoint import load_bundle
from lib.run.evaluate import excess_over_truth
from lib.run.sample import tell, tell_with_chances
from lib.show import plots, widgets
from lib.show.memories import memories
from lib.teach import progress
from lessons.exercises.lesson_00 import check
from lib.show.predict import predict
from lib.show.story import story
from lib.text import corpora, tales

# %% [markdown]
# ## A story
#
# The folder `data/checkpoints/llama-tales` holds a small LLaMA. Let it tell you a story. Click on a word to see what else
# the model might have said there, and how likely each word was. Change the seed and run the cell again: you get another
# story.

# %%
FOLDER = corpora.DATA / "checkpoints" / "llama-tales"
model, tokenizer = load_bundle(FOLDER)
text = story(tell_with_chances(model, tokenizer, temperature=0.8, seed=1))

# %%
guess = predict(
    "00.a",
    "How many numbers (parameters) does the model need for this?",
    ["about a million", "about a hundred million", "about seven billion"],
)

# %% tags=["nbval-check-output"]
count, llama = n_params(model), PRESETS["llama-7b"].n_params
print(f"{count:,} parameters; {sum(f.stat().st_size for f in FOLDER.glob('*.safetensors')) / 1e6:.1f} MB on disk")
guess.reveal(
    "about a million" if count < 1e7 else "about a hundred million" if count < 1e9 else "about seven billion",
    f"LLaMA-7B has {llama / count:,.0f} times as many. It is the same code with larger numbers.",
)

# %% [markdown]
# Where did it come from? From the command below, which is kept beside the model. You run one like it in lesson 08.

# %%
record = json.loads((FOLDER / "record.json").read_text(encoding="utf-8"))
print(record["command"])
print(f"took {record['wall_seconds'] / 60:.0f} minutes on a processor, without a graphics card")

# %% [markdown]
# ## Two ways to remember
#
# A model reads one token after the other, words and pieces of words, and it has to keep something of each. The two families
# of this course differ in what. A LLaMA keeps all of it, in a **KV cache**. An RWKV keeps a **state** of fixed size, and
# works each token into it. Here a trained one of each reads the same sentence. Each dot is one number of its real memory, the
# darker the larger, so equal areas are equal bytes.

# %%
rwkv, _ = load_bundle(corpora.DATA / "checkpoints" / "rwkv-7-tales")
SENTENCE = """Grandma had lent her a golden drum. Beside a green gate, she stumbled, and the golden drum cracked. "If I put
the golden drum behind the crooked harbour, nobody will know," she thought."""
question = "From which token on does the LLaMA keep more than the RWKV?"
memories({"LLaMA": model, "RWKV-7": rwkv}, tokenizer, SENTENCE, question, at=8)

# %% [markdown]
# At the 17th token they keep equally much, and from there on the LLaMA keeps more, another 4 KiB with every token. It forgets
# nothing, and for each new token it reads all that it has kept. The RWKV's memory is as large after a sentence as after a
# book, and so is its work for one more token, but it has to choose what it forgets. What can each of them do, and what does
# it cost? That is what you find out in this course.

# %% [markdown]
# ## Did it learn by heart?
#
# The stories come from a grammar that belongs to the course (`lib/text/tales.py`) and writes new ones without end. The
# course calls its stories the **tales**. There is a parser too. It can say of any text whether the grammar could have
# written it, and whether it contradicts itself: who holds what, where it was put, what was promised.

# %%
guess = predict(
    "00.b",
    "The model tells ten stories. How many of them stand in the text that it was trained on?",
    ["none", "two or three", "most"],
)

# %%
corpus = corpora.load("tales")
floor = corpus.floor_bits_per_byte
told = [tell(model, tokenizer, temperature=0.8, seed=seed) for seed in tqdm(range(10), leave=False)]
known = set(corpus.documents_train)
copied = sum(text in known for text in told)
sound = sum(map(tales.facts_hold, told))
print(f"of 10 stories: {sum(map(tales.is_story, told))} keep to the grammar,", end=" ")
print(f"{sound} do not contradict themselves, {copied} stood in the training text")
if sound < 8:
    print("A story holds many facts, and one slip is enough to contradict them.")
bits = floor * sum(len(one.encode("utf-8")) for one in told) / len(told)
guess.reveal(
    "none" if copied == 0 else "two or three" if copied < 5 else "most",
    f"Writing a story is like tossing a coin about {bits:.0f} times, so there are about 2^{bits:.0f} stories.",
)

# %% [markdown]
# ## What does it answer?
#
# A model does not answer with a word. It answers with a **chance for each [token](../lessons/GLOSSARY.md#token)**, each
# piece of text in its [vocabulary](../lessons/GLOSSARY.md#vocabulary): words and parts of words (lesson 01). Then one of
# them is drawn at random, by these chances. Stop a story in the middle, just before a word that you can only know if you
# remember what came before.

# %%
example = tales.generate(seed=11, n_bytes=1)[0]
prefix, answer, choices = example.questions[-1]
print(prefix, "...\n\nanswer:", answer.strip(), "  choices:", [choice.strip() for choice in choices])

# %% [markdown]
# The chance of a word is the product of the chances of its tokens, one after the other. Logarithms make it a sum. The
# model gives scores, the `logits`, and `log_softmax` makes logarithms of chances of them: you write it yourself below, in
# exercise 00.1, without the logarithm. `tokenizer.eot` is the token that stands between two texts.


# %%
def log_chance(prefix, word):
    """The logarithm of the chance that the text goes on with this word."""
    before, after = tokenizer.encode(prefix), tokenizer.encode(word)
    tokens = torch.tensor([[tokenizer.eot, *before, *after]])
    with torch.no_grad():
        logits, _ = model(tokens[:, :-1])
    steps = logits[0, len(before) :].log_softmax(-1)
    return float(steps[range(len(after)), after].sum())


chances = [log_chance(prefix, choice) for choice in choices]
best = choices[max(range(len(choices)), key=chances.__getitem__)]
print("the model says:", best.strip(), "  right" if best == answer else "  wrong")

# %%
plots.bars(
    {choice.strip(): chance for choice, chance in zip(choices, torch.tensor(chances).softmax(0).tolist())},
    xlabel="chance among these words",
    form="{:.4f}",
    alt=f"Bars: the chance that the model gives to each candidate. The right answer is {answer.strip()}.",
)

# %% [markdown]
# One question proves little. Ask 120, about stories that the model has never seen. Each offers two to four words, so a
# blind guess is right about once in three times.

# %%
guess = predict(
    "00.c",
    "How often is the small model right?",
    ["hardly more often than a blind guess", "about half the time", "more than two thirds of the time"],
)

# %%
asked = [question for one in tales.stories(seed=12, n=80) for question in one.questions[-2:]][:120]
hits = [max(words, key=lambda word: log_chance(start, word)) == end for start, end, words in tqdm(asked, leave=False)]
right, chance = sum(hits) / len(hits), sum(1 / len(words) for _, _, words in asked) / len(asked)
near = 1.96 * (right * (1 - right) / len(hits)) ** 0.5  # 95 % of such samples lie within this of the truth
print(f"right in {right:.0%} of {len(asked)} questions, give or take {near:.0%}; a blind guess in {chance:.0%}")
guess.reveal(
    guess.choices[2 if right > 2 / 3 else 1 if right > chance + 0.1 else 0],
    f"It slips about once in {1 / (1 - right):.0f} questions, and a story holds many such places."
    if 0.5 < right < 1
    else "",
)

# %% [markdown]
# ## How good can it get?
#
# The grammar is known, so the best possible score is known too. It is the **[entropy](../lessons/GLOSSARY.md#entropy)** of
# the tales: how much of a story is left to chance, so that no model can foresee it. The unit is
# **[bits per byte](../lessons/GLOSSARY.md#bits-per-byte)**. One bit is one question with two equally likely answers.
#
# Some stories are easier than others. To be fair, compare on the same stories: how many bits does the model need for
# them, and how many does the grammar that wrote them need?

# %%
excess = excess_over_truth(model, tokenizer, corpus.documents_validation[:100])
print(f"the floor, over all stories: {floor:.3f} bits a byte")
print(f"on 100 new stories the model needs {excess.share:.1%} more bits than the grammar", end="")
print(f", give or take {1.96 * excess.standard_error:.1%}")

# %% [markdown]
# Lesson 08 shows how this distance shrinks in training. For real text nobody knows the floor.
#
# ## Try it
#
# **What does temperature do to the next word?** It divides the model's scores before they become chances. Here the story
# has only begun, and the model has a real choice: `Every Monday, Little`. Move the temperature down and up.

# %%
with torch.no_grad():
    ids = torch.tensor([[tokenizer.eot, *tokenizer.encode("Every Monday, Little")]])
    scores = model(ids)[0][0, -1]
top = scores.topk(8).indices


def draw_temperature(temperature):
    """Bars of the chances of the eight likeliest next tokens."""
    chances = (scores / temperature).softmax(0)[top].tolist()
    return plots.draw_bars(
        {tokenizer.decode([int(i)]).strip(): chance for i, chance in zip(top, chances)},
        xlabel=f"chance at temperature {temperature:.1f}",
        xlim=(0, 1),
        form="{:.3f}",
        alt=f"At temperature {temperature:.1f} the likeliest next token has the chance {chances[0]:.2f}.",
    )


widgets.explore(
    draw_temperature, "What does temperature do to the next word?", temperature=(0.2, 3.0, 0.2, 1.0, "temperature")
)

# %% [markdown]
# At 1 you see the model's own chances. Below 1 the likeliest word takes more and more of them. Above 1 the chances
# become more alike, and the unlikely words, which the picture does not show, get a larger part.

# %% [markdown]
# ## How a lesson works
#
# - **Predict, then run.** You commit to a guess before you see the result. A wrong guess is welcome: you remember it. After
#   Run All you can still choose, and the answer then appears.
# - **Build.** You write the heart of each part. `check` tells you whether it is right, and if not, which mistake it looks
#   like. Until it is right the lesson goes on with the course's own version, so nothing breaks.
# - **Hints** are folded, and so is the solution. Try for as many minutes as the card says.
#
# Try it with the function that every model of this course ends in.
#
# **Exercise 00.1** · implement · ●○○ · 10 min · 2 points · teaches how scores become chances · needs nothing
#
# A model gives a score, a **[logit](../lessons/GLOSSARY.md#logit)**, to each token. **[Softmax](../lessons/GLOSSARY.md#softmax)** makes chances of them:
#
# $$p_i = \frac{e^{z_i}}{\sum_j e^{z_j}}$$
#
# Write it for a tensor of logits $z$ of shape (..., V): any number of axes, the last with one score for each of the $V$
# tokens. Scores may be as large as 1,000, and $e^{1000}$ is infinite for a computer. So first subtract the row's largest
# score from all its scores, which changes no chance.
#
# <details><summary>Hint 1</summary>
#
# `z.amax(-1, keepdim=True)` is the largest score of each row, kept as a column.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The sum runs over the last axis, with `keepdim=True`, so that each row is divided by its own sum.
#
# </details>


# %% tags=["exercise:00.1"]
def softmax(z):
    """(..., V) -> (..., V): chances that are positive and sum to one."""
    ### BEGIN SOLUTION
    e = (z - z.amax(-1, keepdim=True)).exp()
    return e / e.sum(-1, keepdim=True)
    ### END SOLUTION


# %% tags=["check:00.1"]
softmax = check("00.1", softmax)

# %% [markdown] tags=["solution:00.1"]

# %% [markdown]
# **Exercise 00.2** · predict · ●○○ · 5 min · 1 point · teaches what a loss means · needs nothing
#
# A model's **[loss](../lessons/GLOSSARY.md#loss)** is the mean of $-\ln p$ over the tokens that really came. Here $p$ is
# the chance that the model gave to each of them. Which loss does a model have that gives each of 1,024 tokens the same
# chance? Answer in **nats** (natural logarithms), with two decimals.
#
# <details><summary>Hint 1</summary>
#
# Each token that comes had the chance 1/1024.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `math.log` is the natural logarithm.
#
# </details>

# %% tags=["exercise:00.2"]
### BEGIN SOLUTION
loss_of_ignorance = 6.93
### END SOLUTION

# %% tags=["check:00.2"]
loss_of_ignorance = check("00.2", loss_of_ignorance)

# %% [markdown] tags=["solution:00.2"]

# %% [markdown]
# **Exercise 00.3** · measure · ●○○ · 5 min · 1 point · teaches what a token is worth · needs nothing
#
# A model reads tokens, and a score in bits per **byte** divides by bytes. How many bytes does one token of the stories stand
# for? Measure it on `text`, the first story above: its bytes in UTF-8 (`text.encode("utf-8")`), divided by its tokens.
#
# <details><summary>Hint 1</summary>
#
# `tokenizer.encode(text)` is a list with a number for each token.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `len` of the bytes, divided by `len` of the list. A token is longer than a letter and shorter than a sentence.
#
# </details>

# %% tags=["exercise:00.3"]
### BEGIN SOLUTION
bytes_per_token = len(text.encode("utf-8")) / len(tokenizer.encode(text))
### END SOLUTION

# %% tags=["check:00.3"]
bytes_per_token = check("00.3", bytes_per_token)

# %% [markdown] tags=["solution:00.3"]

# %% [markdown]
# **Exercise 00.4** · explain · ●●○ · 10 min · 2 points · teaches what a floor is · needs the text above
#
# A friend trains a model on the same grammar and reports a loss on new stories that is **below** the floor. Say in three
# or four sentences why you don't believe it. Name two ways in which such a number can come about. And say why nobody could
# catch your friend this way with a model of real text. No program can check this: your words are kept, and you compare
# them with the solution.
#
# <details><summary>Hint 1</summary>
#
# The floor is what the grammar itself leaves to chance. Not even the grammar's author could do better.
#
# </details>
# <details><summary>Hint 2</summary>
#
# What was divided by what, and on which text? Think of stories that happen to be easy, of the training text, of bits and nats.
#
# </details>

# %% tags=["exercise:00.4"]
### BEGIN SOLUTION
reason = (
    "The floor is the entropy of the grammar: even its author can't foresee its choices any better, so on enough new"
    " stories no model gets below it. The number may come from too few stories, which happened to be likely ones; from"
    " stories that stood in the training text, so that the model knew them by heart; or from a slip, such as a loss in"
    " nats beside a floor in bits. For real text nobody knows the floor, so no number gives itself away as too good."
)
### END SOLUTION

# %% tags=["check:00.4"]
reason = check("00.4", reason)

# %% [markdown] tags=["solution:00.4"]

# %% [markdown]
# ## How far you are
#
# The next cell reads the notebooks in your folder `lessons`, as you last saved them, and says which exercises are done. The
# command `python3 -m lib progress` does the same. Nothing leaves your machine.

# %%
progress.show()

# %% [markdown]
# ## The lessons
#
# | | lesson | |
# |---|---|---|
# | 01 | [text to tokens](01_text_to_tokens.ipynb) | what a language costs |
# | 02 | [RMSNorm](02_rmsnorm.ipynb) | keep the direction, drop the length |
# | 03 | [SwiGLU](03_swiglu.ipynb) | a gate decides what passes |
# | 04 | [RoPE](04_rope.ipynb) | position is an angle |
# | 05 | [attention](05_attention.ipynb) | many heads, fewer keys |
# | 06 | [online softmax](06_online_softmax.ipynb) | attention without the matrix |
# | 07 | [LLaMA](07_llama.ipynb) | the whole model, equal to the published code |
# | 08 | [training](08_training.ipynb) | down to the floor |
# | 09 | [generation](09_generation.ipynb) | how a story is drawn |
# | 10 | [layer-wise scaling](10_layerwise_scaling.ipynb) | layers need not be alike |
# | 11 | [linear attention](11_linear_attention.ipynb) | attention becomes a recurrence |
# | 12 | [RWKV-4](12_rwkv4.ipynb) | a transformer that is an RNN |
# | 13 | [RWKV-5, Eagle](13_rwkv5_eagle.ipynb) | a memory that is a matrix |
# | 14 | [RWKV-6 and 7](14_rwkv6_rwkv7.ipynb) | a memory that erases |
# | 15 | [training RWKV](15_train_rwkv.ipynb) | the same data, the same budget |
# | 16 | [linear against quadratic](16_linear_vs_quadratic.ipynb) | what each costs |
# | 17 | [recall](17_recall.ipynb) | what a fixed state forgets |
# | 18 | [evaluation](18_evaluation.ipynb) | what a score says, and what it doesn't |
# | 19 | [instruction tuning](19_instruction_tuning.ipynb) | the same model does as it is told |
# | 20 | [compute budgets](20_compute_budgets.ipynb) | parameters or tokens, you choose |
# | 21 | [real weights](21_real_weights.ipynb) | published weights in your code |
#
# Each builds one part, and the next imports it from `lib`, the course's small library. A term is explained where you first
# meet it, and the [glossary](../lessons/GLOSSARY.md) has them all, with their Korean and Chinese names. If something does
# not run, see [troubleshooting](../lessons/TROUBLESHOOTING.md).
#
# ## Recap
#
# A language model gives each possible next token a chance, and a story is one draw after another. The grammar of the tales
# is known, so you can tell whether a story holds together and how far the model is from perfect. From here on you build
# it.
#
# ## Read on
#
# - Eldan and Li, [TinyStories](https://arxiv.org/abs/2305.07759): how small can a language model be and still tell a story?
# - Shannon, [Prediction and Entropy of Printed English](https://doi.org/10.1002/j.1538-7305.1951.tb01366.x): guessing the
#   next letter, in 1951.
#
# **Next:** [01. The same words cost more in Korean](01_text_to_tokens.ipynb).
