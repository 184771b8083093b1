"""Wrong answers to the exercises of lesson 01: each changes one thing."""

import codecs
from itertools import pairwise

from lib.text.bpe import join
from lib.text.trie import ID


def first_only(symbols, pair, new):
    """Only the first pair is joined."""
    for i in range(len(symbols) - 1):
        if tuple(symbols[i : i + 2]) == tuple(pair):
            return symbols[:i] + [new] + symbols[i + 2 :]
    return list(symbols)


def matched(symbols, pair, new, same):
    """Join where same(two neighbours, pair)."""
    joined, i = [], 0
    while i < len(symbols):
        found = same(symbols[i : i + 2], pair)
        joined.append(new if found else symbols[i])
        i += 2 if found else 1
    return joined


def walk(symbols, pair, new, step=2, keep_last=True, either=False, guard=True, keep_left=False, miss=1):
    """Join with one thing changed."""
    joined, i = [], 0
    while i < len(symbols) - (0 if keep_last else 1):
        last = i + 1 >= len(symbols)
        two = (symbols[i], symbols[i + 1]) if not (last and guard) else None
        if two == tuple(pair) or (either and two == tuple(pair)[::-1]):
            joined += [symbols[i], new] if keep_left else [new]
            i += step
        else:
            joined.append(symbols[i])
            i += miss
    return joined


def in_place(symbols, pair, new):
    """The input itself is changed."""
    symbols[:] = join(symbols, pair, new)
    return symbols


def skip_a_pair(symbols, pair, new):
    """Steps by two, so that pairs at odd places are missed."""
    joined = []
    for i in range(0, len(symbols), 2):
        two = symbols[i : i + 2]
        joined += [new] if tuple(two) == tuple(pair) else two
    return joined


def as_text(symbols, pair, new):
    """The symbols are glued to one text."""
    return list("".join(symbols).replace(pair[0] + pair[1], new))


def by_choice(symbols, ranks, choose=min, steps=10**6, has=None, last=None, made=lambda left, right: left + right):
    """Encode where choose(pairs, key=rank) says which pair is next. has: which pairs count; made: the new token."""
    for _ in range(steps):
        known = [pair for pair in pairwise(symbols[:last]) if (has or ranks.__contains__)(pair)]
        if not known:
            break
        pair = choose(known, key=ranks.get)
        symbols = join(symbols, pair, made(*pair))
    return symbols


def by_list(symbols, ranks, pairs, put=join):
    """Each of some pairs once, one after the other."""
    for pair in pairs:
        symbols = put(symbols, pair, pair[0] + pair[1])
    return symbols


def asked_once(symbols, ranks):
    """Which neighbours have a rank is asked at the start alone."""
    return by_list(symbols, ranks, sorted({pair for pair in pairwise(symbols) if pair in ranks}, key=ranks.get))


def unknown_pair(symbols, ranks):
    """A pair without a rank is looked up."""
    while True:
        left, right = min(pairwise(symbols), key=lambda pair: ranks[pair])
        symbols = join(symbols, (left, right), left + right)


def no_end(symbols, ranks):
    """Nothing asks whether a pair is left."""
    while True:
        left, right = min([pair for pair in pairwise(symbols) if pair in ranks], key=ranks.get)
        symbols = join(symbols, (left, right), left + right)


def one_walk(symbols, ranks):
    """Any pair with a rank is joined, in one walk from the left."""
    joined, i = [], 0
    while i < len(symbols):
        found = tuple(symbols[i : i + 2]) in ranks
        joined.append(b"".join(symbols[i : i + 2]) if found else symbols[i])
        i += 2 if found else 1
    return joined


def greedy(symbols, ranks):
    """The longest token that fits, from the left."""
    vocabulary = {left + right for left, right in ranks} | set(symbols)
    data, found = b"".join(symbols), []
    while data:
        length = max(n for n in range(1, len(data) + 1) if data[:n] in vocabulary)
        found.append(data[:length])
        data = data[length:]
    return found


def most_frequent(symbols, ranks):
    """The pair that is the most frequent in the word."""
    while known := [pair for pair in zip(symbols, symbols[1:], strict=False) if pair in ranks]:
        pair = max(known, key=known.count)
        symbols = join(symbols, pair, pair[0] + pair[1])
    return symbols


def descend(root, data, any_node=False, first=False, guard=True, late=0, none=(-1, 0), gap=None, zero=True):
    """Walk down the tree with one thing changed."""
    node, best = root, none
    for depth, byte in enumerate(data, start=1):
        if guard and byte not in node:
            return gap or best
        node = node[byte]
        if any_node or (ID in node and (zero or node[ID])):
            best = node.get(ID, -1), depth + late
            if first:
                break
    return best


def noted_before(root, data):
    """A node is looked at before the step, so that the last one never is."""
    node, best = root, (-1, 0)
    for depth, byte in enumerate(data):
        best = (node[ID], depth) if ID in node else best
        if byte not in node:
            break
        node = node[byte]
    return best


def from_the_root(root, data):
    """The walk begins at the root again with each byte."""
    best = -1, 0
    for depth, byte in enumerate(data, start=1):
        if byte not in root:
            break
        if ID in root[byte]:
            best = root[byte][ID], depth
    return best


def to_the_end(root, data):
    """Only where the walk stops is looked at."""
    node, depth = root, 0
    while depth < len(data) and data[depth] in node:
        node, depth = node[data[depth]], depth + 1
    return (node[ID], depth) if ID in node else (-1, 0)


def over_gaps(root, data, stay=False):
    """A byte that leads nowhere is passed over; stay: and counted."""
    node, best = root, (-1, 0)
    for depth, byte in enumerate(data, start=1):
        if byte not in node and not stay:
            continue
        node = node.get(byte, node)
        if ID in node:
            best = node[ID], depth
    return best


def noted(root, data, length=lambda depth, before, found: depth if found else before, again=False, stop=False):
    """The id and the length are noted apart. again: from the root after each token; stop: at the first that is none."""
    node, best, long = root, -1, 0
    for depth, byte in enumerate(data, start=1):
        if byte not in node:
            break
        node = node[byte]
        found = ID in node
        if stop and not found:
            break
        best, long = node[ID] if found else best, length(depth, long, found)
        node = root if again and found else node
    return best, long


def to_the_last_byte(root, data):
    """A text that goes on behind the token counts as none."""
    node = root
    try:
        for byte in data:
            node = node[byte]
        return node[ID], len(data)
    except KeyError:
        return -1, 0


def only_at_a_gap(root, data):
    """Nothing is returned where the data ends on the way."""
    node, best = root, (-1, 0)
    for depth, byte in enumerate(data, start=1):
        if byte not in node:
            return best
        node = node[byte]
        if ID in node:
            best = node[ID], depth


def hold(pieces, most=10**6):
    """Hold back all until it can be decoded, or is `most` bytes: one bad byte holds it for good."""
    held, shown = b"", []
    for piece in pieces:
        held += piece
        try:
            shown.append(held.decode("utf-8", "strict" if len(held) < most else "replace"))
            held = b""
        except UnicodeDecodeError:
            shown.append("")
    return shown


def hold_all(pieces):
    """Where the end is not whole, nothing of the text is shown."""
    held, shown = b"", []
    for piece in pieces:
        text = (held + piece).decode("utf-8", "replace")
        held, text = (held + piece, "") if text.endswith("\ufffd") else (b"", text)
        shown.append(text)
    return shown


def incremental(pieces, errors="replace", close=False):
    """A decoder that remembers; errors: what it does with bytes that are no text; close: the last piece is the end."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors=errors)
    return [decoder.decode(piece, close and n == len(pieces)) for n, piece in enumerate(pieces, start=1)]


def whole(pieces):
    """Everything so far, at each step."""
    decoder, text, shown = codecs.getincrementaldecoder("utf-8")(errors="replace"), "", []
    for piece in pieces:
        text += decoder.decode(piece)
        shown.append(text)
    return shown


def difference(pieces):
    """What is new in the decoded text: a sign of damage is shown for every character that is not yet complete."""
    shown, before = [], ""
    for n in range(len(pieces)):
        now = b"".join(pieces[: n + 1]).decode("utf-8", "replace")
        shown.append(now[len(before) :])
        before = now
    return shown


def never_emptied(pieces):
    """What was held back is not taken away once it was shown."""
    held, shown = b"", []
    for piece in pieces:
        held += piece
        shown.append(held.decode("utf-8", "ignore"))
    return shown


def tail_lost(pieces):
    """What is shown empties the rest, and with it the beginning of the next character."""
    held, shown = b"", []
    for piece in pieces:
        held += piece
        shown.append(held.decode("utf-8", "ignore"))
        held = b"" if shown[-1] else held
    return shown


def bites(text):
    """Text -> its bytes, one by one."""
    return [bytes([b]) for b in text.encode("utf-8")]


def ranked(*merges):
    """Pairs written "th e" -> {(b"th", b"e"): rank}."""
    return {tuple(part.encode() for part in merge.split("+")): rank for rank, merge in enumerate(merges)}
