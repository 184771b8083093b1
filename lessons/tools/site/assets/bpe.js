/* The course's byte-pair encoding, as lib/text/bpe.py has it: from tokenizer.json, text to ids and back. */
"use strict";

// GPT-2's pre-tokens. \s is spelled out, since JavaScript's differs from Python's in three characters.
const PIECES =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/* The character that stands for each byte: itself where it is printable, else the next one from U+0100 on. */
function byteCharacters() {
  const printable = (b) => (b > 32 && b < 127) || (b > 160 && b < 173) || b > 173;
  let others = 0;
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(printable(b) ? b : 256 + others++));
}

class BPE {
  /* file: what tokenizer.json holds. */
  constructor(file) {
    const special = new Set(file.added_tokens.map((token) => token.content));
    const characters = byteCharacters();
    const bytes = new Map(characters.map((character, b) => [character, b]));
    this.ids = new Map(Object.entries(file.model.vocab));
    this.vocab = [];
    for (const [token, id] of this.ids)
      this.vocab[id] = special.has(token)
        ? new TextEncoder().encode(token)
        : Uint8Array.from(token, (character) => bytes.get(character));
    this.byteIds = characters.map((character) => this.ids.get(character));
    this.eot = this.ids.get("<|endoftext|>");
    this.ranks = new Map();
    file.model.merges.forEach((merge, rank) => {
      const [left, right] = typeof merge === "string" ? merge.split(" ") : merge;
      const pair = this.ids.get(left) * this.vocab.length + this.ids.get(right);
      if (!this.ranks.has(pair)) this.ranks.set(pair, [rank, this.ids.get(left + right)]);
    });
  }

  /* Text -> ids. */
  encode(text) {
    return (text.match(PIECES) || []).flatMap((piece) =>
      this.merge(Array.from(new TextEncoder().encode(piece), (b) => this.byteIds[b])),
    );
  }

  /* Apply, again and again, the earliest learned merge that fits anywhere. */
  merge(ids) {
    for (;;) {
      let first = null, at = null;
      for (let i = 0; i + 1 < ids.length; i++) {
        const pair = ids[i] * this.vocab.length + ids[i + 1];
        const known = this.ranks.get(pair);
        if (known && (first === null || known[0] < first[0])) [first, at] = [known, pair];
      }
      if (first === null) return ids;
      const joined = [];
      for (let i = 0; i < ids.length; i++) {
        const fits = i + 1 < ids.length && ids[i] * this.vocab.length + ids[i + 1] === at;
        joined.push(fits ? first[1] : ids[i]);
        if (fits) i++;
      }
      ids = joined;
    }
  }

  /* Ids -> text; half a character becomes U+FFFD. */
  decode(ids) {
    const parts = ids.map((id) => this.vocab[id]);
    const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    parts.reduce((place, part) => (all.set(part, place), place + part.length), 0);
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(all);
  }
}
