/* The page of the live models: type a beginning, see what may follow, let both tell on, watch what each keeps. */
"use strict";

(() => {
  const PASSWORD =
    'Every Monday, Little Mina Marsh often ran with Grandma Rose to the quiet market with the red roofs. Her best ' +
    'friend was Big Tom Brook, a boy who lived next door. "The password of our den is golden bell," said Big Tom. ' +
    '"Do not tell a sleepy goat." Then Little Mina visited Grandma for three weeks. When she came back, Big Tom ' +
    'asked, "Password?" Little Mina had forgotten it, and was unhappy and tired. "Think," whispered Big Tom. ' +
    '"I know!" answered Little Mina. "It is golden';
  const EXAMPLES = ["Every Monday, Little", PASSWORD, "The queen of Norway"];
  const SHOWN = 8; // bars of chances
  const PACE = 45; // milliseconds between tokens, for the eye
  const SCALE = 256; // tokens of cache that fill the bar; twice as many, when they don't fit

  const at = (id) => document.getElementById(`live-${id}`);
  const trouble = at("trouble"), beginning = at("beginning"), status = at("status"), temperature = at("temperature");
  const controls = [beginning, at("tell"), at("one"), at("again"), temperature];
  const models = [];
  let bpe = null, telling = false, work = Promise.resolve(), asked = 0;

  /* Show what keeps this page from working, or nothing. */
  function say(sentence) {
    trouble.hidden = !sentence;
    trouble.textContent = sentence || "";
  }

  /* Make an element: its tag, its class, its text, what stands in it. */
  function make(tag, name, text, ...children) {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text !== null) made.textContent = text;
    made.append(...children);
    return made;
  }

  /* One of the two columns: a model with what it has told, and the elements that show it. */
  class Column {
    constructor(about, engine) {
      this.about = about;
      this.engine = engine;
      this.told = make("div", "live-told", "");
      this.told.tabIndex = 0;
      this.told.setAttribute("role", "group");
      this.told.setAttribute("aria-label", `What ${about.name} tells`);
      this.chances = make("ol", "live-chances", null);
      this.fill = make("i", "", null);
      this.memory = make("div", "live-memory", null, this.fill);
      this.bytes = make("p", "live-bytes", "");
      if (about.grows) this.memory.append((this.mark = make("b", "", null)));
      this.box = make("section", "live-model", null, make("h2", "", about.name), this.told,
        make("h3", "", about.keeps), this.memory, this.bytes,
        make("h3", "", "Chances of the next token: choose one yourself"), this.chances);
      this.box.style.setProperty("--hue", about.color);
      this.ids = [];
      this.n_given = 0;
    }

    get ended() {
      return this.ids.length > 1 && this.ids[this.ids.length - 1] === bpe.eot;
    }

    /* Read a text from its start. */
    async begin(ids, current) {
      this.engine.reset();
      this.ids = [];
      for (const id of ids) {
        if (!current()) return;
        this.ids.push(id);
        await this.engine.read(id);
      }
      this.n_given = this.ids.length;
      this.show();
    }

    /* Take a token as the next one. */
    async take(id) {
      this.ids.push(id);
      if (id !== bpe.eot) await this.engine.read(id);
      this.show();
    }

    get done() {
      return this.ended || this.engine.full();
    }

    async step() {
      if (!this.done) await this.take(draw(this.engine.logits, Number(temperature.value), Math.random()));
    }

    show() {
      const text = (from, to) => bpe.decode(this.ids.slice(from, to).filter((id) => id !== bpe.eot));
      const last = this.ids.length > this.n_given ? this.ids.length - 1 : this.ids.length;
      this.told.replaceChildren(
        make("span", "given", text(0, this.n_given)),
        make("span", "", text(this.n_given, last)),
        make("span", "new", text(last)),
      );
      if (this.ended) this.told.append(make("span", "given", " (the end)"));
      if (!this.ended && this.engine.full()) {
        this.told.append(make("span", "given", ` (it was built for ${this.engine.about.context} tokens)`));
      }
      this.told.scrollTop = this.told.scrollHeight;
      this.showChances();
      this.showMemory();
    }

    showChances() {
      const all = chances(this.engine.logits, Number(temperature.value) || 1e-3);
      const rows = this.done ? [] : likeliest(this.engine.logits, SHOWN);
      this.chances.replaceChildren(...rows.map((id) => {
        const word = id === bpe.eot ? "(the end)" : bpe.decode([id]).replaceAll(" ", "\u00b7").replaceAll("\n", "\u21b5");
        const rail = make("span", "live-rail", null, make("i", "", null));
        rail.firstChild.style.width = `${100 * all[id]}%`;
        const percent = `${(100 * all[id]).toFixed(1)} %`;
        const button = make("button", "", null, make("code", "", word), rail, make("span", "live-percent", percent));
        button.type = "button";
        button.addEventListener("click", () => queue(() => this.take(id)));
        return make("li", "", null, button);
      }));
    }

    showMemory() {
      const bytes = this.engine.bytes(), n = this.engine.position;
      const largest = Math.max(...models.map((column) => column.engine.position));
      const whole = models.find((column) => column.about.grows).about.a_token * SCALE * (largest > SCALE ? 2 : 1);
      const percent = (part) => `${Math.min(100, (100 * part) / whole)}%`;
      this.fill.style.width = percent(bytes);
      const number = (value) => value.toLocaleString("en");
      const how = this.about.grows ? `${number(n)} tokens, ${number(this.about.a_token)} bytes each` :
        `after ${number(n)} tokens, as after one`;
      this.bytes.replaceChildren(`${number(bytes)} bytes `, make("small", "", how));
      this.memory.title = `The whole bar is ${number(whole)} bytes`;
      if (this.mark) {
        const other = models.find((column) => !column.about.grows);
        this.mark.style.background = other.about.color;
        this.mark.style.left = percent(other.engine.bytes());
        this.mark.title = `${other.about.name}: ${number(other.engine.bytes())} bytes`;
      }
    }
  }

  /* Do one thing after the other: a model reads one token at a time. */
  function queue(what) {
    work = work.then(what).catch((error) => say(`The models stopped: ${error.message}. Load the page again.`));
    return work;
  }

  /* Read the beginning anew, with both models. */
  function begin() {
    stop();
    const mine = ++asked, current = () => mine === asked;
    return queue(async () => {
      if (!current()) return;
      // A blank belongs to the token of the word behind it: alone at the end it is a token they have hardly ever seen.
      const ids = [bpe.eot, ...bpe.encode(beginning.value.trimEnd())];
      const room = Math.min(...models.map((column) => column.engine.about.context ?? Infinity)) - 1;
      if (ids.length > room) {
        status.textContent = `The beginning has ${ids.length - 1} tokens, and there is room for ${room - 1}: shorten it.`;
        return;
      }
      const began = performance.now();
      for (const column of models) await column.begin(ids, current);
      if (!current()) return;
      const ms = (performance.now() - began) / models.length;
      status.textContent = `${ids.length} tokens read, with the mark that begins a story: ${ms.toFixed(0)} ms a model.`;
    });
  }

  function stop() {
    telling = false;
    at("tell").textContent = "Tell on";
  }

  async function tell() {
    if (telling) return stop();
    telling = true;
    at("tell").textContent = "Stop";
    while (telling && models.some((column) => !column.done)) {
      await queue(async () => {
        for (const column of models) await column.step();
      });
      await new Promise((go) => setTimeout(go, PACE));
    }
    if (telling) status.textContent = "Both have come to their end: Start over tells another story.";
    stop();
  }

  function listen() {
    let wait = null;
    beginning.addEventListener("input", () => {
      clearTimeout(wait);
      wait = setTimeout(begin, 250);
    });
    beginning.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) tell();
    });
    for (const button of document.querySelectorAll("[data-example]")) {
      button.addEventListener("click", () => {
        beginning.value = EXAMPLES[Number(button.dataset.example)];
        begin();
      });
    }
    at("tell").addEventListener("click", tell);
    at("again").addEventListener("click", begin);
    at("one").addEventListener("click", () => queue(async () => {
      for (const column of models) await column.step();
    }));
    temperature.addEventListener("input", () => {
      at("degrees").textContent = Number(temperature.value).toFixed(1);
      for (const column of models) column.showChances();
    });
  }

  async function load() {
    const folder = new URL("_static/live/", location.href).href;
    const began = performance.now();
    ort.env.wasm.numThreads = 1; // more would need headers that a plain server does not send
    ort.env.wasm.wasmPaths = folder;
    const get = async (name) => {
      const answer = await fetch(folder + name);
      if (!answer.ok) throw new Error(`${name} could not be read (${answer.status})`);
      return answer;
    };
    bpe = new BPE(await (await get("tokenizer.json")).json());
    for (const about of await (await get("models.json")).json()) {
      status.textContent = `Loading ${about.name} ...`;
      models.push(new Column(about, await Model.load(folder + about.file, about)));
    }
    at("pair").append(...models.map((column) => column.box));
    at("pair").hidden = false;
    for (const control of controls) control.disabled = false;
    listen();
    await begin();
    window.liveModels = { models, bpe, seconds: (performance.now() - began) / 1000 };
  }

  if (location.protocol === "file:") {
    say("A browser runs these models only from a server. In the folder of this page call `python3 -m http.server`, " +
      "then open http://localhost:8000/live.html. Nothing leaves your machine.");
  } else if (typeof WebAssembly !== "object") {
    say("This browser has no WebAssembly, which runs the models: open the page in a current Firefox, Chrome, Edge or " +
      "Safari. The stories of lesson 00 are told by the same models.");
  } else {
    say("");
    status.textContent = "Loading 19 MB ...";
    load().catch((error) => {
      status.textContent = "";
      say(`The models could not be loaded: ${error.message}. Load the page again.`);
    });
  }
})();
