// The KL of a distribution whose bars are dragged to a reference, and its estimates.

const TERMS = ["k1", "k2", "k3", "reward"];
const LEAST = 0.001; // a probability never falls below it
const TOP = 0.5; // of the axis of probabilities
const RATE = 1; // of a step on the logits

/** x = log ref - log p at each token. */
const logRatios = (p, ref) => p.map((pi, i) => Math.log(ref[i] / pi));

/** k1, k2, k3 at each token. */
function estimates(p, ref) {
  const kinds = { k1: (x) => -x, k2: (x) => (x * x) / 2, k3: (x) => Math.exp(x) - x - 1 };
  const of = ([name, k]) => [name, logRatios(p, ref).map(k)];
  return Object.fromEntries(Object.entries(kinds).map(of));
}

const expected = (p, values) => sum(p.map((pi, i) => pi * values[i]));
const spreadOf = (p, values) => {
  const m = expected(p, values);
  return Math.sqrt(expected(p, values.map((value) => (value - m) ** 2)));
};
const divergence = (p, q) => -expected(p, logRatios(p, q));

/** The expected gradient on the logits, with the sampled tokens held fixed as in training: of a
 * term in the loss, or of "reward": k1 taken off the reward, which A = -k1 carries. */
function gradientOf(term, p, ref) {
  const kinds = { k1: () => -1, k2: (x) => -x, k3: (x) => 1 - Math.exp(x), reward: (x) => -x };
  const slopes = logRatios(p, ref).map(kinds[term]); // the factor of grad log p at each token
  const m = expected(p, slopes);
  return p.map((pi, j) => pi * (slopes[j] - m));
}

function stepped(term, p, ref) {
  const g = gradientOf(term, p, ref);
  const raised = p.map((pi, i) => Math.max(pi * Math.exp(-RATE * g[i]), LEAST / 10));
  return rounded(raised.map((pi) => pi / sum(raised)));
}

/** One probability set. The others keep their proportions. */
function withBar(p, i, value) {
  const top = 1 - LEAST * (p.length - 1);
  const set = clamp(value, LEAST, top);
  const rest = (1 - set) / (1 - p[i]);
  return rounded(p.map((pi, j) => (j === i ? set : Math.max(pi * rest, LEAST / 10))));
}

const rounded = (p) => p.map((pi) => Number((pi / sum(p)).toFixed(6)));

function kl(root, values, data, words) {
  const bars = buildBars(values, data, words);
  const table = buildEstimates(words);
  const controls = buildKlControls(values, data, words);
  const draw = () => {
    const { probabilities: p, term } = values.values;
    bars.update(p, gradientOf(term, p, data.reference), values.get("chosen"));
    table.update(p, data.reference, values.get("chosen"), term);
    controls.update();
  };
  const main = html("div", { class: "main" }, bars.element, table.element);
  root.append(html("p", { class: "soft" }, words.intro), controls.element, main);
  return keepDrawn(root, values, draw);
}

function buildKlControls(values, data, words) {
  const next = ({ term, probabilities }) => stepped(term, probabilities, data.reference);
  const goOn = () => values.set("probabilities", next(values.values));
  const play = playButton(goOn, { play: words.play, pause: words.pause, every: 100 });
  const restart = () => {
    play.stop();
    values.reset();
  };
  const starts = data.starts.map(({ name, probabilities }) =>
    buttonOf(name, () => values.set("probabilities", probabilities)),
  );
  const options = TERMS.map((term) => [term, words.terms[term]]);
  const term = choice({ name: words.term, options, ...values.linked("term") });
  const step = buttonOf(words.step, goOn);
  const group = { class: "choice", role: "group", "aria-label": words.start };
  const element = html("div", { class: "controls" }, term.element, step, play.element);
  element.append(html("span", group, words.start, ...starts), buttonOf(words.reset, restart));
  return { element, update: term.update };
}

/** Bars to drag, the reference as ticks, and what the term does to each as an arrow. */
function buildBars(values, data, words) {
  const picture = svg("svg", { height: 300, role: "group", "aria-label": words.bars });
  const frame = html("div", { class: "bars" }, picture);
  const axis = svg("g");
  const scaleY = scale(0, TOP, 260, 16);
  const names = { side: "left", text: percent, values: [0, 0.1, 0.2, 0.3, 0.4, TOP] };
  drawAxis(axis, scaleY, 40, names);
  const bars = data.names.map((name, i) => buildBar({ values, words, picture, scaleY }, name, i));
  picture.append(axis, ...bars.map(({ element }) => element));
  picture.addEventListener("keydown", (event) => toNeighbour(values, event, bars), true);
  return {
    element: frame,
    update(p, gradient, chosen) {
      const width = frame.clientWidth || 600;
      set(picture, "width", width);
      const slot = (width - 44) / p.length;
      const longest = Math.max(0.004, ...gradient.map(Math.abs));
      bars.forEach((bar, i) => {
        const push = -gradient[i] / longest;
        bar.update(44 + i * slot, slot, { p: p[i], ref: data.reference[i], push }, i === chosen);
      });
    },
  };
}

function buildBar({ values, words, picture, scaleY }, name, i) {
  const body = svg("rect", { class: "body" });
  const area = svg("rect", { class: "area", y: 0, height: 262 });
  const tick = svg("path", { class: "ref" });
  const arrow = svg("path", { class: "arrow" });
  const text = svg("text", { "text-anchor": "middle", y: 278 }, name);
  const element = svg("g", { class: "bar" }, body, tick, arrow, text, area);
  const read = () => values.get("probabilities")[i];
  const write = (p) =>
    values.setAll({ chosen: i, probabilities: withBar(values.get("probabilities"), i, p) });
  const limits = { min: LEAST, max: 0.9, step: 0.01 };
  const about = { name: fill(words.bar, { name }), text: percent };
  const tell = handle(element, { ...about, read, write, ...limits });
  draggable(element, { frame: picture, move: (_x, y) => write(scaleY.value(y)) });
  return {
    element,
    update(x, slot, { p, ref, push }, chosen) {
      const at = { x: x + 2, width: Math.max(slot - 4, 2) };
      const y = Math.max(scaleY.at(p), 4);
      dress(body, { ...at, y, height: 260 - y });
      dress(area, { x, width: slot });
      set(tick, "d", `M${x} ${scaleY.at(ref)}h${slot}`);
      set(text, "x", x + slot / 2);
      const long = 34 * push;
      const tip = long < 0 ? 5 : -5;
      const path = `M${x + slot / 2} ${y}v${-long}m-4 ${-tip}l4 ${tip}l4 ${-tip}`;
      set(arrow, "d", Math.abs(long) > 2 ? path : "M0 0");
      arrow.classList.toggle("down", push < 0);
      element.classList.toggle("chosen", chosen);
      set(element, "tabindex", chosen ? 0 : -1);
      tell();
    },
  };
}

/** Left and right go to the next bar. Up and down change it (see `handle`). */
function toNeighbour(values, event, bars) {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  event.preventDefault();
  event.stopPropagation();
  const to = clamp(values.get("chosen") + by, 0, bars.length - 1);
  values.set("chosen", to);
  bars[to].element.focus();
}

function buildEstimates(words) {
  const lines = ["k1", "k2", "k3"].map((name) => tableRow(name, 3));
  const head = ["", ...words.columns].map((text) => html("th", { scope: "col" }, text));
  const exact = [0, 1].map(() => html("p"));
  const does = html("p", { class: "does", "aria-live": "polite" });
  const table = html("table", {}, html("tr", {}, ...head), ...lines.map(({ row }) => row));
  return {
    element: html("div", { class: "estimates" }, ...exact, table, does),
    update(p, ref, chosen, term) {
      const found = estimates(p, ref);
      for (const { name, write } of lines) {
        const k = found[name];
        write([expected(p, k), spreadOf(p, k), k[chosen]].map((x) => number(x, 3)));
      }
      say(exact[0], fill(words.forward, { kl: number(divergence(p, ref), 3) }));
      say(exact[1], fill(words.backward, { kl: number(divergence(ref, p), 3) }));
      say(does, words.does[term]);
    },
  };
}
