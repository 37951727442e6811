// What all live explorers share: formulas, values, axes, drag, keyboard, canvas, theme.
// Plain JavaScript. Python (`widgets/live.py`) joins an explorer's own file to this one when it is
// made: modules cannot import each other inside a notebook. No words here: they come from Python.

// ---------------------------------------------------------------- formulas
// Those of the package (`advantages`, `ratios`, `clipping`, `losses`). A test compares them.

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
  let start = 0;
  for (let token = 0; token < probabilities.length; token++) {
    if (start + probabilities[token] > noise) return { token, start };
    start += probabilities[token];
  }
  const token = probabilities.length - 1;
  return { token, start: start - probabilities[token] };
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

// ---------------------------------------------------------------- values
// What can be changed, by name. Every view listens. Inside a notebook the kernel's traits follow.

class Values {
  constructor(values) {
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

  /** Sets several by name. */
  setAll(some) {
    for (const [name, value] of Object.entries(some)) this.set(name, value);
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

// ---------------------------------------------------------------- elements

/** An HTML element: attributes (those that begin with "on" are listeners), then children. */
function html(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
function svg(tag, attributes = {}, ...children) {
  return dress(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function dress(element, attributes, children) {
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

/** Sets an attribute if it changes. null and false remove it. */
function set(element, name, value) {
  if (value === null || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Sets the text of an element if it changes. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
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

// ---------------------------------------------------------------- axes

/** From values to pixels and back. `log`: equal ratios are equal distances. */
function scale(from, to, start, end, log = false) {
  const f = log ? Math.log : (x) => x;
  const back = log ? Math.exp : (x) => x;
  const slope = (end - start) / (f(to) - f(from));
  return {
    from,
    to,
    start,
    end,
    log,
    at: (value) => start + (f(value) - f(from)) * slope,
    value: (place) => back(f(from) + (place - start) / slope),
  };
}

/** About `count` round values within a scale: 1, 2 or 5 times a power of ten. */
function ticks(axis, count = 6) {
  const low = Math.min(axis.from, axis.to);
  const high = Math.max(axis.from, axis.to);
  if (axis.log) {
    const powers = [];
    for (let p = Math.floor(Math.log10(low)); p <= Math.log10(high); p++) powers.push(p);
    const digits = powers.length > count ? [1] : powers.length > count / 2 ? [1, 3] : [1, 2, 5];
    const all = powers.flatMap((p) => digits.map((d) => Number(`${d}e${p}`)));
    return all.filter((x) => x >= low * (1 - 1e-9) && x <= high * (1 + 1e-9));
  }
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
function drawAxis(
  group,
  axis,
  place,
  { side = "bottom", values = ticks(axis), text = String, label = "" },
) {
  const across = side === "bottom";
  const line = across
    ? { x1: axis.start, x2: axis.end, y1: place, y2: place }
    : { x1: place, x2: place, y1: axis.start, y2: axis.end };
  group.replaceChildren(svg("line", { ...line, class: "axis" }));
  for (const value of values) {
    const at = axis.at(value);
    const tick = across
      ? { x1: at, x2: at, y1: place, y2: place + 4 }
      : { x1: place, x2: place - 4, y1: at, y2: at };
    const where = across
      ? { x: at, y: place + 17, "text-anchor": "middle" }
      : { x: place - 7, y: at + 4, "text-anchor": "end" };
    group.append(svg("line", { ...tick, class: "axis" }), svg("text", where, text(value)));
  }
  const middle = (axis.start + axis.end) / 2;
  const where = across
    ? { x: middle, y: place + 34, "text-anchor": "middle" }
    : { transform: `translate(${place - 40} ${middle}) rotate(-90)`, "text-anchor": "middle" };
  if (label) group.append(svg("text", { ...where, class: "label" }, label));
}

// ---------------------------------------------------------------- mouse and keyboard

/** Lets an element be dragged: move(x, y, event) in pixels of `frame` (the element by default). */
function draggable(element, { start = () => {}, move, end = () => {}, frame = element }) {
  const place = (event) => {
    const box = frame.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top, event];
  };
  element.style.touchAction = "none";
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    element.setPointerCapture(event.pointerId);
    event.preventDefault();
    element.focus?.({ preventScroll: true });
    start(...place(event));
  });
  element.addEventListener("pointermove", (event) => {
    if (element.hasPointerCapture(event.pointerId)) move(...place(event));
  });
  element.addEventListener("lostpointercapture", (event) => end(...place(event)));
}

const STEPS = {
  ArrowRight: 1,
  ArrowUp: 1,
  ArrowLeft: -1,
  ArrowDown: -1,
  PageUp: 10,
  PageDown: -10,
};

/**
 * Makes any element a slider for keyboard and screen reader. Returns a function that tells the
 * screen reader about a value that changed elsewhere.
 * name: what it is. text(value): its value in words. min, max and step, or a list of `values`.
 */
function handle(element, { name, text, read, write, min, max, step = 1, values = null }) {
  const stops = values ? [values[0], values.at(-1)] : [min, max];
  const told = { role: "slider", tabindex: 0, "aria-label": name };
  dress(element, { ...told, "aria-valuemin": stops[0], "aria-valuemax": stops[1] }, []);
  const update = () => {
    set(element, "aria-valuenow", read());
    set(element, "aria-valuetext", text(read()));
  };
  element.addEventListener("keydown", (event) => {
    const by = STEPS[event.key];
    const to = { Home: stops[0], End: stops[1] }[event.key];
    if (by === undefined && to === undefined) return;
    event.preventDefault();
    write(
      to ??
        (values ? nextOf(values, read(), by) : clamp(roundTo(read() + by * step, step), min, max)),
    );
    update();
  });
  update();
  return update;
}

/** The value `by` stops further. From between two stops the first step ends on one. */
function nextOf(values, value, by) {
  const above = values.findIndex((v) => v >= value - 1e-12);
  const at = above < 0 ? values.length - 1 : above;
  const between = Math.abs(values[at] - value) > 1e-12 && by > 0 ? 1 : 0;
  return values[clamp(at + by - between, 0, values.length - 1)];
}

const roundTo = (x, step) => Number((Math.round(x / step) * step).toPrecision(12));

/** Tokens of several texts, counted through: each text's first token, and each token's text. */
const layoutOf = (lengths) => ({
  lengths,
  starts: lengths.map((_, row) => sum(lengths.slice(0, row))),
  rows: lengths.flatMap((n, row) => Array(n).fill(row)),
});

/** Arrows, Home and End inside `place` go along the tokens of several texts, and to the same place
 * of the text above or below. tokens: their elements, in order. */
function moveAlong(place, tokens, { lengths, starts, rows }, choose) {
  place.addEventListener("keydown", (event) => {
    const at = tokens.indexOf(event.target);
    if (at < 0) return;
    const [row, last] = [rows[at], lengths.length - 1];
    const inRow = (to) => starts[to] + Math.min(at - starts[row], lengths[to] - 1);
    const to = {
      ...{ ArrowRight: at + 1, ArrowLeft: at - 1 },
      ...{ ArrowDown: inRow(Math.min(row + 1, last)), ArrowUp: inRow(Math.max(row - 1, 0)) },
      ...{ Home: starts[row], End: starts[row] + lengths[row] - 1 },
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const token = clamp(to, 0, tokens.length - 1);
    choose(token);
    tokens[token].focus();
  });
}

/** A visible slider with name and value: { element, input, update }. Options: as of `handle`. */
function slider(options) {
  const { name, text, read } = options;
  const { input, move } = options.values ? stopsTrack(options) : nativeTrack(options);
  const shown = html("output", {});
  const update = () => {
    move();
    say(shown, text(read()));
  };
  update();
  return {
    element: html("label", { class: "slider" }, html("span", {}, name), input, shown),
    input,
    update,
  };
}

/** A range of numbers at equal steps: the browser's own slider. */
function nativeTrack({ name, text, read, write, min, max, step = 1 }) {
  const input = html("input", { type: "range", min, max, step, "aria-label": name });
  input.addEventListener("input", () => write(Number(input.value)));
  const move = () => {
    input.value = read();
    set(input, "aria-valuetext", text(read()));
  };
  return { input, move };
}

/** Values at equal distances. The browser's own slider would tell their numbers in the list. */
function stopsTrack(options) {
  const { values, read, write } = options;
  const last = values.length - 1;
  const place = (i) => `${6 + (88 * i) / last}%`; // of its width, which an explorer may set
  const nearest = (x) =>
    values.reduce((b, v, i) => (Math.abs(v - x) < Math.abs(values[b] - x) ? i : b), 0);
  const thumb = svg("circle", { cy: 10, r: 7, class: "thumb" });
  const line = svg("line", { x1: "6%", x2: "94%", y1: 10, y2: 10, class: "track" });
  const input = svg("svg", { width: 150, height: 20, class: "stops" }, line, thumb);
  const tell = handle(input, options);
  const to = (x) => {
    const part = (x / input.getBoundingClientRect().width - 0.06) / 0.88;
    write(values[clamp(Math.round(part * last), 0, last)]);
  };
  draggable(input, { start: to, move: to });
  Object.defineProperty(input, "disabled", {
    // as the browser's own sliders have it
    set(off) {
      set(input, "aria-disabled", off);
      set(input, "tabindex", off ? -1 : 0);
    },
  });
  const move = () => {
    set(thumb, "cx", place(nearest(read())));
    tell();
  };
  return { input, move };
}

/** A row of buttons of which one is chosen: { element, update }. options: [value, words] each. */
function choice({ name, options, read, write }) {
  const buttons = options.map(([value, words]) =>
    html("button", { type: "button", role: "radio", onclick: () => choose(value) }, words),
  );
  const choose = (value) => {
    write(value);
    update();
  };
  const update = () =>
    buttons.forEach((button, i) => {
      const chosen = options[i][0] === read();
      set(button, "aria-checked", chosen);
      set(button, "tabindex", chosen ? 0 : -1);
    });
  const keys = (event) => {
    const ends = { Home: 0, End: buttons.length - 1 };
    if (!(event.key in STEPS) && !(event.key in ends)) return;
    event.preventDefault();
    // Arrow down and right go on to the next, as in every group of radio buttons.
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key] ?? 0;
    const at = buttons.indexOf(event.target);
    const to = ends[event.key] ?? (at + by + buttons.length) % buttons.length;
    choose(options[to][0]);
    buttons[to].focus();
  };
  update();
  const group = html(
    "span",
    { role: "radiogroup", "aria-label": name, onkeydown: keys },
    ...buttons,
  );
  return {
    element: html("span", { class: "choice" }, html("span", { "aria-hidden": true }, name), group),
    update,
  };
}

// ---------------------------------------------------------------- drawing

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

/** Draws now, and once before the next frame after any change. Returns what asks for a draw. */
function keepDrawn(root, values, draw) {
  const redraw = onFrame(root, draw);
  values.on(redraw);
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

/** Calls step() every `pause` ms between start() and stop(). */
function player(step, pause = 350) {
  let timer = null;
  return {
    playing: () => timer !== null,
    start: () => (timer ??= setInterval(step, pause)),
    stop: () => {
      clearInterval(timer);
      timer = null;
    },
  };
}

/** A button that calls step() every `every` ms until it is pressed again: { element, stop }. It
 * says `play` or `pause`, and calls begin() before it starts. */
function playButton(step, { play, pause, every, begin = () => {} }) {
  const clock = player(step, every);
  const stop = () => {
    clock.stop();
    say(element, play);
  };
  const start = () => {
    begin();
    clock.start();
    say(element, pause);
  };
  const press = () => (clock.playing() ? stop() : start());
  const element = buttonOf(play, press, { class: "play" });
  return { element, stop };
}

/** One that runs a value from update or step to the `last`, and after it from 0 again. linked: how
 * the value is read and written. */
function playThrough({ read, write }, last, { every, ...words }) {
  const step = () => {
    write(Math.min(read() + 1, last));
    if (read() === last) button.stop();
  };
  const begin = () => read() === last && write(0);
  const pause = lessMotion() ? Math.max(every, 900) : every;
  const button = playButton(step, { ...words, begin, every: pause });
  return button;
}

const lessMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// ---------------------------------------------------------------- theme

// JupyterLab's own colours if there are any. Exported pages follow the page they stand on.
const STYLE = `
  :host { display: block; max-width: 1060px; color: var(--jp-content-font-color1, inherit);
    transition: color 1ms; }
  .rlvr { --ink: #1f1f1f; --soft: #595959; --line: #8a8a8a; --faint: #e3e3e3; --page: #ffffff;
    --raised: #f4f4f4; --up: #0072b2; --down: #d55e00; --up-text: #00619a; --down-text: #a84900;
    --grpo: #0072b2; --dr-grpo: #d55e00; --gspo: #009e73; --focus: #0b57d0;
    container: explorer / inline-size; color: var(--ink);
    font: 13px/1.4 var(--jp-ui-font-family, system-ui, sans-serif); }
  .rlvr.dark { --ink: #ececec; --soft: #b4b4b4; --line: #808080; --faint: #383838; --page: #111111;
    --raised: #1f1f1f; --up: #2b95d6; --down: #e8742a; --up-text: #7cc4f2; --down-text: #ffa66b;
    --grpo: #2b95d6; --dr-grpo: #e8742a; --gspo: #1fb88c; --focus: #8ab4f8; }
  .rlvr * { box-sizing: border-box; }
  .rlvr :focus { outline: none; }
  .rlvr :focus-visible { outline: 2px solid var(--focus); outline-offset: 2px; border-radius: 3px; }
  .rlvr svg { overflow: visible; display: block; }
  .rlvr svg text { fill: var(--soft); font-size: 12px; }
  .rlvr svg text.label { fill: var(--ink); }
  .rlvr svg .axis { stroke: var(--line); }
  .rlvr button { font: inherit; color: var(--ink); background: var(--page); cursor: pointer;
    border: 1px solid var(--line); border-radius: 4px; padding: 2px 9px; min-height: 26px; }
  .rlvr button:not([aria-pressed=true], [aria-checked=true]):hover { background: var(--raised); }
  .rlvr .play { min-width: 62px; }
  .rlvr button[aria-disabled=true] { color: var(--soft); cursor: default; }
  .rlvr [role=radiogroup] { display: inline-flex; }
  .rlvr [role=radio] { border-radius: 0; margin-left: -1px; }
  .rlvr [role=radio]:first-child { border-radius: 4px 0 0 4px; }
  .rlvr [role=radio]:last-child { border-radius: 0 4px 4px 0; }
  .rlvr [role=radio][aria-checked=true] { background: var(--ink); color: var(--page);
    border-color: var(--ink); }
  .rlvr .slider, .rlvr .choice { display: inline-flex; align-items: center; gap: 8px; }
  .rlvr input[type=range] { accent-color: var(--up); width: 150px; margin: 0; }
  .rlvr .stops { cursor: pointer; }
  .rlvr .stops[aria-disabled=true] { opacity: 0.4; pointer-events: none; }
  .rlvr .thumb { fill: var(--up); }
  .rlvr .track { stroke: var(--line); stroke-width: 4; stroke-linecap: round; }
  .rlvr output { font-variant-numeric: tabular-nums; }
  .rlvr .hidden { position: absolute; width: 1px; height: 1px; overflow: hidden;
    clip-path: inset(50%); white-space: nowrap; }
  @media (forced-colors: active) { .rlvr { --ink: CanvasText; --soft: CanvasText; --page: Canvas;
    --line: CanvasText; --raised: Canvas; --focus: Highlight; }
    .rlvr [aria-checked=true], .rlvr [aria-pressed=true], .rlvr [aria-selected=true] {
      forced-color-adjust: none; background: Highlight !important;
      color: HighlightText !important; } }
`;

/** Whether the page behind an element is dark. */
function isDark(element) {
  for (let at = element; at; at = at.parentNode ?? at.host) {
    if (!(at instanceof Element)) continue;
    const [r, g, b, alpha = 1] = getComputedStyle(at)
      .backgroundColor.match(/[\d.]+/g)
      .map(Number);
    if (alpha > 0.5) return 0.2126 * r + 0.7152 * g + 0.0722 * b < 128;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

/** The colour of a CSS variable, for the canvas. */
const colour = (root, name) => getComputedStyle(root).getPropertyValue(name).trim();

// ---------------------------------------------------------------- where an explorer stands

/**
 * Puts an explorer into a place of the page, in a shadow root: no style of the page reaches it.
 * explorer(root, values, data, words) builds it and returns a function that draws it anew.
 */
function mount(place, explorer, { values, data, words, style = "" }, model = null) {
  place.replaceChildren();
  place.setAttribute("data-lm-suppress-shortcuts", "true"); // JupyterLab leaves us the keys
  place.setAttribute("data-jp-suppress-context-menu", "true");
  const shadow = place.shadowRoot ?? place.attachShadow({ mode: "open" });
  const root = html("div", { class: "rlvr" });
  shadow.replaceChildren(html("style", {}, STYLE + style), root);
  const held = new Values(values);
  if (model) held.follow(model);
  root.classList.toggle("dark", isDark(place));
  const redraw = explorer(root, held, data, words);
  const retheme = (event) => {
    if (event.target !== place) return; // the page's text colour changed: another theme
    // In the next frame: JupyterLab hides the page while it changes the theme.
    requestAnimationFrame(() => {
      root.classList.toggle("dark", isDark(place));
      redraw();
    });
  };
  // A theme that arrives in parts cancels its first transitions.
  for (const name of ["transitionend", "transitioncancel"]) place.addEventListener(name, retheme);
  place.rlvr = { values: held, root };
  return held;
}

/** A stored output meets the kernel's model of the same id, if there is one now or later. */
function meet(id, held) {
  const models = (globalThis.rlvrModels ??= new Map());
  if (models.has(id)) return held.follow(models.get(id));
  const hear = ({ detail }) => {
    if (detail !== id) return;
    document.removeEventListener("rlvr-model", hear);
    held.follow(models.get(id));
  };
  document.addEventListener("rlvr-model", hear);
}

/** The kernel's model is here: a stored output that waits for it may follow it. */
function announce(model) {
  (globalThis.rlvrModels ??= new Map()).set(model.get("name_of_this"), model);
  document.dispatchEvent(new CustomEvent("rlvr-model", { detail: model.get("name_of_this") }));
}
