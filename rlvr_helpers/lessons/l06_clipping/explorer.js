// The clip stage: tokens of a real rollout on the slopes of the clipped objective, over one axis of
// log-ratios, and beside them what training did under the recorded ranges.

const SOFT = 0.01; // log-ratios below it lie on an almost linear stretch of the axis
const FAR = 4; // log-ratio at the ends of the axis
const SNAP = 5; // pixels within which an edge or a dot snaps
const MOVE = 420; // milliseconds in which dots flow to new places
const TICKS = ["1/16", "1/4", "1/2", "0.8", "0.98", "1", "1.02", "1.2", "2", "4", "16"];
const SNAPS = [
  0.0003, 0.0004, 0.003, 0.004, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.2, 0.28, 0.5,
];
const EPSILONS = [4, 3, 2, 1]
  .flatMap((power) => [1, 1.5, 2, 3, 4, 5, 7].map((digit) => Number(`${digit}e-${power}`)))
  .concat(0.28, 0.6, 0.8, 0.9)
  .sort((one, two) => one - two);

// ---------------------------------------------------------------- the rules

const inRange = (q, low, high) => clamp(q, 1 - low, 1 + high);
const OBJECTIVES = {
  none: (q, a) => q * a,
  clamp: (q, a, low, high) => inRange(q, low, high) * a,
  minimum: objective,
};
const STOPS = {
  none: () => false,
  clamp: (q, a, low, high) => a !== 0 && (q < 1 - low || q > 1 + high),
  minimum: clipBinds,
};

/** d objective / d log q under a rule. */
const pushOf = (rule, q, a, low, high) => (STOPS[rule](q, a, low, high) ? 0 : q * a);

/** Whether a ratio left the range against its advantage. */
const wentWrong = (q, a, low, high) => (a > 0 && q < 1 - low) || (a < 0 && q > 1 + high);

/** The log-ratios of the two edges of a range. */
const edgesOf = (v) => [Math.log(1 - v.clip_low), Math.log(1 + v.clip_high)];

// ---------------------------------------------------------------- the data

/** Whole numbers from base64: zigzag, seven bits per byte, the last byte of each below 128. */
function* wholeNumbers(text) {
  let z = 0;
  let factor = 1;
  for (const letter of atob(text)) {
    const byte = letter.charCodeAt(0);
    z += (byte & 127) * factor;
    factor *= 128;
    if (byte < 128) {
      yield z % 2 ? -(z + 1) / 2 : z / 2;
      z = 0;
      factor = 1;
    }
  }
}

/** The rollout by tokens: `logRatios[update][token]`, each one's row, each row's first token. */
function readRollout(data) {
  const { rewards, advantages, group_size: size } = data;
  const layout = layoutOf(data.lengths);
  const steps = wholeNumbers(data.log_ratios);
  const logRatios = [new Float64Array(data.tokens.length)];
  for (let update = 1; update <= data.updates; update++) {
    logRatios.push(logRatios.at(-1).map((before) => before + steps.next().value * data.unit));
  }
  const words = data.tokens.map((token) => data.vocabulary[token]);
  const read = { ...layout, rewards, advantages, size, words, logRatios };
  const oldProbs = [...wholeNumbers(data.old_probs)].map((thousandths) => thousandths / 1000);
  return { ...read, oldProbs, found: {} };
}

/** The log of the ratio that the loss sees at each token: its own, its row's mean or sum. */
function unitLogRatios({ logRatios, lengths, starts, rows, found }, unit, update) {
  const d = logRatios[update];
  if (unit === "token") return d;
  const of = unit === "sequence" ? mean : sum;
  const inRow = (n, row) => of([...d.subarray(starts[row], starts[row] + n)]);
  const fresh = () => {
    const ofRows = lengths.map(inRow);
    return Float64Array.from(rows, (row) => ofRows[row]);
  };
  return (found[`${unit} ${update}`] ??= fresh());
}

/** How far two ranges are apart: the log of the factor between their ends, the mean of both. */
const distance = (one, two) =>
  mean(["clip_low", "clip_high"].map((end) => Math.abs(Math.log(one[end] / two[end]))));

/** The recorded arm of the rule and unit with the nearest range, or null. */
function nearestArm(arms, v) {
  const rivals = arms.filter((arm) => arm.rule === v.rule && arm.unit === v.unit);
  if (v.rule === "none") return rivals[0] ?? null;
  return rivals.toSorted((one, two) => distance(one, v) - distance(two, v))[0] ?? null;
}

// ---------------------------------------------------------------- where things stand

const bend = (d) => Math.asinh(d / SOFT) / Math.asinh(FAR / SOFT);

/** Places on the stage for its size in pixels. Lane 0 is A > 0, lane 1 is A < 0. */
function placesFor(width, height) {
  const middle = width / 2;
  const half = width / 2 - 14;
  const floor = height - 58; // of the lanes; below stand the edges' handles and the axis
  const lane = floor / 2;
  const rise = 0.27 * lane;
  const base = [0.64 * lane, 1.64 * lane];
  return {
    width, height, middle, half, floor, lane, rise,
    x: (d) => middle + half * clamp(bend(d), -1, 1),
    logRatio: (x) => SOFT * Math.sinh(clamp((x - middle) / half, -1, 1) * Math.asinh(FAR / SOFT)),
    /** The height of an objective of ratio `value` (its size at |A| = 1). */
    y: (side, value) => base[side] + (side ? 1 : -1) * rise * clamp(bend(Math.log(value)), -1, 1),
  };
}

/** The height of the slope at a log-ratio. */
function slopeAt(places, side, d, { rule, clip_low, clip_high }) {
  const value = OBJECTIVES[rule](Math.exp(d), side ? -1 : 1, clip_low, clip_high);
  return places.y(side, Math.abs(value));
}

/** The path of a slope across the stage, with corners at the edges of the range. */
function slopePath(places, side, v) {
  const corners = [-FAR, ...edgesOf(v), FAR];
  const at = (d) => `${places.x(d).toFixed(1)} ${slopeAt(places, side, d, v).toFixed(1)}`;
  return `M${corners.map(at).join("L")}`;
}

/** What the next update does to each token: its place, its push, whether it is stopped. */
function castOf({ rows, starts }, places, { v, d, advantage }) {
  const { rule, clip_low: low, clip_high: high } = v;
  const token = v.unit === "token";
  const [x, y, push] = [0, 0, 0].map(() => new Float64Array(d.length));
  const [side, stopped, wrong, pile] = [0, 0, 0, 0].map(() => new Uint16Array(d.length));
  const piles = new Map();
  for (let i = 0; i < d.length; i++) {
    const a = advantage(i);
    const q = Math.exp(d[i]);
    side[i] = a > 0 ? 0 : 1;
    push[i] = pushOf(rule, q, a, low, high);
    stopped[i] = STOPS[rule](q, a, low, high);
    wrong[i] = rule !== "none" && wentWrong(q, a, low, high);
    x[i] = places.x(d[i]);
    // Dots of one column rest on each other. A whole completion is one dot.
    const column = 10000 * side[i] + Math.round(x[i] / (token ? 4 : 8));
    pile[i] = (piles.get(column) ?? 0) + (token || i === starts[rows[i]] ? 1 : 0);
    piles.set(column, pile[i]);
    y[i] = slopeAt(places, side[i], d[i], v) - heightInPile(pile[i], token, places);
  }
  return { x, y, push, side, stopped, wrong, pile };
}

/** Pixels above the slope of a pile's k-th dot. High piles are pressed. */
function heightInPile(k, token, { lane }) {
  const [gap, most] = token ? [3.6, 0.46 * lane] : [8, 0.4 * lane];
  return gap * 0.8 + most * (1 - Math.exp((-gap * (k - 1)) / most));
}

// ---------------------------------------------------------------- numbers in words

/** A ratio with as many digits as tell it from 1. */
function ratioText(q) {
  const off = Math.abs(q - 1);
  if (off > 0 && off < 0.0995) return number(q, off < 0.00995 ? 4 : 3);
  return number(q, q >= 99.5 ? 0 : q >= 9.95 ? 1 : q >= 0.0995 ? 2 : 3);
}

/** An edge of the range as a ratio: 1.2, 0.9997. */
const edgeText = (q) => String(Number(q.toFixed(4)));

/** One end of a range: 0.2, 0.0003. */
const epsText = (eps) => String(Number(eps.toPrecision(2)));

/** "0.2/0.28", or one number if both are equal. */
function spanText({ clip_low: low, clip_high: high }) {
  return low === high ? epsText(low) : `${epsText(low)}/${epsText(high)}`;
}

/** A share in percent, as exact as 200 problems are: 62.5. */
const percents = (share) => String(Number((100 * share).toFixed(1)));

// ---------------------------------------------------------------- what all parts share

/** The state of the stage now. Parts draw themselves from it. */
function stateOf({ values, rollout, data }) {
  const v = { ...values.values };
  const { rows } = rollout;
  const row = rows[v.chosen];
  const recorded = unitLogRatios(rollout, v.unit, v.update);
  const pulled = (i) => i === v.chosen || (v.unit !== "token" && rows[i] === row);
  const d = v.moved === null ? recorded : recorded.map((at, i) => (pulled(i) ? v.moved : at));
  const advantages = rollout.advantages[v.advantage_scale];
  const advantage = (i) => advantages[rows[i]];
  const chosen = { row, a: advantages[row], q: Math.exp(d[v.chosen]) };
  return { v, d, recorded, advantage, ...chosen, nearest: nearestArm(data.record.arms, v) };
}

/** Sets several values. A dot that was pulled goes back, and a guess is over. */
const setUp = (c, changes) =>
  c.values.setAll({ moved: null, guess: null, predicting: false, ...changes });

/** What a control needs to read a value and to set it up. */
const linkedOf = (c, name) => ({
  read: () => c.values.get(name),
  write: (value) => setUp(c, { [name]: value }),
});

const choose = (c, token) => setUp(c, { chosen: token });

// ---------------------------------------------------------------- the controls

function buildControls(c) {
  const { words, data } = c;
  const pick = (name, given) =>
    choice({
      name: words[name],
      options: given.map((value) => [value, words[`${name}_${value}`]]),
      ...linkedOf(c, name),
    });
  const rule = pick("rule", ["none", "clamp", "minimum"]);
  const unit = pick("unit", ["token", "sequence", "product"]);
  const presets = data.presets.map(({ name, ...changes }) => ({
    changes,
    element: buttonOf(name, () => setUp(c, changes)),
  }));
  const group = { class: "choice", role: "group", "aria-label": words.presets };
  const methods = html("span", group, words.presets, ...presets.map((preset) => preset.element));
  const reset = buttonOf(words.reset, () => setUp(c, c.first), { class: "end" });
  return {
    element: html("div", { class: "controls" }, methods, rule.element, unit.element, reset),
    update({ v }) {
      rule.update();
      unit.update();
      for (const { changes, element } of presets) {
        const same = Object.entries(changes).every(([name, value]) => v[name] === value);
        set(element, "aria-pressed", same);
      }
    },
  };
}

function buildSliders(c) {
  const { values, words } = c;
  const linked = (name, more) => slider({ name: words[name], ...linkedOf(c, name), ...more });
  const low = linked("clip_low", { text: epsText, values: EPSILONS });
  const high = linked("clip_high", { text: epsText, values: EPSILONS });
  const time = linked("update", { text: String, min: 0, max: c.data.rollout.updates });
  const onchange = () => values.set("trails", trails.checked);
  const trails = html("input", { type: "checkbox", onchange });
  const label = html("label", { class: "slider" }, trails, words.trails);
  const frames = { play: words.play, pause: words.pause, every: MOVE + 60 };
  const play = playThrough(linkedOf(c, "update"), c.data.rollout.updates, frames);
  const first = html("div", {}, play.element, time.element, label);
  const second = html("div", {}, low.element, high.element);
  return {
    element: html("div", { class: "sliders" }, first, second),
    update({ v }) {
      for (const part of [low, high, time]) part.update();
      low.input.disabled = high.input.disabled = v.rule === "none";
      trails.checked = v.trails;
    },
  };
}

// ---------------------------------------------------------------- the stage: slopes, range, dots

function buildStage(c) {
  const below = svg("svg", { "aria-hidden": true });
  const canvas = html("canvas", { "aria-hidden": true });
  const above = svg("svg", { class: "above", role: "group", "aria-label": c.words.stage });
  const count = html("p", { class: "count", "aria-live": "polite" });
  const frame = html("div", { class: "frame" }, below, canvas, above);
  c.scene = { below, canvas, above, frame };
  const lanes = c.words.lanes.map((name) => svg("text", { class: "tag", x: 4 }, name));
  above.append(svg("g", {}, ...lanes));
  const edges = ["clip_low", "clip_high"].map((name) => buildEdge(c, name));
  const parts = [buildSlopes(c), ...edges, buildChosenDot(c)];
  watchPointer(c);
  new ResizeObserver(() => c.redraw()).observe(frame);
  return {
    element: frame,
    count,
    update(now) {
      fitStage(c.scene);
      c.scene.cast = castOf(c.rollout, c.scene.places, now);
      c.scene.shown = flow(c, now.v);
      paint(c, now);
      lanes.forEach((name, side) => set(name, "y", side * c.scene.places.lane + 15));
      for (const part of parts) part.update(now);
      say(count, now.v.predicting ? c.words.count_hidden : countText(c, now));
    },
  };
}

/** Takes the size that the page leaves. */
function fitStage(scene) {
  // It has no size until it is in the page.
  const [width, height] = [scene.frame.clientWidth || 600, scene.frame.clientHeight || 300];
  if (scene.places?.width === width && scene.places?.height === height) return;
  scene.places = placesFor(width, height);
  for (const picture of [scene.below, scene.above]) dress(picture, { width, height }, []);
  scene.before = null;
}

/** What the rule would stop of the recorded tokens, wherever the chosen dot was pulled. */
function countText({ words, rollout }, { v, recorded, advantage }) {
  const { rule, clip_low: low, clip_high: high } = v;
  const firsts = v.unit === "token" ? [...recorded.keys()] : rollout.starts;
  const passes = (test) => (i) => test(Math.exp(recorded[i]), advantage(i), low, high);
  const stopped = firsts.filter(passes(STOPS[rule])).length;
  const given = {
    after: fill(words.after[v.update === 1 ? "one" : "many"], { n: v.update }),
    stopped, all: firsts.length.toLocaleString("en"), share: percent(stopped / firsts.length),
    unit: words.units[v.unit], wrong: firsts.filter(passes(wentWrong)).length,
  };
  return fill(words.count[rule], given);
}

/** Under the dots: dead zones, the slopes, what there would be without a rule, the axis. */
function buildSlopes(c) {
  const { below } = c.scene;
  const axis = svg("g");
  const bar = svg("path", { class: "most" });
  const label = svg("text", { class: "label" });
  const lanes = [0, 1].map((side) => ({
    dead: svg("g", { class: "dead" }),
    plain: svg("path", { class: "plain" }),
    slope: svg("path", { class: `slope ${side ? "down" : "up"}` }),
  }));
  below.append(...lanes.flatMap((lane) => Object.values(lane)), axis, bar, label);
  return {
    update({ v, recorded }) {
      const { places } = c.scene;
      const plain = { ...v, rule: "none" };
      const ruled = v.predicting ? plain : v;
      lanes.forEach((lane, side) => {
        set(lane.slope, "d", slopePath(places, side, ruled));
        set(lane.plain, "d", slopePath(places, side, plain));
        lane.dead.replaceChildren(...deadZones(places, side, ruled));
      });
      drawRatioAxis(axis, places, v);
      const q = c.words.symbols[v.unit];
      const [low, high] = v.predicting ? [0, 0] : mostOf(recorded);
      set(bar, "d", `M${places.x(low)} ${places.floor}H${places.x(high)}`);
      const span = { low: ratioText(Math.exp(low)), high: ratioText(Math.exp(high)) };
      say(label, fill(c.words[v.predicting ? "axis" : "axis_most"], { q, ...span }));
      dress(label, { x: places.middle - places.half, y: places.floor + 53 }, []);
    },
  };
}

/** The log-ratios between which 98 % of the tokens lie. */
function mostOf(recorded) {
  const sorted = recorded.toSorted();
  return [0.01, 0.99].map((share) => sorted[Math.round(share * (sorted.length - 1))]);
}

/** Where the gradient is 0: rectangles beyond the edges. */
function deadZones({ x, middle, half, lane }, side, v) {
  const [low, high] = edgesOf(v).map(x);
  const box = (from, to) =>
    svg("rect", { x: from, width: Math.max(to - from, 0), y: side * lane, height: lane });
  const [left, right] = [box(middle - half, low), box(high, middle + half)];
  return { none: [], clamp: [left, right], minimum: [side ? left : right] }[v.rule];
}

/** The axis. The edges' own numbers stand in place of the ticks under them. */
function drawRatioAxis(group, { middle, half, floor, x }, v) {
  const line = (x1, x2, y2) => svg("line", { class: "axis", x1, x2, y1: floor, y2 });
  group.replaceChildren(line(middle - half, middle + half, floor));
  const edges = v.rule === "none" ? [] : edgesOf(v).map(x);
  for (const text of TICKS) {
    const [over, under = 1] = text.split("/");
    const at = x(Math.log(over / under));
    group.append(line(at, at, floor + 4));
    if (edges.some((edge) => Math.abs(edge - at) < 14)) continue;
    group.append(svg("text", { x: at, y: floor + 16, "text-anchor": "middle" }, text));
  }
}

/** An edge of the range: "clip_low" or "clip_high". */
function buildEdge(c, name) {
  const { values, words, scene } = c;
  const side = name === "clip_low" ? -1 : 1;
  const tidy = (q) => Number(q.toPrecision(9));
  const write = (q) => setUp(c, { [name]: tidy(side * (q - 1)) });
  const read = () => tidy(1 + side * values.get(name));
  const grip = svg("rect", { class: "grip", width: 52, height: 20, rx: 4 });
  const text = svg("text", { "text-anchor": "middle" });
  const line = svg("line", { class: "line" });
  const wide = svg("line", { class: "wide" });
  const element = svg("g", { class: "edge" }, wide, line, grip, text);
  scene.above.append(element);
  const tell = handle(element, {
    name: words[`edge_${name}`], read, write,
    values: EPSILONS.map((eps) => tidy(1 + side * eps)).sort((one, two) => one - two),
    text: (q) => fill(words.edge_value, { q: edgeText(q), eps: epsText(side * (q - 1)) }),
  });
  let held = 0; // pixels from the edge to where the grip was taken
  draggable(element, {
    frame: scene.frame,
    start: (x) => (held = x - scene.places.x(Math.log(read()))),
    move: (x) => write(1 + side * snapped(scene.places, x - held, side)),
  });
  return {
    update({ v }) {
      const { x: placeOf, floor } = scene.places;
      const x = placeOf(Math.log(read()));
      const off = v.rule === "none";
      for (const part of [line, wide]) dress(part, { x1: x, x2: x, y1: 0, y2: floor + 22 }, []);
      dress(grip, { x: side < 0 ? x - 52 : x, y: floor + 20 }, []);
      dress(text, { x: x + 26 * side, y: floor + 34 }, []);
      say(text, edgeText(read()));
      element.classList.toggle("off", off);
      dress(element, { tabindex: off ? -1 : 0, "aria-disabled": off }, []);
      tell();
    },
  };
}

/** The end of a range (a distance from 1) at a place of the axis. Usual values draw it in. */
function snapped(places, x, side) {
  const eps = side * (Math.exp(places.logRatio(x)) - 1);
  const near = SNAPS.find((usual) => Math.abs(places.x(Math.log(1 + side * usual)) - x) <= SNAP);
  return near ?? clamp(Number(eps.toPrecision(2)), EPSILONS[0], EPSILONS.at(-1));
}

// ---------------------------------------------------------------- dots

/** The cast as shown: after a change of unit, update or rule as it was, on its way. */
function flow({ scene, redraw }, v) {
  const { cast, key } = scene;
  scene.key = `${v.unit} ${v.update} ${v.rule}`;
  if (key !== undefined && key !== scene.key && !lessMotion()) {
    scene.before = { ...scene.shown, since: performance.now() };
  }
  const { before } = scene;
  const part = before ? (performance.now() - before.since) / MOVE : 1;
  if (part >= 1) {
    scene.before = null;
    return cast;
  }
  redraw();
  const eased = part * part * (3 - 2 * part);
  const between = (from, to) => to.map((end, i) => from[i] + (end - from[i]) * eased);
  return { ...before, x: between(before.x, cast.x), y: between(before.y, cast.y) };
}

/** Draws trails, arrows and dots. While a guess is open only the chosen token is on the stage. */
function paint(c, { v, row }) {
  const { canvas, places, shown, before } = c.scene;
  const context = fit(canvas, places.width, places.floor + 2);
  if (v.predicting) return;
  const whole = v.unit !== "token" && !before;
  const all = whole ? c.rollout.starts : [...shown.x.keys()];
  const names = ["line", "up", "down", "ink"];
  const ink = Object.fromEntries(names.map((name) => [name, colour(c.root, `--${name}`)]));
  const groups = { line: [], up: [], down: [] };
  for (const i of all) groups[shown.stopped[i] ? "line" : ["up", "down"][shown.side[i]]].push(i);
  for (const [name, some] of Object.entries(groups)) {
    if (v.trails) drawTrails(c, context, some, ink[name]);
    if (name !== "line") drawArrows(context, some, c.scene, ink[name]);
    const [xs, ys] = [shown.x, shown.y].map((at) => some.map((i) => at[i]));
    dots(context, xs, ys, whole ? 4 : 2.1, ink[name]);
  }
  // Rings: in the colour of their lane the trapped ones, and those of the chosen completion.
  const trapped = groups.line.filter((i) => shown.wrong[i]);
  for (const [side, name] of ["up", "down"].entries()) {
    const here = trapped.filter((i) => shown.side[i] === side);
    rings(context, here, shown, whole ? 6.5 : 4.5, ink[name]);
  }
  if (!whole) rings(context, all.filter((i) => c.rollout.rows[i] === row), shown, 2.6, ink.ink);
}

/** An arrow's path, uphill along the slope. Its length grows with the square root of the push. */
function arrowPath(x, y, push, places, head) {
  const to = Math.sign(push);
  const length = 2 * head + Math.min(14 * Math.sqrt(Math.abs(push)), 64);
  const [endX, endY] = [x + to * length, y - (length * places.rise) / places.half];
  const back = endX - head * to;
  const barbs = `M${back} ${endY - head / 2}L${endX} ${endY}L${back} ${endY + head}`;
  return `M${x + to * head} ${y}L${endX} ${endY}${barbs}`;
}

/** The arrows of the lowest dot of each pile. */
function drawArrows(context, indices, { shown, cast, places }, ink) {
  const lowest = indices.filter((i) => shown.pile[i] <= 1 && cast.push[i] !== 0);
  const arrows = lowest.map((i) => arrowPath(shown.x[i], shown.y[i], shown.push[i], places, 3));
  Object.assign(context, { strokeStyle: ink, lineWidth: 1 });
  context.stroke(new Path2D(arrows.join("")));
}

function rings(context, indices, shown, radius, ink) {
  Object.assign(context, { strokeStyle: ink, lineWidth: 1.4 });
  context.beginPath();
  for (const i of indices) {
    context.moveTo(shown.x[i] + radius, shown.y[i]);
    context.arc(shown.x[i], shown.y[i], radius, 0, 2 * Math.PI);
  }
  context.stroke();
}

/** Comet tails: the way of each dot over the last three updates, at its height over the slope. */
function drawTrails(c, context, indices, ink) {
  const { v } = c.now;
  const { shown, places } = c.scene;
  const before = [1, 2, 3].map((back) => v.update - back).filter((update) => update >= 0);
  const steps = before.map((update) => unitLogRatios(c.rollout, v.unit, update));
  Object.assign(context, { strokeStyle: ink, lineWidth: 2, globalAlpha: 0.3 });
  context.beginPath();
  for (const i of indices) {
    const slope = (d) => slopeAt(places, shown.side[i], d, v);
    const rise = shown.y[i] - slope(places.logRatio(shown.x[i]));
    context.moveTo(shown.x[i], shown.y[i]);
    for (const d of steps) context.lineTo(places.x(d[i]), slope(d[i]) + rise);
  }
  context.stroke();
  context.globalAlpha = 1;
}

/** The token whose dot is nearest to a place, within 9 pixels, or -1. */
function nearestDot(c, x, y) {
  const { shown } = c.scene;
  let [best, at] = [81, -1];
  if (c.values.get("predicting")) return at;
  for (let i = 0; i < shown.x.length; i++) {
    const far = (shown.x[i] - x) ** 2 + (shown.y[i] - y) ** 2;
    if (far < best) [best, at] = [far, i];
  }
  return at;
}

/** Lights a token up, in the text and on the stage. -1: none. */
function pointAt(c, token) {
  if (token !== c.pointed) c.redraw();
  c.pointed = token;
}

/** A dot can be chosen and pulled. The one under the pointer lights up in the text. */
function watchPointer(c) {
  const { canvas } = c.scene;
  let pulled = false;
  canvas.addEventListener("pointermove", (event) => {
    pointAt(c, nearestDot(c, event.offsetX, event.offsetY));
    canvas.style.cursor = c.pointed < 0 ? "default" : "grab";
  });
  canvas.addEventListener("pointerleave", () => pointAt(c, -1));
  draggable(canvas, {
    start: (x, y) => {
      const at = nearestDot(c, x, y);
      pulled = at >= 0;
      if (pulled && at !== c.values.get("chosen")) choose(c, at);
    },
    move: (x) => pulled && pullTo(c, x),
  });
}

/** Pulls the chosen dot to a place of the axis. An edge of the range draws it in. */
function pullTo(c, x) {
  const { places } = c.scene;
  const edges = [...edgesOf(c.values.values), 0];
  const near = edges.find((edge) => Math.abs(places.x(edge) - x) <= SNAP);
  c.values.set("moved", Number((near ?? places.logRatio(x)).toFixed(5)));
}

/** The chosen dot as a handle, with its token beside it. It shows its push as a thick arrow. */
function buildChosenDot(c) {
  const { above, frame } = c.scene;
  const arrow = svg("path", { class: "push" });
  const ring = svg("circle", { r: 7 });
  const text = svg("text", { class: "tag" });
  const pointed = svg("text", { class: "tag" });
  const element = svg("g", { class: "chosen" }, ring);
  const guess = svg("g", { class: "guess" }, svg("line"), svg("text", { class: "tag" }));
  above.append(arrow, guess, text, pointed, element);
  c.scene.dot = element;
  const tag = (words, q) => {
    const i = c.values.get("chosen");
    const n = c.rollout.lengths[c.rollout.rows[i]];
    return fill(words, { token: c.rollout.words[i], q: ratioText(q), n });
  };
  const tell = handle(element, {
    name: c.words.dot,
    text: (d) => tag(c.words.dot_value, Math.exp(d)),
    read: () => Number(Math.log(c.now?.q ?? 1).toFixed(3)),
    write: (d) => c.values.set("moved", d),
    min: -FAR,
    max: FAR,
    step: 0.02,
  });
  draggable(element, { frame, move: (x) => pullTo(c, x) });
  return {
    update({ v, q, a }) {
      const { shown, cast, places } = c.scene;
      const x = shown.x[v.chosen];
      const y = v.predicting ? places.y(a > 0 ? 0 : 1, q) - 8 : shown.y[v.chosen];
      dress(ring, { cx: x, cy: y }, []);
      element.classList.toggle("stopped", !v.predicting && shown.stopped[v.chosen] === 1);
      for (const part of [element, arrow]) part.classList.toggle("minus", a <= 0);
      const push = v.predicting ? 0 : cast.push[v.chosen];
      set(arrow, "d", push ? arrowPath(x, y, push, places, 7) : "M0 0");
      tagAt(text, x, y - 13, tag(c.words.tag[v.unit], q), places);
      const other = c.pointed === v.chosen ? -1 : c.pointed;
      const word = c.rollout.words[other] ?? "";
      tagAt(pointed, shown.x[other] ?? 0, (shown.y[other] ?? 0) - 8, word, places);
      guess.style.display = v.guess === null || v.predicting ? "none" : "";
      placeGuess(guess, v.guess, a > 0 ? 0 : places.lane, places, c.words.guess);
      tell();
    },
  };
}

/** What was guessed, as a line through its lane. */
function placeGuess({ firstChild: line, lastChild: text }, q, top, places, words) {
  const bottom = top + places.lane;
  const x = places.x(Math.log(q));
  dress(line, { x1: x, x2: x, y1: top + 18, y2: bottom }, []);
  tagAt(text, x, bottom - 6, words, places);
}

/** Words over a place, or under it where the lane's name stands. */
function tagAt(text, x, y, words, { width, lane }) {
  say(text, words);
  const side = x < 70 ? "start" : x > width - 70 ? "end" : "middle";
  const under = x < 0.6 * width && (y < lane ? y : y - lane) < 30;
  dress(text, { x, y: under ? y + Math.min(37, lane / 2) : y, "text-anchor": side }, []);
}

// ---------------------------------------------------------------- the text of the completion

function buildText(c) {
  const { rollout, words } = c;
  const question = html("p", { class: "question" });
  const title = html("span", { class: "title" });
  const turn = (by, name, sign) => buttonOf(sign, () => turnTo(c, by), { "aria-label": name });
  const onkeydown = (event) => moveInText(c, event);
  const list = { role: "listbox", "aria-label": words.tokens, class: "tokens", onkeydown };
  const tokens = html("div", list);
  const turns = [turn(-1, words.previous, "‹"), turn(1, words.next, "›")];
  const head = html("div", { class: "head" }, turns[0], title, turns[1]);
  let shown = -1;
  return {
    element: html("div", { class: "text" }, head, question, tokens),
    update(now) {
      const { row } = now;
      if (row !== shown) tokens.replaceChildren(...spansOf(c, row));
      shown = row;
      const kind = words.completion[rollout.rewards[row] > 0 ? "right" : "wrong"];
      say(title, fill(kind, { n: row + 1, all: rollout.lengths.length }));
      say(question, c.data.rollout.questions[Math.floor(row / rollout.size)]);
      [...tokens.children].forEach((span, k) => dressToken(c, span, rollout.starts[row] + k, now));
    },
  };
}

/** The places of a completion's tokens. */
function tokensOf({ starts, lengths }, row) {
  return Array.from({ length: lengths[row] }, (_, k) => starts[row] + k);
}

function spansOf(c, row) {
  return tokensOf(c.rollout, row).map((token) => {
    const heard = {
      onclick: () => choose(c, token),
      onpointerenter: () => pointAt(c, token),
      onpointerleave: () => pointAt(c, -1),
    };
    return html("span", { role: "option", ...heard }, c.rollout.words[token]);
  });
}

/** Tints a token by its push, and strikes it through if the rule stops it. */
function dressToken(c, span, i, { v, a, d }) {
  const { stopped, push } = c.scene.cast;
  const way = a > 0 ? "up" : "down";
  const does = v.predicting ? "hidden" : stopped[i] ? "stopped" : way;
  const part = does === way ? Math.min(34, 10 + 14 * Math.sqrt(Math.abs(push[i]))).toFixed(0) : 0;
  span.style.background = `color-mix(in srgb, var(--${way}) ${part}%, transparent)`;
  span.classList.toggle("stopped", does === "stopped");
  span.classList.toggle("pointed", c.pointed === i);
  set(span, "aria-selected", i === v.chosen);
  set(span, "tabindex", i === v.chosen ? 0 : -1);
  const given = { token: c.rollout.words[i], q: ratioText(Math.exp(d[i])) };
  set(span, "aria-label", fill(c.words.token[does], given));
}

/** Left and right go from token to token, up and down from completion to completion. */
function moveInText(c, event) {
  const at = c.values.get("chosen");
  const tokens = tokensOf(c.rollout, c.rollout.rows[at]);
  const [first, last] = [tokens[0], tokens.at(-1)];
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: first, End: last }[event.key];
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (to === undefined && by === undefined) return;
  event.preventDefault();
  if (to === undefined) turnTo(c, by);
  else choose(c, clamp(to, first, last));
  c.drawNow();
  event.currentTarget.querySelector("[aria-selected=true]").focus();
}

/** The completion `by` places on, at its token with the largest move. */
function turnTo(c, by) {
  const { lengths, rows, logRatios } = c.rollout;
  const row = (rows[c.values.get("chosen")] + by + lengths.length) % lengths.length;
  const d = logRatios[c.values.get("update")];
  const tokens = tokensOf(c.rollout, row);
  choose(c, tokens.reduce((best, i) => (Math.abs(d[i]) > Math.abs(d[best]) ? i : best)));
}

// ---------------------------------------------------------------- the chosen token's account

/** q, A and both terms of the minimum, with the one that counts, or the question of the guess. */
function buildAccount(c) {
  const { words } = c;
  const lines = ["ratio", "advantage", "plain", "clipped", "push"].map((name) => {
    const cells = [html("th", { scope: "row" }), html("td", {}), html("td", { class: "note" })];
    return { name, cells, row: html("tr", {}, ...cells) };
  });
  const says = html("p", { class: "says", "aria-live": "polite" });
  // A button that is pressed makes room for others: the keyboard goes to what comes next.
  const then = (act, next) => () => {
    act();
    c.drawNow();
    next().focus({ preventScroll: true });
  };
  const guess = then(() => setUp(c, { guess: c.now.q }), () => again);
  const answer = buttonOf(words.answer, guess, { class: "strong" });
  const skip = buttonOf(words.skip, then(() => setUp(c, {}), () => again));
  const again = buttonOf(words.predict, then(() => nextPuzzle(c), () => c.scene.dot));
  const buttons = html("div", { class: "buttons" }, answer, skip, again);
  const table = html("table", {}, ...lines.map((line) => line.row));
  return {
    element: html("div", { class: "account" }, table, html("div", {}, says, buttons)),
    update(now) {
      const { predicting, guess, moved, unit } = now.v;
      const account = accountOf(c, now);
      for (const { name, cells, row } of lines) {
        const symbol = fill(words.lines[name], { q: words.symbols[unit] });
        [symbol, ...account[name]].forEach((text, k) => say(cells[k], text));
        // The terms would give the answer of a guess away.
        row.hidden = predicting && !["ratio", "advantage"].includes(name);
        row.classList.toggle("wins", name === account.counts);
      }
      const answered = guess !== null && moved === null;
      say(says, (predicting ? questionOf : answered ? verdictOf : sentenceOf)(c, now));
      answer.hidden = skip.hidden = !predicting;
      again.hidden = predicting;
    },
  };
}

/** The value and note of each line of the account, and which term counts. */
function accountOf({ words, rollout }, { v, q, a, d, row }) {
  const { rule, unit, clip_low: low, clip_high: high } = v;
  const n = rollout.lengths[row];
  const [plain, clipped] = [q * a, inRange(q, low, high) * a];
  const push = pushOf(rule, q, a, low, high);
  const equal = rule === "minimum" && plain === clipped;
  const smaller = plain < clipped ? "plain" : "clipped";
  const counts = equal ? null : { none: "plain", clamp: "clipped", minimum: smaller }[rule];
  const note = (name) => (name === counts ? words.wins[rule] : "");
  return {
    counts,
    ratio: [ratioText(q), fill(words.ratio_of[unit], { d: number(d[v.chosen], 4, true), n })],
    advantage: [number(a, 2, true), words.advantage_of[v.advantage_scale]],
    plain: [number(plain, 4, true), equal ? words.wins.same : note("plain")],
    clipped: [number(clipped, 4, true), note("clipped")],
    push: push
      ? [number(push, 4, true), fill(words.push_of[unit], { n })]
      : ["0", words.push_zero],
  };
}

/** One sentence on what happens to the chosen token. */
function sentenceOf({ words, rollout }, { v, q, a }) {
  const { rule, clip_low: low, clip_high: high } = v;
  const way = a > 0 ? "up" : "down";
  if (rule === "none") return words.says.none[way];
  const wrong = wentWrong(q, a, low, high);
  if (STOPS[rule](q, a, low, high)) return words.says[wrong ? "trapped" : "far"][way];
  if (wrong) return words.says.back[way];
  const most = 1 / rollout.oldProbs[v.chosen]; // the ratio at which its probability is 1
  if (v.unit !== "token" || a < 0 || most > 1 + high) return words.says.inside[way];
  return fill(words.says.sure, { p: number(1 / most, 2), most: ratioText(most) });
}

// ---------------------------------------------------------------- predict first

/** The question: at which ratio does this token's push become 0? */
function questionOf({ words }, { v, a }) {
  const [low, high] = [edgeText(1 - v.clip_low), edgeText(1 + v.clip_high)];
  const means = fill(words.means[v.rule], { low, high, q: words.symbols[v.unit] });
  return fill(words.question[a > 0 ? "up" : "down"], { means });
}

/** What was guessed, how far off it was, and why. */
function verdictOf({ words }, { v, a, q }) {
  const { rule, clip_low: low, clip_high: high } = v;
  const end = a > 0 ? 1 + high : 1 - low;
  const trapped = rule === "clamp" && wentWrong(q, a, low, high);
  const kind = rule === "none" ? "never" : trapped ? "trapped" : a > 0 ? "up" : "down";
  const near = Math.abs(bend(Math.log(v.guess)) - bend(Math.log(end))) < 0.02;
  const away = near ? "" : fill(words.away, { off: epsText(Math.abs(v.guess - end)) });
  const given = { guess: ratioText(v.guess), at: ratioText(q), end: edgeText(end), away };
  return fill(words.verdict[kind], { ...given, q: words.symbols[v.unit] });
}

/** Another token to guess about: in turn one that went the wrong way and one that did not. */
function nextPuzzle(c) {
  const { v, d, advantage } = c.now;
  c.puzzle = (c.puzzle ?? -1) + 1;
  const [sign, way] = [[1, -1], [-1, -1], [1, 1], [-1, 1]][c.puzzle % 4];
  const fits = (i) => Math.sign(advantage(i)) === sign && way * sign * d[i] > 0;
  const found = [...d.keys()].filter(fits).sort((one, two) => Math.abs(d[two]) - Math.abs(d[one]));
  const chosen = found[Math.floor(c.puzzle / 4) % found.length] ?? v.chosen;
  setUp(c, { chosen, predicting: true });
}

// ---------------------------------------------------------------- what training did

/** What recorded runs reached, and what else the one with the nearest range did. */
function buildRecord(c) {
  const { words } = c;
  const title = html("span", { class: "title" }, words.training);
  const name = html("span", {});
  const table = html("table", {});
  const measures = html("p", { class: "soft" });
  let shown = null;
  return {
    element: html("div", { class: "record" }, html("p", {}, title, " ", name), table, measures),
    update(now) {
      const { nearest } = now;
      say(name, nameOfArm(c, now));
      table.hidden = measures.hidden = !nearest;
      if (!nearest || nearest === shown) return;
      shown = nearest;
      const within = table.matches(":focus-within");
      table.replaceChildren(...rowsOf(c, now));
      if (within) table.querySelector("[aria-pressed=true]")?.focus();
      const stopped = nearest.seeds.map((seed) => percents(seed.stopped)).join(", ");
      const largest = nearest.seeds.map((seed) => ratioText(seed.largest_ratio)).join(", ");
      say(measures, fill(words.measures, { stopped, largest }));
    },
  };
}

/** End accuracies: a row per range, whose name is a button that sets it, a column per rule. */
function rowsOf(c, { v, nearest }) {
  const { words, data: { record } } = c;
  const arms = record.arms.filter((arm) => arm.unit === v.unit);
  const ends = (arm) => arm.seeds.map((seed) => percents(seed.accuracy.at(-1))).join(", ");
  const cell = (arm, more = {}) =>
    html("td", { class: arm === nearest && "now", ...more }, ends(arm));
  const row = (head, ...cells) => html("tr", {}, html("th", { scope: "row" }, head), ...cells);
  const rowOf = (arm) => {
    const { clip_low, clip_high } = arm;
    const clamped = arms.find((one) => one.rule === "clamp" && distance(one, arm) === 0);
    const span = spanText(arm);
    const pressed = nearest === arm || nearest === clamped;
    const about = { "aria-label": fill(words.take_range, { span }), "aria-pressed": pressed };
    const take = buttonOf(span, () => setUp(c, { clip_low, clip_high }), about);
    return row(take, cell(clamped), cell(arm));
  };
  const heads = [words.range, words.rule_clamp, words.rule_minimum];
  return [
    html("caption", {}, words.held_out),
    html("tr", {}, ...heads.map((head) => html("th", { scope: "col" }, head))),
    ...arms.filter((arm) => arm.rule === "minimum").map(rowOf),
    row(words.rule_none, cell(arms.find((arm) => arm.rule === "none"), { colspan: 2 })),
  ];
}

/** Which recorded run is shown, and how far from it the learner's own range is. */
function nameOfArm({ words }, { v, nearest }) {
  if (!nearest) return words.not_recorded;
  const given = { rule: words[`rule_${v.rule}`], unit: words.units[v.unit], range: "" };
  const said = [];
  if (v.rule !== "none") {
    const [span, yours] = [nearest, v].map(spanText);
    given.range = fill(words.range_of, { span });
    const far = number(Math.exp(distance(nearest, v)), 1);
    if (span !== yours) said.push(fill(words.nearest, { span: yours, far }));
  }
  if (v.advantage_scale === "none") said.push(words.with_std);
  return [fill(words.arm, given), ...said].join(" ");
}

// ---------------------------------------------------------------- all together

function explorer(root, values, data, words) {
  const rollout = readRollout(data.rollout);
  const first = { ...values.values, predicting: false };
  const c = { root, values, data, words, rollout, first, pointed: -1 };
  let parts = [];
  c.drawNow = () => {
    c.now = stateOf(c);
    for (const part of parts) part.update(c.now);
  };
  c.redraw = onFrame(root, c.drawNow);
  const stage = buildStage(c);
  const controls = buildControls(c);
  const left = [stage, buildSliders(c), buildAccount(c)];
  const right = [buildText(c), buildRecord(c)];
  parts = [controls, ...left, ...right];
  const column = (name, found) =>
    html("div", { class: name }, ...found.map((part) => part.element));
  const grid = html("div", { class: "grid" }, column("left", left), column("right", right));
  const intro = html("p", { class: "intro" }, words.intro);
  root.append(intro, controls.element, stage.count, grid);
  values.on(c.redraw);
  c.drawNow();
  return c.redraw;
}

const style = `
  p { margin: 0; }
  .intro { color: var(--soft); margin-bottom: 6px; }
  .controls { display: flex; flex-wrap: wrap; gap: 6px 18px; align-items: center;
    margin-bottom: 8px; }
  .controls .end { margin-left: auto; }
  .controls .choice { gap: 4px; }
  button[aria-pressed=true], .strong { background: var(--ink) !important;
    color: var(--page) !important; border-color: var(--ink); }
  .grid, .left, .right { display: grid; gap: 6px 20px; align-content: start; }
  .left, .right { min-width: 0; }
  .count { font-weight: 600; margin-bottom: 4px; }
  .title, .wins { font-weight: 600; }
  .soft, .note, caption { color: var(--soft); }
  .frame { position: relative; height: 176px; }
  .frame > * { position: absolute; left: 0; top: 0; }
  .above { pointer-events: none; }
  .slope, .plain, .push { fill: none; stroke-width: 2; }
  .slope.up, .push { stroke: var(--up); }
  .slope.down, .push.minus { stroke: var(--down); }
  .plain { stroke: var(--line); stroke-width: 1; stroke-dasharray: 3 4; }
  .most { stroke: var(--ink); stroke-width: 4; }
  .dead rect { fill: var(--raised); }
  .edge, .chosen { pointer-events: auto; cursor: ew-resize; }
  .edge .line, .guess line { stroke: var(--ink); stroke-width: 1.5; }
  .guess line { stroke-dasharray: 5 3; }
  .edge .wide { stroke: transparent; stroke-width: 9; }
  .edge .grip { fill: var(--ink); }
  .rlvr svg .edge text { fill: var(--page); font-weight: 600; pointer-events: none; }
  .edge.off { opacity: 0.35; pointer-events: none; }
  .edge:focus-visible .grip { stroke: var(--focus); stroke-width: 3; }
  .chosen circle { fill: var(--up); stroke: var(--page); stroke-width: 2; }
  .chosen.minus circle { fill: var(--down); }
  .chosen.stopped circle { fill: var(--line); }
  .chosen:focus-visible circle { stroke: var(--focus); stroke-width: 4; }
  .push { stroke-width: 3; stroke-linejoin: round; }
  .rlvr svg text.tag { fill: var(--ink); font-weight: 600; paint-order: stroke;
    stroke: var(--page); stroke-width: 4px; }
  .sliders > div { display: flex; flex-wrap: wrap; gap: 4px 18px; align-items: center;
    min-height: 28px; }
  .sliders output { min-width: 56px; }
  .head { display: flex; gap: 8px; align-items: center; }
  .head button { padding: 0 8px; min-height: 24px; }
  .head .title { flex: 1; text-align: center; }
  .question { color: var(--soft); margin: 3px 0; min-height: 54px; }
  .tokens { line-height: 1.4; height: 138px; overflow-y: auto; padding: 3px; margin: 0 -3px; }
  .tokens span { padding: 0 3px; border-radius: 3px; cursor: pointer; display: inline-block; }
  .tokens .stopped { text-decoration: line-through; color: var(--soft); }
  .tokens .pointed { box-shadow: 0 0 0 1.5px var(--line); }
  .tokens [aria-selected=true] { box-shadow: 0 0 0 2px var(--ink); }
  table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
  th { text-align: left; font-weight: 400; }
  td, th { padding: 0; line-height: 18px; white-space: nowrap; }
  .account { display: flex; gap: 20px; min-height: 90px; }
  .account > * { flex: 1; align-self: start; }
  .account > table { flex: 1.25; }
  .account th { width: 72px; }
  .account td:nth-child(2) { text-align: right; width: 62px; padding-right: 10px; }
  .says { margin: 0 0 4px; min-height: 55px; }
  .buttons { display: flex; gap: 6px; }
  .record > p:first-child { min-height: 54px; }
  .record table { font-size: 12px; }
  caption { text-align: left; }
  .record td { padding-left: 6px; }
  .record td.now { font-weight: 600; background: var(--raised); }
  .record button { padding: 0 6px; min-height: 18px; line-height: 16px; }
  @container (min-width: 900px) {
    .grid { grid-template-columns: 1fr 368px; }
    .frame { height: 348px; }
  }
  @container (max-width: 980px) { .account { min-height: 103px; } }
  @container (max-width: 899px) {
    .rlvr > * { font-size: 12px; }
    .intro { display: none; }
    .controls { gap: 6px 12px; }
    .count { font-weight: 400; }
    .account { min-height: 90px; }
    .right { min-height: 228px; }
    .record > p:first-child { min-height: 51px; }
    .grid, .left { row-gap: 4px; }
    .right { grid-template-columns: 1fr 1fr; align-content: stretch; }
    .text { display: flex; flex-direction: column; }
    .tokens { flex: 1; contain: size; min-height: 62px; }
    .sliders { display: flex; justify-content: space-between; }
    .rlvr .sliders input[type=range], .rlvr .sliders .stops { width: 60px; }
    .sliders output { min-width: 24px; }
    .sliders > :last-child output { min-width: 51px; }
    .sliders > div { gap: 4px 12px; }
  }
  @container (max-width: 660px) {
    .frame { height: 226px; }
    .count { min-height: 34px; }
    .record td, .record th { line-height: 16px; }
    .record button { min-height: 16px; line-height: 14px; }
    .right { grid-template-columns: 1fr 1.2fr; }
  }
`;
