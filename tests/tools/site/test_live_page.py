"""The live models of the reading copy, in Chromium: they say what lib says, and ask nobody else."""

import json
import random
import unicodedata
from pathlib import Path

import lab
import pytest
import torch

from lessons.tools.site import book, live_page, npm_package
from lessons.tools.site.book_pictures import open_page, served
from lib.run.checkpoint import load_bundle
from lib.run.sample import sample
from lib.text import tales
from lib.text.bpe import BPE

ROOT = Path(__file__).resolve().parents[3]
CHECKPOINTS = ROOT / "data" / "checkpoints"
TOKENIZER = CHECKPOINTS / "llama-tales" / "tokenizer.json"
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]
RUN = """async ([k, ids]) => {
    const engine = window.liveModels.models[k].engine, rows = [];
    engine.reset();
    for (const id of ids) { await engine.read(id); rows.push(Array.from(engine.logits)); }
    return rows;
}"""
KEPT = "() => window.liveModels.models.map(one => [one.engine.position, one.engine.bytes()])"
ODD = [
    "",
    " ",
    "  a  b ",
    "a\u0085b\u00a0c\u2028 \ufeff",
    "x\x1cy",
    "don't I'LL",
    "한국어 호랑이 老虎 ነብር 🐉👩‍👧",
    "\n\n \t1 23a_b--!",
    "<|endoftext|>",
]


@pytest.fixture(scope="module")
def page(chromium):
    with lab.chromium_page(chromium) as page:
        yield page


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The book with the live models, served; skipped, with the reason, where no registry gives the package."""
    try:
        npm_package.archive(npm_package.ONNXRUNTIME_WEB, ROOT / "data" / "cache")
    except npm_package.Unreachable as error:
        pytest.skip(str(error))
    out = tmp_path_factory.mktemp("live") / "site"
    book.build(out)
    with served(out) as address:
        yield address, out


@pytest.fixture(scope="module")
def live(site, page):
    """The page, with both models loaded, and the addresses that it asked."""
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    open_page(page, f"{site[0]}/live.html")
    assert page.inner_text("#live-trouble") == "" and not errors
    print(f" [loaded, first chances after {page.evaluate('window.liveModels.seconds'):.1f} s]", end="")
    return page, asked, errors


@pytest.mark.parametrize("k", range(2), ids=live_page.MODELS)
def test_logits_equal_those_of_lib(live, k):
    model, tokenizer = load_bundle(CHECKPOINTS / list(live_page.MODELS.values())[k][0])
    ids = [tokenizer.eot, *tokenizer.encode(tales.generate(seed=5, n_bytes=1)[0].text)][:60]
    with torch.no_grad():
        ours = model(torch.tensor([ids]))[0][0]
    theirs = torch.tensor(live[0].evaluate(RUN, [k, ids]))
    assert theirs.shape == ours.shape and len(ids) == 60
    assert (theirs - ours).abs().max() < 1e-3


def test_what_is_typed_is_told_on_by_keyboard_and_the_memories_show_it(live):
    page, _, errors = live
    page.focus("#live-beginning")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("Every Monday, Little Tom ")  # the blank at the end is left to the next token
    n_given = 1 + len(BPE.load(TOKENIZER).encode("Every Monday, Little Tom"))
    page.wait_for_function("n => window.liveModels.models.every(one => one.n_given === n)", arg=n_given)
    (n, cache), (_, state) = page.evaluate(KEPT)
    assert n == n_given and cache == 4096 * n and state == 69632
    assert page.locator(".live-chances").nth(0).locator("button").count() == 8
    page.focus("#live-temperature")
    for _ in range(8):
        page.keyboard.press("ArrowLeft")
    assert page.inner_text("#live-degrees") == "0.0"
    page.focus("#live-tell")
    page.keyboard.press("Enter")
    page.wait_for_function("() => window.liveModels.models.every(one => one.engine.position > 30)", timeout=300_000)
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.getElementById('live-tell').textContent === 'Tell on'")
    told = page.evaluate("() => window.liveModels.models.map(one => one.ids.slice(0, 30))")
    (n, cache), (_, same) = page.evaluate(KEPT)
    assert cache == 4096 * n > state == same
    fill = page.locator(".live-memory i").evaluate_all("all => all.map(one => one.getBoundingClientRect().width)")
    assert fill[0] > fill[1] > 0 and f"{cache:,} bytes" in page.locator(".live-bytes").nth(0).inner_text()
    for ids, (name, _) in zip(told, live_page.MODELS.values(), strict=True):
        model, _ = load_bundle(CHECKPOINTS / name)
        ours = [token.item() for token in sample(model, torch.tensor([ids[:n_given]]), 30 - n_given, temperature=0)]
        assert ids[n_given:] == ours
    assert not errors


def test_a_password_is_remembered_as_the_page_says_and_a_chance_can_be_chosen(live):
    page, _, errors = live
    read = "n => window.liveModels.models.every(one => one.n_given > 100 && one.engine.position === one.n_given)"
    page.click("[data-example='1']")
    for word in ("bell", "kite"):
        page.fill("#live-beginning", page.input_value("#live-beginning").replace("bell", word))
        page.wait_for_timeout(400)  # until the page begins to read what was typed
        page.wait_for_function(read, timeout=300_000)
        firsts = page.locator(".live-chances li:first-child").all_inner_texts()
        assert [first.split()[0] for first in firsts] == [f"\u00b7{word}"] * 2, firsts
    before = page.evaluate(KEPT)[1][0]
    page.locator(".live-chances").nth(1).locator("button").nth(2).click()
    page.wait_for_function("n => window.liveModels.models[1].engine.position === n", arg=before + 1)
    assert page.evaluate(KEPT)[0][0] == before and not errors


def test_nothing_is_asked_of_anybody_else(live, site):
    _, asked, _ = live
    assert any(url.endswith(".wasm") for url in asked) and any(url.endswith("rwkv.onnx") for url in asked)
    assert [url for url in asked if not url.startswith((site[0], "data:", "blob:"))] == []


def test_texts_are_cut_as_the_tokenizer_cuts_them(page):
    page.goto("about:blank")
    page.add_script_tag(path=live_page.SITE / "bpe.js")
    bpe, draw = BPE.load(TOKENIZER), random.Random(0)
    known = [c for c in map(chr, range(0x30000)) if unicodedata.category(c) not in ("Cn", "Cs")]  # Python's Unicode
    texts = ODD + [story.text for story in tales.generate(seed=3, n_bytes=20_000)]
    texts += ["".join(draw.choices(known, k=draw.randrange(40))) for _ in range(300)]
    texts += ["".join(draw.choices("ab 's\n\t1.é한", k=draw.randrange(30))) for _ in range(300)]
    cut = page.evaluate(
        "([file, texts]) => { const bpe = new BPE(file); return texts.map(text => { const ids = bpe.encode(text);"
        "return [ids, bpe.decode(ids)]; }); }",
        [json.loads(TOKENIZER.read_text(encoding="utf-8")), texts],
    )
    for text, (ids, back) in zip(texts, cut, strict=True):
        assert ids == bpe.encode(text) and back == text, repr(text)


def test_without_a_server_or_webassembly_the_page_says_what_to_do(site, page):
    address, out = site
    page.goto((out / "live.html").as_uri())
    assert "python3 -m http.server" in page.inner_text("#live-trouble")
    other = page.context.browser.new_context()
    other.add_init_script("delete globalThis.WebAssembly")
    bare = other.new_page()
    bare.goto(f"{address}/live.html")
    assert "no WebAssembly" in bare.inner_text("#live-trouble") and bare.is_disabled("#live-tell")
    other.close()


def test_pictures_move_words_open_and_no_page_is_wider_than_a_phone(site, page):
    address, out = site
    page.set_viewport_size({"width": 390, "height": 844})
    wide = {}
    for path in sorted(out.rglob("*.html")):
        page.goto(f"{address}/{path.relative_to(out).as_posix()}", wait_until="load")
        width = page.evaluate("document.documentElement.scrollWidth")
        wide |= {path.name: width} if width > 390 else {}
    assert wide == {}
    page.goto(f"{address}/lessons/04_rope.html")
    image, before = page.locator(".moving img"), page.locator(".moving img").get_attribute("src")
    page.locator(".moving input").nth(1).focus()
    page.keyboard.press("ArrowRight")
    assert image.get_attribute("src") != before and "10 later" in image.get_attribute("alt")
    page.wait_for_function("() => document.querySelector('.moving img').naturalWidth > 0")
    page.goto(f"{address}/lessons/00_start_here.html")
    page.locator(".story [data-choices]").nth(3).click()
    assert "%" in page.inner_text(".story-choices")
