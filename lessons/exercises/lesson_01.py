"""The exercises of lesson 01: merge, encode by rank, longest match, decode a stream, the price of a vocabulary."""

from itertools import pairwise

from lessons.checker.check import Checks
from lessons.exercises import lesson_01_wrong as other
from lessons.exercises.lesson_01_wrong import bites, ranked
from lib.text.bpe import join
from lib.text.trie import build_trie, longest_match

checks = Checks("01")
check = checks.check


@checks.exercise("01.1", reference=join, points=3)
def merge_step(e):
    """Numbers and pieces of text; at both ends, overlapping, none, empty."""
    e.case("in the middle and at the end", [5, 1, 2, 7, 1, 2], (1, 2), 9)
    e.case(
        "three of a kind",
        [1, 1, 1],
        (1, 1),
        9,
        hint="a a a becomes aa a: go from left to right, and skip both when you join.",
    )
    e.case("five of a kind", [4, 1, 1, 1, 1, 1, 4], (1, 1), 9)
    e.case("at an odd place", [3, 1, 2, 3], (1, 2), 9)
    e.case("the pair the other way round", [2, 1, 2, 1], (1, 2), 9)
    e.case(
        "the left one stands last",
        [2, 1],
        (1, 2),
        9,
        hint="the last symbol has no right neighbour: look before you compare.",
    )
    e.case("pieces of text", ["t", "h", "e", "t", "h"], ("t", "h"), "th")
    e.case("no such pair", [1, 3, 2], (1, 2), 9)
    e.case("one symbol", [1], (1, 1), 9)
    e.case("nothing", [], (1, 2), 9)
    e.case("random symbols", [e.size(1, 3) for _ in range(30)], (e.size(1, 3), e.size(1, 3)), 9)
    e.mistake("it goes from right to left: a a a must become aa a, not a aa.", other.right_to_left)
    e.mistake("only the first pair is joined: go on behind it.", other.first_only)
    e.mistake("after a join the right symbol is used again: step on by two.", lambda *a: other.walk(*a, step=1))
    e.mistake(
        "the last symbol is lost: it has no right neighbour, but it stays.", lambda *a: other.walk(*a, keep_last=False)
    )
    e.mistake("it looks past the end: the last symbol has no right neighbour.", lambda *a: other.walk(*a, guard=False))
    e.mistake("order counts: (1, 2) is not (2, 1).", lambda *a: other.walk(*a, either=True))
    e.mistake("the left symbol stays: the new one replaces both.", lambda *a: other.walk(*a, keep_left=True))
    e.mistake(
        "it always steps by two: step by one where nothing was joined.",
        other.skip_a_pair,
    )
    e.mistake("the list that was passed in is changed: make a new one.", other.in_place)
    e.mistake("the last symbol is added though it was joined: add it only where it is left over.", other.joined_again)
    e.mistake(
        "nothing is joined. `symbols[i : i + 2]` is a list and never equals a tuple: compare `tuple(...)` of both.",
        lambda symbols, pair, new: list(symbols),
    )
    e.mistake("symbols need not be text: compare neighbours, and leave them as they are.", other.as_text)
    e.mistake("`new` is what to put, not left + right.", lambda s, pair, new: join(s, pair, pair[0] + pair[1]))
    e.mistake("the `return` stands inside the loop: move it below.", lambda s, p, new: join(s, p, new)[:1] or None)


def encode_word(symbols, ranks):
    """Join the pair of lowest rank, again and again, until no pair of neighbours has a rank."""
    return other.by_choice(symbols, ranks, min)


def rank_cases(e):
    """Add words on which the order of merges matters."""
    france = ranked("a+n", "c+e", "an+ce", "f+r", "fr+an", "fran+c")
    e.case(
        "france",
        bites("france"),
        france,
        hint="`an` is merged first, then `ce`, then `ance`: nothing is left for `franc`.",
    )
    e.case("the merge on the right is the earlier one", bites("abc"), ranked("b+c", "a+b"))
    e.case("two places at once", bites("banana"), ranked("a+n", "an+a", "n+a", "b+an"))
    e.case("one built on another", bites("lowest"), ranked("l+o", "lo+w", "e+s", "es+t", "low+est"))
    e.case("built from its right part", bites("abc"), ranked("b+c", "a+bc", "a+b"))
    e.case("the most frequent pair is the latest", bites("cabab"), ranked("b+a", "c+a", "a+b"))
    e.case("the rarer pair is the earlier one", bites("ababbc"), ranked("b+c", "a+b", "b+b"))
    e.case("no merge fits", bites("xyz"), france)
    e.case("one byte", bites("x"), france)
    e.case("bytes of a Korean syllable", bites("한"), {(b"\xed", b"\x95"): 0, (b"\xed\x95", b"\x9c"): 1})
    e.case("nothing", [], france)
    mixed = dict(sorted(france.items(), reverse=True))
    e.case(
        "a dictionary in another order", bites("france"), mixed, hint="the rank decides, not the dictionary's order."
    )
    word = "".join("abn"[e.size(0, 2)] for _ in range(14))
    e.case("a random word", bites(word), ranked("a+n", "an+a", "n+a", "b+an"))


@checks.exercise("01.2", reference=encode_word, points=4)
def encode_by_rank(e):
    """Words on which order matters: the earliest merge, not the first from the left, not the longest token."""
    rank_cases(e)
    e.mistake(
        "this takes the longest token from the left. That is how World's tokenizer cuts; BPE repeats its merges.",
        other.greedy,
    )
    e.mistake(
        "the first pair from the left is joined: take the one of lowest rank.",
        lambda s, r: other.by_choice(s, r, other.first_pair),
    )
    e.mistake(
        "the last pair is joined: take the one of lowest rank.", lambda s, r: other.by_choice(s, r, other.last_pair)
    )
    e.mistake(
        "the highest rank is taken, the last merge learned: take the lowest.", lambda s, r: other.by_choice(s, r, max)
    )
    e.mistake("the most frequent pair counts when you learn: now the rank decides.", other.most_frequent)
    e.mistake("one merge only: repeat until no pair has a rank.", lambda s, r: other.by_choice(s, r, min, steps=1))
    e.mistake("the pieces are glued to one: return a list of tokens.", lambda s, r: b"".join(encode_word(s, r)))
    e.mistake("nothing is merged.", lambda s, r: list(s))
    e.mistake("the order of the dictionary is taken: the rank decides.", lambda s, r: other.by_list(s, r, list(r)))
    e.mistake("rank 0 counts as no rank: ask `pair in ranks`.", lambda s, r: other.by_choice(s, r, has=r.get))
    e.mistake(
        "the last two are never looked at: n symbols have n - 1 pairs.", lambda s, r: other.by_choice(s, r, last=-1)
    )
    e.mistake("one walk from the left: after it, merged tokens may merge again.", other.one_walk)
    e.mistake(
        "each merge is tried at one place only: a pair may stand twice.",
        lambda s, r: other.by_list(s, r, sorted(r, key=r.get), other.first_only),
    )
    e.mistake("neighbours are looked at once: a join makes new ones, so look again after each.", other.asked_once)
    e.mistake(
        "`min` compares the bytes: with `key=ranks.get` it compares ranks.",
        lambda s, r: other.by_choice(s, r, lambda known, key: min(known)),
    )
    e.mistake("a pair that has no rank is looked up: keep those that are `in ranks`.", other.unknown_pair)
    e.mistake(
        "the new token is left + right, not its rank.", lambda s, r: other.by_choice(s, r, made=lambda *two: r[two])
    )
    e.mistake(
        "the parts change places: the new token is left + right.",
        lambda s, r: other.by_choice(s, r, made=lambda left, right: right + left),
    )


def trie_cases(e):
    """Add texts that end in a token, that go past one, and that lead nowhere."""
    root = build_trie({1: b"a", 2: b"ab", 3: b"abcd", 4: b"b", 5: b"\xed\x95\x9c"})
    e.case("a long token", root, b"abcd and more")
    e.case(
        "the path goes on, but the token doesn't",
        root,
        b"abcx",
        hint="`abc` lies on the way to `abcd`, but is no token: remember the last one that was.",
    )
    e.case("the text ends on the way", root, b"abc")
    e.case("a short token", root, b"aab")
    e.case("the last byte of the text", root, b"b")
    e.case("a Korean syllable", root, "한국".encode())
    e.case("half a syllable", root, b"\xed\x95")
    e.case("nothing fits", root, b"xyz", hint="(-1, 0) where no token fits.")
    e.case("no text", root, b"")
    e.case("random bytes", root, bytes(e.size(97, 100) for _ in range(6)))


@checks.exercise("01.3", reference=longest_match, points=4)
def trie(e):
    """Paths that end in a token, that go past one, and that lead nowhere."""
    trie_cases(e)
    e.mistake(
        "the place where the walk stops need not be a token: remember the last one that you passed.", other.to_the_end
    )
    e.mistake(
        "a node counts that is no token: remember the last one passed that has an id.",
        lambda *a: other.descend(*a, any_node=True),
    )
    e.mistake("the shortest token is taken: go on down, and keep the last.", lambda *a: other.descend(*a, first=True))
    e.mistake(
        "a byte that leads nowhere must end the walk: ask `byte in node` first.",
        lambda *a: other.descend(*a, guard=False),
    )
    e.mistake("the length is one too small: after the first byte it is 1.", lambda *a: other.descend(*a, late=-1))
    e.mistake("the length is one too large: after the first byte it is 1.", lambda *a: other.descend(*a, late=1))
    e.mistake("each byte is looked up at the root: go down, `node = node[byte]`.", other.from_the_root)
    e.mistake("both are asked for, the id and the length.", lambda *a: other.descend(*a)[0])
    e.mistake("where nothing fits, return (-1, 0).", lambda *a: other.descend(*a, none=(0, 0)))
    e.mistake(
        "a node that is no token is no end: go on, a longer token may follow.", lambda *a: other.noted(*a, stop=True)
    )
    e.mistake("the id comes first, then the length.", lambda *a: longest_match(*a)[::-1])
    e.mistake(
        "the length is a number of bytes, not the bytes.",
        lambda root, data: (longest_match(root, data)[0], data[: longest_match(root, data)[1]]),
    )
    e.mistake(
        "a text that goes on behind the token is no failure: return the last token passed.", other.to_the_last_byte
    )
    e.mistake("where the data ends on the way, the last token is to be returned too.", other.only_at_a_gap)
    for stay in (False, True):
        e.mistake(
            "a byte that leads nowhere ends the walk: `break`, do not pass over it.",
            lambda *a, stay=stay: other.over_gaps(*a, stay=stay),
        )
    e.mistake(
        "the length counts bytes, not the tokens passed.",
        lambda *a: other.noted(*a, length=lambda depth, before, found: before + found),
    )
    e.mistake(
        "the length grows after the last token: note it together with the id.",
        lambda *a: other.noted(*a, length=lambda depth, before, found: depth),
    )
    e.mistake("after a token the walk goes on down, not from the root again.", lambda *a: other.noted(*a, again=True))


@checks.exercise("01.4", reference=other.incremental, points=4, kind="repair")
def streaming(e):
    """Tokens that cut characters, tokens that don't, and bytes that are no text."""
    e.case("a syllable in three tokens", [b"\xed", b"\x95", b"\x9c", b"!"])
    e.case("cut in the middle", [b"a \xed\x95", b"\x9c\xea\xb5", b"\xad b"])
    e.case("whole characters", [b"one", " 한국".encode(), "é".encode()])
    e.case("a dragon in four", [bytes([b]) for b in "🐉".encode()])
    e.case(
        "a byte that is no text",
        [b"a", b"\xff", b"b", b"c"],
        hint="a byte that can never become a character must be shown as � and not stop the rest.",
    )
    e.case("a syllable that is never finished", [b"\xed\x95", b"x", b"y"])
    e.case("nothing", [])
    right = other.incremental
    data, places = "é한🐉ab".encode(), [e.size(1, 10) for _ in range(4)]
    e.case("cut at random places", [data[i:j] for i, j in pairwise([0, *sorted(places), len(data)])])
    e.mistake("each token is decoded alone: keep the bytes of an unfinished character for the next token.", other.alone)
    e.mistake("bytes that are not whole are dropped, and with them the character: keep them.", other.ignore)
    e.mistake("one byte that can never be text holds back everything after it.", other.hold)
    e.mistake("all of the text so far is shown each time: return what is new.", other.whole)
    e.mistake("an unfinished character is shown as � before its last byte has come.", other.difference)
    e.mistake(
        'a model may write bytes that are no text: `errors="replace"`, so that it does not stop.',
        lambda pieces: other.incremental(pieces, "strict"),
    )
    e.mistake(
        'bytes that can never be text are dropped: `errors="replace"` shows each as �.',
        lambda pieces: other.incremental(pieces, "ignore"),
    )
    e.mistake("an unfinished character is shown as � before its last byte has come.", lambda p: other.hold(p, most=4))
    e.mistake("whole characters are held back with the unfinished one: show them at once.", other.hold_all)
    e.mistake("one string a piece, an empty one where nothing is whole yet.", lambda p: list(filter(None, right(p))))
    e.mistake(
        "a decoder for each piece forgets what the piece before left over: make one for all.",
        lambda pieces: [right([piece])[0] for piece in pieces],
    )
    e.mistake("one string for each piece: what is left at the end gets none of its own.", lambda p: [*right(p), ""])
    e.mistake("one string for each piece, not one for each character.", lambda p: list("".join(right(p))))
    e.mistake('`getincrementaldecoder("utf-8")` is a class: call it, `(errors="replace")`.', other.no_decoder)
    e.mistake("what was shown is still held: take it away.", other.never_emptied)
    e.mistake(
        "latin-1 makes a character of each byte: it is UTF-8.",
        lambda pieces: [one.decode("latin-1") for one in pieces],
    )
    e.mistake(
        "a list is expected, one string for each token.", lambda pieces: b"".join(pieces).decode("utf-8", "replace")
    )


def cost(L, C, V):
    """Return the weights that multiply for each token: 12 L C^2 + V C."""
    return 12 * L * C**2 + V * C


def flops_per_byte(n_layers, d_model, vocab_size, bytes_per_token):
    """2 (12 L C^2 + V C) / bytes per token."""
    return 2 * cost(n_layers, d_model, vocab_size) / bytes_per_token


@checks.exercise("01.5", reference=flops_per_byte, points=3)
def price_of_a_vocabulary(e):
    """A small model, a middle one, LLaMA-7B's width, and a vocabulary of bytes."""
    e.case("a small model", 4, 128, 1024, 2.5)
    e.case("bytes as tokens", 4, 128, 256, 1.0)
    e.case("as wide as LLaMA-7B", 32, 4096, 32000, 4.0)
    e.case("one layer, a large vocabulary", 1, 64, 65536, 3.6)
    e.case("no whole number", 1, 1, 1, 3.0, hint="`//` and `int` drop the fraction: divide with `/`.")
    e.case("some size", e.size(2, 40), 64 * e.size(2, 40), 100 * e.size(2, 600), e.size(3, 9) / 2)
    parts = {
        "longer tokens make it cheaper: divide by the bytes per token.": lambda L, C, V, b: 2 * cost(L, C, V) * b,
        "this is the price of a token, not of a byte.": lambda L, C, V, b: 2 * cost(L, C, V),
        "the head is missing: V C multiplications for each token.": lambda L, C, V, b: 2 * cost(L, C, 0) / b,
        "the embeddings are looked up and cost nothing: V C once.": lambda L, C, V, b: 2 * cost(L, C, 2 * V) / b,
        "each weight is one multiplication and one addition: times 2.": lambda L, C, V, b: cost(L, C, V) / b,
        "the head stands once, not in each layer.": lambda L, C, V, b: 2 * L * cost(1, C, V) / b,
        "the layers' matrices have 12 C^2 weights.": lambda L, C, V, b: 2 * (12 * L * C + V * C) / b,
        "all layers cost, not one.": lambda L, C, V, b: 2 * cost(1, C, V) / b,
        "training costs three times as much: one step forward is asked for.": lambda L, C, V, b: 6 * cost(L, C, V) / b,
        "the head has V C weights, not V.": lambda L, C, V, b: 2 * (cost(L, C, 0) + V) / b,
        "`//` and `int` drop the fraction: divide with `/`.": lambda L, C, V, b: 2 * cost(L, C, V) // b,
        "only the head is divided: put brackets around the sum.": lambda L, C, V, b: 2 * (cost(L, C, 0) + V * C / b),
        "the head multiplies and adds too: times 2 for both parts.": lambda L, C, V, b: (2 * cost(L, C, 0) + V * C) / b,
        "12 C^2 is 12 times the square of C.": lambda L, C, V, b: 2 * (L * (12 * C) ** 2 + V * C) / b,
        "`^` is no power in Python: write `**`.": lambda L, C, V, b: (2 * (12 * L * C ^ 2 + V * C)) / b,
    }
    for hint, wrong in parts.items():
        e.mistake(hint, wrong)
