// What all live explorers share: formulas, values, elements, axes, canvas. Plain JavaScript.
// Python (`widgets/live.py`) joins controls.js, mount.js and an explorer's own files to this one:
// modules cannot import each other inside a notebook. No words here: they come from Python.

// First the formulas, those of the package (`advantages`, `ratios`, `clipping`, `losses`). A test
// compares them.

const sum = (xs) => xs.reduce((total, x) => total + x, 0);
const mean = (xs) => sum(xs) / xs.length;
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

/** The unbiased standard deviation, 0 where all are equal. */
function std(xs) {
  const m = mean(xs);
  return Math.sqrt(sum(xs.map((x) => (x - m) ** 2)) / (xs.length - 1));
}

/** Advantages of one group's rewards. scale: "std", "none" or "leave_one_out". */
function groupAdvantages(rewards, scale) {
  if (rewards.every((reward) => reward === rewards[0])) return rewards.map(() => 0);
  const m = mean(rewards);
  const n = rewards.length;
  const factor = { std: 1 / (std(rewards) + 1e-4), none: 1, leave_one_out: n / (n - 1) }[scale];
  return rewards.map((reward) => (reward - m) * factor);
}

/** s = exp(mean of a completion's log-ratios): the geometric mean of its token ratios. */
const sequenceRatio = (logRatios) => (logRatios.length ? Math.exp(mean(logRatios)) : 1);

/** min(q A, clip(q, 1 - low, 1 + high) A), to be maximised. */
const objective = (q, a, low, high) => Math.min(q * a, clamp(q, 1 - low, 1 + high) * a);

/** Whether the clip stops the gradient. */
const clipBinds = (q, a, low, high) => (a > 0 && q > 1 + high) || (a < 0 && q < 1 - low);

/** d objective / d log q: the push on the log-prob behind a ratio, before the weight. */
const gradient = (q, a, low, high) => (clipBinds(q, a, low, high) ? 0 : q * a);

/** What one token of each completion weighs in the loss. `how`: see `losses.aggregate`. */
function tokenWeights(lengths, how, maxTokens) {
  const rows = lengths.length;
  if (how === "sequence_mean") return lengths.map((n) => 1 / (rows * Math.max(n, 1)));
  const all = how === "constant" ? rows * maxTokens : Math.max(sum(lengths), 1);
  return lengths.map(() => 1 / all);
}

/** Probabilities: softmax(logits / temperature). */
function softmax(logits, temperature = 1) {
  const top = Math.max(...logits);
  const weights = logits.map((x) => Math.exp((x - top) / temperature));
  const total = sum(weights);
  return weights.map((w) => w / total);
}

/** The token in whose piece of the line the noise falls, and where its piece starts. */
function pickToken(probabilities, noise) {
  let [token, start] = [0, 0];
  while (token < probabilities.length - 1 && start + probabilities[token] <= noise) {
    start += probabilities[token++];
  }
  return { token, start };
}

/** Random numbers from 0 to 1, the same in every page (mulberry32). */
function random(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** What can be changed, by name. Every view listens. In a notebook the kernel's traits follow. */
class Values {
  constructor(values) {
    this.first = values;
    this.values = { ...values };
    this.listeners = [];
    this.model = null;
  }

  get(name) {
    return this.values[name];
  }

  set(name, value) {
    if (JSON.stringify(this.values[name]) === JSON.stringify(value)) return;
    this.values[name] = value;
    if (this.model) {
      this.model.set(name, value);
      this.model.save_changes();
    }
    for (const listener of this.listeners) listener(name, value);
  }

  setAll(some) {
    for (const [name, value] of Object.entries(some)) this.set(name, value);
  }

  reset() {
    this.setAll(this.first);
  }

  /** What a control needs: how to read the value and how to write it. */
  linked(name) {
    return { read: () => this.get(name), write: (value) => this.set(name, value) };
  }

  /** Calls listener(name, value) after each change. */
  on(listener) {
    this.listeners.push(listener);
  }

  /** Takes the values of the kernel's model, and those that Python sets later. */
  follow(model) {
    for (const name of Object.keys(this.values)) {
      const take = () => this.set(name, model.get(name));
      model.on(`change:${name}`, take);
      take();
    }
    this.model = model;
  }
}

/** An HTML element: attributes (those that begin with "on" are listeners), then children. */
function html(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
function svg(tag, attributes = {}, ...children) {
  return dress(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

/** Sets attributes of an element, and appends children. Returns it. */
function dress(element, attributes, children = []) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else set(element, name, value);
  }
  element.append(...children);
  return element;
}

/** A button. more: further attributes. Where it cannot be used it is aria-disabled, not disabled: a
 * disabled button would lose the keyboard's focus. */
const buttonOf = (words, onclick, more = {}) =>
  html("button", { type: "button", onclick, ...more }, words);

/** Sets an attribute if it changes. null removes it, and false what is not for screen readers. */
function set(element, name, value) {
  const goes = value === null || (value === false && !name.startsWith("aria-"));
  if (goes) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Lets a handle be used or not. */
const switchOff = (element, off) =>
  dress(element, { tabindex: off ? -1 : 0, "aria-disabled": off });

/** Sets the text of an element if it changes. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A row of a table with `n` cells after its name: { name, row, write(texts) }. */
function tableRow(name, n) {
  const cells = Array.from({ length: n }, () => html("td"));
  const write = (texts) => texts.forEach((text, k) => say(cells[k], text));
  return { name, write, row: html("tr", {}, html("th", { scope: "row" }, name), ...cells) };
}

/** "{n} updates" with { n: 3 } is "3 updates". */
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

/** A number with a real minus sign. `digits`: after the point. `plus`: positive ones with "+". */
function number(x, digits = 3, plus = false) {
  const text = Math.abs(x).toFixed(digits);
  const isZero = Number(text) === 0;
  return (x < 0 && !isZero ? "−" : plus && !isZero ? "+" : "") + text;
}

/** 0.0312 is "3.1 %". Small ones keep a digit. */
function percent(share) {
  const size = Math.abs(share * 100);
  const digits = size === 0 || size >= 9.95 ? 0 : size >= 0.095 ? 1 : size >= 0.0095 ? 2 : 3;
  return (share < 0 ? "−" : "") + size.toFixed(digits) + "\u00a0%";
}

/** From values to pixels and back. `log`: equal ratios are equal distances. */
function scale(from, to, start, end, log = false) {
  const f = log ? Math.log : (x) => x;
  const back = log ? Math.exp : (x) => x;
  const slope = (end - start) / (f(to) - f(from));
  const at = (value) => start + (f(value) - f(from)) * slope;
  return { from, to, start, end, at, value: (place) => back(f(from) + (place - start) / slope) };
}

/** Numbers that change in whole steps of a `unit`: zeros, and what they are after each step. */
function summedUp(size, steps, unit) {
  const found = [new Float64Array(size)];
  for (const step of steps) found.push(found.at(-1).map((before, i) => before + step[i] * unit));
  return found;
}

/** A colour of the theme by name, at a strength of 0 to 100. */
const tint = (name, strength) =>
  `color-mix(in srgb, var(--${name}) ${strength.toFixed(0)}%, transparent)`;

/** About `count` round values of a linear scale: 1, 2 or 5 times a power of ten apart. */
function ticks({ from: low, to: high }, count = 6) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((d) => d * power >= rough * 0.999) * power;
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) {
    found.push(Number((n * step).toPrecision(12)));
  }
  return found;
}

/** Draws an axis into an SVG group: side "bottom" (at height `place`) or "left" (at x `place`). */
function drawAxis(group, axis, place, options = {}) {
  const { side = "bottom", values = ticks(axis), text = String, label = "" } = options;
  const line = (from, to, off) => {
    const across = { x1: from, x2: to, y1: place, y2: place + off };
    const upright = { x1: place, x2: place - off, y1: from, y2: to };
    return svg("line", { ...(side === "bottom" ? across : upright), class: "axis" });
  };
  const below = (x, y) => ({ x, y: place + y, "text-anchor": "middle" });
  group.replaceChildren(line(axis.start, axis.end, 0));
  for (const value of values) {
    const at = axis.at(value);
    const left = { x: place - 7, y: at + 4, "text-anchor": "end" };
    group.append(line(at, at, 4));
    group.append(svg("text", side === "bottom" ? below(at, 17) : left, text(value)));
  }
  const where = { ...below((axis.start + axis.end) / 2, 34), class: "label" };
  if (label) group.append(svg("text", where, label));
}

/** A method's line style and colour (a CSS variable), as in every figure of the course. */
function swatch(colour, dash) {
  const stroke = { stroke: `var(${colour})`, "stroke-width": 3, "stroke-dasharray": dash };
  const line = svg("line", { x1: 0, x2: 22, y1: 4, y2: 4, ...stroke });
  return svg("svg", { width: 22, height: 8, "aria-hidden": true, class: "swatch" }, line);
}

/** A function that asks for one draw before the next frame, however often it is called. */
function onFrame(root, draw) {
  let asked = false;
  root.frameTimes = []; // milliseconds of our own script, the last thousand frames
  const frame = () => {
    asked = false;
    const started = performance.now();
    draw();
    root.frameTimes.push(performance.now() - started);
    if (root.frameTimes.length > 1000) root.frameTimes.shift();
  };
  return () => {
    if (!asked) requestAnimationFrame(frame);
    asked = true;
  };
}

/** Draws now, and once before the next frame after any change of a value or of the width. Returns
 * what asks for a draw. */
function keepDrawn(root, values, draw) {
  const redraw = onFrame(root, draw);
  values.on(redraw);
  new ResizeObserver(redraw).observe(root);
  draw();
  return redraw;
}

/** Fits a canvas to a size in CSS pixels at the screen's own resolution. Returns its context. */
function fit(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const wanted = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wanted[0] || canvas.height !== wanted[1]) {
    [canvas.width, canvas.height] = wanted;
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/** Dots on a canvas, all of one colour: ends of lines, three times as fast as circles. */
function dots(context, xs, ys, radius, colour) {
  Object.assign(context, { strokeStyle: colour, lineWidth: 2 * radius, lineCap: "round" });
  context.beginPath();
  for (let i = 0; i < xs.length; i++) {
    context.moveTo(xs[i], ys[i]);
    context.lineTo(xs[i] + 0.01, ys[i]); // a path of one line without any length is not drawn
  }
  context.stroke();
  context.lineCap = "butt";
}
