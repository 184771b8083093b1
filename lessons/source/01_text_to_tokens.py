# %% [markdown]
# # 01. The same words cost more in Korean
#
# A model never sees text. It sees numbers, one for each **token**, and somebody decided beforehand which pieces of text
# are tokens. That decision is made once, and it sets the price of every language.
#
# **You build** the merge step and the encoder of BPE (GPT-2, LLaMA), and the longest match of RWKV's World tokenizer. Then
# you measure what 195 languages pay. **You need** Python. **Time:** 95 minutes.

# %% tags=["setup"]
start("01")

# %%
import re
import tempfile
import unicodedata
from collections import Counter
from pathlib import Path

import regex
import torch

from lessons.figures import lesson_01 as figures
from lib.show import plots, widgets
from lessons.exercises.lesson_01 import check
from lib.teach.claims import claim
from lib.show.predict import predict
from lib.text import corpora
from lib.text.bpe import BPE, PATTERN
from lib.text.languages import LLAMA_LANGUAGES, language_name, name_lists, paragraphs
from lib.text.published import load_tokenizer

# %% [markdown]
# ## The need
#
# The plainest idea is one number for each word. Take all words of 36 plays of Shakespeare as the vocabulary. Then open a
# play that is not among them, *Timon of Athens*.

# %% tags=["nbval-check-output"]
shakespeare = corpora.load("shakespeare")
known = {word for play in shakespeare.documents_train for word in re.findall(r"[a-z']+", play.lower())}
timon = re.findall(r"[a-z']+", shakespeare.documents_validation[-1].lower())
unknown = [word for word in timon if word not in known]
often = ", ".join(f"{word} {count}" for word, count in Counter(unknown).most_common(7))
rare = ", ".join(word for word, count in list(Counter(unknown).items())[:12] if count == 1)
print(f"a vocabulary of {len(known):,} words; {len(unknown)} of the {len(timon):,} words of Timon are not in it,")
print(f"one in {len(timon) / len(unknown):.0f};", end=" ")
print(f"the most frequent {often}; others {rare}")

# %% [markdown]
# The lost words are not *and* or *the*. They are names and rare words, which carry the news. *Apemantus* stands on the
# stage, and the model can neither read nor say his name. More text does not cure this: people make new words every day.
#
# The other plain idea is one number for each character: letters, spaces, signs. Then hardly anything is unknown. But a
# sequence of characters is long, and attention compares each position with every other one (lesson 05), so twice the
# length costs four times the work.

# %% tags=["nbval-check-output"]
play = shakespeare.documents_validation[-1]
words, characters = len(play.split()), len(play)
print(f"Timon has {words:,} words and {characters:,} characters: {characters / words:.1f} times as long,")
print(f"and attention over all of it compares {(characters / words) ** 2:.0f} times as many pairs")

# %% [markdown]
# You want pieces in between: whole words where they are frequent, parts of words where they are rare, and nothing unknown,
# in any language. **Which pieces? And who pays when the choice is poor?**
#
# ## Everything is bytes
#
# Start at the bottom. A computer stores text as **bytes**, numbers from 0 to 255. Unicode numbers over 150,000
# characters, so most take more than one byte. The usual rule for that is **UTF-8**.

# %%
guess = predict("01.a", "한 is one Korean syllable, one character. How many bytes is it?", ["one", "two", "three"])

# %% tags=["nbval-check-output"]
for character in "Aé한🐉":
    code = ord(character)
    print(
        f"{character}  number {code:7,}  = {code:21b}  bytes {' '.join(f'{b:08b}' for b in character.encode('utf-8'))}"
    )
guess.reveal(
    ["none", "one", "two", "three"][len("한".encode())],
    "An English letter is one byte. This syllable writes three sounds, in one character of three bytes.",
)

# %% [markdown]
# Read the bits. A byte that begins with 0 is a character by itself. `110`, `1110` and `11110` begin a character of two,
# three or four bytes, and each byte that follows begins with `10` and carries **six bits** of the character's number. You
# can do it by hand, for every character that there is:


# %% tags=["nbval-check-output"]
def utf8(code):
    """The bytes of the character with this number: a first byte that tells how many, then six bits in each."""
    if code < 0x80:
        return bytes([code])
    n = 2 if code < 0x800 else 3 if code < 0x10000 else 4
    first = 0xF00 >> n & 0xFF  # 110..., 1110..., 11110...
    shifts = [6 * k for k in reversed(range(n - 1))]
    return bytes([first | code >> 6 * (n - 1)] + [0x80 | code >> shift & 0x3F for shift in shifts])


print("한:", [f"{byte:08b}" for byte in utf8(ord("한"))])
characters = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]  # those between are no characters
print(f"equal to Python's for {sum(utf8(code) == chr(code).encode() for code in characters):,} of {len(characters):,}")

# %% [markdown]
# So 256 tokens are enough for every text in the world, and nothing is unknown. But the sequences are even longer than
# those of letters. Now make them shorter.
#
# ## By hand: join the most frequent pair
#
# **[Byte-pair encoding](../lessons/GLOSSARY.md#byte-pair-encoding)** (BPE) is one idea. Look at all pairs of neighbours,
# make one new token of the most frequent pair, and begin again.

# %% tags=["nbval-check-output"]
text = "three trees, three bees"
symbols = list(text)
counts = {}
for left, right in zip(symbols, symbols[1:]):
    counts[left + right] = counts.get(left + right, 0) + 1
print({pair: count for pair, count in counts.items() if count > 1})
print("the most frequent:", max(counts, key=counts.get))

# %% [markdown]
# **Exercise 01.1** · implement · ●○○ · 10 min · 3 points · teaches the merge step · needs nothing else
#
# Write `join`: walk through the symbols from left to right, and wherever two neighbours are `pair`, put `new` in their
# place. Three of a kind, `a a a` with the pair `(a, a)`, become `aa a`. Return a new list.
#
# <details><summary>Hint 1: the walk</summary>
#
# Use a `while` with an index `i`. After a join step on by two, else by one.
#
# </details>
# <details><summary>Hint 2: the end</summary>
#
# The last symbol has no right neighbour. `tuple(symbols[i : i + 2]) == tuple(pair)` is false there by itself.
#
# </details>


# %% tags=["exercise:01.1", "builds:lib.text.bpe.join"]
def join(symbols, pair, new):
    """Replace every `pair` of neighbours in the list `symbols` by `new`, from left to right."""
    joined, i = [], 0
    ### BEGIN SOLUTION
    while i < len(symbols):
        found = tuple(symbols[i : i + 2]) == tuple(pair)
        joined.append(new if found else symbols[i])
        i += 2 if found else 1
    return joined
    ### END SOLUTION


# %% tags=["check:01.1"]
join = check("01.1", join)

# %% [markdown] tags=["solution:01.1"]

# %% [markdown]
# Now repeat it, and watch the text shrink. Each line has one merge more than the line above.

# %%
symbols, rows = list(text), {}
for step in range(6):
    rows[f"{step} merge{'s' * (step != 1)}"] = [symbol.encode() for symbol in symbols]
    counts = Counter(zip(symbols, symbols[1:]))
    left, right = max(counts, key=counts.get)  # of equally frequent pairs the first
    symbols = join(symbols, (left, right), left + right)
figures.tokens(rows, color="LLAMA")

# %% [markdown]
# A dot is a space. `ee` comes first, then `ree`, and soon longer pieces follow. Nobody told the algorithm what a word is.
#
# ## Learn from the tales
#
# Two things make this practical. First, it starts from **bytes**, so nothing is ever unknown. Second, the text is cut into
# **words** beforehand, and a merge never crosses a word's border. So each different word is kept once, with its count.
# What counts as a word is fixed by a search pattern. This one is GPT-2's: letters, digits or other signs, each with the
# space before them, and endings such as `'s` apart.

# %% tags=["nbval-check-output"]
print(PATTERN)
print(regex.findall(PATTERN, "Greta's 3 cats don't sleep!"))

# %% [markdown]
# Learn from the **tales**, the stories of lesson 00:


# %%
def learn(text, n_merges):
    """Learn merges from a text: a list of pairs of bytes, in the order learned."""
    words = Counter(regex.findall(PATTERN, text))
    words = {tuple(bytes([byte]) for byte in word.encode()): count for word, count in words.items()}
    merges = []
    for _ in range(n_merges):
        counts = Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                counts[pair] += count
        left, right = max(counts, key=counts.get)
        merges.append((left, right))
        words = {tuple(join(list(word), (left, right), left + right)): count for word, count in words.items()}
    return merges


tales = corpora.load("tales")
merges = learn("\n".join(tales.documents_train[:200]), 150)
print("first:", [(left + right).decode() for left, right in merges[:14]])
print("last: ", [(left + right).decode() for left, right in merges[-14:]])

# %% [markdown]
# Pairs of frequent letters come first, then short words. The list, in its order, is all that BPE learns. The **rank** of a
# merge is its place in the list, from 0, and it decides how new text is cut.
#
# ## Encode: the earliest merge first

# %%
guess = predict(
    "01.b",
    "GPT-2's vocabulary holds ` fr`, ` franc` and `ance`. How does it cut ` france`, with a small f?",
    ["` franc` and `e`: the longest token first", "` fr` and `ance`", "it is one token"],
)

# %% tags=["nbval-check-output"]
tokenizers = {
    "GPT-2": load_tokenizer("gpt2"),
    "LLaMA type": load_tokenizer("llama"),
    "RWKV World": load_tokenizer("world"),
}
gpt2 = tokenizers["GPT-2"]
for piece in (b"an", b"ance", b" fr", b" franc"):
    print(f"{piece.decode()!r} is token {gpt2.vocab.index(piece):,}")  # in GPT-2 they are numbered as they were learned
cut = [gpt2.vocab[i] for i in gpt2.encode(" france")]
print(cut)
guess.reveal(
    "it is one token" if len(cut) == 1 else guess.choices[0] if b" franc" in cut else guess.choices[1],
    "`an` and `ance` were learned long before ` franc`. They come first, and take the letters that ` franc` needs.",
)

# %% [markdown]
# **Exercise 01.2** · implement · ●●○ · 15 min · 4 points · teaches how BPE encodes · needs 01.1
#
# Write `encode_word`. `symbols` is a list of bytes objects, at first one byte each; `ranks` maps a pair to its rank. Find
# the neighbours that have a rank, take the pair of the **lowest** rank, join it everywhere in the word, and repeat until no
# neighbours have a rank. Return the list of tokens.
#
# <details><summary>Hint 1: which pair</summary>
#
# `known = [pair for pair in zip(symbols, symbols[1:]) if pair in ranks]`, and `min(known, key=ranks.get)`.
#
# </details>
# <details><summary>Hint 2: the join</summary>
#
# `join(symbols, (left, right), left + right)`: `+` on bytes puts them side by side.
#
# </details>
# <details><summary>Hint 3: the end</summary>
#
# `while known:` needs a new `known` after each join. Or a `while True` with a `return` inside.
#
# </details>


# %% tags=["exercise:01.2"]
def encode_word(symbols, ranks):
    """A word as a list of bytes -> its tokens: the merge of lowest rank first, as long as one fits."""
    ### BEGIN SOLUTION
    while True:
        known = [pair for pair in zip(symbols, symbols[1:]) if pair in ranks]
        if not known:
            return symbols
        left, right = min(known, key=ranks.get)
        symbols = join(symbols, (left, right), left + right)
    ### END SOLUTION


# %% tags=["check:01.2"]
encode_word = check("01.2", encode_word)

# %% [markdown] tags=["solution:01.2"]

# %% [markdown]
# The course's own tokenizer was learned like this from the tales: 256 bytes, 1,791 merges, and one special token that
# ends a text, 2,048 in all. Does your encoder cut a story as it does? And what happens to text that it never saw?

# %% tags=["nbval-check-output"]
ours = load_tokenizer("tales")
ranks = {pair: rank for rank, pair in enumerate(ours.merges)}


def encode(text):
    """Text -> tokens (bytes), word by word."""
    words = regex.findall(PATTERN, text)
    return [token for word in words for token in encode_word([bytes([b]) for b in word.encode()], ranks)]


story = tales.documents_validation[0]
print("as the course's tokenizer:", encode(story) == [ours.vocab[i] for i in ours.encode(story)])
strange = bytes(torch.randint(256, (1000,)).tolist())
print("any bytes come back:      ", ours.decode_bytes(ours.encode(strange)) == strange)
print(
    "Korean comes back:        ",
    ours.decode(ours.encode("한국어")) == "한국어",
    "in",
    len(ours.encode("한국어")),
    "tokens",
)

# %% [markdown]
# ## Another way: the longest match wins
#
# RWKV's **World** vocabulary has no merges and no ranks: it is a plain list of 65,529 tokens. The tokenizer takes, from
# where it stands, the **longest** token that fits, and goes on after it. To find it fast, the tokens are kept in a
# **[trie](../lessons/GLOSSARY.md#trie)**, a tree of bytes: words that begin alike share a branch.


# %% tags=["nbval-check-output"]
ID = -1  # beside the bytes 0..255: here a node keeps the id of the token that ends in it


def build_trie(tokens):
    """{id: bytes} -> a tree of dicts."""
    root = {}
    for i, token in tokens.items():
        node = root
        for byte in token:
            node = node.setdefault(byte, {})
        node[ID] = i
    return root


def drawn(node, path=b""):
    """Print the tree, a line for each node."""
    for byte, below in node.items():
        if byte != ID:
            here = path + bytes([byte])
            print("  " * len(path) + here.decode(), f"= token {below[ID]}" if ID in below else "")
            drawn(below, here)


drawn(build_trie({1: b"t", 2: b"th", 3: b"three", 4: b"tree"}))

# %% [markdown]
# In `threads` the walk goes down to `thre` and can't go on. But `thre` is no token. The last token that it passed was `th`.
#
# **Exercise 01.3** · implement · ●●○ · 10 min · 4 points · teaches longest match · needs nothing else
#
# Write `longest_match`: walk down the tree along `data` (bytes) and return `(id, length)` of the longest token with which
# it begins; `(-1, 0)` where there is none.
#
# <details><summary>Hint 1</summary>
#
# `for depth, byte in enumerate(data, start=1)`: stop where `byte not in node`, else go down with `node = node[byte]`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Each time that `ID in node`, note the id and the depth. At the end the last note is the answer.
#
# </details>


# %% tags=["exercise:01.3", "builds:lib.text.trie.longest_match"]
def longest_match(root, data):
    """(id, length) of the longest token in the tree with which data begins; (-1, 0) where there is none."""
    node, best, length = root, -1, 0
    ### BEGIN SOLUTION
    for depth, byte in enumerate(data, start=1):
        if byte not in node:
            break
        node = node[byte]
        if ID in node:
            best, length = node[ID], depth
    ### END SOLUTION
    return best, length


# %% tags=["check:01.3"]
longest_match = check("01.3", longest_match)

# %% [markdown] tags=["solution:01.3"]

# %% tags=["nbval-check-output"]
world = tokenizers["RWKV World"]
root = build_trie(dict(enumerate(world.vocab[1:], start=1)))


def encode_world(data):
    """Bytes -> ids, greedily from the left."""
    ids = []
    while data:
        i, length = longest_match(root, data[:128])  # the longest token has 128 bytes
        ids.append(i)
        data = data[length:]
    return ids


sentence = "Once upon a time, 옛날 옛적에, there was a tokenizer."
print("as the course's World tokenizer:", encode_world(sentence.encode()) == world.encode(sentence))
print("france:", [world.vocab[i] for i in encode_world(b" france")])

# %% [markdown]
# Here is the other way to cut ` france`: longest first. Neither is right or wrong. But a model that was trained with one
# can't read the other.
#
# ## The same sentence, four times
#
# One more tokenizer: the `LLaMA type` has LLaMA's design, BPE by SentencePiece with 32,000 pieces, and
# **[byte fallback](../lessons/GLOSSARY.md#byte-fallback)**: what its pieces can't write is written byte by byte. Its
# vocabulary is Mistral 7B's first one, whose licence lets the course use it. LLaMA's own has other pieces, so these numbers
# are for the type, not for LLaMA itself.

# %%
sentence = "There lived a tiger, 호랑이, 老虎, बाघ, ነብር."
cuts = {name: [each.vocab[i] for i in each.encode(sentence)] for name, each in tokenizers.items()}
figures.tokens({"the tales, yours": encode(sentence)} | cuts)

# %% [markdown]
# Grey pieces are bytes that mean nothing alone: they are parts of a character, and the model has to put them together
# itself. All four cut English into words, or nearly so. The Korean tiger has three syllables. They are three tokens where
# the vocabulary knows them, and eight or nine where it doesn't. The Amharic one, `ነብር`, is mostly bytes in all four.
#
# ## What does a language cost?
#
# Be careful what you compare. Two texts in two languages are seldom the same text. So take something that *is* the same:
# the days of the week and the names of all countries, from Unicode's tables (the package `babel`). It is a mild test,
# because many names are only transcribed.

# %%
lists = name_lists()
print(f"{len(lists)} languages; in English the list costs the LLaMA type", end=" ")
print(f"{len(tokenizers['LLaMA type'].encode(lists['en']))} tokens: {lists['en'][:60]!r} ...")
guess = predict(
    "01.c",
    "In how many of the other languages does the same list cost the LLaMA type fewer tokens?",
    ["in none", "in about 20", "in about half"],
)

# %% tags=["nbval-check-output"]
costs = {name: {code: len(each.encode(text)) for code, text in lists.items()} for name, each in tokenizers.items()}
print("The list in tokens, and how many times the price of English:")
for code in ("en", "fr", "de", "uk", "ko", "zh_Hans", "ja", "hi", "am", "my"):
    line = "  ".join(f"{name} {cost[code]:5,} ({cost[code] / cost['en']:4.1f})" for name, cost in costs.items())
    print(f"{language_name(code):21}{line}")
cheaper = sum(cost < costs["LLaMA type"]["en"] for cost in costs["LLaMA type"].values())
guess.reveal(
    "in none" if cheaper == 0 else "in about 20" if cheaper < 50 else "in about half", "English is the cheapest."
)

# %%
shown = ("en", "uk", "ko", "ja", "zh_Hans", "am", "hi", "ta", "my")
figures.prices(
    costs,
    {code: language_name(code).replace(" (Simplified)", "") for code in shown},
    LLAMA_LANGUAGES,
    ylabel="tokens for the same names",
    alt="A dot a language, 195 of them, for three tokenizers, on a logarithmic axis. English is lowest everywhere. LLaMA's 20"
    f" languages, filled, lie low, but for those in Cyrillic with GPT-2. Korean goes from {costs['GPT-2']['ko']:,} tokens with"
    f" GPT-2 to {costs['RWKV World']['ko']:,} with World, Amharic from {costs['GPT-2']['am']:,} to"
    f" {costs['RWKV World']['am']:,}.",
)

# %% [markdown]
# Filled dots are the 20 languages of LLaMA's Wikipedia, hollow ones are all others. Follow a line from left to right: that
# is the price of one language under three vocabularies. Look at three things.
#
# - English is at the bottom under all three, though World was made for a hundred languages.
# - Ukrainian and Korean cost nearly the same with GPT-2. With the LLaMA type Ukrainian is cheaper; with World Korean is.
# - World is not the cheapest everywhere. Amharic costs more with it than with the others.
#
# Who got the places in the vocabularies? Count the tokens by script, and then how many syllables of a Korean text are
# tokens of their own.


# %% tags=["nbval-check-output"]
def script(token):
    """The script of a token's letters, or None: the first word of their names in Unicode."""
    names = {unicodedata.name(c, "?").split()[0] for c in token.decode("utf-8", "ignore") if c.isalpha()}
    return names.pop() if len(names) == 1 else None


samples = paragraphs()
syllables = [c.encode() for c in samples["ko_Kore"] if script(c.encode()) == "HANGUL"]
for name, each in tokenizers.items():
    places, vocab = Counter(map(script, each.vocab)), set(each.vocab)
    row = [f"{kind.lower()} {places[kind]:,}" for kind in ("LATIN", "CYRILLIC", "CJK", "HANGUL", "ETHIOPIC")]
    own = sum(syllable in vocab for syllable in syllables) / len(syllables)
    print(f"{name:11}{', '.join(row)}; of {len(syllables)} syllables {own:.0%} have a token")

# %% [markdown]
# (CJK are the Chinese characters, Hangul is Korean.) Korean can write 11,172 syllables. The LLaMA type has a token for
# the few hundred most frequent ones, so it seldom falls back to bytes. But where it does, it pays three tokens for one
# syllable, one for each byte. GPT-2, with next to no Korean in its vocabulary, pays two or three for each: count the
# tiger's.
#
# **What that means.** A model works token by token, so this one number decides several costs: how much fits into its
# context of 2,048 tokens, what it costs to train on the same content, what attention costs. Put in a language of your own.

# %%
MINE = "ta_Taml"  # yours: see sorted(samples), but it must be in lists, too

cost = costs["LLaMA type"]
for code in ("en_Latn", "ko_Kore", "ja_Jpan", "am_Ethi", MINE):
    ratio = cost[code if code in cost else code.split("_")[0]] / cost["en"]
    words = re.split(r"[\s፡]+", samples[code])  # ፡ is the space of Amharic
    tokens = len(tokenizers["LLaMA type"].encode(samples[code]))
    fertility = f"{tokens / len(words):.1f} tokens a word" if len(words) > 20 else "no spaces"
    print(f"{language_name(code):9}context holds {1 / ratio:4.0%} of English's, training {ratio:.1f} times,", end=" ")
    print(f"attention {ratio**2:4.1f} times; {len(samples[code].encode()) / tokens:.1f} bytes a token, {fertility}")

# %% [markdown]
# The last two columns are measured on running text, articles of the Declaration of Human Rights (the package
# `gflanguages`). They are not the same article in each language, so look at **bytes per token** there, and not at counts.
# Even so, mind the unit: a letter of English is one byte, a syllable of Korean three, so 2.3 bytes are less than one
# syllable. Tokens per word, called **fertility**, says nothing in Japanese, which writes no spaces.
#
# ## Why did LLaMA leave out Korean, Chinese and Japanese?
#
# What the paper says (Touvron et al. 2023, section 2.1): its Wikipedia covers "20 languages, which use either the Latin
# or Cyrillic scripts". From the web, two thirds of the whole, pages that are not English were removed. The paper gives no
# reason.
#
# A popular answer is that they were too expensive. Test it: do the languages that were left out cost more than those that
# were taken?

# %% tags=["nbval-check-output"]
taken = {code: cost[code] for code in LLAMA_LANGUAGES}
most = max(taken, key=taken.get)
cheap = [code for code in lists if code not in taken and cost[code] < cost[most]]
print(f"the most expensive that was taken: {language_name(most)}, {cost[most]:,} tokens")
print(f"left out and cheaper than that: {len(cheap)} of {len(lists) - len(taken)}, such as", end=" ")
print(", ".join(f"{language_name(code)} {cost[code]:,}" for code in ("id", "sw", "fi", "tr", "vi")))
print(", ".join(f"{language_name(code)} {cost[code]:,}" for code in ("ko", "zh_Hans", "ja")))

# %% [markdown]
# So price alone did not decide. Did the script? What was in LLaMA's Wikipedia nobody outside can look up. But the paper's
# list can be held against its own sentence: are all 20 languages written in Latin or Cyrillic, and are Korean, Chinese and
# Japanese not?

# %% tags=["nbval-check-output"]
scripts = {code: Counter(unicodedata.name(c, "?").split()[0] for c in lists[code] if c.isalpha()) for code in lists}
fitting = [code for code in lists if scripts[code].most_common(1)[0][0] in ("LATIN", "CYRILLIC")]
kept = [code for code in LLAMA_LANGUAGES if code in fitting]
east = [code for code in ("ko", "zh_Hans", "ja") if code not in fitting]
print(f"in Latin or Cyrillic: {len(kept)} of the {len(taken)} that were taken,", end=" ")
print(f"and {len(fitting) - len(kept)} of the {len(lists) - len(taken)} that were left out")
fits = len(kept) == len(taken) == 20 and len(east) == 3
number = f"{len(kept)} of {len(taken)} are written in Latin or Cyrillic, none of those three is"
claim("llama-languages", "adds up" if fits else "does not hold here", number)

# %% [markdown]
# The last lines are one of the **claims** of this course: what a source says, and whether it holds when you check it. The
# README has a table of all. Here list and sentence fit, which is all that can be checked.
#
# The script did not decide alone, either. And perhaps cause and effect are the other way round: was Korean left out because
# it is expensive, or is it expensive because it was left out? You can do the experiment. Learn a vocabulary from the lists
# of LLaMA's 20 languages, and another one from the same text with the Korean list added. Then measure both on articles that
# neither saw.

# %%
guess = predict(
    "01.d",
    "Both vocabularies have 3,000 tokens, so in the second Korean takes places from the others. English then costs ...",
    ["less than 5 % more", "5 to 15 % more", "over 15 % more"],
)

# %% tags=["nbval-check-output"]
base = "\n".join(lists[code] for code in LLAMA_LANGUAGES)
without, added = BPE.train(base, 3000), BPE.train(base + "\n" + lists["ko"], 3000)
change = {}
for code in ("en_Latn", "ko_Kore", "ja_Jpan"):
    before, after = (len(each.encode(samples[code])) for each in (without, added))
    change[code] = after / before - 1
    print(
        f"{language_name(code):9}{before:5,} tokens, with Korean in the training text {after:5,}: {change[code]:+.0%}"
    )
print(f"Japanese has {len(samples['ja_Jpan'].encode()):,} bytes")
guess.reveal(
    guess.choices[sum(change["en_Latn"] > share for share in (0.05, 0.15))],
    "A vocabulary gives its last places to rare pieces, and few texts miss those.",
)

# %% [markdown]
# The price follows the data. Japanese shows the other end: without a text of its own it stays at about one token for each
# byte, the most that a byte vocabulary can charge.
#
# **The honest answer**, then. *Known:* the 20 languages are written in two scripts, and web pages in languages other than
# English were removed. *Measured:* with a vocabulary of this type Korean, Chinese and Japanese cost about twice what
# English costs, and rare syllables three tokens each. But over a hundred languages that were left out cost less than one
# that was taken, and with a little Korean text a vocabulary becomes cheaper for Korean. *Unknown:* why they were left out.
# The paper does not say, and no measurement of ours can.
#
# ## Try it
#
# **What does one more merge buy?** Move the slider from bytes to the full vocabulary.

# %%
sample = "Greta tied the bright mask to a black umbrella with a white string, and it was never lost again. "
sample += '"Where is the old spoon?" asked the busy baker gently. "It is in my yellow basket, under the oranges."'


def draw_merges(n_merges):
    """The tokens of a sentence with the first merges of the course's tokenizer."""
    few = BPE(ours.merges[:n_merges])
    row = [few.vocab[i] for i in few.encode(sample)]
    return figures.draw_tokens(row, f"{few.vocab_size} tokens in the vocabulary, {len(row)} in the sentence")


widgets.explore(draw_merges, "What does one more merge buy?", n_merges=(0, len(ours.merges), 1, 100, "merges"))

# %% [markdown]
# ## Exercises
#
# **Exercise 01.4** · repair · ●●○ · 10 min · 4 points · teaches that a token is bytes, not text · needs UTF-8
#
# A chat program shows each token as it comes. In English all is well. In Korean it prints this:


# %% tags=["nbval-check-output"]
def broken_stream(pieces):
    """Tokens (a list of bytes) -> what to show after each of them."""
    return [piece.decode("utf-8", errors="replace") for piece in pieces]


pieces = [gpt2.vocab[i] for i in gpt2.encode("안녕 Greta")]
print(pieces)
print("".join(broken_stream(pieces)))

# %% [markdown]
# Repair it. Return one string for each token: the characters that it completes, or an empty string where it completes
# none. Bytes that can never become a character are shown as `�`, and must not stop what follows. A character that is still
# unfinished at the last token is not shown, for more may come. Each call begins with nothing in hand.
#
# <details><summary>Hint 1</summary>
#
# Something must remember the bytes of an unfinished character until the next token.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The standard library has it: `codecs.getincrementaldecoder("utf-8")(errors="replace")` makes a decoder whose `.decode(piece)`
# keeps what is unfinished.
#
# </details>

# %% tags=["exercise:01.4"]
import codecs


def stream(pieces):
    """Tokens (a list of bytes) -> what to show after each of them, whole characters only."""
    ### BEGIN SOLUTION
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    return [decoder.decode(piece) for piece in pieces]
    ### END SOLUTION


# %% tags=["check:01.4"]
stream = check("01.4", stream)

# %% [markdown] tags=["solution:01.4"]

# %% [markdown]
# **Exercise 01.5** · implement · ●●○ · 15 min · 3 points · teaches how large a vocabulary should be · needs nothing else
#
# Why not a million tokens? Because the last layer of a model, its head, scores **each** token of the vocabulary, at each
# step. Write `flops_per_byte`, the work to read one **byte**: the additions and multiplications. A model of $L$ layers
# and width $C$ has about $12\,C^2$ weights in each layer, and with $V$ tokens its head has $V C$. For each token that is
# read, each weight costs one multiplication and one addition. (The table at the bottom, which gives each token its
# vector, is only looked up and costs nothing.)
#
# <details><summary>Hint 1</summary>
#
# The work for a token is twice the number of weights that multiply.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A token stands for `bytes_per_token` bytes.
#
# </details>


# %% tags=["exercise:01.5"]
def flops_per_byte(n_layers, d_model, vocab_size, bytes_per_token):
    """Additions and multiplications to read one byte, attention's own products left out."""
    ### BEGIN SOLUTION
    return 2 * (12 * n_layers * d_model**2 + vocab_size * d_model) / bytes_per_token
    ### END SOLUTION


# %% tags=["check:01.5"]
flops_per_byte = check("01.5", flops_per_byte)

# %% [markdown] tags=["solution:01.5"]

# %%
full = BPE.train(shakespeare.train[:300_000], 12_000)
sizes, test = [257, 512, 1024, 2048, 4096, 8192, 12_000], play[:50_000]
reach = [len(test.encode()) / len(BPE(full.merges[: size - 257]).encode(test)) for size in sizes]
lines, best = {}, {}
for name, L, C in (("4 layers, d 128", 4, 128), ("8 layers, d 512", 8, 512), ("32 layers, d 4096", 32, 4096)):
    work = [flops_per_byte(L, C, size, length) for size, length in zip(sizes, reach)]
    lines[name] = (sizes, [each / min(work) for each in work])
    best[name] = f"{name} at {sizes[work.index(min(work))]:,}"
print("cheapest:", "; ".join(best.values()))
plots.curves(
    lines,
    xlabel="size of the vocabulary",
    ylabel="work per byte (best = 1)",
    xlog=True,
    ylim=(0.9, 3),
    alt="Work per byte of Shakespeare against the size of the vocabulary, for three models. Each falls at first. Cheapest are"
    f" {'; '.join(best.values())} tokens.",
)

# %% [markdown]
# Look where each curve is lowest. A larger model wants a larger vocabulary, because its head weighs less beside its
# layers. The largest falls to the right edge, so its best size may lie beyond what was tried. The smallest is about as large
# as the course's models. It hardly cares whether it has 1,024 tokens or 2,048, and theirs have 2,048. LLaMA's 32,000 were
# chosen for models thousands of times as large.
#
# ## In the wild
#
# All this is kept in a file called `tokenizer.json`. The library `tokenizers`, written in Rust, reads the course's file and
# cuts as you do, and transformers opens it as a tokenizer for its models.

# %% tags=["nbval-check-output"]
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

with tempfile.TemporaryDirectory() as folder:
    file = str(Path(folder) / "tokenizer.json")
    ours.save(file)
    theirs, fast = Tokenizer.from_file(file), PreTrainedTokenizerFast(tokenizer_file=file, eos_token="<|endoftext|>")
texts = [*tales.documents_validation[:50], *(samples[code] for code in ("ko_Kore", "hi_Deva", "am_Ethi", "ru_Cyrl"))]
print("tokenizers cuts the same:  ", all(theirs.encode(text).ids == ours.encode(text) for text in texts))
print("transformers cuts the same:", all(fast(text)["input_ids"] == ours.encode(text) for text in texts))
print("your encoder, too:         ", all(encode(text) == [ours.vocab[i] for i in ours.encode(text)] for text in texts))
for name, each in tokenizers.items():
    print(f"{name:11}1234567 ->", [each.vocab[i].decode() for i in each.encode("1234567")])

# %% [markdown]
# The last lines are a detail that matters for arithmetic. LLaMA's authors had every number split into its digits. The others
# cut numbers as merges or matches happen to fall.
#
# ## Recap
#
# Every text is bytes, and a vocabulary of joined bytes makes it shorter: BPE repeats the merges in the order in which it
# learned them, World takes the longest match. What a vocabulary was learned from sets the price of each language, in
# context and in compute. The price follows the data, so a list of tokens is also a list of who was there when it was made.
#
# ## Read on
#
# - Sennrich, Haddow and Birch, [Neural Machine Translation of Rare Words with Subword Units](https://arxiv.org/abs/1508.07909):
#   where BPE for text comes from, with the algorithm in fifteen lines.
# - Petrov et al., [Language Model Tokenizers Introduce Unfairness Between Languages](https://arxiv.org/abs/2305.15425):
#   your figure of prices for more tokenizers, on parallel text.
# - Touvron et al., [LLaMA](https://arxiv.org/abs/2302.13971), section 2.1: half a page on data and tokenizer. Read what it
#   says, and what it doesn't.
# - Peng et al., [Eagle and Finch](https://arxiv.org/abs/2404.05892), section 5: why RWKV left BPE for the World trie.
#
# **Next:** [02. Keep the direction, drop the length](02_rmsnorm.ipynb).
