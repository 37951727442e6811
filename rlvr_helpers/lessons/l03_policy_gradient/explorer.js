// Four probability bars. A sampled arm pushes its own weight up and the others down. The mean of
// all pushes so far stands beside the exact gradient.

const LEFT = 48; // pixels left of the columns
const COLUMN = 104;
const BARS = { top: 22, height: 130 }; // the probabilities
const ROWS = [
  { middle: 258, reach: 46, most: 1 }, // the push of the last sample
  { middle: 398, reach: 60, most: 0.25 }, // the mean of all, and the exact gradient
];
const PICTURE = { width: LEFT + 4 * COLUMN, height: 462 };
const SURE = 0.97; // the largest probability that a bar can be dragged to
const STEP = 2; // times the mean push: how far "step" moves the weights

/** R times the score of one arm: what a sample of it adds to each weight. */
const pushOf = (p, rewards, arm) => p.map((pk, k) => rewards[arm] * (Number(k === arm) - pk));

function exactGradient(p, rewards) {
  const expected = sum(p.map((pk, k) => pk * rewards[k]));
  return p.map((pk, k) => pk * (rewards[k] - expected));
}

/** The mean push of samples. counts[k] says how often arm k was taken. */
function meanPush(p, rewards, counts) {
  const pushes = p.map((_, arm) => pushOf(p, rewards, arm));
  return p.map((_, k) => sum(counts.map((n, arm) => n * pushes[arm][k])) / (sum(counts) || 1));
}

/** Logits that give one arm a probability. The others keep their shares of the rest. */
function withProbability(logits, k, wanted) {
  const p = softmax(logits);
  const rest = (1 - wanted) / (1 - p[k]);
  return p.map((pj, j) => roundTo(Math.log(j === k ? wanted : pj * rest), 1e-4));
}

/** An arrow from a zero line: up in blue, down in orange. A short one has no head, and one that is
 * too long for its row ends at the row's edge. */
function arrow(place, x, { middle, reach, most }, push) {
  const length = -clamp(push / most, -1, 1) * reach;
  const way = Math.sign(length);
  const head = Math.min(8, Math.abs(length));
  const tip = middle + length;
  const base = tip - way * head;
  const wide = 0.7 * head;
  set(place, "d", `M${x} ${middle}V${base}M${x - wide} ${base}L${x} ${tip}L${x + wide} ${base}Z`);
  set(place, "class", `${place.dataset.kind} ${push > 0 ? "up" : push < 0 ? "down" : "none"}`);
}

function buildPicture(c) {
  const picture = svg("svg", { ...PICTURE, role: "group", "aria-label": c.words.picture });
  const axis = scale(0, 1, BARS.top + BARS.height, BARS.top);
  const side = svg("g");
  drawAxis(side, axis, LEFT, { side: "left", values: [0, 0.5, 1], text: (p) => `${100 * p}%` });
  picture.append(side, svg("text", { x: 0, y: 12, class: "label" }, c.words.probability));
  for (const row of ROWS) {
    const [x1, x2] = [LEFT, PICTURE.width];
    picture.append(svg("line", { class: "axis", x1, x2, y1: row.middle, y2: row.middle }));
    row.label = svg("text", { class: "label", x: 0, y: row.middle - row.reach - 14 });
    picture.append(row.label);
  }
  const columns = c.data.arms.map((name, k) => buildColumn(c, picture, axis, name, k));
  return { element: picture, update: () => columns.forEach((column) => column()) };
}

function buildColumn(c, picture, axis, name, k) {
  const x = LEFT + (k + 0.5) * COLUMN;
  const bar = svg("rect", { x: x - 26, width: 52, class: "bar" });
  const wide = svg("rect", { x: x - 32, width: 64, height: 14, y: -7, class: "wide" });
  const thin = svg("rect", { x: x - 18, width: 36, height: 5, y: -2.5, rx: 2.5 });
  const grip = svg("g", { class: "grip" }, wide, thin);
  const share = svg("text", { x, "text-anchor": "middle", class: "label" });
  const marks = ["last", "mean", "exact"].map((kind) => svg("path", { "data-kind": kind }));
  const numbers = ROWS.map(() => svg("text", { x, "text-anchor": "middle" }));
  const where = { x, y: 170, "text-anchor": "middle", class: "label" };
  const label = svg("text", where, fill(c.words.arm, { name }));
  picture.append(bar, share, label, ...marks, ...numbers, grip);
  const write = (p) => c.change({ logits: withProbability(c.get("logits"), k, p) });
  const limits = { min: 1 - SURE, max: SURE, step: 0.01 };
  const about = { name: fill(c.words.bar, { name }), text: percent, write, ...limits };
  const tell = handle(grip, { ...about, read: () => Number(c.now.p[k].toFixed(4)) });
  const move = (_, y) => write(roundTo(clamp(axis.value(y), 1 - SURE, SURE), 0.01));
  draggable(grip, { move, frame: picture });
  return () => {
    const { p, last, mean, exact } = c.now;
    const y = axis.at(p[k]);
    dress(bar, { y, height: BARS.top + BARS.height - y });
    set(grip, "transform", `translate(0 ${y})`);
    set(share, "y", y - 9);
    say(share, percent(p[k]));
    bar.classList.toggle("taken", c.get("arm") === k);
    arrow(marks[0], x, ROWS[0], last[k]);
    arrow(marks[1], x - 10, ROWS[1], mean[k]);
    arrow(marks[2], x + 10, ROWS[1], exact[k]);
    [last, mean].forEach((push, row) => {
      set(numbers[row], "y", ROWS[row].middle + (push[k] > 0 ? 15 : -6));
      say(numbers[row], c.now.n ? number(push[k], row ? 3 : 2, true) : "");
    });
    tell();
  };
}

function buildControls(c) {
  const rewards = c.data.arms.map((_, k) => buttonOf("", () => c.turn(k), { class: "reward" }));
  const take = (name, k) => buttonOf(fill(c.words.take, { name }), () => c.take(k));
  const draws = [1, 10, 100].map((n) => buttonOf(fill(c.words.sample, { n }), () => c.sample(n)));
  const others = [buttonOf(c.words.step, c.step), buttonOf(c.words.clear, c.clear)];
  const reset = buttonOf(c.words.reset, c.reset);
  const line = (name, ...parts) => {
    const about = { class: "line", role: "group", "aria-label": name };
    return html("div", about, html("span", {}, name), ...parts);
  };
  const element = html("div", { class: "lines" }, line(c.words.rewards, ...rewards));
  element.append(line(c.words.by_hand, ...c.data.arms.map(take)));
  element.append(line(c.words.by_chance, ...draws), line(c.words.then, ...others, reset));
  const update = () =>
    rewards.forEach((place, k) => {
      const reward = c.get("rewards")[k];
      say(place, fill(c.words.reward, { name: c.data.arms[k], reward: number(reward, 0) }));
      place.classList.toggle("good", reward > 0);
    });
  return { element, update };
}

/** The last sample's pushes with numbers, and how far the mean is from the exact gradient. */
function buildAccount(c) {
  const [what, own, rest, sofar] = ["", "", "", "strong"].map((name) => html("p", { class: name }));
  const element = html("div", { class: "account", role: "status" }, what, own, rest, sofar);
  const update = () => {
    const { p, last, mean, exact, n } = c.now;
    const arm = c.get("arm");
    const reward = arm < 0 ? 0 : c.get("rewards")[arm];
    const pushes = last.map((push) => number(push, 2, true));
    const list = pushes.filter((_, k) => k !== arm).join(", ");
    const [share, push] = [number(p[arm] ?? 0, 2), pushes[arm]];
    const given = { name: c.data.arms[arm], reward: number(reward, 0), p: share, push, list };
    say(what, arm < 0 ? c.words.nothing : fill(reward ? c.words.taken : c.words.silent, given));
    say(own, reward ? fill(c.words.own, given) : "");
    say(rest, reward ? fill(c.words.rest, given) : "");
    const off = number(Math.hypot(...mean.map((x, k) => x - exact[k])), 3);
    const after = n === 1 ? c.words.after_one : c.words.after;
    say(sofar, n ? fill(after, { n, off }) : "");
  };
  return { element, update };
}

function explorer(root, values, data, words) {
  const get = (name) => values.get(name);
  const change = (some) => values.setAll(some);
  let noise = random(1);
  const none = data.arms.map(() => 0);
  const take = (...arms) => {
    const times = (k) => arms.filter((arm) => arm === k).length;
    change({ counts: get("counts").map((n, k) => n + times(k)), arm: arms.at(-1) });
  };
  const c = { values, data, words, get, change, take };
  c.sample = (n) => {
    const p = softmax(get("logits"));
    take(...Array.from({ length: n }, () => pickToken(p, noise()).token));
  };
  c.clear = () => change({ counts: none, arm: -1 });
  c.turn = (k) => {
    const rewards = get("rewards");
    change({ rewards: rewards.with(k, { 1: 0, 0: -1 }[rewards[k]] ?? 1) });
  };
  c.step = () => {
    const { mean, exact, n } = c.now;
    const by = n ? mean : exact;
    change({ logits: get("logits").map((x, k) => roundTo(x + STEP * by[k], 1e-4)) });
    c.clear();
  };
  c.reset = () => {
    noise = random(1);
    values.reset();
  };
  const read = () => {
    const p = softmax(get("logits"));
    const [rewards, counts, arm] = ["rewards", "counts", "arm"].map(get);
    const last = arm < 0 ? none : pushOf(p, rewards, arm);
    const mean = meanPush(p, rewards, counts);
    c.now = { p, last, mean, exact: exactGradient(p, rewards), n: sum(counts) };
  };
  read();
  const parts = [buildPicture, buildControls, buildAccount].map((build) => build(c));
  const draw = () => {
    read();
    say(ROWS[0].label, words.row_last);
    say(ROWS[1].label, fill(c.now.n === 1 ? words.row_mean_one : words.row_mean, { n: c.now.n }));
    parts.forEach((part) => part.update());
  };
  const [picture, controls, account] = parts.map((part) => part.element);
  root.append(html("p", { class: "intro soft" }, words.intro));
  root.append(html("div", { class: "main" }, picture, html("div", {}, controls, account)));
  return keepDrawn(root, values, draw);
}

const style = `
  .intro { margin-bottom: 8px; }
  .main { display: grid; grid-template-columns: ${PICTURE.width}px minmax(0, 1fr); gap: 36px; }
  .bar { fill: var(--line); }
  .bar.taken { fill: var(--up); }
  .grip { cursor: ns-resize; }
  .grip rect { fill: var(--ink); }
  .grip .wide { fill: transparent; }
  .up { stroke: var(--up); }
  .down { stroke: var(--down); }
  .none { display: none; }
  .last, .mean { stroke-width: 3; stroke-linejoin: round; }
  .exact { fill: var(--page); stroke-width: 1.5; }
  .lines { display: grid; gap: 8px; }
  .line { display: flex; flex-wrap: wrap; gap: 6px; align-items: center; }
  .line > span { width: 100%; font-weight: 600; }
  .reward { min-width: 70px; }
  .good { border-color: var(--up) !important; border-width: 2px !important; font-weight: 600; }
  .account { margin-top: 14px; min-height: 104px; display: grid; gap: 4px; align-content: start; }
  @container explorer (max-width: 899px) {
    .main { gap: 12px; }
    .line { gap: 4px; }
    .rlvr .line button { padding: 2px 6px; }
    .account { min-height: 196px; }
  }
`;
