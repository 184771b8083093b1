"""Wrong answers to the exercises of lesson 01: each changes one thing."""

import codecs

from lib.text.bpe import join
from lib.text.trie import ID


def right_to_left(symbols, pair, new):
    """The pairs are looked for from the end."""
    return join(symbols[::-1], pair[::-1], new)[::-1]


def first_only(symbols, pair, new):
    """Only the first pair is joined."""
    for i in range(len(symbols) - 1):
        if tuple(symbols[i : i + 2]) == tuple(pair):
            return symbols[:i] + [new] + symbols[i + 2 :]
    return list(symbols)


def walk(symbols, pair, new, step=2, keep_last=True, either=False, guard=True, keep_left=False):
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
            i += 1
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


def by_choice(symbols, ranks, choose, steps=10**6):
    """Encode where choose(pairs, key=rank) says which pair is next."""
    for _ in range(steps):
        known = [pair for pair in zip(symbols, symbols[1:], strict=False) if pair in ranks]
        if not known:
            break
        pair = choose(known, key=ranks.get)
        symbols = join(symbols, pair, pair[0] + pair[1])
    return symbols


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


def first_pair(known, key):
    """The first pair from the left."""
    return known[0]


def last_pair(known, key):
    """The last pair."""
    return known[-1]


def descend(root, data, any_node=False, first=False, guard=True, late=0, none=(-1, 0)):
    """Walk down the tree with one thing changed."""
    node, best = root, none
    for depth, byte in enumerate(data, start=1):
        if guard and byte not in node:
            break
        node = node[byte]
        if ID in node or any_node:
            best = node.get(ID, -1), depth + late
            if first:
                break
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


def hold(pieces):
    """Hold back all until it can be decoded: one bad byte holds it for ever."""
    held, shown = b"", []
    for piece in pieces:
        held += piece
        try:
            shown.append(held.decode("utf-8"))
            held = b""
        except UnicodeDecodeError:
            shown.append("")
    return shown


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


def strict(pieces):
    """Raises on a byte that is no text."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    return [decoder.decode(piece) for piece in pieces]


def never_emptied(pieces):
    """What was held back is not taken away once it was shown."""
    held, shown = b"", []
    for piece in pieces:
        held += piece
        shown.append(held.decode("utf-8", "ignore"))
    return shown


def alone(pieces):
    """Each token alone."""
    return [piece.decode("utf-8", "replace") for piece in pieces]


def ignore(pieces):
    """Bytes that are not whole are dropped."""
    return [piece.decode("utf-8", "ignore") for piece in pieces]
