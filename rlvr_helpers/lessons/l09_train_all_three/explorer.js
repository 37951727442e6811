// The run explorer: curves of all methods over the steps, the ratios of one step with the clip
// ranges, and the answers to one problem as they change.

const lineOf = ({ look, dash }) =>
  ({ fill: "none", style: `stroke: var(--${look})`, "stroke-dasharray": dash, class: "curve" });

const shownMethods = (c) =>
  c.data.methods.filter((method) => c.values.get("shown").includes(method.name));

/** The run of a method that the seed chooses, or the last that it has if there are fewer. */
const runOf = (c, { runs }) => runs[Math.min(c.values.get("seed"), runs.length - 1)];

/** The last value up to a step, and the step at which it was measured. null if there is none. */
function lastMeasured(curve, step) {
  for (let at = Math.min(step, curve.length - 1); at >= 0; at--) {
    if (curve[at] !== null) return { at, value: curve[at] };
  }
  return null;
}

const SHARES = ["accuracy", "reward_mean", "clip_fraction"];

function quantityText(quantity, value) {
  if (SHARES.includes(quantity)) return `${number(100 * value, 1)}\u00a0%`;
  return number(value, quantity === "length_mean" ? 1 : 3);
}

function buildControls(c) {
  const { values, words, data } = c;
  const shown = Object.entries(words.quantities);
  const most = Math.max(...data.methods.map(({ runs }) => runs.length));
  const numbers = Array.from({ length: most }, (_, seed) => [seed, String(seed)]);
  const pick = (name, options) => choice({ name: words[name], options, ...values.linked(name) });
  const parts = [pick("quantity", shown), pick("seed", numbers)];
  const toggles = data.methods.map((method) => {
    const about = { class: "key", "aria-label": fill(words.hide, method) };
    const key = swatch(`--${method.look}`, method.dash);
    const element = buttonOf(key, () => toggle(c, method.name), about);
    element.append(method.name);
    return { element, name: method.name };
  });
  const group = { class: "choice", role: "group", "aria-label": words.methods };
  const methods = html("span", group, ...toggles.map(({ element }) => element));
  return {
    element: html("div", { class: "controls" }, ...parts.map((part) => part.element), methods),
    update() {
      for (const part of parts) part.update();
      for (const { element, name } of toggles) {
        set(element, "aria-pressed", values.get("shown").includes(name));
      }
    },
  };
}

/** Shows or hides a method. One always stays. */
function toggle(c, name) {
  const shown = c.values.get("shown");
  const rest = shown.filter((other) => other !== name);
  if (!shown.includes(name)) c.values.set("shown", [...shown, name]);
  else if (rest.length) c.values.set("shown", rest);
}

const stepOf = ({ values, words, data }) => ({
  text: (n) => (n ? fill(words.step_value, { n }) : words.before),
  ...values.linked("step"),
  ...{ min: 0, max: data.steps },
});

function buildTime(c) {
  const time = slider({ name: c.words.step, ...stepOf(c) });
  const play = playThrough(c.values.linked("step"), c.data.steps, c.words);
  const element = html("div", { class: "time" }, play.element, time.element);
  return { element, update: time.update };
}

function buildCurves(c) {
  const [axes, lines, stick] = [[svg("g"), svg("g")], svg("g"), svg("line")];
  const grip = svg("rect", { class: "wide", width: 18, x: -9 });
  const cursor = svg("g", { class: "cursor" }, grip, stick);
  const picture = svg("svg", { role: "group" }, ...axes, lines, cursor);
  const frame = html("div", { class: "curves" }, picture);
  const table = html("p", { class: "now", "aria-live": "polite" });
  const tell = handle(cursor, { name: c.words.cursor, ...stepOf(c) });
  let x = null;
  const to = (place) =>
    c.values.set("step", clamp(Math.round(x.value(place)), 0, c.data.steps));
  draggable(picture, { start: to, move: to });
  picture.focus = () => cursor.focus({ preventScroll: true });
  return {
    element: html("div", {}, table, frame),
    update() {
      const [width, height] = [frame.clientWidth || 600, frame.clientHeight || 190];
      dress(picture, { width, height });
      const { quantity, step } = c.values.values;
      const curves = shownMethods(c).map((method) => [method, runOf(c, method).curves[quantity]]);
      const all = c.data.methods.flatMap(({ runs }) => runs.flatMap((r) => r.curves[quantity]));
      const top = quantity === "accuracy" ? 1 : Math.max(...all, 1e-6) * 1.05;
      x = scale(0, c.data.steps, 46, width - 12);
      const y = scale(0, top, height - 34, 8);
      drawAxis(axes[0], x, height - 34, { label: c.words.step });
      const text = SHARES.includes(quantity) ? percent : String;
      drawAxis(axes[1], y, 46, { side: "left", values: ticks(y, 4), text });
      const name = c.words.quantities[quantity];
      set(picture, "aria-label", fill(c.words.curves, { quantity: name }));
      lines.replaceChildren(...curves.map(([method, curve]) => curveLine(method, curve, x, y)));
      set(cursor, "transform", `translate(${x.at(step)} 0)`);
      dress(stick, { y1: 4, y2: height - 34 });
      dress(grip, { y: 4, height: height - 38 });
      table.replaceChildren(...curves.map(([method, curve]) => nowText(c, method, curve, step)));
      tell();
    },
  };
}

/** A method's curve, with a dot where it was measured if that was not at every step. */
function curveLine(method, curve, x, y) {
  const measured = [...curve.entries()].filter(([, value]) => value !== null);
  const points = measured.map(([step, value]) => [x.at(step), y.at(value)]);
  const line = svg("path", { ...lineOf(method), d: pathOf(points) });
  const sparse = points.length < curve.length - 1;
  const spots = sparse ? points.map(([cx, cy]) => svg("circle", { cx, cy, r: 3 })) : [];
  return svg("g", { style: `fill: var(--${method.look})` }, line, ...spots);
}

const pathOf = (points) =>
  `M${points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`;

/** "GRPO 94.5 % (step 30)", in the method's colour. */
function nowText(c, method, curve, step) {
  const found = lastMeasured(curve, step);
  const when = found && found.at !== step ? ` (${fill(c.words.step_value, { n: found.at })})` : "";
  const value = found ? quantityText(c.values.get("quantity"), found.value) + when : c.words.none;
  return html("span", {}, markOf(method), `${method.name} `, html("b", {}, value));
}

const markOf = (method) =>
  html("span", { class: "mark", style: `background: var(--${method.look})` });

/** A stored histogram as [log-ratio at the middle, share] of every bin. */
function binsOf(histogram, half, unit, bins = 45) {
  const [first = 0, ...counts] = histogram;
  const width = (2 * half) / bins;
  const share = (bin) => (counts[bin - first] ?? 0) * unit;
  return Array.from({ length: bins }, (_, bin) => [-half + (bin + 0.5) * width, share(bin)]);
}

function buildHistogram(c, level) {
  const [axis, drawn] = [svg("g"), svg("g")];
  const picture = svg("svg", { role: "img" }, axis, drawn);
  const frame = html("div", { class: "histogram" }, picture);
  const title = html("p", { class: "title" }, c.words.levels[level]);
  const spreads = html("p", { class: "spreads" });
  const half = c.data.half[level];
  const ends = [-0.8, 0, 0.8].map((part) => Number(Math.exp(part * half).toPrecision(2)));
  return {
    element: html("div", {}, title, spreads, frame),
    update() {
      const { step } = c.values.values;
      const [width, height] = [frame.clientWidth || 300, frame.clientHeight || 130];
      dress(picture, { width, height });
      const told = { level: c.words.levels[level], n: step };
      set(picture, "aria-label", fill(c.words.histogram, told));
      const x = scale(Math.exp(-half), Math.exp(half), 6, width - 6, true);
      drawAxis(axis, x, height - 20, { values: ends });
      const found = shownMethods(c).map((method) => {
        const run = runOf(c, method);
        const bins = binsOf(run.histograms[level][step - 1] ?? [], half, c.data.unit);
        return { method, bins, spread: run.spreads[level][step - 1] };
      });
      const top = Math.max(...found.flatMap(({ bins }) => bins.map(([, share]) => share)), 1e-9);
      const y = scale(0, Math.sqrt(top), height - 20, 16);
      const at = ([d, share]) => [x.at(Math.exp(d)), y.at(Math.sqrt(share))];
      const curve = ({ method, bins }) =>
        svg("path", { ...lineOf(method), d: pathOf(bins.map(at)) });
      const filled = found.filter(({ bins }) => bins.some(([, share]) => share > 0));
      const clipped = shownMethods(c).filter((one) => one.level === level && one.range);
      const brackets = clipped.map((method, k) => bracket(method, x, 5 + 5 * k));
      drawn.replaceChildren(...filled.map(curve), ...brackets);
      const said = ({ method: { name }, spread: sd }) =>
        fill(c.words.spread, { name, spread: sd == null ? "–" : Number(sd.toPrecision(2)) });
      spreads.replaceChildren(...found.map((one) => html("span", {}, said(one))));
    },
  };
}

/** A method's clip range as a bracket over the histogram. */
function bracket(method, x, y) {
  const [low, high] = method.range;
  const [left, right] = [x.at(1 - low), x.at(1 + high)];
  const path = `M${left} ${y + 6}V${y}H${right}V${y + 6}`;
  return svg("path", { ...lineOf(method), class: "bracket", "stroke-dasharray": null, d: path });
}

/** The words of a text, each with whether the text before did not have it at that place. */
function newWords(before, now) {
  const [a, b] = [before.split(" "), now.split(" ")];
  // Longest common subsequence: length[i][j] of a from i and b from j.
  const length = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      length[i][j] =
        a[i] === b[j] ? length[i + 1][j + 1] + 1 : Math.max(length[i + 1][j], length[i][j + 1]);
    }
  }
  let i = 0;
  return b.map((word, j) => {
    const at = a.indexOf(word, i);
    const kept = at >= 0 && length[at + 1][j + 1] + 1 === length[i][j];
    if (kept) i = at + 1;
    return [word, !kept];
  });
}

function buildAnswers(c) {
  const { words, values } = c;
  const given = c.data.answers;
  const none = html("p", { class: "answers soft" }, words.no_answers);
  if (!given) return { element: none, update() {} };
  const all = given.problems.length;
  const turn = (by) => values.set("problem", (values.get("problem") + by + all) % all);
  const count = html("span");
  const turns = [["◀", -1, words.previous], ["▶", 1, words.next]];
  const [back, on] = turns.map(([sign, by, name]) =>
    buttonOf(sign, () => turn(by), { "aria-label": name }),
  );
  const head = html("div", { class: "head" }, back, count, on);
  const question = html("p", { class: "problem" });
  const cards = html("div", { class: "cards" });
  const title = html("p", { class: "title" }, given.sampled ? words.samples : words.answers);
  return {
    element: html("div", { class: "answers" }, title, head, question, cards),
    update() {
      const problem = Math.min(values.get("problem"), all - 1);
      say(count, fill(given.sampled ? words.sample : words.problem, { n: problem + 1, all }));
      say(question, fill(words.question, given.problems[problem]));
      const known = shownMethods(c).filter(({ name }) => name in given.answers);
      cards.replaceChildren(...known.map((method) => answerCard(c, method, problem)));
    },
  };
}

/** One method's answer at the step, when it last changed, and all steps as a strip. */
function answerCard(c, method, problem) {
  const { words, values } = c;
  const { texts, correct, answers } = c.data.answers;
  const numbers = answers[method.name].map((step) => step[problem]);
  const step = Math.min(values.get("step"), numbers.length - 1);
  let since = step;
  while (since > 0 && numbers[since - 1] === numbers[step]) since--;
  const before = texts[numbers[Math.max(since - 1, 0)]];
  const parts = newWords(before, texts[numbers[step]]).flatMap(([word, isNew]) => [
    isNew ? html("u", {}, word) : word,
    " ",
  ]);
  const isCorrect = (n) => correct[problem].includes(n);
  const verdict = isCorrect(numbers[step]) ? "correct" : "incorrect";
  const when = since ? fill(words.changed, { n: since }) : words.from_start;
  const about = html("b", { class: verdict }, words[verdict]);
  const head = html("p", {}, markOf(method), `${method.name}: `, about);
  head.append(html("span", { class: "soft" }, ` ${when}`));
  const strip = stripOf(c, method, numbers.map(isCorrect), step);
  return html("div", { class: "card" }, head, html("p", { class: "said" }, ...parts), strip);
}

/** All steps of an answer as cells, blue where it was correct. */
function stripOf({ words, values }, { name }, marks, step) {
  const wide = 100 / marks.length;
  const cells = marks.map((right, at) =>
    svg("rect", {
      x: `${at * wide}%`, width: `${wide * 0.86}%`, y: 2, height: 8,
      class: `${right ? "right" : "wrong"}${at === step ? " here" : ""}`,
      // When it is pressed: Play makes the cards anew before it is let go.
      onpointerdown: () => values.set("step", at),
    }),
  );
  const told = fill(words.strip, { name, share: sum(marks), all: marks.length });
  const about = { role: "img", "aria-label": told, class: "strip" };
  return svg("svg", { width: "100%", height: 12, ...about }, ...cells);
}

function explorer(root, values, data, words) {
  const c = { root, values, data, words };
  const levels = ["token", "sequence"].map((level) => buildHistogram(c, level));
  const pair = html("div", { class: "pair" }, ...levels.map((part) => part.element));
  const note = html("p", { class: "soft note" }, words.height);
  const builds = [buildControls, buildCurves, buildTime, buildAnswers];
  const [controls, curves, time, answers] = builds.map((build) => build(c));
  const left = html("div", { class: "left" }, curves.element, time.element, pair, note);
  const grid = html("div", { class: data.answers ? "grid both" : "grid" }, left, answers.element);
  root.append(controls.element, grid);
  const parts = [controls, curves, time, answers, ...levels];
  return keepDrawn(root, values, () => parts.forEach((part) => part.update()));
}

const style = `
  .controls .choice { gap: 4px; }
  .key { display: inline-flex; align-items: center; gap: 5px; }
  .key[aria-pressed=false] { color: var(--soft); text-decoration: line-through; }
  .curve { stroke-width: 2; }
  .curve, .bracket { stroke-linejoin: round; }
  .bracket { stroke-width: 2.5; }
  .grid { display: grid; gap: 6px 24px; }
  .left { min-width: 0; }
  .curves { height: 114px; cursor: col-resize; }
  .cursor line { stroke: var(--ink); stroke-width: 1.5; }
  .cursor .wide { fill: transparent; }
  .cursor:focus-visible line { stroke: var(--focus); stroke-width: 4; }
  .now, .spreads { display: flex; flex-wrap: wrap; gap: 2px 16px; min-height: 20px; }
  .mark { display: inline-block; width: 9px; height: 9px; border-radius: 2px; margin-right: 5px; }
  .spreads { font-size: 12px; color: var(--soft); gap: 0 10px; white-space: nowrap;
    min-height: 34px; align-content: flex-start; }
  .time { display: flex; gap: 12px; align-items: center; margin: 6px 0; }
  .rlvr .time input[type=range] { width: 300px; }
  .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 18px; }
  .pair > div { min-width: 0; }
  .histogram { height: 92px; }
  .note { font-size: 12px; margin-top: 2px; display: none; }
  .head { display: flex; gap: 8px; align-items: center; margin: 2px 0; }
  .head button { padding: 0 8px; min-height: 24px; }
  .head span { min-width: 100px; text-align: center; }
  .problem { min-height: 38px; margin-bottom: 2px; }
  .cards { display: grid; grid-template-columns: repeat(3, 1fr); gap: 8px 14px; }
  .said { min-height: 92px; }
  .said u { text-decoration-thickness: 2px; text-underline-offset: 3px; }
  .correct { color: var(--up-text); }
  .incorrect { color: var(--down-text); }
  .strip { cursor: pointer; margin-top: 3px; }
  .strip .right { fill: var(--up); }
  .strip .wrong { fill: var(--faint); }
  .strip .here { stroke: var(--ink); stroke-width: 1.5; }
  @container (max-width: 760px) {
    .curves { height: 100px; }
    .histogram { height: 86px; }
    .now { min-height: 39px; }
    .card > :first-child { min-height: 37px; }
  }
  @container (min-width: 900px) {
    .both { grid-template-columns: 1fr 360px; }
    .curves { height: 196px; }
    .histogram { height: 140px; }
    .note { display: block; }
    .cards { grid-template-columns: 1fr; }
    .problem { min-height: 57px; }
    .said { min-height: 57px; }
  }
  @container (min-width: 900px) and (max-width: 960px) { .now { min-height: 39px; } }
`;
