// The explorers of lesson 07: the vote of every token of the four rollouts, and the KL of a
// distribution whose bars are dragged. Formulas of weights and advantages: rlvr.js.

const HOWS = ["sequence_mean", "constant", "token_mean"];
const TERMS = ["k1", "k2", "k3", "reward"];
const LEAST = 0.001; // a probability never falls below it
const TOP = 0.5; // of the axis of probabilities
const RATE = 1; // of a step on the logits
const thousandths = (x) => number(1000 * x, 1);

// ---------------------------------------------------------------- votes: the numbers

/** Of each answer under each aggregation the weight of a token. A = R - mean for all. */
function votesOf({ rewards, lengths, budget }) {
  const advantages = groupAdvantages(rewards, "none");
  const of = (how) => {
    const weights = tokenWeights(lengths, how, budget);
    const token = weights.map((w, row) => w * advantages[row]);
    const answer = token.map((vote, row) => vote * lengths[row]);
    return { weights, token, answer, total: sum(answer.map(Math.abs)) };
  };
  return { advantages, ...Object.fromEntries(HOWS.map((how) => [how, of(how)])) };
}

// ---------------------------------------------------------------- votes: the picture

function votes(root, values, data, words) {
  const c = { values, data, words };
  const rows = data.rows.map((_, row) => buildAnswer(c, row));
  const controls = buildVoteControls(c);
  const told = html("p", { class: "told", "aria-live": "polite" });
  const sums = html("p", { class: "soft" });
  const draw = () => {
    const v = values.values;
    const found = votesOf(v);
    for (const row of rows) row.update(v, found);
    controls.update();
    say(told, chosenText(c, v, found));
    const totals = HOWS.map((how) => `${how} ${thousandths(found[how].total)}`).join(", ");
    say(sums, fill(words.sums, { totals }));
  };
  const list = html("div", { class: "answers" }, ...rows.map(({ element }) => element));
  const layout = layoutOf(data.rows.map((row) => row.length));
  const choose = (i) => values.set("token", [layout.rows[i], i - layout.starts[layout.rows[i]]]);
  moveAlong(list, rows.flatMap((row) => row.tokens), layout, choose);
  root.append(html("p", { class: "soft" }, words.intro), controls.element, list, told, sums);
  const redraw = keepDrawn(root, values, draw);
  const measure = () => {
    for (const row of rows) row.measure();
    redraw();
  };
  new ResizeObserver(measure).observe(list); // once at the beginning, too
  return redraw;
}

function buildVoteControls({ values, data, words }) {
  const first = { ...values.values };
  const options = HOWS.map((how) => [how, `${how} (${words.used_by[how]})`]);
  const how = choice({ name: words.how, options, ...values.linked("how") });
  const [min, max] = data.budgets;
  const budget = slider({ name: words.budget, text: String, min, max, ...values.linked("budget") });
  const reset = buttonOf(words.reset, () => values.setAll(first));
  return {
    element: html("div", { class: "controls" }, how.element, budget.element, reset),
    update: () => [how, budget].forEach((part) => part.update()),
  };
}

/** One answer: its reward to click, its tokens under their votes, its end to drag, its sums. */
function buildAnswer(c, row) {
  const { values, words, data } = c;
  const flip = () => values.set("rewards", values.get("rewards").with(row, 1 - rewardOf(row)));
  const rewardOf = (at) => values.get("rewards")[at];
  const reward = buttonOf("", flip, { class: "reward" });
  const about = html("span", { class: "soft" });
  const tokens = data.rows[row].map((word, place) => buildToken(c, row, place, word));
  const end = buildEnd(c, row, tokens);
  const text = html("div", { class: "tokens", role: "listbox", "aria-label": data.names[row] });
  text.append(...tokens.map(({ element }) => element), end.element);
  const shares = HOWS.map((how) => buildShare(how));
  const name = html("b", {}, data.names[row]);
  const side = html("div", { class: "side" }, name, reward, about);
  const table = html("div", { class: "shares" }, ...shares.map(({ element }) => element));
  return {
    element: html("div", { class: "answer" }, side, text, table),
    tokens: tokens.map((token) => token.element),
    measure: end.measure,
    update(v, found) {
      const a = found.advantages[row];
      const n = v.lengths[row];
      say(reward, fill(words.reward, { reward: v.rewards[row] }));
      set(reward, "aria-label", fill(words.flip, { name: data.names[row], reward: v.rewards[row] }));
      say(about, fill(words.about, { n, a: number(a, 2, true) }));
      const tallest = Math.max(...found[v.how].token.map(Math.abs)) || 1;
      const vote = found[v.how].token[row];
      const [chosenRow, chosenPlace] = v.token;
      tokens.forEach((token, place) => {
        const chosen = row === chosenRow && place === chosenPlace;
        token.update(place < n ? vote : null, Math.abs(vote) / tallest, chosen);
      });
      end.update();
      shares.forEach((share) => share.update(found[share.how], row, v.how));
    },
  };
}

/** A token under its bar. `vote` is null if the answer has been cut off before it. */
function buildToken({ values, words }, row, place, word) {
  const bar = html("i", {});
  const onclick = () => values.set("token", [row, place]);
  const element = html("span", { class: "token", role: "option", onclick }, bar, word);
  return {
    element,
    update(vote, share, chosen) {
      bar.style.transform = `scaleY(${vote === null ? 0 : share.toFixed(4)})`;
      element.classList.toggle("down", vote < 0);
      element.classList.toggle("cut", vote === null);
      set(element, "aria-selected", chosen);
      set(element, "tabindex", chosen ? 0 : -1);
      const heard = vote === null ? words.heard_cut : words.heard;
      set(element, "aria-label", fill(heard, { word, vote: thousandths(vote ?? 0) }));
    },
  };
}

/** The end of an answer, which can be dragged over its tokens. */
function buildEnd({ values, data, words }, row, tokens) {
  const element = html("span", { class: "end" });
  const write = (n) => values.set("lengths", values.get("lengths").with(row, n));
  const tell = handle(element, {
    name: fill(words.end, { name: data.names[row] }),
    text: (n) => fill(words.tokens, { n }),
    read: () => values.get("lengths")[row],
    write,
    min: 1,
    max: tokens.length,
  });
  const far = (x, y) => (token) => {
    const box = token.element.getBoundingClientRect();
    return Math.hypot(box.right - x, 4 * Math.max(box.top - y, y - box.bottom, 0));
  };
  const nearest = (event) => {
    const all = tokens.map(far(event.clientX, event.clientY));
    return all.indexOf(Math.min(...all)) + 1;
  };
  draggable(element, { move: (_x, _y, event) => write(nearest(event)) });
  let ends = []; // of the tokens, measured once per layout
  const measure = () => {
    ends = tokens.map(({ element: { offsetLeft, offsetTop, offsetWidth } }) => [
      offsetLeft + offsetWidth - 2,
      offsetTop,
    ]);
  };
  const update = () => {
    const [x, y] = ends[values.get("lengths")[row] - 1] ?? [0, 0];
    element.style.transform = `translate(${x}px, ${y}px)`;
    tell();
  };
  return { element, measure, update };
}

/** The share of one answer in all votes, under one aggregation. */
function buildShare(how) {
  const bar = html("i", {});
  const text = html("span", {});
  const element = html("div", { class: "share" }, html("span", {}, how), bar, text);
  return {
    how,
    element,
    update({ answer, total }, row, shown) {
      const share = total ? Math.abs(answer[row]) / total : 0;
      bar.style.transform = `scaleX(${share.toFixed(4)})`;
      bar.classList.toggle("down", answer[row] < 0);
      say(text, percent(share));
      element.classList.toggle("shown", how === shown);
    },
  };
}

/** The chosen token's weight and vote, as a calculation. */
function chosenText({ data, words }, { how, token: [row, place], lengths, budget }, found) {
  const given = {
    word: data.rows[row][place], place: place + 1, n: lengths[row], name: data.names[row],
    rows: lengths.length, budget, all: sum(lengths), a: number(found.advantages[row], 2, true),
    weight: thousandths(found[how].weights[row]), vote: thousandths(found[how].token[row]),
  };
  if (place >= lengths[row]) return fill(words.chosen_cut, given);
  return fill(words.chosen, { ...given, formula: fill(words.formulas[how], given) });
}

// ---------------------------------------------------------------- the KL: the numbers

/** k1, k2, k3 at each token, from x = log ref - log p. */
function estimates(p, ref) {
  const x = p.map((pi, i) => Math.log(ref[i] / pi));
  return {
    k1: x.map((xi) => -xi),
    k2: x.map((xi) => (xi * xi) / 2),
    k3: x.map((xi) => Math.exp(xi) - xi - 1),
  };
}

/** The mean of values under p. */
const expected = (p, values) => sum(p.map((pi, i) => pi * values[i]));

/** The spread of values under p. */
const spreadOf = (p, values) => {
  const m = expected(p, values);
  return Math.sqrt(expected(p, values.map((value) => (value - m) ** 2)));
};

/** KL(p || q), exactly. */
const divergence = (p, q) => expected(p, p.map((pi, i) => Math.log(pi / q[i])));

/**
 * The expected gradient on the logits, with the sampled tokens held fixed as in training: of a
 * term in the loss, or of "reward": k1 taken off the reward, which A = -k1 carries.
 */
function gradientOf(term, p, ref) {
  const x = p.map((pi, i) => Math.log(ref[i] / pi));
  const slopes = {
    k1: x.map(() => -1),
    k2: x.map((xi) => -xi),
    k3: x.map((xi) => 1 - Math.exp(xi)),
    reward: x.map((xi) => -xi),
  }[term]; // the factor of grad log p at each token
  const m = expected(p, slopes);
  return p.map((pi, j) => pi * (slopes[j] - m));
}

/** One step down a gradient on the logits. */
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

// ---------------------------------------------------------------- the KL: the picture

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
  const redraw = keepDrawn(root, values, draw);
  new ResizeObserver(redraw).observe(main);
  return redraw;
}

function buildKlControls(values, data, words) {
  const first = { ...values.values };
  const next = () => stepped(values.get("term"), values.get("probabilities"), data.reference);
  const goOn = () => values.set("probabilities", next());
  const play = playButton(goOn, { play: words.play, pause: words.pause, every: 100 });
  const restart = () => {
    play.stop();
    values.setAll(first);
  };
  const starts = data.starts.map(({ name, probabilities }) =>
    buttonOf(name, () => values.set("probabilities", probabilities)),
  );
  const options = TERMS.map((term) => [term, words.terms[term]]);
  const term = choice({ name: words.term, options, ...values.linked("term") });
  const step = buttonOf(words.step, goOn);
  const group = { class: "choice", role: "group", "aria-label": words.start };
  return {
    element: html(
      "div", { class: "controls" }, term.element, step, play.element,
      html("span", group, words.start, ...starts), buttonOf(words.reset, restart),
    ),
    update: term.update,
  };
}

/** Bars to drag, the reference as ticks, and what the term does to each as an arrow. */
function buildBars(values, data, words) {
  const picture = svg("svg", { height: 300, role: "group", "aria-label": words.bars });
  const frame = html("div", { class: "bars" }, picture);
  const axis = svg("g");
  const scaleY = scale(0, TOP, 260, 16);
  const bars = data.names.map((name, i) => buildBar({ values, words, picture, scaleY }, name, i));
  picture.append(axis, ...bars.map(({ element }) => element));
  picture.addEventListener("keydown", (event) => toNeighbour(values, event, bars), true);
  return {
    element: frame,
    update(p, gradient, chosen) {
      const width = frame.clientWidth || 600;
      set(picture, "width", width);
      const slot = (width - 44) / p.length;
      drawAxis(axis, scaleY, 40, { side: "left", text: percent, values: [0, 0.1, 0.2, 0.3, 0.4, TOP] });
      const longest = Math.max(0.004, ...gradient.map(Math.abs));
      bars.forEach((bar, i) =>
        bar.update(44 + i * slot, slot, p[i], data.reference[i], -gradient[i] / longest, i === chosen),
      );
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
  const write = (p) => {
    values.set("chosen", i);
    values.set("probabilities", withBar(values.get("probabilities"), i, p));
  };
  const label = fill(words.bar, { name });
  const options = { name: label, text: percent, read, write, min: LEAST, max: 0.9, step: 0.01 };
  const tell = handle(element, options);
  draggable(element, { frame: picture, move: (_x, y) => write(scaleY.value(y)) });
  return {
    element,
    update(x, slot, p, ref, push, chosen) {
      const at = { x: x + 2, width: Math.max(slot - 4, 2) };
      const y = Math.max(scaleY.at(p), 4);
      dress(body, { ...at, y, height: 260 - y }, []);
      dress(area, { x, width: slot }, []);
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
  const line = (name) => {
    const cells = [0, 1, 2].map(() => html("td", {}));
    return { name, cells, row: html("tr", {}, html("th", { scope: "row" }, name), ...cells) };
  };
  const lines = ["k1", "k2", "k3"].map(line);
  const head = ["", ...words.columns].map((text) => html("th", { scope: "col" }, text));
  const exact = [0, 1].map(() => html("p", {}));
  const does = html("p", { class: "does", "aria-live": "polite" });
  const table = html("table", {}, html("tr", {}, ...head), ...lines.map(({ row }) => row));
  return {
    element: html("div", { class: "estimates" }, ...exact, table, does),
    update(p, ref, chosen, term) {
      const found = estimates(p, ref);
      for (const { name, cells } of lines) {
        const k = found[name];
        const texts = [expected(p, k), spreadOf(p, k), k[chosen]].map((x) => number(x, 3));
        cells.forEach((cell, n) => say(cell, texts[n]));
      }
      say(exact[0], fill(words.forward, { kl: number(divergence(p, ref), 3) }));
      say(exact[1], fill(words.backward, { kl: number(divergence(ref, p), 3) }));
      say(does, words.does[term]);
    },
  };
}

// ---------------------------------------------------------------- both

const explorer = (root, values, data, words) =>
  ({ votes, kl })[data.kind](root, values, data, words);

const style = `
  .rlvr p { margin: 4px 0; }
  .soft { color: var(--soft); }
  .controls { display: flex; flex-wrap: wrap; gap: 6px 16px; align-items: center; margin: 6px 0; }
  .controls output { min-width: 26px; }
  .answer { display: grid; grid-template-columns: 118px minmax(0, 1fr) 246px; gap: 12px;
    border-top: 1px solid var(--faint); padding: 2px 0 4px; }
  .side { display: flex; flex-direction: column; align-items: flex-start; gap: 2px; padding-top: 6px; }
  .rlvr .reward { padding: 0 8px; min-height: 22px; }
  .tokens { line-height: 16px; position: relative; padding-right: 8px; }
  .token { display: inline-block; padding: 36px 3px 1px; position: relative; cursor: pointer;
    border-radius: 3px; min-width: 18px; text-align: center; font-size: 12px; }
  .token i { position: absolute; left: 50%; margin-left: -8px; width: 16px; top: 3px; height: 32px;
    background: var(--up); transform-origin: bottom; }
  .token.down i { background: var(--down); }
  .token.cut { color: var(--soft); text-decoration: line-through; }
  .token[aria-selected=true] { box-shadow: inset 0 0 0 1.5px var(--ink); }
  .end { position: absolute; left: 0; top: 0; width: 7px; height: 50px; cursor: ew-resize; border-radius: 4px;
    background: var(--ink); }
  .shares { padding-top: 6px; }
  .share { display: grid; grid-template-columns: 116px 78px auto; gap: 6px; color: var(--soft);
    align-items: center; font-variant-numeric: tabular-nums; }
  .share.shown { color: var(--ink); font-weight: 600; }
  .share i { height: 10px; background: var(--up); transform-origin: left; }
  .share i.down { background: var(--down); }
  .told { min-height: 44px; font-weight: 600; border-top: 1px solid var(--faint); padding-top: 6px; }
  .main { display: grid; grid-template-columns: minmax(0, 1fr) 330px; gap: 18px; }
  .bar { cursor: ns-resize; }
  .bar .body { fill: var(--up); opacity: 0.75; }
  .bar.chosen .body { opacity: 1; }
  .bar .area { fill: transparent; }
  .bar .ref { stroke: var(--ink); stroke-width: 2.5; }
  .bar .arrow { fill: none; stroke: var(--up-text); stroke-width: 2; }
  .bar .arrow.down { stroke: var(--down); }
  .rlvr .bar:focus-visible { outline: none; }
  .bar:focus-visible .area { stroke: var(--focus); stroke-width: 2; }
  table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; margin: 6px 0; }
  td, th { text-align: right; font-weight: 400; padding: 1px 0 1px 10px; }
  th { color: var(--soft); }
  th:first-child { text-align: left; padding: 0; color: var(--ink); font-weight: 600; }
  .does { min-height: 74px; }
  @container explorer (max-width: 1055px) {
    .controls input { width: 110px; }
    .answer { grid-template-columns: 132px minmax(0, 1fr) 204px; gap: 6px; }
    .side { font-size: 12px; gap: 1px; padding-top: 0; }
    .share { grid-template-columns: 114px 48px auto; gap: 4px; }
    .token { padding-top: 25px; }
    .token i { height: 21px; }
    .end { height: 38px; }
  }
  @container explorer (max-width: 899px) {
    .answer { grid-template: "side text" auto "shares text" 1fr / 142px minmax(0, 1fr);
      gap: 0 10px; padding: 1px 0 2px; }
    .tokens { grid-row: 1 / 3; grid-column: 2; }
    .shares { grid-area: shares; padding: 0; }
    .share { grid-template-columns: 106px auto; font-size: 11.5px; }
    .share i, .share:not(.shown) { display: none; }
    .main { grid-template-columns: minmax(0, 1fr); }
    .does { min-height: 40px; }
  }
`;
