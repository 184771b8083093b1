"""A story grammar read from plain text: word lists, roles, and rules made of sentence patterns.

Format, one block after another, blocks separated by blank lines, `#` begins a comment line:

    [names]                        a word list; earlier words are more frequent (weight 1 / (rank + 1))
    Amara/she, mill//by the brook  a word may carry a pronoun after a slash, and the rest of its full form after two
    [toy] = look x noun + other    a list made of lists: every `look noun` pair, and the words of `other`
    {hero friend} = names          roles: a role takes a word at its first mention and keeps it to the end;
                                   two roles of one list never hold the same word
    rule =                         a rule and its alternatives, each equally likely
    - text <rule> <a list> {role}  (an|inline|choice)

In a pattern `<x>` stands for a rule or a word of a list, `{role}` for the role's word, `{role.form}` for a form of it
(`a`, `noun`, `full`, `he`, `him`, `his`, `himself`, `child`), `(x|y|)` for one of several texts and `//` for a new
paragraph. A capital (`<Rule>`, `{Role}`) makes the first letter of the result a capital. `{role!}` marks a word that a
reader can only know from what was told before: the place of a question.
"""

import bisect
import itertools
import math
import re
from pathlib import Path

# A new line, indented as in a printed book. So a word has a blank before it also at the beginning of a paragraph, and a
# tokenizer that joins the blank to the word has one token for it in both places, not two that share nothing.
PARAGRAPH = "\n  "
RANK_SHIFT = 1  # weight of the word of rank r (from 0) is 1 / (r + RANK_SHIFT): Zipf's law
PRONOUNS = {
    "she": {"he": "she", "him": "her", "his": "her", "himself": "herself", "child": "girl"},
    "he": {"he": "he", "him": "him", "his": "his", "himself": "himself", "child": "boy"},
}
TOKEN = re.compile(
    r"<(?P<ref>[^<>]+)>|\{(?P<role>[^{}]+)\}|(?P<open>\()|(?P<close>\))|(?P<bar>\|)|(?P<text>[^<>{}()|]+)"
)


def capitalised(text):
    """Return the text with its first letter made a capital."""
    return text[:1].upper() + text[1:]


class Words:
    """A weighted list of words; each has forms (`a red hat`, `hat`, `she`)."""

    def __init__(self, name, entries):
        """Take (forms, weight) pairs, where forms maps "" to the word itself; weights need not add up to 1."""
        if not entries:
            raise ValueError(f"list [{name}] has no words: write at least one below its heading")
        self.name = name
        self.forms = [forms for forms, _ in entries]
        total = math.fsum(weight for _, weight in entries)
        self.probabilities = [weight / total for _, weight in entries]
        self.logs = [math.log(p) for p in self.probabilities]
        self.cumulative = list(itertools.accumulate(self.probabilities))
        self._tables = {}
        if len(set(self.table(""))) != len(entries):
            twice = sorted({w for w in self.table("") if self.table("").count(w) > 1})
            raise ValueError(f"list [{name}] has {', '.join(twice)} twice: a text would have two derivations")

    def draw(self, random):
        """Return the index of one word; `random()` gives a number in [0, 1)."""
        return min(bisect.bisect_right(self.cumulative, random()), len(self.cumulative) - 1)

    def table(self, form, capital=False):
        """Return every word of the list in one form."""
        key = (form, capital)
        if key not in self._tables:
            texts = [self._form(forms, form) for forms in self.forms]
            self._tables[key] = [capitalised(t) for t in texts] if capital else texts
        return self._tables[key]

    def _form(self, forms, form):
        if form == "a":
            return ("an " if forms[""][0].lower() in "aeiou" else "a ") + forms[""]
        if form not in forms:
            raise ValueError(f"the word {forms['']!r} of [{self.name}] has no form {form!r}: it has {sorted(forms)}")
        return forms[form]


class Text:
    """A text that is always the same."""

    def __init__(self, text):
        self.text = text

    def write(self, page):
        """Append the text to the page."""
        page.out.append(self.text)


class Pick:
    """A word of a list, chosen anew each time."""

    def __init__(self, words, form, capital):
        self.words, self.table = words, words.table(form, capital)

    def write(self, page):
        """Choose a word and append it."""
        i = self.words.draw(page.random)
        page.log_probability += self.words.logs[i]
        page.out.append(self.table[i])


class Say:
    """A role's word: chosen at its first mention, a copy after that."""

    def __init__(self, role, words, rivals, form, capital, recall):
        self.role, self.words, self.rivals, self.recall = role, words, rivals, recall
        self.table = words.table(form, capital)
        self.tells = len(set(self.table)) == len(self.table)  # does this form show which word it is?

    def write(self, page):
        """Append the role's word, choosing it first where it has none."""
        i = page.roles.get(self.role)
        if i is None:
            i = self.choose(page)
        elif self.recall:
            page.marks.append((len(page.out), self, i))
        page.out.append(self.table[i])

    def choose(self, page):
        """Give the role a word that no other role of the list has."""
        if not self.tells:
            raise ValueError(f"role {self.role!r} is first mentioned in a form that hides its word: name it first")
        taken = [page.roles[r] for r in self.rivals if r in page.roles]
        i = self.words.draw(page.random)
        while i in taken:
            i = self.words.draw(page.random)
        page.log_probability += self.words.logs[i]
        if taken:
            page.log_probability -= math.log1p(-sum(self.words.probabilities[j] for j in taken))
        page.roles[self.role] = i
        return i


class Either:
    """One of several patterns, all equally likely."""

    def __init__(self, options):
        self.options = options
        self.log_probability = -math.log(len(options))

    def write(self, page):
        """Choose a pattern and write it."""
        page.log_probability += self.log_probability
        self.options[int(page.random() * len(self.options))].write(page)


class Row:
    """Several parts, one after the other."""

    def __init__(self, parts):
        self.parts = parts

    def write(self, page):
        """Write every part."""
        for part in self.parts:
            part.write(page)


class Grammar:
    """Word lists, roles and rules; `grammar.start` is the compiled rule `story`."""

    def __init__(self, text):
        """Read a grammar in the format above; an unknown name or a wrong bracket raises ValueError with the line."""
        self.lists, self.roles, self.rules, self._compiled = {}, {}, {}, {}
        for block in re.split(r"\n\s*\n", text):
            lines = [line.strip() for line in block.splitlines() if line.strip() and not line.lstrip().startswith("#")]
            if lines:
                self._read(lines[0], lines[1:])
        if "story" not in self.rules:
            raise ValueError("the grammar has no rule named story: begin with a block `story =`")
        self.start = self._rule("story", False)

    @classmethod
    def load(cls, folder):
        """Read every .txt file of a folder, in the order of their names."""
        files = sorted(Path(folder).glob("*.txt"))
        if not files:
            raise FileNotFoundError(f"no grammar (*.txt) in {folder}: the course's data folder is not complete")
        return cls("\n\n".join(file.read_text(encoding="utf-8") for file in files))

    def _read(self, head, body):
        left, equals, right = (part.strip() for part in head.partition("="))
        if left.startswith("["):
            name = left.strip("[]")
            self.lists[name] = Words(name, self._product(right) if equals else _entries(body))
        elif left.startswith("{"):
            self.roles.update(dict.fromkeys(left.strip("{}").split(), right))
        elif equals and not right and all(line.startswith("- ") for line in body):
            self.rules[left] = [line[2:].strip() for line in body]
        else:
            raise ValueError(f"neither a list, roles nor a rule: {head!r} (alternatives begin with `- `)")

    def _product(self, expression):
        """Multiply out `look x noun + other`; every part of the sum has a share as large as its number of nouns."""
        entries = []
        for term in expression.split("+"):
            lists = [self._list(name.strip()) for name in term.split(" x ")]
            for indices in itertools.product(*(range(len(words.forms)) for words in lists)):
                words = [part.forms[i][""] for part, i in zip(lists, indices, strict=True)]
                weight = math.prod(part.probabilities[i] for part, i in zip(lists, indices, strict=True))
                entries.append(({"": " ".join(words), "noun": words[-1]}, weight * len(lists[-1].forms)))
        return entries

    def _list(self, name):
        if name not in self.lists:
            raise ValueError(f"no list [{name}] before this place: the lists are {', '.join(self.lists)}")
        return self.lists[name]

    def _rule(self, name, capital):
        key = (name, capital)
        if self._compiled.get(key, self) is None:
            raise ValueError(f"rule {name!r} leads to itself: stories must end")
        if key not in self._compiled:
            self._compiled[key] = None
            options = [self._pattern(pattern, capital) for pattern in self.rules[name]]
            self._compiled[key] = options[0] if len(options) == 1 else Either(options)
        return self._compiled[key]

    def _pattern(self, pattern, capital):
        matches = list(TOKEN.finditer(re.sub(r"\s*//\s*", PARAGRAPH, pattern)))
        node, rest = self._row(matches, capital)
        if rest:
            raise ValueError(f"a bracket too many in the pattern {pattern!r}")
        return node

    def _row(self, tokens, capital):
        parts = []
        while tokens and not (tokens[0]["close"] or tokens[0]["bar"]):
            token, *tokens = tokens
            first = capital and not parts
            if token["text"]:
                if parts and not isinstance(parts[-1], Text) and token["text"][0].isalpha():
                    raise ValueError(f"{token['text']!r} touches the word before it: write a list that has the ending")
                parts.append(Text(capitalised(token["text"]) if first else token["text"]))
            elif token["ref"]:
                parts.append(self._reference(token["ref"], first))
            elif token["role"]:
                parts.append(self._mention(token["role"], first))
            else:
                node, tokens = self._choice(tokens, first)
                parts.append(node)
        return (parts[0] if len(parts) == 1 else Row(parts)), tokens

    def _choice(self, tokens, capital):
        options = []
        while True:
            node, tokens = self._row(tokens, capital)
            options.append(node)
            if not tokens:
                raise ValueError("a choice `(x|y)` is not closed: add the missing `)`")
            token, *tokens = tokens
            if token["close"]:
                return Either(options), tokens

    def _reference(self, text, capital):
        capital = capital or text[0].isupper()
        name = text[0].lower() + text[1:]
        if name in self.rules:
            return self._rule(name, capital)
        form, name = ("a", name[2:]) if name.startswith("a ") else ("", name)
        if name not in self.lists:
            raise ValueError(f"<{text}> is neither a rule nor a list of the grammar")
        return Pick(self.lists[name], form, capital)

    def _mention(self, text, capital):
        name, _, form = text.removesuffix("!").partition(".")
        capital = capital or name[0].isupper()
        role = name[0].lower() + name[1:]
        if role not in self.roles:
            raise ValueError(f"{{{text}}}: no role {role!r}; the roles are {', '.join(self.roles)}")
        words = self._list(self.roles[role])
        rivals = [r for r, source in self.roles.items() if source == words.name and r != role]
        return Say(role, words, rivals, form, capital, text.endswith("!"))


def _entries(lines):
    entries = []
    for rank, item in enumerate(word.strip() for word in ",".join(lines).split(",") if word.strip()):
        word, pronoun, more = (item + "//").split("/")[:3]
        forms = {"": word, "full": f"{word} {more}".strip(), **PRONOUNS.get(pronoun, {})}
        entries.append((forms, 1 / (rank + RANK_SHIFT)))
    return entries
