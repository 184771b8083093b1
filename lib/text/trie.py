"""The RWKV World tokenizer from scratch: a fixed vocabulary, and the longest match wins.

Nothing is learned and nothing is merged: from where it stands, the tokenizer walks down a tree of bytes as far as the
text allows, and takes the longest token that it passed. Then it goes on behind that token.

Source: Peng et al. 2024 (Eagle and Finch), section 5, "RWKV World Tokenizer".
"""

import ast
from collections.abc import Iterable
from pathlib import Path

from lib.text.bpe import END_OF_TEXT, as_bytes, check_ids
from lib.text.packages import package_file

# The key, beside the bytes 0..255, under which a node of the tree keeps the id of the token that ends there.
ID = -1


def read_vocabulary(path: Path) -> dict[int, bytes]:
    """id -> token, from lines `id literal length`, the literal a str or bytes of Python and the length in bytes."""
    tokens = {}
    # universal newlines: copies of this file end their lines with \n or with \r\n
    with open(path, encoding="utf-8", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.encode("utf-8")  # a byte that is no UTF-8 is damage
                i, rest = line.split(" ", 1)
                literal, length = rest.rsplit(" ", 1)
                token = as_bytes(ast.literal_eval(literal))
                if len(token) != int(length):
                    raise ValueError(f"{len(token)} bytes, but the line says {int(length)}")
                tokens[int(i)] = token
            except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
                message = f"line {number} of {path} is no `id literal length` ({error})"
                raise ValueError(f"{message}: install the rwkv package again") from None
    return tokens


def build_trie(tokens: dict[int, bytes]) -> dict:
    """A tree of dicts: a node leads from a byte to the next node; a node where a token ends has its id under ID."""
    root: dict = {}
    for i, token in tokens.items():
        node = root
        for byte in token:
            node = node.setdefault(byte, {})
        node[ID] = i
    return root


def longest_match(root: dict, data: bytes) -> tuple[int, int]:
    """(id, length) of the longest token with which data begins; (-1, 0) where there is none."""
    node, best, length = root, -1, 0
    for depth, byte in enumerate(data, start=1):
        if byte not in node:
            break
        node = node[byte]
        if ID in node:
            best, length = node[ID], depth
    return best, length


class WorldTokenizer:
    """Encode and decode with the World vocabulary: 65,529 tokens with ids 1 to 65,529; id i + 1 is byte i.

    Id 0 ends a text; no text is encoded to it. path: a vocabulary file; by default the one in the `rwkv` package.
    Published models have 65,536 rows of embeddings: the last six ids stand for nothing.
    """

    def __init__(self, path: str | Path | None = None):
        path = Path(path) if path else package_file("rwkv", "rwkv_vocab_v20230424.txt")
        tokens = read_vocabulary(path)
        missing = set(range(1, 257)) - {i for i, token in tokens.items() if len(token) == 1}
        if missing or sorted(tokens) != list(range(1, len(tokens) + 1)):
            message = f"{path} has {len(tokens)} tokens, but not one id for each of 1 to {max(tokens, default=0)}"
            raise ValueError(f"{message} with the 256 bytes first: install the rwkv package again")
        self.eot = 0
        self.vocab = [END_OF_TEXT.encode()] + [tokens[i] for i in range(1, len(tokens) + 1)]
        self._root = build_trie(tokens)
        self._longest = max(map(len, self.vocab))

    @property
    def vocab_size(self) -> int:
        """How many ids there are, 0 included: 65,530."""
        return len(self.vocab)

    def encode(self, text: str | bytes) -> list[int]:
        """Text -> ids, greedily from the left. Any bytes can be encoded."""
        data, place, ids = as_bytes(text), 0, []
        while place < len(data):
            i, length = longest_match(self._root, data[place : place + self._longest])
            ids.append(i)
            place += length
        return ids

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Ids -> bytes, exactly. ValueError on an id that is not in the vocabulary."""
        return b"".join([self.vocab[i] for i in check_ids(ids, len(self.vocab))])

    def decode(self, ids: Iterable[int]) -> str:
        """Ids -> text; bytes that are no UTF-8, such as half a character, become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")
