// Three kinds of ratios made from the same log-probs, as three histograms on one shared log axis:
// of tokens, of sequences (the mean of the logs), of products (their sum).

const WIDTH = 560;
const LANE = 112; // pixels of height for each histogram
const HEIGHT = 3 * LANE;
const BINS = 81; // odd, so that one is centred on ratio 1
const KINDS = ["token", "sequence", "product"];
const LARGEST = 100; // the wider axis ends at it and at 1 over it

/** The recording by completions: `rows[r]` is the first token and the length of completion r. */
function readDrift({ lengths, steps, unit }) {
  const { starts } = layoutOf(lengths);
  const rows = lengths.map((n, r) => [starts[r], n]);
  const logRatios = summedUp(sum(lengths), steps, unit);
  const last = logRatios.at(-1);
  const ordered = [...last.keys()].sort((a, b) => last[a] - last[b]);
  return { rows, logRatios, ordered };
}

/** Which recorded tokens stand in made-up completions, a list of `longest` for each. Every eight
 * columns are an even draw from the smallest to the largest, shuffled: alike at every length. */
function drawTokens({ ordered, rows }, longest) {
  const noise = random(0);
  const made = rows.map(() => []);
  const count = 8 * rows.length;
  for (let block = 0; block < longest / 8; block++) {
    const start = noise();
    const level = (i) => Math.floor(((i + start) / count) * ordered.length);
    const drawn = Array.from({ length: count }, (_, i) => ordered[level(i)]);
    for (let i = count - 1; i > 0; i--) {
      const j = Math.floor(noise() * (i + 1));
      [drawn[i], drawn[j]] = [drawn[j], drawn[i]];
    }
    made.forEach((row, r) => row.push(...drawn.slice(8 * r, 8 * r + 8)));
  }
  return made;
}

/** The log-ratios of every completion. With length 0 they are as recorded. */
function completions(drift, made, update, length) {
  const d = drift.logRatios[update];
  if (!length) return drift.rows.map(([start, n]) => d.subarray(start, start + n));
  return made.map((row) => Float64Array.from({ length }, (_, t) => d[row[t]]));
}

function threeKinds(rows) {
  const token = rows.flatMap((row) => [...row]);
  return { token, sequence: rows.map(mean), product: rows.map(sum) };
}

/** Standard deviation, ends, median and the ends of the middle 90 %, all of the logs. */
function spreadOf(logs) {
  const sorted = Float64Array.from(logs).sort();
  const at = (share) => {
    const place = share * (sorted.length - 1);
    const low = Math.floor(place);
    return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
  };
  const m = mean(logs);
  const sd = Math.sqrt(mean(logs.map((x) => (x - m) ** 2)));
  return { sd, least: at(0), low: at(0.05), median: at(0.5), high: at(0.95), most: at(1) };
}

/** How many samples of equal weight the weighted ones are worth: (sum w)^2 / (sum w^2). */
function worth(logs) {
  const top = logs.reduce((a, b) => Math.max(a, b));
  const weights = logs.map((x) => Math.exp(x - top));
  return sum(weights) ** 2 / sum(weights.map((w) => w * w));
}

/** The share of each bin from -half to half. What lies beyond is in the end bins. */
function sharesOf(logs, half) {
  const counts = new Array(BINS).fill(0);
  for (const x of logs) {
    counts[clamp(Math.floor((x / half + 1) * (BINS / 2)), 0, BINS - 1)] += 1;
  }
  return counts.map((n) => n / logs.length);
}

function ratioText(log) {
  const q = Math.exp(log);
  if (q >= 1000 || q < 0.001) {
    const power = Math.floor(log / Math.LN10);
    const raised = (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit];
    const digits = [...String(Math.abs(power))].map(raised);
    return `10${power < 0 ? "⁻" : ""}${digits.join("")}`;
  }
  return number(q, q >= 100 ? 0 : q >= 10 ? 1 : q < 0.1 ? 3 : 2);
}

function buildHistograms(c) {
  const about = { role: "group", "aria-label": c.words.picture };
  const picture = svg("svg", { width: WIDTH, height: HEIGHT + 40, ...about });
  const axis = svg("g");
  const lanes = KINDS.map((kind, lane) => buildLane(c, picture, kind, lane));
  picture.append(axis);
  const update = () => {
    const { x, half } = c.now;
    const ratios = scale(Math.exp(-half), Math.exp(half), 0, WIDTH, true);
    const near = [0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2];
    const values = half > 1 ? [0.01, 0.1, 1, 10, 100] : near;
    drawAxis(axis, ratios, HEIGHT, { values, label: c.words.axis });
    lanes.forEach((lane) => lane(x));
  };
  return { element: picture, update };
}

/** One histogram: its shape, its numbers in sight and for a screen reader, and marks for the chosen
 * completion. */
function buildLane(c, picture, kind, lane) {
  const floor = (lane + 1) * LANE;
  const shape = svg("path", { class: `of-${kind}` });
  const marks = svg("path", { class: "marks" });
  const said = [0, 1, 2].map((k) => svg("text", { x: 0, y: floor - LANE + 20 + 16 * k }));
  said[0].classList.add("label");
  const line = svg("line", { class: "axis", x1: 0, x2: WIDTH, y1: floor, y2: floor });
  const place = svg("rect", { y: floor - LANE, width: WIDTH, height: LANE, class: "place" });
  const element = svg("g", { role: "img", tabindex: 0 }, line, shape, marks, ...said, place);
  picture.append(element);
  const nearest = (log) => {
    const far = c.now.kinds[kind].map((value) => Math.abs(value - log));
    c.values.set("completion", far.indexOf(Math.min(...far)) + 1);
  };
  const move = (x) => kind !== "token" && nearest(c.now.x.value(x));
  draggable(place, { start: move, move });
  return (x) => {
    const { kinds, half, row } = c.now;
    const wide = WIDTH / BINS;
    const shares = sharesOf(kinds[kind], half).map(Math.sqrt);
    const height = (share) => (floor - share * (LANE - 24)).toFixed(1);
    const steps = shares.map((share, i) => `H${(i * wide).toFixed(1)}V${height(share)}`);
    set(shape, "d", `M0 ${floor}${steps.join("")}H${WIDTH}V${floor}Z`);
    const own = threeKinds([row])[kind];
    const up = kind === "token" ? 8 : 16;
    const mark = (log) => `M${x.at(clamp(log, -half, half)).toFixed(1)} ${floor}v-${up}`;
    set(marks, "d", own.map(mark).join(""));
    const { sd, ...places } = spreadOf(kinds[kind]);
    const out = kinds[kind].filter((log) => Math.abs(log) > half).length / kinds[kind].length;
    const ratios = Object.entries({ ...places, from: -half, to: half });
    const given = {
      ...Object.fromEntries(ratios.map(([name, log]) => [name, ratioText(log)])),
      ...{ kind: c.words.kinds[kind], n: kinds[kind].length, outside: percent(out) },
      sd: number(sd, sd < 0.1 ? 4 : 2),
    };
    say(said[0], given.kind);
    say(said[1], fill(c.words.spread, given));
    say(said[2], fill(c.words.range, given));
    set(element, "aria-label", fill(c.words.heard, given));
  };
}

function buildAccount(c) {
  const paragraphs = ["strong", "title", "", "tokens"].map((name) => html("p", { class: name }));
  const [count, title, sums, text] = paragraphs;
  set(count, "role", "status");
  const update = () => {
    const { kinds, row, length } = c.now;
    const n = c.values.get("completion");
    const [product, sequence] = [kinds.product, kinds.sequence].map(worth);
    const counts = { product: number(product, 0), sequence: number(sequence, 0) };
    say(count, fill(c.words.worth, { all: kinds.product.length, ...counts }));
    say(title, fill(c.words.completion, { n, tokens: row.length }));
    const [all, average] = [sum(row), mean(row)];
    const ratios = { product: ratioText(all), s: number(Math.exp(average), 4) };
    const given = { total: number(all, 3, true), average: number(average, 4, true), ...ratios };
    say(sums, fill(c.words.sums, given));
    writeTokens(c, text, length, row, n - 1);
  };
  return { element: html("div", { class: "account" }, count, title, sums, text), update };
}

/** The words of a recorded completion, tinted by their ratios. */
function writeTokens({ drift, data, words }, place, length, row, r) {
  if (length) return place.replaceChildren(words.made_up);
  const [start] = drift.rows[r];
  const spans = [...row].map((log, t) => {
    const word = data.vocabulary[data.tokens[start + t]];
    const strength = 50 * Math.sqrt(Math.min(1, Math.abs(log)));
    const style = `background: ${tint(log > 0 ? "up" : "down", strength)}`;
    return html("span", { style, title: ratioText(log) }, word);
  });
  place.replaceChildren(...spans);
}

function buildControls(c) {
  const { values, words, data } = c;
  const updates = (n) => fill(n === 1 ? words.one_update : words.updates, { n });
  const tokens = (n) => (n ? fill(words.tokens, { n }) : words.recorded);
  const [last, all, stops] = [data.steps.length, data.lengths.length, data.lengths_made];
  const options = Object.entries(words.zooms);
  const parts = [
    slider({ name: words.update, text: updates, min: 0, max: last, ...values.linked("update") }),
    slider({ name: words.length, text: tokens, values: stops, ...values.linked("length") }),
    slider({ name: words.chosen, text: String, min: 1, max: all, ...values.linked("completion") }),
    choice({ name: words.zoom, options, ...values.linked("zoom") }),
  ];
  const reset = buttonOf(words.reset, () => values.reset());
  const element = html("div", { class: "controls" }, ...parts.map((part) => part.element), reset);
  return { element, update: () => parts.forEach((part) => part.update()) };
}

function explorer(root, values, data, words) {
  const drift = readDrift(data);
  const made = drawTokens(drift, data.lengths_made.at(-1));
  const c = { values, data, words, drift };
  const read = () => {
    const [update, length, zoom] = ["update", "length", "zoom"].map((name) => values.get(name));
    const rows = completions(drift, made, update, length);
    const half = Math.log(zoom === "near" ? 2 : LARGEST);
    const row = rows[values.get("completion") - 1];
    c.now = { kinds: threeKinds(rows), half, row, length, x: scale(-half, half, 0, WIDTH) };
  };
  read();
  const parts = [buildControls, buildHistograms, buildAccount].map((build) => build(c));
  const draw = () => {
    read();
    parts.forEach((part) => part.update());
  };
  const [controls, histograms, account] = parts.map((part) => part.element);
  root.append(controls, html("div", { class: "main" }, histograms, account));
  return keepDrawn(root, values, draw);
}

const style = `
  .controls output { min-width: 84px; }
  .main { display: grid; padding-left: 16px;
    grid-template-columns: ${WIDTH}px minmax(0, 1fr); gap: 12px 36px; }
  [class^=of-] { opacity: 0.8; }
  .of-token { fill: var(--grpo); }
  .of-sequence { fill: var(--gspo); }
  .of-product { fill: var(--line); }
  .marks { stroke: var(--ink); stroke-width: 1.5; }
  .place { fill: transparent; cursor: pointer; }
  .rlvr svg text { paint-order: stroke; stroke: var(--page); stroke-width: 3px; }
  .rlvr svg text.label { font-weight: 600; }
  .account { display: grid; gap: 6px; align-content: start; padding-top: 12px; }
  .strong { min-height: 56px; }
  .tokens { line-height: 1.7; min-height: 190px; }
  .tokens span { padding: 1px 3px; border-radius: 3px; display: inline-block; }
  @container explorer (max-width: 899px) {
    .main { grid-template-columns: minmax(0, 1fr); }
    .tokens { min-height: 44px; max-height: 44px; overflow: auto; }
    .strong { min-height: 0; }
    .account { padding-top: 0; }
  }
`;
