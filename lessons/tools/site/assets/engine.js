/* A model in the browser: one step of it is an ONNX file, and what it keeps goes from each step into the next. */
"use strict";

class Model {
  /* session: of onnxruntime; about: {start: {input: its sizes}, context: the most tokens, or null}. */
  constructor(session, about) {
    this.session = session;
    this.about = about;
    this.reset();
  }

  static async load(url, about) {
    return new Model(await ort.InferenceSession.create(url, { executionProviders: ["wasm"] }), about);
  }

  /* Forget everything. */
  reset() {
    this.position = 0;
    this.logits = null;
    this.kept = Object.fromEntries(
      Object.entries(this.about.start).map(([name, sizes]) => {
        const count = sizes.reduce((product, size) => product * size, 1);
        return [name, new ort.Tensor("float32", new Float32Array(count), sizes)];
      }),
    );
  }

  /* How many bytes it keeps of what it has read. */
  bytes() {
    return Object.values(this.kept).reduce((sum, tensor) => sum + tensor.data.byteLength, 0);
  }

  full() {
    return this.about.context !== null && this.position >= this.about.context;
  }

  /* Read one token; the scores of what may follow it are in `logits` then. */
  async read(token) {
    const whole = (value) => new ort.Tensor("int64", BigInt64Array.of(BigInt(value)), [1]);
    const given = { token: whole(token), ...this.kept };
    if (this.session.inputNames.includes("position")) given.position = whole(this.position);
    const came = await this.session.run(given);
    for (const name of Object.keys(this.kept)) this.kept[name] = came["new_" + name];
    this.logits = came.logits.data;
    this.position++;
  }
}

/* The chances that belong to scores, at a temperature above zero. */
function chances(logits, temperature = 1) {
  const largest = logits.reduce((most, z) => Math.max(most, z), -Infinity);
  const raised = Array.from(logits, (z) => Math.exp((z - largest) / temperature));
  const sum = raised.reduce((total, x) => total + x, 0);
  return raised.map((x) => x / sum);
}

/* The ids of the n likeliest tokens, the likeliest first. */
function likeliest(logits, n) {
  return Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a]).slice(0, n);
}

/* Draw a token; temperature 0 takes the likeliest. random: a number in [0, 1). */
function draw(logits, temperature, random) {
  if (temperature === 0) return likeliest(logits, 1)[0];
  let left = random;
  const shares = chances(logits, temperature);
  for (let id = 0; id < shares.length; id++) {
    left -= shares[id];
    if (left < 0) return id;
  }
  return likeliest(logits, 1)[0]; // what rounding left over
}
