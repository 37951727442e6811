// Eight answers with rewards to click, the baseline as a line to drag, the advantages that follow,
// and 200 sampled updates as arrows around their mean.

const LEFT = 44; // pixels left of the columns
const COLUMN = 50;
const WIDTH = LEFT + 8 * COLUMN;
const HEIGHT = 330;
const REWARD = scale(-1.2, 3.2, 112, 8); // the upper axis: rewards and the baseline
const ADVANTAGE = scale(-2.7, 2.7, 322, 148); // the lower one, the same for every choice
const LIMITS = { min: -1, max: 3, step: 0.05 }; // of the baseline
const CLOUD = [240, 480]; // pixels: its smallest and largest width
const GAP = 16; // between it and the answers
const UPDATES = 200;
const SIDEWAYS = [1, -1, 2, -2, 3, -3, 4, -4];

/** Advantages of a group's rewards under a choice: a fixed baseline, or one of the package's. */
const advantagesOf = (rewards, kind, baseline) =>
  kind === "fixed" ? rewards.map((r) => r - baseline) : groupAdvantages(rewards, kind);

const dot = (xs, ys) => sum(xs.map((x, k) => x * ys[k]));
const lengthOf = (xs) => Math.hypot(...xs);

/** The gradient of the mean reward where each answer has one weight and all are equally likely. */
const exactGradient = (rewards) => rewards.map((r) => (r - mean(rewards)) / rewards.length);

/** The update of one group. `group` says which answers were sampled. */
function updateOf(group, rewards, kind, baseline) {
  const advantages = advantagesOf(group.map((k) => rewards[k]), kind, baseline);
  const update = rewards.map(() => -mean(advantages) / rewards.length);
  group.forEach((k, j) => (update[k] += advantages[j] / group.length));
  return update;
}

/** How many times the exact gradient the expected update is: over all numbers of right answers. */
function expectedFactor(rewards, kind) {
  const [q, n] = [mean(rewards), rewards.length];
  if (kind === "fixed" || q === 0 || q === 1) return 1;
  let ways = 1;
  let total = 0;
  for (let k = 0; k <= n; k++) {
    const group = Array.from({ length: n }, (_, i) => Number(i < k));
    total += ways * q ** k * (1 - q) ** (n - k) * (k / n) * groupAdvantages(group, kind)[0];
    ways = (ways * (n - k)) / (k + 1);
  }
  return total / (q * (1 - q));
}

/** Two directions: along the exact gradient, and one at a right angle to it. */
function directionsOf(rewards) {
  const gradient = exactGradient(rewards);
  const along = lengthOf(gradient) ? gradient : rewards.map((_, k) => (k < 4 ? 1 : -1));
  const x = along.map((g) => g / lengthOf(along));
  const rest = SIDEWAYS.map((w, k) => w - dot(SIDEWAYS, x) * x[k]);
  return [x, rest.map((w) => w / lengthOf(rest))];
}

/** Random whole numbers below n, the same in every page. */
function drawn(count, n) {
  let state = 1;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  });
}

function stateOf(values, groups) {
  const [rewards, kind, fixed] = ["rewards", "kind", "baseline"].map((name) => values.get(name));
  const [x, y] = directionsOf(rewards);
  const updates = groups.map((group) => updateOf(group, rewards, kind, fixed));
  const factor = expectedFactor(rewards, kind);
  const expected = exactGradient(rewards).map((g) => g * factor);
  const off = updates.map((update) => lengthOf(update.map((u, k) => u - expected[k])));
  const signal = lengthOf(expected);
  return {
    ...{ rewards, kind, factor, arrow: signal, gradient: lengthOf(exactGradient(rewards)) },
    baseline: kind === "fixed" ? fixed : mean(rewards),
    advantages: advantagesOf(rewards, kind, fixed),
    points: updates.map((update) => [dot(update, x), dot(update, y)]),
    scatter: signal ? Math.hypot(...off) / Math.sqrt(off.length) / signal : null,
  };
}

function buildAnswers(c) {
  const picture = svg("svg", { width: WIDTH, height: HEIGHT, role: "group" });
  set(picture, "aria-label", c.words.picture);
  const axes = [
    [REWARD, [-1, 0, 1, 2, 3], c.words.reward_axis],
    [ADVANTAGE, [-2, -1, 0, 1, 2], c.words.advantage_axis],
  ];
  for (const [axis, values, name] of axes) {
    const group = svg("g");
    drawAxis(group, axis, LEFT, { side: "left", values, text: (x) => number(x, 0) });
    picture.append(group, svg("text", { x: LEFT + 6, y: axis.end + 4, class: "label" }, name));
  }
  const zero = ADVANTAGE.at(0);
  picture.append(svg("line", { class: "axis", x1: LEFT, x2: WIDTH, y1: zero, y2: zero }));
  const columns = c.data.answers.map((_, k) => buildColumn(picture, LEFT + (k + 0.5) * COLUMN));
  const line = buildBaseline(c, picture);
  const update = () => {
    columns.forEach((draw, k) => draw(c.now.rewards[k], c.now.advantages[k]));
    line();
  };
  return { element: picture, update };
}

function buildColumn(picture, x) {
  const bar = svg("rect", { x: x - 17, width: 34 });
  const spot = svg("circle", { cx: x, r: 6 });
  const text = svg("text", { x, "text-anchor": "middle", class: "label" });
  picture.append(bar, spot, text);
  return (reward, advantage) => {
    const [zero, end] = [ADVANTAGE.at(0), ADVANTAGE.at(advantage)];
    const height = Math.min(Math.abs(end - zero), 180);
    const way = advantage > 0 ? "up" : advantage < 0 ? "down" : "none";
    dress(bar, { y: Math.max(Math.min(end, zero), 136), height, class: way });
    dress(spot, { cy: REWARD.at(reward), class: reward ? "right" : "wrong" });
    set(text, "y", clamp(end + (advantage < 0 ? 14 : -5), 148, HEIGHT + 4));
    say(text, advantage ? number(advantage, 2, true) : "0");
  };
}

/** The baseline as a line that can be dragged. In a group's mode a drag makes it a fixed one. */
function buildBaseline(c, picture) {
  const wide = svg("rect", { x: LEFT, width: WIDTH - LEFT, y: -7, height: 14, class: "wide" });
  const text = svg("text", { x: WIDTH, y: -5, "text-anchor": "end" });
  const grip = svg("g", { class: "baseline" }, wide, svg("line", { x1: LEFT, x2: WIDTH }), text);
  picture.append(grip);
  const about = { name: c.words.line, text: (b) => number(b, 2), ...LIMITS };
  const tell = handle(grip, { ...about, read: c.shown, write: c.setBaseline });
  const { min, max, step } = LIMITS;
  const move = (_, y) => c.setBaseline(roundTo(clamp(REWARD.value(y), min, max), step));
  draggable(grip, { move, frame: picture });
  return () => {
    set(grip, "transform", `translate(0 ${REWARD.at(c.now.baseline)})`);
    say(text, fill(c.words.baseline_is, { b: number(c.now.baseline, 2) }));
    tell();
  };
}

function buildButtons(c) {
  const text = html("p", { class: "text" }, c.words.hover);
  const show = (k) => () => say(text, fill(c.words.text, { n: k + 1, ...c.data.answers[k] }));
  const buttons = c.data.answers.map((_, k) => {
    return buttonOf("", () => c.flip(k), { onpointerenter: show(k), onfocus: show(k) });
  });
  const row = html("div", { class: "answers" }, ...buttons);
  const update = () =>
    buttons.forEach((button, k) => {
      const reward = c.now.rewards[k];
      const a = number(c.now.advantages[k], 2, true);
      const given = { n: k + 1, says: c.data.answers[k].says, reward, a };
      say(button, given.says);
      set(button, "aria-label", fill(c.words.flip, given));
      set(button, "aria-pressed", reward > 0);
    });
  return { element: html("div", {}, row, text), update };
}

function buildCloud(c) {
  const canvas = html("canvas", { role: "img", tabindex: 0 });
  const said = html("p", { class: "strong", role: "status" });
  const titles = [c.words.cloud, c.words.along].map((text) => html("p", {}, text));
  const element = html("div", { class: "cloud" }, titles[0], canvas, titles[1], said);
  const update = () => {
    paintCloud(c, canvas);
    const { factor, scatter, points } = c.now;
    const given = { factor: number(factor, 2), scatter: scatter && number(scatter, 1) };
    const text = fill(scatter === null ? c.words.silent : c.words.says, given);
    const ahead = points.filter(([x]) => x > 0).length;
    const heard = { cloud: c.words.cloud, says: text, ahead, all: points.length };
    set(canvas, "aria-label", scatter === null ? text : fill(c.words.heard, heard));
    say(said, text);
  };
  return { element, update };
}

/** The updates from the origin, the expected one in blue and the exact gradient in black. */
function paintCloud({ root, now }, canvas) {
  const width = clamp(root.clientWidth - WIDTH - GAP, ...CLOUD);
  const along = scale(-0.4, 0.6, 0, width);
  const across = scale(-0.4, 0.4, 0.8 * width, 0);
  const context = fit(canvas, width, 0.8 * width);
  const { line, ink, up } = coloursOf(root, "line", "ink", "up");
  const [x0, y0] = [along.at(0), across.at(0)];
  const [xs, ys] = [now.points.map(([x]) => along.at(x)), now.points.map(([, y]) => across.at(y))];
  Object.assign(context, { strokeStyle: line, lineWidth: 1, globalAlpha: 0.35 });
  context.stroke(new Path2D(xs.map((x, i) => `M${x0} ${y0}L${x} ${ys[i]}`).join("")));
  context.globalAlpha = 1;
  dots(context, xs, ys, 1.8, line);
  arrow(context, [x0, along.at(now.arrow)], y0, up, 6);
  arrow(context, [x0, along.at(now.gradient)], y0, ink, 1.5);
}

function arrow(context, [from, to], y, ink, width) {
  if (to - from < 1) return;
  Object.assign(context, { strokeStyle: ink, fillStyle: ink, lineWidth: width });
  context.stroke(new Path2D(`M${from} ${y}H${to - 8}`));
  context.fill(new Path2D(`M${to} ${y}l-11 -6v12Z`));
}

function buildControls({ values, words, shown, setBaseline }) {
  const options = Object.entries(words.kinds);
  const kinds = choice({ name: words.kind, options, ...values.linked("kind") });
  const about = { name: words.baseline, text: (b) => number(b, 2), ...LIMITS };
  const track = slider({ ...about, read: shown, write: setBaseline });
  const reset = buttonOf(words.reset, () => values.reset());
  return {
    element: html("div", { class: "controls" }, kinds.element, track.element, reset),
    update: () => [kinds, track].forEach((part) => part.update()),
  };
}

function explorer(root, values, data, words) {
  const draws = drawn(UPDATES * 8, data.answers.length);
  const groups = Array.from({ length: UPDATES }, (_, i) => draws.slice(8 * i, 8 * i + 8));
  const c = { root, values, data, words, now: stateOf(values, groups) };
  c.shown = () => roundTo(c.now.baseline, 1e-3);
  c.setBaseline = (baseline) => values.setAll({ kind: "fixed", baseline });
  c.flip = (k) => values.set("rewards", values.get("rewards").with(k, 1 - c.now.rewards[k]));
  const parts = [buildControls, buildButtons, buildAnswers, buildCloud].map((build) => build(c));
  const draw = () => {
    c.now = stateOf(values, groups);
    for (const part of parts) part.update();
  };
  const [controls, buttons, answers, cloud] = parts.map((part) => part.element);
  root.append(html("p", { class: "question" }, words.question), controls);
  root.append(html("div", { class: "main" }, html("div", {}, buttons, answers), cloud));
  return keepDrawn(root, values, draw);
}

const style = `
  .controls output { min-width: 40px; }
  .main { display: grid; grid-template-columns: ${WIDTH}px minmax(0, 1fr); gap: ${GAP}px; }
  .answers { display: grid; grid-template-columns: repeat(8, ${COLUMN}px);
    padding-left: ${LEFT}px; }
  .rlvr .answers button { margin: 0 3px; padding: 2px 0; }
  .answers [aria-pressed=true] { border: 2px solid var(--up) !important; font-weight: 600; }
  .text { color: var(--soft); height: 58px; overflow: hidden; padding: 4px 0 4px ${LEFT}px; }
  circle.right { fill: var(--up); }
  circle.wrong { fill: var(--page); stroke: var(--line); stroke-width: 2; }
  .baseline { cursor: ns-resize; }
  .baseline line { stroke: var(--ink); stroke-width: 2.5; }
  .baseline .wide { fill: transparent; }
  .rlvr svg .baseline text { fill: var(--ink); font-weight: 600; paint-order: stroke;
    stroke: var(--page); stroke-width: 4px; }
  .cloud canvas { border: 1px solid var(--faint); display: block; margin: 4px 0; }
  .strong { min-height: 36px; margin-top: 4px; }
  @container explorer (max-width: 899px) { .strong { min-height: 90px; } }
`;
