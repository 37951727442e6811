// The run explorer: curves of all methods over the steps, the ratios of one step with the clip
// ranges, and the answers to one problem as they change.

/** A method's line: its colour and its dashes. */
const lineOf = (method, more = {}) => ({
  fill: "none",
  style: `stroke: var(--${method.look})`,
  "stroke-dasharray": method.dash || null,
  ...more,
});

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

/** A number of a quantity in words. */
function quantityText(quantity, value) {
  if (SHARES.includes(quantity)) return `${number(100 * value, 1)}\u00a0%`;
  return number(value, quantity === "length_mean" ? 1 : 3);
}

// ---------------------------------------------------------------- the controls on top

function buildControls(c) {
  const { values, words, data } = c;
  const quantities = choice({
    name: words.quantity,
    options: Object.entries(words.quantities),
    ...values.linked("quantity"),
  });
  const most = Math.max(...data.methods.map(({ runs }) => runs.length));
  const seeds = choice({
    name: words.seed,
    options: Array.from({ length: most }, (_, seed) => [seed, String(seed)]),
    ...values.linked("seed"),
  });
  const toggles = data.methods.map((method) => {
    const line = svg("line", { x1: 0, x2: 22, y1: 6, y2: 6, ...lineOf(method) });
    const key = svg("svg", { width: 22, height: 12, "aria-hidden": true }, line);
    const name = fill(words.hide, { name: method.name });
    const about = { class: "key", "aria-label": name };
    const element = buttonOf(key, () => toggle(c, method.name), about);
    element.append(method.name);
    return { element, name: method.name };
  });
  const group = { class: "choice", role: "group", "aria-label": words.methods };
  const methods = html("span", group, ...toggles.map(({ element }) => element));
  return {
    element: html("div", { class: "controls" }, quantities.element, seeds.element, methods),
    update() {
      quantities.update();
      seeds.update();
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

function buildTime(c) {
  const { values, words, data } = c;
  const time = slider({
    name: words.step,
    text: (n) => (n ? fill(words.step_value, { n }) : words.before),
    ...values.linked("step"),
    min: 0,
    max: data.steps,
  });
  const said = { play: words.play, pause: words.pause };
  const play = playThrough(values.linked("step"), data.steps, { ...said, every: 350 });
  const element = html("div", { class: "time" }, play.element, time.element);
  return { element, update: time.update };
}

// ---------------------------------------------------------------- curves over the steps

function buildCurves(c) {
  const picture = svg("svg", { role: "group" });
  const frame = html("div", { class: "curves" }, picture);
  const table = html("p", { class: "now", "aria-live": "polite" });
  const axes = [svg("g"), svg("g")];
  const lines = svg("g");
  const cursor = svg("g", { class: "cursor" });
  picture.append(...axes, lines, cursor);
  const stick = svg("line", {});
  const grip = svg("rect", { class: "wide", width: 18, x: -9 });
  cursor.append(grip, stick);
  const tell = handle(cursor, {
    name: c.words.cursor,
    text: (n) => (n ? fill(c.words.step_value, { n }) : c.words.before),
    ...c.values.linked("step"),
    min: 0,
    max: c.data.steps,
  });
  let x = null;
  const to = (place) => {
    c.values.set("step", clamp(Math.round(x.value(place)), 0, c.data.steps));
  };
  draggable(picture, { start: to, move: to });
  picture.focus = () => cursor.focus({ preventScroll: true });
  return {
    element: html("div", {}, table, frame),
    update() {
      const [width, height] = [frame.clientWidth || 600, frame.clientHeight || 190];
      dress(picture, { width, height }, []);
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
      dress(cursor, { transform: `translate(${x.at(step)} 0)` }, []);
      dress(stick, { y1: 4, y2: height - 34 }, []);
      dress(grip, { y: 4, height: height - 38 }, []);
      table.replaceChildren(...curves.map(([method, curve]) => nowText(c, method, curve, step)));
      tell();
    },
  };
}

/** A method's curve, with a dot where it was measured if that was not at every step. */
function curveLine(method, curve, x, y) {
  const points = curve.flatMap((value, step) => (value === null ? [] : [[x.at(step), y.at(value)]]));
  const line = svg("path", { ...lineOf(method, { class: "curve" }), d: pathOf(points) });
  const sparse = points.length < curve.length - 1;
  const spots = sparse ? points.map(([cx, cy]) => svg("circle", { cx, cy, r: 3 })) : [];
  return svg("g", { style: `fill: var(--${method.look})` }, line, ...spots);
}

const pathOf = (points) => "M" + points.map((at) => at.map((v) => v.toFixed(1)).join(" ")).join("L");

/** "GRPO 94.5 % (step 30)", in the method's colour. */
function nowText(c, method, curve, step) {
  const found = lastMeasured(curve, step);
  const when = found && found.at !== step ? ` (${fill(c.words.step_value, { n: found.at })})` : "";
  const value = found ? quantityText(c.values.get("quantity"), found.value) + when : c.words.none;
  const mark = html("span", { class: "mark", style: `background: var(--${method.look})` });
  return html("span", {}, mark, `${method.name} `, html("b", {}, value));
}

// ---------------------------------------------------------------- ratios of one step

/** A stored histogram as [log-ratio at the middle, share] of every bin. */
function binsOf(histogram, half, unit, bins = 45) {
  const [first = 0, ...counts] = histogram;
  const width = (2 * half) / bins;
  const share = (bin) => (counts[bin - first] ?? 0) * unit;
  return Array.from({ length: bins }, (_, bin) => [-half + (bin + 0.5) * width, share(bin)]);
}

function buildHistogram(c, level) {
  const picture = svg("svg", { role: "img" });
  const frame = html("div", { class: "histogram" }, picture);
  const axis = svg("g");
  const drawn = svg("g");
  picture.append(axis, drawn);
  const title = html("p", { class: "title" }, c.words.levels[level]);
  const spreads = html("p", { class: "spreads" });
  const half = c.data.half[level];
  const ends = [-0.8, 0, 0.8].map((part) => Number(Math.exp(part * half).toPrecision(2)));
  return {
    element: html("div", {}, title, spreads, frame),
    update() {
      const { step } = c.values.values;
      const [width, height] = [frame.clientWidth || 300, frame.clientHeight || 130];
      dress(picture, { width, height }, []);
      set(picture, "aria-label", fill(c.words.histogram, { level: c.words.levels[level], n: step }));
      const x = scale(Math.exp(-half), Math.exp(half), 6, width - 6, true);
      drawAxis(axis, x, height - 20, { values: ends });
      const found = shownMethods(c).map((method) => {
        const run = runOf(c, method);
        const bins = binsOf(run.histograms[level][step - 1] ?? [], half, c.data.unit);
        return { method, bins, spread: run.spreads[level][step - 1] };
      });
      const top = Math.max(...found.flatMap(({ bins }) => bins.map(([, share]) => share)), 1e-9);
      const y = scale(0, Math.sqrt(top), height - 20, 16);
      const path = (bins) => pathOf(bins.map(([d, share]) => [x.at(Math.exp(d)), y.at(Math.sqrt(share))]));
      drawn.replaceChildren(
        ...found
          .filter(({ bins }) => sum(bins.map(([, share]) => share)) > 0)
          .map(({ method, bins }) => svg("path", lineOf(method, { class: "curve", d: path(bins) }))),
        ...found
          .filter(({ method }) => method.level === level && method.range)
          .map(({ method }, k) => bracket(method, x, 5 + 5 * k)),
      );
      spreads.replaceChildren(
        ...found.map(({ method, spread }) =>
          html("span", {}, fill(c.words.spread, { name: method.name, spread: spread === null || spread === undefined ? "–" : Number(spread.toPrecision(2)) })),
        ),
      );
    },
  };
}

/** A method's clip range as a bracket over the histogram. */
function bracket(method, x, y) {
  const [low, high] = method.range;
  const [left, right] = [x.at(1 - low), x.at(1 + high)];
  const path = `M${left} ${y + 6}V${y}H${right}V${y + 6}`;
  return svg("path", { ...lineOf(method, { class: "bracket", "stroke-dasharray": null }), d: path });
}

// ---------------------------------------------------------------- answers to one problem

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
  const found = [];
  let i = 0;
  for (let j = 0; j < b.length; ) {
    if (i < a.length && a[i] === b[j] && length[i][j] === length[i + 1][j + 1] + 1) {
      found.push([b[j++], false]);
      i++;
    } else if (i < a.length && length[i + 1][j] >= length[i][j + 1]) i++;
    else found.push([b[j++], true]);
  }
  return found;
}

function buildAnswers(c) {
  const { words, values } = c;
  const given = c.data.answers;
  if (!given) return { element: html("p", { class: "answers soft" }, words.no_answers), update() {} };
  const all = given.problems.length;
  const turn = (by) => values.set("problem", (values.get("problem") + by + all) % all);
  const count = html("span", {});
  const head = html(
    "div",
    { class: "head" },
    buttonOf("◀", () => turn(-1), { "aria-label": words.previous }),
    count,
    buttonOf("▶", () => turn(1), { "aria-label": words.next }),
  );
  const question = html("p", { class: "question" });
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
  const mark = html("span", { class: "mark", style: `background: var(--${method.look})` });
  const about = html("b", { class: verdict }, words[verdict]);
  const head = html("p", {}, mark, `${method.name}: `, about, html("span", { class: "soft" }, ` ${when}`));
  return html("div", { class: "card" }, head, html("p", { class: "said" }, ...parts), strip());

  function strip() {
    const marks = numbers.map(isCorrect);
    const told = { name: method.name, share: sum(marks), all: marks.length };
    const wide = 100 / marks.length;
    const cells = marks.map((right, at) =>
      svg("rect", {
        x: `${at * wide}%`, width: `${wide * 0.86}%`, y: 2, height: 8,
        class: `${right ? "right" : "wrong"}${at === step ? " here" : ""}`,
        // When it is pressed: Play makes the cards anew before it is let go.
        onpointerdown: () => values.set("step", at),
      }),
    );
    const label = { role: "img", "aria-label": fill(words.strip, told), class: "strip" };
    return svg("svg", { width: "100%", height: 12, ...label }, ...cells);
  }
}

// ---------------------------------------------------------------- all together

function explorer(root, values, data, words) {
  const c = { root, values, data, words };
  const levels = ["token", "sequence"].map((level) => buildHistogram(c, level));
  const pair = html("div", { class: "pair" }, ...levels.map((part) => part.element));
  const note = html("p", { class: "soft note" }, words.height);
  const [controls, curves, time, answers] = [buildControls, buildCurves, buildTime, buildAnswers].map(
    (build) => build(c),
  );
  const left = html("div", { class: "left" }, curves.element, time.element, pair, note);
  const grid = html("div", { class: data.answers ? "grid both" : "grid" }, left, answers.element);
  root.append(controls.element, grid);
  const parts = [controls, curves, time, answers, ...levels];
  const redraw = keepDrawn(root, values, () => parts.forEach((part) => part.update()));
  new ResizeObserver(redraw).observe(root);
  return redraw;
}

const style = `
  p { margin: 0; }
  .soft { color: var(--soft); }
  .controls { display: flex; flex-wrap: wrap; gap: 6px 16px; align-items: center;
    margin-bottom: 8px; }
  .controls .choice { gap: 4px; }
  .key { display: inline-flex; align-items: center; gap: 5px; }
  .key[aria-pressed=false] { color: var(--soft); text-decoration: line-through; }
  .key line, .curve { stroke-width: 2; }
  .curve, .bracket { stroke-linejoin: round; }
  .bracket { stroke-width: 2.5; }
  .grid { display: grid; gap: 6px 24px; }
  .left { min-width: 0; }
  .curves { height: 114px; cursor: col-resize; }
  .cursor line { stroke: var(--ink); stroke-width: 1.5; }
  .cursor .wide { fill: transparent; }
  .cursor:focus-visible line { stroke: var(--focus); stroke-width: 4; }
  .now, .spreads { display: flex; flex-wrap: wrap; gap: 2px 16px; min-height: 20px;
    font-variant-numeric: tabular-nums; }
  .mark { display: inline-block; width: 9px; height: 9px; border-radius: 2px; margin-right: 5px; }
  .spreads { font-size: 12px; color: var(--soft); gap: 0 10px; white-space: nowrap;
    min-height: 34px; align-content: flex-start; }
  .time { display: flex; gap: 12px; align-items: center; margin: 6px 0; }
  .rlvr .time input[type=range] { width: 300px; }
  .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 18px; }
  .pair > div { min-width: 0; }
  .histogram { height: 92px; }
  .note { font-size: 12px; margin-top: 2px; display: none; }
  .title { font-weight: 600; }
  .head { display: flex; gap: 8px; align-items: center; margin: 2px 0; }
  .head button { padding: 0 8px; min-height: 24px; }
  .head span { min-width: 100px; text-align: center; }
  .question { min-height: 38px; margin-bottom: 2px; }
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
    .question { min-height: 57px; }
    .said { min-height: 57px; }
  }
  @container (min-width: 900px) and (max-width: 960px) { .now { min-height: 39px; } }
`;
