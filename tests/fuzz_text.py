"""Bad text: for the tokenizers, the corpora, the batches, and as prompts. See tests/fuzz.py."""

import torch

from lib.run.sample import sample, tell
from lib.text import corpora
from lib.text.batches import DocumentBatches, WindowBatches, encode_documents
from lib.text.bpe import BPE
from lib.text.trie import WorldTokenizer
from tests.run.tiny import CONFIG, tiny_llama, tiny_rwkv

SCRIPTS = [(32, 126), (0, 31), (127, 255), (0x370, 0x3FF), (0x590, 0x6FF), (0x900, 0x97F), (0x4E00, 0x4FFF)]
SCRIPTS += [
    (0xAC00, 0xACFF),
    (0x1F300, 0x1F6FF),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0xE0020, 0xE007F),
    (0xFFF0, 0xFFFF),
]
PIECES = [
    "\0",
    "\r\n",
    "  ",
    "\t",
    "\u2028",
    "\ufeff",
    "<|endoftext|>",
    "<|endoftext",
    "'s",
    "don't",
    "\u0301",
    "🏳️‍🌈",
    "👩‍👩‍👧",
]
PIECES += ["שלום", "مرحبا", "한국", "e\u0301", "ﬁ", "\x7f", "٣", "½", "Ǆ", "𝔘", "a" * 40, " " * 30, "Ġ", "Ċ"]


def text(dice, longest=40):
    """Return a str: letters of a script or two, and pieces that break things; never half a surrogate pair."""
    scripts = dice.sample(SCRIPTS, 2)
    parts = []
    for _ in range(dice.randrange(longest)):
        parts.append(dice.choice(PIECES) if dice.random() < 0.2 else chr(dice.randint(*dice.choice(scripts))))
    return "".join(parts)


def anything(dice, longest=40):
    """Return text, bytes that may be no UTF-8, or text with half a surrogate pair in it."""
    kind = dice.random()
    if kind < 0.6:
        return text(dice, longest)
    if kind < 0.9:
        return dice.choice([dice.randbytes(dice.randrange(longest)), text(dice, longest).encode()[dice.randrange(3) :]])
    return text(dice, longest) + chr(dice.randint(0xD800, 0xDFFF)) + text(dice, 5)


def as_bytes(value):
    """Return what a tokenizer has to give back: the bytes of the input; PEP 383 says what U+DC80 to U+DCFF are."""
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


def holds(tokenizer, value):
    """Encode and decode; assert that nothing is lost, and that both ways of decoding agree."""
    ids = tokenizer.encode(value)
    assert all(0 <= i < tokenizer.vocab_size for i in ids), "an id outside of the vocabulary"
    assert tokenizer.decode_bytes(ids) == as_bytes(value), "other bytes than were encoded"
    assert tokenizer.decode(ids) == as_bytes(value).decode("utf-8", "replace"), "other text than was encoded"


def wild_ids(dice, tokenizer):
    """Decode ids that may lie outside of the vocabulary."""
    ids = [
        dice.choice([dice.randrange(tokenizer.vocab_size), dice.randint(-3, 10**6)]) for _ in range(dice.randrange(6))
    ]
    bad = [i for i in ids if not 0 <= i < tokenizer.vocab_size]
    tokenizer.decode(ids)
    assert not bad, f"decoded {bad}"


def targets(folder):
    """Return {name: (target, weight)}."""
    bpe = BPE.train("the cat sat on the mat, and the hat was that of the cat's own. 12 + 34 = 46! " * 9, 330)
    small = bpe.vocab_size
    models = [tiny_llama(config=type(CONFIG)(**{**vars(CONFIG), "vocab_size": small})), tiny_rwkv(7, vocab_size=small)]
    world = WorldTokenizer()

    def bpe_text(dice):
        holds(bpe, anything(dice))

    def world_text(dice):
        holds(world, anything(dice))

    def bpe_specials(dice):
        value = text(dice)
        ids = bpe.encode(value, allow_special=True)
        assert ids.count(bpe.eot) == value.count("<|endoftext|>") and bpe.decode(ids) == value

    def ids(dice):
        wild_ids(dice, dice.choice([bpe, world]))

    def bpe_train(dice):
        special = dice.choice([("<|endoftext|>",), (), ("a", "b"), ("a", "a"), ("",)])
        learnt = BPE.train(anything(dice, 200), dice.choice([0, -1, 256, 257, 270, 300]), special)
        holds(learnt, anything(dice))

    def long_words(dice):
        letters = dice.choice(["a", "ab", "theca", "the cat", "\0", " ", "שלום", "🏳️‍🌈", "thecasonmhw."])
        word = "".join(dice.choices(letters, k=1_000_000))
        holds(dice.choice([bpe, bpe, world]), word)

    def long_training(dice):
        letters = dice.choice(["a", "ab", "theca", "שלום", "thecasonmhw"])
        holds(BPE.train("".join(dice.choices(letters, k=500_000)), 600), anything(dice))

    def corpus(dice):
        documents = [text(dice, 30) for _ in range(dice.randrange(8))]
        size = dice.choice([None, 1, 10, 100, 10**9, 0, -1])
        if dice.random() < 0.5:
            made = corpora.load(dice.choice(["", "tale", "../tales", "\0", text(dice, 9), "python-docs"]), size)
        else:
            made = corpora.from_documents("own", documents, size, "none", "here")
        assert not set(made.documents_train) & set(made.documents_validation), "a document on both sides"
        assert size is None or len(made.train.encode()) <= size + 3 * len(made.documents_train), (
            "more than was asked for"
        )

    def batches(dice):
        documents = [text(dice, 30) for _ in range(dice.randrange(1, 9))]
        tokens, starts = encode_documents(bpe, documents)
        kind = dice.choice([WindowBatches, lambda tokens, *shape: DocumentBatches(tokens, starts, *shape)])
        size, length = (dice.choice([1, 2, 3, 5, 0, -1, 10**9, 2.5, "4", None]) for _ in range(2))
        made = kind(tokens, size, length, dice.randrange(9))
        for step in (0, 1, dice.randrange(10**6)):
            x, y = made[step]
            assert x.shape == y.shape == (size, length) and torch.equal(x[:, 1:], y[:, :-1])

    def prompts(dice):
        model, prompt = dice.choice(models), anything(dice, 80)
        options = (
            {"temperature": 1.0}
            if dice.random() < 0.5
            else {"temperature": dice.choice([0, 0.5, 1.0, -1, float("nan"), float("inf"), 1e-30, "hot"])}
        )
        options |= {
            "top_k": dice.choice([None, 1, 5, 10**9, 0, -2, 2.5]),
            "top_p": dice.choice([None, 0.5, 1, 0, 2, float("nan")]),
        }
        with torch.no_grad():
            told = tell(
                model,
                bpe,
                prompt,
                n_tokens=dice.choice([None, 1, 5, 0, -1, 10**6]) if model is models[0] else 5,
                seed=1,
                **options,
            )
        assert told.startswith(prompt if isinstance(prompt, str) else prompt.decode("utf-8", "replace"))

    def tokens(dice):
        model = dice.choice(models)
        shape = dice.choice([(1, 3), (2, 5), (3,), (1, 0), (0, 3), (1, 1, 3), (1, 60)])
        low, high = dice.choice([(0, 29), (0, small), (-1, 3), (small, small + 1)])
        rows = torch.randint(low, high, shape, generator=torch.Generator().manual_seed(dice.randrange(99)))
        new = list(sample(model, rows, dice.choice([1, 3]), seed=0))
        assert all(0 <= token < small for step in new for token in step)

    many = {
        "bpe_text": (bpe_text, 340),
        "world_text": (world_text, 150),
        "bpe_specials": (bpe_specials, 60),
        "ids": (ids, 60),
    }
    few = {"bpe_train": (bpe_train, 10), "corpus": (corpus, 30), "batches": (batches, 40), "prompts": (prompts, 10)}
    return many | few | {"tokens": (tokens, 10), "long_words": (long_words, 0), "long_training": (long_training, 0)}
