"""Right answers to the exercises of lesson 01, written in other ways: the check must let them through."""

from heapq import heapify, heappop, heappush

from lessons.exercises import lesson_01_wrong as other
from lib.text.bpe import join
from lib.text.trie import ID
from tests.exercises.rights import right


@right("01.1")
def by_a_stack(symbols, pair, new):
    """Put symbols on a pile; two that fit become one, and what is made is not joined again."""
    pile, made = [], []
    for symbol in symbols:
        if pile and not made[-1] and (pile[-1], symbol) == tuple(pair):
            pile[-1], made[-1] = new, True
        else:
            pile.append(symbol)
            made.append(False)
    return pile


@right("01.1")
def by_recursion(symbols, pair, new):
    """Treat the beginning, then the rest."""
    if len(symbols) < 2:
        return list(symbols)
    if (symbols[0], symbols[1]) == tuple(pair):
        return [new, *by_recursion(symbols[2:], pair, new)]
    return [symbols[0], *by_recursion(symbols[1:], pair, new)]


@right("01.2")
def rank_by_rank(symbols, ranks):
    """Begin anew after each merge, with the earliest that fits."""
    symbols = list(symbols)
    while found := sorted((ranks[pair], pair) for pair in zip(symbols, symbols[1:], strict=False) if pair in ranks):
        left, right = found[0][1]
        symbols = join(symbols, (left, right), left + right)
    return symbols


@right("01.3")
def by_prefixes(root, data):
    """Walk anew for each length, from the longest on."""
    for length in range(len(data), 0, -1):
        node = root
        for byte in data[:length]:
            node = node.get(byte) if node is not None else None
        if node is not None and ID in node:
            return node[ID], length
    return -1, 0


@right("01.3")
def by_descent(root, data, depth=0):
    """Ask the branch below first, and say what stands here where it has nothing."""
    below = by_descent(root[data[0]], data[1:], depth + 1) if data and data[0] in root else (-1, 0)
    return below if below[0] != -1 or ID not in root else (root[ID], depth)


@right("01.4")
def by_trial(pieces):
    """Hold bytes back as long as they may still become a character."""
    held, shown = b"", []
    for piece in pieces:
        held += piece
        try:
            shown.append(held.decode())
            held = b""
        except UnicodeDecodeError as error:
            unfinished = error.end == len(held) and error.reason == "unexpected end of data"
            keep = held[error.start :] if unfinished else b""
            while not keep and not unfinished:
                tail = next((n for n in (1, 2, 3) if _begins(held[-n:])), 0)
                keep = held[len(held) - tail :] if tail else b""
                break
            shown.append(held[: len(held) - len(keep)].decode(errors="replace"))
            held = keep
    return shown


def _begins(end):
    # Whether these bytes begin a character that is not whole yet.
    try:
        end.decode()
    except UnicodeDecodeError as error:
        return error.start == 0 and error.reason == "unexpected end of data"
    return False


@right("01.4")
def one_after_the_other(pieces):
    """One decoder, asked in a loop."""
    from codecs import lookup

    decoder, shown = lookup("utf8").incrementaldecoder("replace"), []
    for piece in pieces:
        shown += [decoder.decode(bytes(piece), final=False)]
    return shown


@right("01.5")
def part_by_part(n_layers, d_model, vocab_size, bytes_per_token):
    """Count the matrices one by one."""
    attention, mlp, head = 4 * d_model * d_model, 8 * d_model * d_model, d_model * vocab_size
    per_token = 2 * (n_layers * (attention + mlp) + head)
    return per_token / bytes_per_token


@right("01.5")
def tokens_first(n_layers, d_model, vocab_size, bytes_per_token):
    """How many tokens a byte is, times the price of a token."""
    return (1 / bytes_per_token) * d_model * (24 * n_layers * d_model + 2 * vocab_size)


right("01.2")(lambda s, r: other.by_choice(list(s), dict(r), lambda known, key: sorted(known, key=key)[0]))
right("01.5")(lambda L, C, V, b: (24 * L * C * C + 2 * V * C) / b)


@right("01.1")
def by_slices(symbols, pair, new):
    """Another way: look at two at a time, and remember whether the first was used."""
    joined, used = [], False
    for first, second in zip(symbols, [*symbols[1:], None], strict=False):
        if used:
            used = False
        elif (first, second) == tuple(pair) and second is not None:
            joined.append(new)
            used = True
        else:
            joined.append(first)
    return joined


@right("01.2")
def by_a_queue(symbols, ranks):
    """Neighbours of a linked list wait in a heap by rank and place; entries that are out of date are thrown away."""
    parts, after = list(symbols), list(range(1, len(symbols) + 1))
    heap = [(ranks[pair], i, pair) for i, pair in enumerate(zip(parts, parts[1:], strict=False)) if pair in ranks]
    heapify(heap)
    while heap:
        _, i, (left, right_one) = heappop(heap)
        j = after[i] if parts[i] is not None else len(parts)
        if j >= len(parts) or (parts[i], parts[j]) != (left, right_one):
            continue
        parts[i], parts[j], after[i] = left + right_one, None, after[j]
        for k in (i, next((h for h in range(i - 1, -1, -1) if parts[h] is not None), None)):
            if k is not None and after[k] < len(parts) and (pair := (parts[k], parts[after[k]])) in ranks:
                heappush(heap, (ranks[pair], k, pair))
    return [part for part in parts if part is not None]


@right("01.3")
def by_all_matches(root, data):
    """Collect each token on the way down, then take the last."""
    found, node = [(-1, 0)], root
    for length, byte in enumerate(data, 1):
        if byte not in node:
            break
        node = node[byte]
        found += [(node[ID], length)] if ID in node else []
    return max(found, key=lambda match: match[1])


@right("01.4")
def by_length(pieces):
    """By hand: what stands at the end may be the beginning of a character; anything else is damaged."""
    held, shown = b"", []
    for piece in pieces:
        held += piece
        keep = next((n for n in (1, 2, 3) if _begins(held[-n:]) and len(held) >= n), 0)
        ready, held = held[: len(held) - keep], held[len(held) - keep :]
        shown.append(ready.decode("utf-8", "replace"))
    return shown
