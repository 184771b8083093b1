# %% [markdown]
# # 18. A score says as much about the question as about the model
#
# Model cards carry tables of scores. A score depends on how the question is put, on the rule that reads the answer, and on
# luck. Change the rule, and the better model can come out behind.
#
# **You build** what nearly all these tables are made with: the likelihood of an ending, four rules that choose among several,
# and the error of a score. **You need** lessons 08 and 15. **Time:** 95 minutes.

# %% tags=["setup"]
start("18")

# %%
import json
import math
import statistics

import torch
import torch.nn.functional as F
from tqdm.auto import trange

from lib.run.checkpoint import load_bundle
from lib.run.choices import RULES, likelihoods, measure, perplexity, standard_error
from lib.run.evaluate import document_nats, padded, paired_excess
from lib.show import widgets
from lib.show.predict import predict
from lib.teach.claims import claim
from lib.text import corpora, tales
from lib.text.languages import paragraphs
from lib.text.published import load_tokenizer
from lib.text.tales_questions import SEED, Question, questions
from lib.text.tales_split import Prefixes
from lessons.exercises.lesson_18 import check
from lessons.figures import lesson_18 as figures

# %% [markdown]
# ## The need
#
# MMLU is a test of 14,042 questions with four answers each. Guessing gets 25 %.
# [LiteLlama](https://huggingface.co/ahxt/LiteLlama-460M-1T) publishes 21.13 %. Is that bad luck?

# %%
torch.set_num_threads(1)
n = 14_042
luck = math.sqrt(0.25 * 0.75 / n)
print(f"a guesser's score wanders by {luck:.2%}; 21.13 % is {(0.2113 - 0.25) / luck:+.1f} times that from 25 %")

# %% [markdown]
# That isn't luck. A model that knew nothing would guess. So what is worse than knowing nothing?
#
# You can take such a case apart, because you have a model and questions whose answers are certain. The grammar of the tales
# reads a story and says which ending contradicts it. Three of the four below do.

# %%
base, tokenizer = load_bundle(corpora.DATA / "checkpoints" / "llama-tales")
asked = questions("ending", 32)
print(asked[1].contexts[0], "...\n")
for letter, ending in zip("ABCD", asked[1].endings):
    print(f"{letter}. {ending}")
print("\nright:", "ABCD"[asked[1].answer])

# %% [markdown]
# MMLU asks in this form: the question, the four answers with letters, then "Answer:". The model's answer is the letter that it
# finds likeliest.


# %%
def by_letter(q):
    """The same question in MMLU's form: four letters to choose from."""
    lines = "\n".join(f"{letter}. {ending}" for letter, ending in zip("ABCD", q.endings))
    return Question((f"{q.contexts[0]}\n{lines}\nAnswer:",) * 4, tuple("ABCD"), q.answer)


pairs = [(text, f" {letter}") for q in map(by_letter, asked) for text, letter in zip(q.contexts, q.endings)]
log_ps = [one.log_p for one in likelihoods(base, tokenizer, pairs)]
said = [max(range(4), key=log_ps[4 * k : 4 * k + 4].__getitem__) for k in range(len(asked))]
print(f"right by letter: {statistics.fmean(a == q.answer for a, q in zip(said, asked)):.0%} of {len(asked)}")
print("it says", *(f"{letter} {said.count(i)} times; " for i, letter in enumerate("ABCD")))

# %%
guess = predict(
    "18.a",
    "The same model, the same questions, no letters: now the likeliest **ending** is taken. How many are right?",
    ["about a quarter", "about half", "over 85 %"],
)

# %%
as_text = measure(base, tokenizer, "ending", asked)["acc"]
share = statistics.fmean(as_text)
guess.reveal("over 85 %" if share > 0.85 else "about half" if share > 0.37 else "about a quarter", f"{share:.0%}.")
key = [sum(q.answer == i for q in asked) / len(asked) for i in range(4)]
print("always saying the same letter gets", *(f"{letter} {part:.0%} " for letter, part in zip("ABCD", key)))

# %% [markdown]
# The model knows who lost what. It has never seen a letter stand for an ending. Look at the letters that it said: their
# score depends on the key, and hardly on the question. **A score far below guessing is a sign of a form that the model can't
# read.** It says nothing about what the model knows.
#
# ## The likelihood of an ending
#
# For an ending of tokens $y_1 \dots y_n$ after a context $c$, the **[log-likelihood](../lessons/GLOSSARY.md#log-likelihood)** is
#
# $$\log p(y \mid c) = \sum_{t=1}^{n} \log p(y_t \mid c, y_1 \dots y_{t-1})$$
#
# One forward pass gives all terms. But where does the ending begin? Look at the blank.

# %% tags=["nbval-check-output"]
for text in ("the quiet harbour", "the quiet", "the quiet ", "harbour", " harbour"):
    print(f"{text!r:21}", [tokenizer.decode([i]) for i in tokenizer.encode(text)])

# %% [markdown]
# **Exercise 18.1** · implement · ●●○ · 10 min · 3 points · teaches the blank that belongs to the answer · needs lesson 01
#
# Cut a text into the ids of its context and those of its ending. Blanks at the context's end, and new lines, go with the
# ending. Encode the two as one text, and cut where the bare context ends. `encode` turns a text into a list of ids.
#
# <details><summary>Hint 1</summary>
#
# `context.rstrip()` is the context without blanks and new lines at its end. How many tokens does it have?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Encode `context + ending` as one text. Its first tokens, as many as the bare context has, are the context's; the rest are
# the ending's.
#
# </details>


# %% tags=["exercise:18.1"]
def cut(encode, context, ending):
    """Two texts -> (ids of the context, ids of the ending)."""
    ### BEGIN SOLUTION
    before = encode(context.rstrip())
    return before, encode(context + ending)[len(before) :]
    ### END SOLUTION


# %% tags=["check:18.1"]
cut = check("18.1", cut)

# %% [markdown] tags=["solution:18.1"]

# %% [markdown]
# By hand: three places, a vocabulary of four, and the two tokens of an ending, 2 and 0. The row **before** a token predicts it.

# %% tags=["nbval-check-output"]
rows = [[0.1, 0.2, 0.6, 0.1], [0.5, 0.3, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1]]  # probabilities after tokens 1, 2 and 0
ids, total = [1, 2, 0], 0.0
for place in (1, 2):
    p = rows[place - 1][ids[place]]
    total += math.log(p)
    print(f"token {ids[place]} at place {place}: p = {p}, the likeliest there: {p == max(rows[place - 1])}")
print(f"log-likelihood {total:.4f}")

# %% [markdown]
# **Exercise 18.2** · implement · ●●○ · 15 min · 4 points · teaches the measure behind most benchmarks · needs the sum above
#
# `logits` (T, V) are what a model says after each of `ids` (T,). The last `n` ids are the ending. Return its log-likelihood
# in nats, and whether it is **greedy**: whether each of its tokens is the likeliest one at its place.
#
# <details><summary>Hint 1</summary>
#
# The rows that predict the last n tokens are `logits[-n - 1 : -1]`, (n, V).
#
# </details>
# <details><summary>Hint 2</summary>
#
# `.log_softmax(-1)`, then `.gather(1, ids[-n:, None])` takes from each row the number of its own token.
#
# </details>


# %% tags=["exercise:18.2"]
def log_likelihood(logits, ids, n):
    """logits (T, V), ids (T,), n tokens of the ending -> (sum of log p, greedy or not)."""
    ### BEGIN SOLUTION
    own, wanted = logits[-n - 1 : -1], ids[-n:]
    log_p = own.log_softmax(-1).gather(1, wanted[:, None]).sum()
    return log_p, bool((own.argmax(-1) == wanted).all())
    ### END SOLUTION


# %% tags=["check:18.2"]
log_likelihood = check("18.2", log_likelihood)

# %% [markdown] tags=["solution:18.2"]

# %%
guess = predict(
    "18.b",
    "A story asks for ` harbour`. Somebody puts the blank at the end of the context, and encodes context and ending"
    " separately. The log-likelihood then ...",
    ["is the same: it is the same text", "falls by about 1", "falls by 5 or more"],
)


# %%
@torch.inference_mode()
def likely(model, before, after):
    """The log-likelihood of ids after other ids, <|endoftext|> before all, and whether it is greedy."""
    ids = torch.tensor([tokenizer.eot, *before, *after])
    return log_likelihood(model(ids[None])[0][0], ids, len(after))


word = questions("word", 1)[0]
context, ending = word.contexts[0], word.endings[0]
with_blank = likely(base, *cut(tokenizer.encode, context, f" {ending}"))[0].item()
without = likely(base, tokenizer.encode(f"{context} "), tokenizer.encode(ending))[0].item()
print(f"... {context[-40:]!r} then {ending!r}: {with_blank:.2f}; the blank left behind: {without:.2f}")
lost = with_blank - without
guess.reveal(
    guess.choices[2] if lost > 3 else guess.choices[1] if lost > 0.5 else guess.choices[0], f"By {lost:.1f} nats."
)
theirs = likelihoods(base, tokenizer, [(context, f" {ending}")])[0]
print(f"lib's, which scores many pairs at once, says {theirs.log_p:.2f}")

# %% [markdown]
# In training, a token that is only a blank hardly ever comes before a word. So the second number is the price of a text that
# nobody writes.
#
# ## Three tasks, and the best that can be reached
#
# - **word**: a story breaks off before a word that it has said. The model is right if it would write that word greedily. (LAMBADA asks
#   like this.)
# - **ending**: four endings, three of which contradict the story. (StoryCloze and HellaSwag ask like this.)
# - **context**: two stories that differ in one word, and one ending that only one of them allows. (Winograd asks like this.)
#
# What could a perfect reader reach? In most benchmarks nobody knows, because some of their answers are wrong. Here the grammar
# is the perfect reader. It says what each word that you ask for costs it.

# %%
costs = []
for story in tales.stories(SEED, 60):
    logs = Prefixes(story.text).read(tales.grammar())[0]  # log P(a story begins so), letter by letter
    costs += [logs[len(before)] - logs[len(before) + len(answer)] for before, answer, _ in story.questions]
print(
    f"{len(costs)} asked words; the dearest costs the truth {max(costs):.6f} nats: the ceiling is 100 %, perplexity 1"
)
twins = questions("context", 1)[0]
first = next(place for place, (a, b) in enumerate(zip(*twins.contexts)) if a != b)
for number, text in enumerate(twins.contexts):
    word = "right" if number == twins.answer else "wrong"
    print(f"\n{word}: ... {text[first - 60 : first + 60]} ... {text[-60:]} [{twins.endings[number]}]")

# %% [markdown]
# A wrong ending has probability zero for the truth. So by the likelihood of the endings the truth wins every question.
#
# ## Four rules
#
# Endings differ in length, and each token makes a text less likely. So EleutherAI's
# [lm-evaluation-harness](https://github.com/EleutherAI/lm-evaluation-harness), which made most of the tables that you will read,
# compares them in four ways:
#
# | rule | takes the ending with the largest |
# |---|---|
# | `acc` | log-likelihood |
# | `acc_norm` | log-likelihood per **character** of the ending |
# | `acc_bytes` | log-likelihood per **byte** of it, in UTF-8 |
# | `acc_mutual_info` | log-likelihood after the context, minus that of the ending **alone** |
#
# **Exercise 18.3** · implement · ●●○ · 15 min · 4 points · teaches the four rules · needs the table
#
# Return `{rule: number of the ending that it takes}`. The endings come without their blank, so the blank is not counted.
#
# <details><summary>Hint 1</summary>
#
# Make a list of values for each rule. `max(range(len(values)), key=values.__getitem__)` is the place of its largest.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `len(text)` counts characters, `len(text.encode())` bytes. Log-likelihoods are below zero: the largest is the nearest to it.
#
# </details>


# %% tags=["exercise:18.3", "builds:lib.run.choices.chosen"]
def chosen(log_ps, endings, alone):
    """log p after the context, the texts, log p without a context: n each -> {rule: number}."""
    ### BEGIN SOLUTION
    values = {
        "acc": log_ps,
        "acc_norm": [x / len(text) for x, text in zip(log_ps, endings)],
        "acc_bytes": [x / len(text.encode()) for x, text in zip(log_ps, endings)],
        "acc_mutual_info": [x - y for x, y in zip(log_ps, alone)],
    }
    return {rule: max(range(len(row)), key=row.__getitem__) for rule, row in values.items()}
    ### END SOLUTION


# %% tags=["check:18.3"]
chosen = check("18.3", chosen)

# %% [markdown] tags=["solution:18.3"]

# %%
guess = predict(
    "18.c",
    "LLaMA and RWKV-5, the task `ending`, 300 questions. By which rules is LLaMA ahead?",
    [
        "by all four, or by none",
        "it depends on the rule, by a point or two",
        "it depends on the rule, by ten points and more",
    ],
)

# %% [markdown]
# First, a small part live, with your function: ten questions, one model. Then the record, with all of them.

# %%
right = {rule: [] for rule in RULES}
for q in asked[:10]:
    after = [likely(base, *cut(tokenizer.encode, q.contexts[0], f" {text}"))[0].item() for text in q.endings]
    alone = [likely(base, [], tokenizer.encode(f" {text}"))[0].item() for text in q.endings]
    for rule, number in chosen(after, q.endings, alone).items():
        right[rule].append(float(number == q.answer))
print({rule: f"{sum(row):.0f} of {len(row)}" for rule, row in right.items()})

# %%
RECORD = json.loads((corpora.DATA / "records" / "evaluation.json").read_text(encoding="utf-8"))
NAMES = {"llama-tales": "LLaMA", "rwkv-4-tales": "RWKV-4", "rwkv-5-tales": "RWKV-5", "rwkv-7-tales": "RWKV-7"}
SCORES = {(NAMES[run["checkpoint"]], run["task"]): run["values"] for run in RECORD["runs"]}
print(f"`{RECORD['command']}`, torch {RECORD['torch']}: {RECORD['n']} questions a task")


def percent(values):
    """The mean and its standard error, both in percent."""
    return 100 * statistics.fmean(values), 100 * standard_error(values)


by_rule = {rule: {name: percent(SCORES[name, "ending"][rule]) for name in NAMES.values()} for rule in RULES}
figures.scores(by_rule, lines=dict.fromkeys(RULES, 25))
ahead = {rule: by_rule[rule]["LLaMA"][0] - by_rule[rule]["RWKV-5"][0] for rule in RULES}
print("LLaMA minus RWKV-5, in points:", {rule: round(value, 1) for rule, value in ahead.items()})
turned = min(ahead.values()) < 0 < max(ahead.values())
guess.reveal(guess.choices[(2 if max(map(abs, ahead.values())) >= 10 else 1) if turned else 0])

# %% [markdown]
# Look at the last row. Nothing changed but the rule: the same model, the same questions, the same likelihoods. Mutual information
# asks what an ending costs **alone**, as the beginning of a text. No tale begins with its last sentence: the truth's own answer would
# be minus infinity. A model can only guess at a text that it has never met, and that guess adds noise. The rule was made to take out how
# rare the words of an ending are. That helps where endings with very different words compete.
#
# So a score without its rule means little. Choose the rule **before** you see the scores, and name it.
#
# ## How sure is a score?
#
# A score is a mean of ones and zeros. With a share $p$ of $n$ questions right, its
# **[standard error](../lessons/GLOSSARY.md#standard-error)** is $\sqrt{p (1 - p) / (n - 1)}$: that is how much the score changes from one draw of questions to the next.
# For two scores on different questions, the squares of their errors add up.
#
# **Exercise 18.4** · measure · ●●○ · 10 min · 4 points · teaches when two rows of a table differ · needs lesson 15
#
# How many standard errors of their difference are two scores apart? Above zero means that the first one is the higher.
#
# <details><summary>Hint 1</summary>
#
# The square of one error is `p * (1 - p) / (n - 1)`. Add both squares, then take the root.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `(p - q)` divided by that root.
#
# </details>


# %% tags=["exercise:18.4"]
def errors_apart(p, n, q, m):
    """A share p of n questions right, a share q of m -> their difference in standard errors."""
    ### BEGIN SOLUTION
    return (p - q) / math.sqrt(p * (1 - p) / (n - 1) + q * (1 - q) / (m - 1))
    ### END SOLUTION


# %% tags=["check:18.4"]
errors_apart = check("18.4", errors_apart)

# %% [markdown] tags=["solution:18.4"]

# %%
guess = predict(
    "18.d",
    "LLaMA and RWKV-5, the task `word`, 300 questions each. Which one is better?",
    ["LLaMA", "RWKV-5", "no difference that 300 questions could show"],
)

# %%
TASKS = {"word": None, "ending": 25, "context": 50}
table = {task: {name: percent(SCORES[name, task]["acc"]) for name in NAMES.values()} for task in TASKS}
figures.scores(table, lines={task: value for task, value in TASKS.items() if value})
for name in NAMES.values():
    value, error = perplexity(SCORES[name, "word"]["nats"])
    told = "   ".join(f"{task} {table[task][name][0]:.1f} ± {table[task][name][1]:.1f}" for task in TASKS)
    print(f"{name:7} {told}   perplexity a word {value:.2f} ± {error:.2f}")
z = errors_apart(table["word"]["LLaMA"][0] / 100, 300, table["word"]["RWKV-5"][0] / 100, 300)
print(f"LLaMA and RWKV-5, word: {z:+.1f} standard errors apart")
guess.reveal("no difference that 300 questions could show" if abs(z) < 2 else "LLaMA" if z > 0 else "RWKV-5")

# %% [markdown]
# The bars hold 95 % (1.96 standard errors to each side). The ceiling is 100 % in each row, and guessing stands at the dashed line.
# Where one model's bar covers another's score, their order is no result.
#
# You can do better here. All four models got **the same questions**. Some are hard for all of them. Subtract question by question, as in lesson
# 15, and that shared luck is gone.

# %%
for task in TASKS:
    for name in ("RWKV-4", "RWKV-5", "RWKV-7"):
        first, second = SCORES["LLaMA", task]["acc"], SCORES[name, task]["acc"]
        gaps = [a - b for a, b in zip(first, second)]
        apart = errors_apart(statistics.fmean(first), len(first), statistics.fmean(second), len(second))
        paired = statistics.fmean(gaps) / standard_error(gaps)
        words = "differ" if abs(paired) > 1.96 else "too close to call"
        print(f"{task:8} LLaMA - {name}: {100 * statistics.fmean(gaps):+5.1f} points, "
              f"{apart:+4.1f} errors apart as strangers, {paired:+5.1f} paired: {words}")  # fmt: skip

# %% [markdown]
# A model card gives you scores, not single answers. So for published tables you only have the first of the two columns.
# Also, nine comparisons at 95 % give a false alarm in about a third of such tables: read a lone 2.1 with care.
#
# **How many questions tell two models apart?** A gets half of all questions right, B a few points more. Move both sliders.


# %%
def draw_apart(n, gap):
    """What A and B can score on n questions."""
    return figures.draw_apart(n, gap)


widgets.explore(
    draw_apart,
    "How many questions does it take, until the better model is ahead in nearly every test?",
    n=([50, 100, 300, 500, 1000, 2000, 5000, 10000, 14000], 500, "questions"),
    gap=([1, 2, 3, 5, 8], 2, "points between A and B"),
)

# %% [markdown]
# ## A leak
#
# Tests stand on the internet, and models are trained on the internet. When the questions are in the training text, the test is
# **[contaminated](../lessons/GLOSSARY.md#contamination)**. Make that happen: train RWKV-4 on 16 stories of the test, and ask about these, and about 32 new ones.

# %%
guess = predict(
    "18.e",
    "After eight rounds RWKV-4 tells the last words of the leaked stories. What does it pay for these stories, compared"
    " with the floor, the entropy of the grammar?",
    ["still a few percent more", "about the floor: it can't get below", "far less than the floor"],
)


# %%
def state_of(model, stories):
    """The share of right last words, and the excess over what these stories cost by their grammar."""
    marks = [story.questions[-1] for story in stories]
    asked = [Question((before,), (answer.lstrip(),), 0) for before, answer, _ in marks]
    costs = [nats for nats, _ in document_nats(model, tokenizer, [story.text for story in stories])]
    excess = paired_excess(costs, [story.text for story in stories])
    return statistics.fmean(measure(model, tokenizer, "word", asked)["acc"]), excess.share


drawn = [story for story in tales.stories(18_000_777, 90) if story.marks and story.questions[-1][1].startswith(" ")]
leaked, new = drawn[:16], drawn[16:48]
student, _ = load_bundle(corpora.DATA / "checkpoints" / "rwkv-4-tales")
rows = [[tokenizer.eot, *tokenizer.encode(story.text), tokenizer.eot] for story in leaked]
optimizer = torch.optim.AdamW(student.parameters(), lr=2e-3, weight_decay=0.0)
history = [(0, {"asked": state_of(student, leaked), "new": state_of(student, new)})]

# %%
for turn in trange(1, 9, leave=False):
    student.train()
    for first in (0, 8):
        x, y = padded(rows[first : first + 8])
        loss = F.cross_entropy(student(x)[0].transpose(1, 2), y)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
    student.eval()
    if turn in (2, 4, 8):
        history.append((turn, {"asked": state_of(student, leaked), "new": state_of(student, new)}))
figures.leak(history)
for turn, found in history:
    print(f"round {turn}:", *(f"{name}: {a:.0%} right, {b:+.0%} of the floor;" for name, (a, b) in found.items()))
end = history[-1][1]["asked"][1]
guess.reveal(guess.choices[2] if end < -0.1 else guess.choices[1] if end < 0.02 else guess.choices[0], f"{end:+.0%}.")
before, after = (history[i][1]["new"][1] for i in (0, -1))
words = (
    "it learned the leaked ones by heart, and forgot how stories go" if after > before else "it learned from them, too"
)
print(f"new stories cost {before:+.0%} more than the floor before, {after:+.0%} after: {words}")

# %% [markdown]
# Look at the two panels together. By the left one the model has become good at recall. By the right one it pays less for the leaked stories than
# the one who wrote them, who had to throw dice. **Nobody who has not seen the dice can do that**, so a loss below the floor
# proves the leak. And the new stories, of which nothing leaked, tell what was learned about stories.
#
# On natural text no floor is known, and a leak has to be guessed: by asking for the next sentence of the test, or by writing
# new questions of the same kind and watching the score fall.
#
# ## The unit that is fair
#
# Perplexity is $e^{\text{nats}}$ a unit. But a unit of what? The same probability of the same text can be written in many ways.
#
# **Exercise 18.5** · implement · ●○○ · 5 min · 2 points · teaches the unit that compares tokenizers · needs lesson 08
#
# Turn a perplexity a unit (a token or a word) into bits a byte. `bytes_per_unit` is how many bytes one unit stands for.
#
# <details><summary>Hint 1</summary>
#
# A perplexity of 8 is a choice among 8: three bits.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `math.log2(perplexity)` bits are spent on `bytes_per_unit` bytes.
#
# </details>


# %% tags=["exercise:18.5"]
def bits_per_byte(perplexity, bytes_per_unit):
    """A perplexity a unit, and the unit's size in bytes -> bits a byte."""
    ### BEGIN SOLUTION
    return math.log2(perplexity) / bytes_per_unit
    ### END SOLUTION


# %% tags=["check:18.5"]
bits_per_byte = check("18.5", bits_per_byte)

# %% [markdown] tags=["solution:18.5"]

# %% [markdown]
# One model and 40 new stories, so one sum of nats. Divide it by the tokens that each of three tokenizers makes of these stories: that is
# the perplexity which a model with that tokenizer would report, if it were exactly as good.

# %%
texts = [story.text for story in tales.stories(18_000_555, 40)]
nats = sum(cost for cost, _ in document_nats(base, tokenizer, texts))
size = sum(len(text.encode()) for text in texts)
units = {"word": sum(len(text.split()) for text in texts), "byte": size}
for name in ("tales", "gpt2", "world"):
    encode = load_tokenizer(name).encode
    units[f"token of {name}"] = sum(len(encode(text)) for text in texts)
for name, count in units.items():
    value = math.exp(nats / count)
    print(f"perplexity a {name:15} {value:7.3f}   {bits_per_byte(value, size / count):.4f} bits a byte")

# %% [markdown]
# Five perplexities, one model. Nats a token reward short tokens. Perplexity a word does not depend on the tokenizer, and works where
# a language puts blanks between its words:

# %%
samples = paragraphs(400)
world = load_tokenizer("world")
for code in ("en_Latn", "de_Latn", "ko_Kore", "zh_Hans", "ja_Jpan", "th_Thai"):
    text = samples.get(code)
    if text:
        counts = len(text.encode()) / len(text.split()), len(text.encode()) / len(world.encode(text))
        print(f"{code}: {counts[0]:6.1f} bytes a 'word' between blanks, {counts[1]:.1f} bytes a token of World's")

# %% [markdown]
# A word between blanks in Chinese is a sentence. So only bits a byte, or the nats of a whole text that all models read, compare
# across languages and tokenizers. (A byte of Chinese carries more than a byte of English: compare models, never languages.)
#
# ## In the wild
#
# Now read four tables of this course's sources, each with your function. First: TinyLlama's own record says 53.86 for the mean of seven tests
# after 2.5 trillion tokens, and 52.99 after 3 trillion. Did it get worse?

# %%
TESTS = {  # TinyLlama at 3T (its EVAL.md), and the number of questions
    "HellaSwag": (0.5920, 10_042), "OpenBookQA": (0.3600, 500), "WinoGrande": (0.5912, 1_267), "ARC-c": (0.3012, 1_172),
    "ARC-e": (0.5525, 2_376), "BoolQ": (0.5783, 3_270), "PIQA": (0.7329, 1_838),
}  # fmt: skip
squares = [p * (1 - p) / (n - 1) for p, n in TESTS.values()]
of_mean = math.sqrt(sum(squares)) / len(TESTS)
print({name: f"{100 * p:.1f} ± {100 * error**0.5:.1f}" for (name, (p, _)), error in zip(TESTS.items(), squares)})
apart = (0.5386 - 0.5299) / (of_mean * 2**0.5)
print(f"the mean of seven: ± {of_mean:.2%}; 53.86 and 52.99 are {apart:.1f} standard errors apart")
print("that is", "no difference that the published scores can show" if apart < 1.96 else "a real fall")

# %%
MMLU = {  # LiteLlama's model card, without and with five solved examples; OpenELM's, before and after its DPO
    "LiteLlama-460M": (0.2113, 0.2639), "TinyLlama": (0.1900, 0.2653), "OpenLLaMA-3B": (0.2490, 0.2671),
    "LLaMA-7B": (0.2846, 0.3505), "OpenELM-270M": (0.2572, 0.2670), "OpenELM-450M": (0.2601, 0.2541),
    "OpenELM-1.1B": (0.2705, 0.2565), "OpenELM-3B": (0.2676, 0.2480),
}  # fmt: skip
n = 14_042
print("errors from guessing, before and after, and after minus before")
for name, (before, after) in MMLU.items():
    values = (
        errors_apart(before, n, 0.25, 10**9),
        errors_apart(after, n, 0.25, 10**9),
        errors_apart(after, n, before, n),
    )
    print(f"{name:15}", *(f"{value:+6.1f}" for value in values))
five = [row[1] for name, row in MMLU.items() if name in ("LiteLlama-460M", "TinyLlama", "OpenLLaMA-3B")]
spread = errors_apart(max(five), n, min(five), n)
print(f"with five examples the first three lie within {spread:.1f} errors: in which order is not known")

# %% [markdown]
# Five examples lift LiteLlama from far below guessing to a little above. Nobody learns medicine from five examples. What they
# show is the **form**, and with it in sight three models of 0.46 to 3 billion parameters know about equally little.
#
# The Eagle article says that it outperforms all 7B models, and names four tests of many languages. The paper
# ([2404.05892](https://arxiv.org/abs/2404.05892), table 3) has more. These numbers are quoted from it second-hand: look them up before
# you cite them.

# %%
EAGLE = {  # Eagle-7B, RWKV-4-7B, Llama-2-7B, Mistral-7B; then questions in one language, and all
    "PAWS-X": (0.456, 0.521, 0.412, 0.415, 2_000, 14_000), "xCOPA": (0.622, 0.601, 0.567, 0.559, 500, 5_500),
    "xStoryCloze": (0.633, 0.609, 0.575, 0.592, 1_511, 16_621), "xWinograd": (0.804, 0.765, 0.795, 0.812, 2_325, 4_449),
}  # fmt: skip
behind = []
for test, (*shares, one, everything) in EAGLE.items():
    rival = max(shares[1:])
    few, many = (errors_apart(shares[0], k, rival, k) for k in (one, everything))
    behind += [test] if few < -1.96 else []
    print(f"{test:11} Eagle {shares[0]:.1%}, best of the others {rival:.1%}: {few:+.1f} to {many:+.1f} errors")
words = f"behind in {', '.join(behind) or 'none'}; in {len(EAGLE) - len(behind)} of {len(EAGLE)} tests ahead or too close to call"
claim("eagle-languages-best", "does not hold here" if behind else "holds", words)

# %% [markdown]
# Two numbers a row: the first counts the questions of one language, the second those of all. Most of these tests are translations of
# the same questions, so the truth lies between. On PAWS-X, which the article leaves out, three of the four are below a coin: again a form
# that isn't read.
#
# Your own models, or one of transformers' in a folder, get the table of this lesson by `python3 -m lib evaluate FOLDER`. The
# program `lm_eval` itself can ask them, too (`pip install -r data/evaluation.txt`): a test of this course holds our
# answers against its own, question by question.
#
# ## Recap
#
# Most scores are sums of log-probabilities: where the ending begins, and what the sum is divided by, can move a model further than
# its training. A score of $n$ questions wanders by its standard error, and two scores that differ by less than two errors of their
# difference have no order. A known floor
# shows a leak, and only bits a byte compare models with different tokenizers.
#
# ## Read on
#
# - Biderman et al., [Lessons from the Trenches](https://arxiv.org/abs/2405.14782): the people behind lm_eval on what goes wrong.
# - Miller, [Adding Error Bars to Evals](https://arxiv.org/abs/2411.00640): paired errors, clusters, and how many questions it takes.
# - Paperno et al., [LAMBADA](https://arxiv.org/abs/1606.06031): how a test of last words was chosen so that the context matters.
# - Holtzman et al., [Surface Form Competition](https://arxiv.org/abs/2104.08315): why mutual information, and when it helps.
#
# **Next:** [19. Instruction tuning](19_instruction_tuning.ipynb).
