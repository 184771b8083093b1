"""A byte-level BPE that others published: our BPE with their merges, under their numbers and their special tokens."""

from collections.abc import Iterable, Sequence

import regex

from lib.text.bpe import BPE, check_ids
from lib.text.bpe_file import from_characters


class RenumberedBPE:
    """Tokens and merges as tokenizer.json and .gguf files have them, byte by byte in GPT-2's printable characters.

    tokens: the text of each id; merges: "a b", in the order learned; special: the ids that are no text. digits: each
    digit is a pre-token of its own, as in SmolLM2 and Llama 1. Bytes that the vocabulary lacks (0xFF, which no UTF-8
    has) can't be encoded: ValueError.
    """

    def __init__(self, tokens: Sequence[str], merges: Sequence[str], special: Iterable[int], digits: bool = False):
        pairs = [merge.split(" ") for merge in merges]
        self._bpe = BPE([(from_characters(left), from_characters(right)) for left, right in pairs], special=())
        self.special = {tokens[i]: i for i in special}
        self.vocab = [t.encode() if t in self.special else from_characters(t) for t in tokens]
        number = {token: i for i, token in enumerate(self.vocab) if tokens[i] not in self.special}
        self._published = [number.get(token) for token in self._bpe.vocab]
        self.vocab_size = len(self.vocab)
        longest_first = sorted(self.special, key=len, reverse=True)
        self._specials = regex.compile("(" + "|".join(map(regex.escape, longest_first)) + ")")
        self._pieces = regex.compile(r"\p{N}|\P{N}+" if digits else r"(?s:.+)")

    @property
    def eot(self) -> int:
        """The id of `<|endoftext|>`."""
        return self.special["<|endoftext|>"]

    def encode(self, text: str, allow_special: bool = False) -> list[int]:
        """Text -> ids. Special tokens that stand in the text are plain text, unless allow_special."""
        if not (allow_special and self.special):
            return self._encode_plain(text)
        ids = []
        for part in self._specials.split(text):
            ids += [self.special[part]] if part in self.special else self._encode_plain(part)
        return ids

    def _encode_plain(self, text: str) -> list[int]:
        ids = [self._published[i] for piece in self._pieces.findall(text) for i in self._bpe.encode(piece)]
        if None in ids:
            raise ValueError("this vocabulary lacks a byte of the text: replace control characters and broken UTF-8")
        return ids

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Ids -> bytes, exactly. ValueError on an id that is not in the vocabulary."""
        return b"".join([self.vocab[i] for i in check_ids(ids, self.vocab_size)])

    def decode(self, ids: Iterable[int]) -> str:
        """Ids -> text; bytes that are no UTF-8, such as half a character, become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")


def tokenizer_of_gguf(metadata: dict) -> RenumberedBPE:
    """The tokenizer in the metadata of a .gguf file. ValueError where it is no byte-level BPE of a known kind.

    `tokenizer.ggml.pre` names how text is cut before the merges: "smollm" and "llama-bpe"-like kinds differ; those
    read are "gpt-2" (GPT-2's pattern) and "smollm" (single digits, then GPT-2's pattern).
    """
    kind, pre = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if kind != "gpt2" or pre not in ("gpt-2", "smollm"):
        raise ValueError(f"the tokenizer is {kind!r}, cut as {pre!r}: read is 'gpt2', cut as 'gpt-2' or 'smollm'")
    control = 3  # in `token_type`: 1 is text, 3 is special
    special = [i for i, type in enumerate(metadata["tokenizer.ggml.token_type"]) if type == control]
    tokens, merges = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.merges"]
    return RenumberedBPE(tokens, merges, special, digits=pre == "smollm")


def render_chat(template: str, messages: Sequence[dict], answer: bool = True) -> str:
    """The text that a chat template makes of messages [{"role": "user", "content": "..."}].

    A template is a little program in Jinja that its publisher ships, so it runs in Jinja's sandbox. answer: the
    text ends where the model's answer begins.
    """
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(messages=messages, add_generation_prompt=answer)
