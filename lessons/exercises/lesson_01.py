"""The exercises of lesson 01: merge, encode by rank, longest match, decode a stream, the price of a vocabulary."""

import codecs
from functools import partial
from itertools import pairwise

from lessons.checker.check import Checks
from lessons.exercises import lesson_01_wrong as other
from lessons.exercises.lesson_01_wrong import bites, incremental, ranked
from lib.text.bpe import join
from lib.text.trie import build_trie, longest_match

checks = Checks("01")
check = checks.check


def add(e, mistakes):
    """Add mistakes, {hint: a wrong answer, or a list of them}."""
    for hint, wrong in mistakes.items():
        for one in wrong if isinstance(wrong, list) else [wrong]:
            e.mistake(hint, one)


@checks.exercise("01.1", reference=join, points=3)
def merge_step(e):
    """Numbers and pieces of text; at both ends, overlapping, none, empty."""
    e.case("in the middle and at the end", [5, 1, 2, 7, 1, 2], (1, 2), 9)
    e.case("three of a kind", [1, 1, 1], (1, 1), 9, hint="a a a becomes aa a: from the left, and skip what is joined.")
    e.case("five of a kind", [4, 1, 1, 1, 1, 1, 4], (1, 1), 9)
    e.case("at an odd place", [3, 1, 2, 3], (1, 2), 9)
    e.case("the pair the other way round", [2, 1, 2, 1], (1, 2), 9)
    e.case("the left one stands last", [2, 1], (1, 2), 9, hint="the last symbol has no right neighbour: look first.")
    e.case("pieces of text", ["t", "h", "e", "t", "h"], ("t", "h"), "th")
    e.case("no such pair", [1, 3, 2], (1, 2), 9)
    e.case("new like left", [1, 2, 2], (1, 2), 1, hint="what you have made is not joined again: go on behind it.")
    e.case("one symbol", [1], (1, 1), 9)
    e.case("nothing", [], (1, 2), 9)
    e.case("random symbols", [e.size(1, 3) for _ in range(30)], (e.size(1, 3), e.size(1, 3)), 9)
    walk = partial(partial, other.walk)
    slips = {
        "it goes from right to left: a a a must become aa a, not a aa.": (
            lambda s, pair, new: join(s[::-1], pair[::-1], new)[::-1]
        ),
        "only the first pair is joined: go on behind it.": other.first_only,
        "after a join the right symbol is used again: step on by two.": walk(step=1),
        "the last symbol is lost: it has no right neighbour, but it stays.": walk(keep_last=False),
        "it looks past the end: the last symbol has no right neighbour.": walk(guard=False),
        "order counts: (1, 2) is not (2, 1).": walk(either=True),
        "a set has no order, and {1} is the set of (1, 1): compare tuples.": (
            lambda *a: other.matched(*a, lambda two, pair: set(two) == set(pair))
        ),
        "the left one alone decides: both must be those of the pair.": (
            lambda *a: other.matched(*a, lambda two, pair: len(two) == 2 and two[0] == pair[0])
        ),
        "the left symbol stays: the new one replaces both.": walk(keep_left=True),
        "it always steps by two: step by one where nothing was joined.": [other.skip_a_pair, walk(miss=2)],
        "the list that was passed in is changed: make a new one.": other.in_place,
        "the last symbol is added though it was joined: add it only where it is left over.": (
            lambda s, pair, new: other.walk(s, pair, new, keep_last=False) + s[-1:]
        ),
        "nothing is joined. `symbols[i : i + 2]` is a list and never equals a tuple: compare tuples.": (
            lambda symbols, pair, new: list(symbols)
        ),
        "symbols need not be text: compare neighbours, and leave them as they are.": [
            other.as_text,
            lambda s, pair, new: list("".join(s).replace("".join(pair), new)),
        ],
        "`new` is what to put, not left + right.": lambda s, pair, new: join(s, pair, pair[0] + pair[1]),
        "the `return` stands inside the loop: move it below.": lambda s, p, new: join(s, p, new)[:1] or None,
    }
    add(e, slips)


def encode_word(symbols, ranks):
    """Join the pair of lowest rank, again and again, until no pair of neighbours has a rank."""
    return other.by_choice(symbols, ranks, min)


def rank_cases(e):
    """Add words on which the order of merges matters."""
    france = ranked("a+n", "c+e", "an+ce", "f+r", "fr+an", "fran+c")
    e.case("france", bites("france"), france, hint="`an`, then `ce`, then `ance`: nothing is left for `franc`.")
    e.case("the merge on the right is the earlier one", bites("abc"), ranked("b+c", "a+b"))
    e.case("two places at once", bites("banana"), ranked("a+n", "an+a", "n+a", "b+an"))
    e.case("one built on another", bites("lowest"), ranked("l+o", "lo+w", "e+s", "es+t", "low+est"))
    e.case("built from its right part", bites("abc"), ranked("b+c", "a+bc", "a+b"))
    e.case("the most frequent pair is the latest", bites("cabab"), ranked("b+a", "c+a", "a+b"))
    e.case("the rarer pair is the earlier one", bites("ababbc"), ranked("b+c", "a+b", "b+b"))
    e.case("the longer pair is the later one", bites("abyabab"), ranked("a+b", "y+ab", "ab+ab"))
    e.case("no merge fits", bites("xyz"), france)
    e.case("one byte", bites("x"), france)
    e.case("bytes of a Korean syllable", bites("한"), {(b"\xed", b"\x95"): 0, (b"\xed\x95", b"\x9c"): 1})
    e.case("nothing", [], france)
    mixed = dict(sorted(france.items(), reverse=True))
    e.case("another order", bites("france"), mixed, hint="the rank decides, not the dictionary's order.")
    word = "".join("abn"[e.size(0, 2)] for _ in range(14))
    e.case("a random word", bites(word), ranked("a+n", "an+a", "n+a", "b+an"))


@checks.exercise("01.2", reference=encode_word, points=4)
def encode_by_rank(e):
    """Words on which order matters: the earliest merge, not the first from the left, not the longest token."""
    rank_cases(e)
    choice = partial(partial, other.by_choice)
    slips = {
        "this takes the longest token from the left. That is how World's tokenizer cuts; BPE repeats its merges.": (
            other.greedy
        ),
        "the first pair from the left is joined: take the one of lowest rank.": choice(
            choose=lambda known, key: known[0]
        ),
        "the last pair is joined: take the one of lowest rank.": choice(choose=lambda known, key: known[-1]),
        "the pair that makes the longest token is joined: take the one of lowest rank.": choice(
            choose=lambda known, key: max(known, key=lambda pair: len(pair[0] + pair[1]))
        ),
        "the highest rank is taken, the last merge learned: take the lowest.": choice(choose=max),
        "the most frequent pair counts when you learn: now the rank decides.": other.most_frequent,
        "one merge only: repeat until no pair has a rank.": choice(steps=1),
        "where no pair has a rank `min` has nothing to choose from: return the symbols.": other.no_end,
        "the pieces are glued to one: return a list of tokens.": lambda s, r: b"".join(encode_word(s, r)),
        "nothing is merged.": lambda s, r: list(s),
        "the order of the dictionary is taken: the rank decides.": lambda s, r: other.by_list(s, r, list(r)),
        "rank 0 counts as no rank: ask `pair in ranks`.": lambda s, r: other.by_choice(s, r, has=r.get),
        "the last two are never looked at: n symbols have n - 1 pairs.": choice(last=-1),
        "one walk from the left: after it, merged tokens may merge again.": other.one_walk,
        "each merge is tried at one place only: a pair may stand twice.": (
            lambda s, r: other.by_list(s, r, sorted(r, key=r.get), other.first_only)
        ),
        "neighbours are looked at once: a join makes new ones, so look again after each.": other.asked_once,
        "`min` compares the bytes: with `key=ranks.get` it compares ranks.": choice(
            choose=lambda known, key: min(known)
        ),
        "a pair that has no rank is looked up: keep those that are `in ranks`.": other.unknown_pair,
        "the new token is left + right, not its rank.": lambda s, r: other.by_choice(s, r, made=lambda *two: r[two]),
        "the new token is left + right, not a tuple of both.": choice(made=lambda *two: two),
        "the parts change places: the new token is left + right.": choice(made=lambda left, right: right + left),
    }
    add(e, slips)


def trie_cases(e):
    """Add texts that end in a token, that go past one, and that lead nowhere."""
    root = build_trie({0: b"a", 2: b"ab", 3: b"abcd", 4: b"b", 5: b"\xed\x95\x9c"})
    e.case("a long token", root, b"abcd and more")
    e.case("the path goes on", root, b"abcx", hint="`abc`, on the way to `abcd`, is no token: keep the last that was.")
    e.case("the text ends on the way", root, b"abc")
    e.case("a short token", root, b"aab")
    e.case("the last byte of the text", root, b"b")
    e.case("a Korean syllable", root, "한국".encode())
    e.case("half a syllable", root, b"\xed\x95")
    e.case("a token whose id is 0", root, b"a!")
    e.case("nothing fits", root, b"xyz", hint="(-1, 0) where no token fits.")
    e.case("no text", root, b"")
    e.case("random bytes", root, bytes(e.size(97, 100) for _ in range(6)))


@checks.exercise("01.3", reference=longest_match, points=4)
def trie(e):
    """Paths that end in a token, that go past one, and that lead nowhere."""
    trie_cases(e)
    found, descend, noted = longest_match, partial(partial, other.descend), partial(partial, other.noted)
    slips = {
        "the place where the walk stops need not be a token: remember the last one passed.": other.to_the_end,
        "a node counts that is no token: remember the last one passed that has an id.": descend(any_node=True),
        "the shortest token is taken: go on down, and keep the last.": descend(first=True),
        "a byte that leads nowhere must end the walk: ask `byte in node` first.": descend(guard=False),
        "the length is one too small: after the first byte it is 1.": descend(late=-1),
        "the length is one too large: after the first byte it is 1.": descend(late=1),
        "each byte is looked up at the root: go down, `node = node[byte]`.": other.from_the_root,
        "both are asked for, the id and the length.": lambda *a: other.descend(*a)[0],
        "where nothing fits, return (-1, 0).": [descend(none=(0, 0)), descend(none=(None, 0))],
        "an id of 0 counts as none: ask `ID in node`.": descend(zero=False),
        "the node is noted before the step, so the last is missed: go down first.": other.noted_before,
        "the letters of a text are no bytes: walk along `data`.": lambda root, data: found(root, data.decode()),
        "a node that is no token is no end: go on, a longer token may follow.": noted(stop=True),
        "the id comes first, then the length.": [
            lambda *a: found(*a)[::-1],
            lambda *a: found(*a)[::-1] if found(*a)[1] else found(*a),
        ],
        "the length is a number of bytes, not the bytes.": (
            lambda root, data: (found(root, data)[0], data[: found(root, data)[1]])
        ),
        "a text that goes on behind the token is no failure: return the last token passed.": [
            other.to_the_last_byte,
            descend(gap=(-1, 0)),
        ],
        "where the data ends on the way, the last token is to be returned too.": other.only_at_a_gap,
        "a byte that leads nowhere ends the walk: `break`, do not pass over it.": [
            other.over_gaps,
            partial(other.over_gaps, stay=True),
        ],
        "the length counts bytes, not the tokens passed.": noted(length=lambda depth, before, found: before + found),
        "the length grows after the last token: note it together with the id.": noted(
            length=lambda depth, before, found: depth
        ),
        "after a token the walk goes on down, not from the root again.": noted(again=True),
    }
    add(e, slips)


def stream_cases(e):
    """Add tokens that cut characters, tokens that don't, and bytes that are no text."""
    e.case("a syllable in three tokens", [b"\xed", b"\x95", b"\x9c", b"!"])
    e.case("the text ends within a syllable", [b"a", b"\xed\x95"])
    e.case("another text", [b"b"], hint="what the text before left over comes into this one: make the decoder inside.")
    e.case("cut in the middle", [b"a \xed\x95", b"\x9c\xea\xb5", b"\xad b"])
    e.case("whole characters", [b"one", " 한국".encode(), "é".encode()])
    e.case("a dragon in four", [bytes([b]) for b in "🐉".encode()])
    never = "a byte that can never become a character must be shown as � and not stop the rest."
    e.case("a byte that is no text", [b"a", b"\xff", b"b", b"c"], hint=never)
    e.case("a syllable that is never finished", [b"\xed\x95", b"x", b"y"])
    e.case("nothing", [])
    data, places = "é한🐉ab".encode(), [e.size(1, 10) for _ in range(4)]
    e.case("cut at random places", [data[i:j] for i, j in pairwise([0, *sorted(places), len(data)])])


@checks.exercise("01.4", reference=incremental, points=4, kind="repair")
def streaming(e):
    """Tokens that cut characters, tokens that don't, and bytes that are no text."""
    stream_cases(e)
    slips = {
        "each token is decoded alone: keep the bytes of an unfinished character for the next token.": (
            lambda pieces: [piece.decode(errors="replace") for piece in pieces]
        ),
        "bytes that are not whole are dropped, and with them the character: keep them.": lambda pieces: [
            piece.decode(errors="ignore") for piece in pieces
        ],
        "one byte that can never be text holds back everything after it.": other.hold,
        "all of the text so far is shown each time: return what is new.": other.whole,
        "an unfinished character is shown as � before its last byte has come.": [
            other.difference,
            partial(other.hold, most=4),
        ],
        'a model may write bytes that are no text: `errors="replace"`, so that it does not stop.': [
            partial(incremental, errors="strict")
        ],
        'bytes that can never be text are dropped: `errors="replace"` shows each as �.': [
            partial(incremental, errors="ignore")
        ],
        "whole characters are held back with the unfinished one: show them at once.": other.hold_all,
        "an unfinished character is thrown away when what stands before it is shown: keep its bytes.": other.tail_lost,
        "one string a piece, an empty one where nothing is whole yet.": lambda p: list(filter(None, incremental(p))),
        "a decoder for each piece forgets what the piece before left over: make one for all.": [
            lambda pieces: [incremental([piece])[0] for piece in pieces]
        ],
        "what is left at the end is shown as �: it is no character yet.": partial(incremental, close=True),
        "one string for each piece: what is left at the end gets none of its own.": lambda p: [*incremental(p), ""],
        "one string for each piece, not one for each character.": lambda p: list("".join(incremental(p))),
        "one string for each piece, not one for the whole text.": lambda p: [b"".join(p).decode(errors="replace")],
        '`getincrementaldecoder("utf-8")` is a class: call it, `(errors="replace")`.': (
            lambda pieces: [codecs.getincrementaldecoder("utf-8").decode(piece) for piece in pieces]
        ),
        "what was shown is still held: take it away.": other.never_emptied,
        "latin-1 makes a character of each byte: it is UTF-8.": lambda p: [one.decode("latin-1") for one in p],
        "a list is expected, one string for each token.": lambda p: b"".join(p).decode("utf-8", "replace"),
    }
    add(e, slips)


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
    slips = {
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
        "the layers multiply and add too: times 2 for both parts.": lambda L, C, V, b: cost(L, C, 2 * V) / b,
        "12 C^2 in each layer: only C is squared, not L.": lambda L, C, V, b: 2 * cost(L * L, C, V) / b,
        "the head has V C weights, not V^2.": lambda L, C, V, b: 2 * (cost(L, C, 0) + V * V) / b,
        "12 C^2 is 12 times the square of C.": lambda L, C, V, b: 2 * (L * (12 * C) ** 2 + V * C) / b,
        "`^` is no power in Python: write `**`.": lambda L, C, V, b: (2 * (12 * L * C ^ 2 + V * C)) / b,
    }
    add(e, slips)
