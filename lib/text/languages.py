"""Text in many languages, to see what each costs in tokens: read from packages, nothing is copied or downloaded.

paragraphs() is running text, but each language has other articles of the Universal Declaration of Human Rights, and
scripts that say much in one character have more of them: compare its *bytes per token*, never its token counts.
name_lists() says the same in every language, so that its token counts can be compared.
"""

import re
from functools import cache
from types import MappingProxyType

from lib.text.packages import package_file

# Touvron et al. 2023 (LLaMA), section 2.1: the languages of its Wikipedia, chosen by script: Latin or Cyrillic.
LLAMA_LANGUAGES = (
    *("bg", "ca", "cs", "da", "de", "en", "es", "fr", "hr", "hu"),
    *("it", "nl", "pl", "pt", "ro", "ru", "sl", "sr", "sv", "uk"),
)

# One field of a textproto: its name and a string in either kind of quotes.
FIELD = re.compile(r"""^ *(\w+): *("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*') *$""", re.MULTILINE)
ESCAPES = MappingProxyType({"n": "\n", "t": "\t"})


def read_fields(text: str) -> dict[str, str]:
    """name -> value of the string fields of a textproto; where a name comes twice, its last value."""
    unescape = re.compile(r"\\(.)", re.DOTALL)
    return {name: unescape.sub(lambda m: ESCAPES.get(m[1], m[1]), quoted[1:-1]) for name, quoted in FIELD.findall(text)}


@cache
def _samples() -> dict[str, tuple[str, str]]:
    samples = {}
    for path in sorted(package_file("gflanguages", "data/languages").glob("*.textproto")):
        fields = read_fields(path.read_text(encoding="utf-8"))
        if "specimen_16" in fields:
            samples[path.stem] = (fields["name"], fields["specimen_16"])
    return samples


def paragraphs(minimum: int = 0) -> dict[str, str]:
    """code -> running text in that language and script, e.g. "ko_Kore"; `minimum` bytes of UTF-8 at least.

    From the package gflanguages (Apache-2.0): over 700 writing systems of 600 languages, some of them extinct.
    """
    return {code: text for code, (_, text) in _samples().items() if len(text.encode("utf-8")) >= minimum}


def language_name(code: str) -> str:
    """English name of a language: "ko_Kore" or "ko" -> "Korean"; the code itself where the packages have no name."""
    if code in _samples():
        return _samples()[code][0]
    from babel import Locale

    return Locale("en").languages.get(code) or Locale.parse(code).get_display_name("en") or code


@cache
def name_lists() -> dict[str, str]:
    """code -> one list in that language: the days of the week, then the same 200 countries and more, in one order.

    From Unicode's CLDR in the package babel. A language is in only where all of the names are, in its usual script
    (Chinese in both): over 150 languages. Names lean towards transcription, so they are a mild test.
    """
    from babel import Locale
    from babel.localedata import load, locale_identifiers

    usual = [code for code in locale_identifiers() if re.fullmatch(r"[a-z]{2,3}|zh_Han[st]", code) and code != "zh"]
    territories = {code: Locale.parse(code).territories for code in sorted(usual)}
    # what nearly every full translation names; the other locales are stubs, or lack some
    full = [known for known in territories.values() if len(known) >= 200]
    countries = {c for c in territories["en"] if re.fullmatch("[A-Z]{2}", c)}
    countries = {c for c in countries if sum(c in known for known in full) >= 0.97 * len(full)}
    lists, untranslated = {}, load("root")["days"]["format"]["wide"]
    for code, known in territories.items():
        days = Locale.parse(code).days["format"]["wide"]
        if countries <= set(known) and days[0] != untranslated[0]:
            lists[code] = ", ".join([days[i] for i in range(7)] + [known[c] for c in sorted(countries)])
    # "no" is "nb" under its older code; a list that comes twice is one language
    first = {text: code for code, text in reversed(lists.items())}
    return {code: text for code, text in lists.items() if first[text] == code}
