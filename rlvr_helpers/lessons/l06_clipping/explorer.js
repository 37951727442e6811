// The clip stage: tokens of a real rollout on the slopes of the clipped objective, over one axis of
// log-ratios, and beside them what training did under the nearest recorded range.

const SOFT = 0.01; // log-ratios below it lie on an almost linear stretch of the axis
const FAR = 4; // log-ratio at the ends of the axis
const SNAP = 5; // pixels within which an edge or a dot snaps
const TICKS = [[1, 16], [1, 4], [1, 2], 0.8, 0.98, 1, 1.02, 1.2, 2, 4, 16];
const SNAPS = [
  0.0003, 0.0004, 0.003, 0.004, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.2, 0.28, 0.5,
];
const MOVE = 420; // milliseconds in which dots flow to new places

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

/** The ratio at which a push ends: an edge, or null if nothing ends it. */
function endOfPush(rule, a, low, high) {
  if (rule === "none") return null;
  return a > 0 ? 1 + high : 1 - low;
}

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
  const { lengths, rewards, group_size: size } = data;
  const starts = lengths.map((_, row) => sum(lengths.slice(0, row)));
  const rows = lengths.flatMap((n, row) => Array(n).fill(row));
  const steps = wholeNumbers(data.log_ratios);
  const logRatios = [new Float64Array(rows.length)];
  for (let update = 1; update <= data.updates; update++) {
    logRatios.push(logRatios.at(-1).map((before) => before + steps.next().value * data.unit));
  }
  const groups = Array.from({ length: rewards.length / size }, (_, k) =>
    rewards.slice(k * size, (k + 1) * size),
  );
  const scaled = (scale) => groups.flatMap((group) => groupAdvantages(group, scale));
  const advantages = { std: scaled("std"), none: scaled("none") };
  const words = data.tokens.map((token) => data.vocabulary[token]);
  return { lengths, starts, rows, logRatios, rewards, size, advantages, words };
}

/** The log of the ratio that the loss sees at each token: its own, its row's mean or sum. */
function unitLogRatios(rollout, unit, update) {
  const d = rollout.logRatios[update];
  if (unit === "token") return Float64Array.from(d);
  const of = unit === "sequence" ? mean : sum;
  const { lengths, starts } = rollout;
  const rows = lengths.map((n, row) => of([...d.subarray(starts[row], starts[row] + n)]));
  return Float64Array.from(rollout.rows, (row) => rows[row]);
}

/** How far two ranges are apart: the log of the factor between their ends, the mean of both. */
const distance = (one, two) =>
  mean(["clip_low", "clip_high"].map((end) => Math.abs(Math.log(one[end] / two[end]))));

/** The recorded arm with the nearest range (or null), and all of its rule and unit. */
function nearestArm(arms, v) {
  const rivals = arms.filter((arm) => arm.rule === v.rule && arm.unit === v.unit);
  const [nearest = null] =
    v.rule === "none" ? rivals : rivals.toSorted((a, b) => distance(a, v) - distance(b, v));
  return { nearest, rivals };
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

/** The height of the slope at a log-ratio under a rule. */
function slopeAt(places, side, d, rule, low, high) {
  const q = Math.exp(d);
  const value = OBJECTIVES[rule](q, side ? -1 : 1, low, high);
  return places.y(side, Math.abs(value));
}

/** The path of a slope across the stage, with corners at the edges of the range. */
function slopePath(places, side, rule, low, high) {
  const corners = [-FAR, Math.log(1 - low), Math.log(1 + high), FAR];
  const at = (d) => [places.x(d), slopeAt(places, side, d, rule, low, high)];
  return "M" + corners.map((d) => at(d).map((x) => x.toFixed(1)).join(" ")).join("L");
}

/** What the next update does to each token: its place, its push, whether it is stopped. */
function castOf(rollout, places, v, d, advantages) {
  const n = d.length;
  const numbers = (names, Kind) => Object.fromEntries(names.map((name) => [name, new Kind(n)]));
  const cast = {
    ...numbers(["x", "y", "push"], Float64Array),
    ...numbers(["stopped", "wrong", "pile"], Uint16Array),
  };
  const piles = new Map();
  for (let i = 0; i < n; i++) {
    const a = advantages[rollout.rows[i]];
    const side = a > 0 ? 0 : 1;
    const q = Math.exp(d[i]);
    cast.x[i] = places.x(d[i]);
    cast.push[i] = pushOf(v.rule, q, a, v.clip_low, v.clip_high);
    cast.stopped[i] = STOPS[v.rule](q, a, v.clip_low, v.clip_high) ? 1 : 0;
    cast.wrong[i] = v.rule !== "none" && wentWrong(q, a, v.clip_low, v.clip_high) ? 1 : 0;
    cast.y[i] = slopeAt(places, side, d[i], v.rule, v.clip_low, v.clip_high);
    const first = v.unit === "token" || i === rollout.starts[rollout.rows[i]];
    const bin = side * 10000 + Math.round(cast.x[i] / (v.unit === "token" ? 4 : 8));
    cast.pile[i] = (piles.get(bin) ?? 0) + (first ? 1 : 0);
    piles.set(bin, cast.pile[i]);
    cast.y[i] -= heightInPile(cast.pile[i], v.unit, places);
  }
  return cast;
}

/** Pixels above the slope of a pile's k-th dot: dots rest on each other, high piles are pressed. */
function heightInPile(k, unit, places) {
  const [gap, most] = unit === "token" ? [3.6, 0.46 * places.lane] : [8, 0.4 * places.lane];
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
const spanText = (low, high) => (low === high ? epsText(low) : `${epsText(low)}/${epsText(high)}`);

const EPSILONS = [4, 3, 2, 1]
  .flatMap((power) => [1, 1.5, 2, 3, 4, 5, 7].map((digit) => Number(`${digit}e-${power}`)))
  .concat(0.28, 0.6, 0.8, 0.9)
  .sort((one, two) => one - two);

// ---------------------------------------------------------------- what all parts share

/** The log-ratios between which 98 % of the dots lie. */
function mostOf(rollout, d, unit) {
  const all = unit === "token" ? [...d] : rollout.starts.map((i) => d[i]);
  all.sort((one, two) => one - two);
  return [0.01, 0.99].map((share) => all[Math.round(share * (all.length - 1))]);
}

/** The state of the stage now. Parts draw themselves from it. */
function stateOf(c) {
  const v = { ...c.values.values };
  const advantages = c.rollout.advantages[v.advantage_scale];
  const key = `${v.unit} ${v.update}`;
  if (c.cached?.key !== key) {
    const found = unitLogRatios(c.rollout, v.unit, v.update);
    c.cached = { key, d: found, most: mostOf(c.rollout, found, v.unit) };
  }
  let { d } = c.cached;
  if (v.moved !== null) {
    d = Float64Array.from(d);
    const row = c.rollout.rows[v.chosen];
    for (let i = 0; i < d.length; i++) {
      if (i === v.chosen || (v.unit !== "token" && c.rollout.rows[i] === row)) d[i] = v.moved;
    }
  }
  const row = c.rollout.rows[v.chosen];
  const { most } = c.cached;
  const chosen = { row, a: advantages[row], q: Math.exp(d[v.chosen]) };
  return { v, d, advantages, most, ...chosen, ...nearestArm(c.data.record.arms, v) };
}

/** Sets several values. A dot that was pulled goes back, and a guess is over. */
function setUp(c, changes) {
  const all = { moved: null, guess: null, predicting: false, ...changes };
  for (const [name, value] of Object.entries(all)) c.values.set(name, value);
}

const choose = (c, token) => setUp(c, { chosen: token });

const button = (words, onclick, more = {}) =>
  html("button", { type: "button", onclick, ...more }, words);

// ---------------------------------------------------------------- the controls on top

function buildControls(c) {
  const { values, words, data } = c;
  const pick = (name, given) =>
    choice({
      name: words[name],
      options: given.map((value) => [value, words[`${name}_${value}`]]),
      read: () => values.get(name),
      write: (value) => setUp(c, { [name]: value }),
    });
  const rule = pick("rule", ["none", "clamp", "minimum"]);
  const unit = pick("unit", ["token", "sequence", "product"]);
  const presets = data.presets.map(({ name, ...changes }) => ({
    changes,
    element: button(name, () => setUp(c, changes)),
  }));
  const group = { class: "choice", role: "group", "aria-label": words.presets };
  const methods = html("span", group, words.presets, ...presets.map((preset) => preset.element));
  const reset = button(words.reset, () => setUp(c, c.first), { class: "end" });
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
  const linked = (name, more) =>
    slider({
      name: words[name],
      read: () => values.get(name),
      write: (value) => setUp(c, { [name]: value }),
      ...more,
    });
  const low = linked("clip_low", { text: epsText, values: EPSILONS });
  const high = linked("clip_high", { text: epsText, values: EPSILONS });
  const ends = [low.element, high.element];
  const time = linked("update", { text: String, min: 0, max: c.data.rollout.updates });
  const play = buildPlay(c);
  const trails = html("input", { type: "checkbox" });
  trails.addEventListener("change", () => values.set("trails", trails.checked));
  const label = html("label", { class: "slider" }, trails, words.trails);
  const rows = [[play, time.element, label], ends];
  return {
    element: html("div", { class: "sliders" }, ...rows.map((row) => html("div", {}, ...row))),
    update({ v }) {
      for (const part of [low, high, time]) part.update();
      low.input.disabled = high.input.disabled = v.rule === "none";
      trails.checked = v.trails;
    },
  };
}

/** Runs through the updates, from the start again after the last. */
function buildPlay(c) {
  const last = c.data.rollout.updates;
  const to = (update) => setUp(c, { update });
  const now = () => c.values.get("update");
  const step = () => (now() < last ? to(now() + 1) : stop());
  const clock = player(step, lessMotion() ? 900 : MOVE + 60);
  const stop = () => {
    clock.stop();
    say(play, c.words.play);
  };
  const start = () => {
    if (now() === last) to(0);
    clock.start();
    say(play, c.words.pause);
  };
  const play = button(c.words.play, () => (clock.playing() ? stop() : start()), { class: "play" });
  return play;
}

// ---------------------------------------------------------------- the stage: slopes, range, dots

function buildStage(c) {
  const below = svg("svg", { "aria-hidden": true });
  const canvas = html("canvas", { "aria-hidden": true });
  const above = svg("svg", { class: "above", role: "group", "aria-label": c.words.stage });
  const count = html("p", { class: "count", "aria-live": "polite" });
  const frame = html("div", { class: "frame" }, below, canvas, above);
  c.scene = { below, canvas, above, frame, places: null };
  const painted = { update: (now) => paint(c, now) };
  const parts = [buildSlopes(c), buildRange(c), painted, buildGuess(c), buildChosenDot(c)];
  watchPointer(c);
  new ResizeObserver(() => c.redraw()).observe(frame);
  return {
    element: html("div", { class: "stage" }, frame),
    count,
    update(now) {
      fitStage(c.scene);
      c.scene.cast = castOf(c.rollout, c.scene.places, now.v, now.d, now.advantages);
      c.scene.shown = flow(c, now.v);
      for (const part of parts) part.update(now);
      say(count, now.v.predicting ? c.words.count_hidden : countText(c, now, c.scene.cast));
    },
  };
}

/** Takes the size that the page leaves, and draws the axis when it has changed. */
function fitStage(scene) {
  // It has no size until it is in the page.
  const [width, height] = [scene.frame.clientWidth || 600, scene.frame.clientHeight || 300];
  if (scene.places?.width === width && scene.places?.height === height) return;
  scene.places = placesFor(width, height);
  for (const picture of [scene.below, scene.above]) dress(picture, { width, height }, []);
  scene.flowing = null;
}

/** What the rule would stop: "42 of 1,311 tokens (3.2 %)". */
function countText(c, { v }, cast) {
  const firsts = v.unit === "token" ? [...cast.stopped.keys()] : c.rollout.starts;
  const count = (marks) => firsts.reduce((n, i) => n + marks[i], 0);
  const stopped = count(cast.stopped);
  const given = {
    after: fill(c.words.after[v.update === 1 ? "one" : "many"], { n: v.update }),
    stopped, all: firsts.length.toLocaleString(), share: percent(stopped / firsts.length),
    unit: c.words.units[v.unit], wrong: count(cast.wrong),
  };
  return fill(c.words.count[v.rule], given);
}

/** The still parts under the dots: dead zones, the slopes, what there would be without a rule. */
function buildSlopes(c) {
  const { scene } = c;
  const axis = svg("g");
  const bar = svg("path", { class: "most" });
  const label = svg("text", { class: "label" });
  const lanes = [0, 1].map((side) => ({
    dead: svg("g", { class: "dead" }),
    plain: svg("path", { class: "plain" }),
    slope: svg("path", { class: `slope ${side ? "down" : "up"}` }),
  }));
  const middle = svg("line", { class: "middle" });
  scene.below.append(middle, ...lanes.flatMap((lane) => Object.values(lane)), axis, bar, label);
  return {
    update({ v, most }) {
      const { places } = scene;
      dress(middle, { x1: places.middle, x2: places.middle, y1: 0, y2: places.floor }, []);
      lanes.forEach((lane, side) => {
        const rule = v.predicting ? "none" : v.rule;
        set(lane.slope, "d", slopePath(places, side, rule, v.clip_low, v.clip_high));
        set(lane.plain, "d", slopePath(places, side, "none", v.clip_low, v.clip_high));
        const dead = deadZones(places, side, rule, v);
        lane.dead.replaceChildren(...dead.map((box) => svg("rect", box)));
      });
      const [low, high] = v.predicting ? [0, 0] : most;
      set(bar, "d", `M${places.x(low)} ${places.floor}H${places.x(high)}`);
      const span = { low: ratioText(Math.exp(low)), high: ratioText(Math.exp(high)) };
      const q = c.words.symbols[v.unit];
      say(label, fill(c.words[v.predicting ? "axis" : "axis_most"], { q, ...span }));
      if (scene.drawn === places) return;
      scene.drawn = places;
      dress(label, { x: places.middle - places.half, y: places.floor + 53 }, []);
      drawRatioAxis(axis, places);
    },
  };
}

/** Where the gradient is 0: rectangles beyond the edges. */
function deadZones(places, side, rule, v) {
  if (rule === "none") return [];
  const { middle, half, lane } = places;
  const [low, high] = edgesOf(v).map(places.x);
  const box = (x, end) => ({ x, width: Math.max(end - x, 0), y: side * lane, height: lane });
  const [left, right] = [box(middle - half, low), box(high, middle + half)];
  return rule === "clamp" ? [left, right] : [side ? left : right];
}

function drawRatioAxis(group, { middle, half, floor, x }) {
  const line = (x1, x2, y2) => svg("line", { class: "axis", x1, x2, y1: floor, y2 });
  group.replaceChildren(line(middle - half, middle + half, floor));
  for (const tick of TICKS) {
    const [value, text] = Array.isArray(tick) ? [tick[0] / tick[1], tick.join("/")] : [tick, tick];
    const at = x(Math.log(value));
    const where = { class: "tick", x: at, y: floor + 16, "text-anchor": "middle" };
    group.append(line(at, at, floor + 4), svg("text", where, text));
  }
}

/** The two edges of the range, to drag, and how far ratios went in the recorded training. */
function buildRange(c) {
  const { above, frame } = c.scene;
  const edges = ["clip_low", "clip_high"].map((name) => buildEdge(c, name, frame));
  const reached = svg("g", { class: "reached" });
  const names = c.words.lanes.map((name) => svg("text", { class: "tag", x: 4 }, name));
  const notes = ["height", "rings"].map((note) =>
    svg("text", { class: "tag note", "text-anchor": "end" }, c.words[note]),
  );
  above.append(reached, ...edges.map((edge) => edge.element), ...names, ...notes);
  return {
    update(now) {
      for (const edge of edges) edge.update(now);
      const { places } = c.scene;
      hideTicksUnder(c, now.v);
      names.forEach((name, side) => set(name, "y", side * places.lane + 15));
      const end = places.middle + places.half;
      notes.forEach((note, side) => dress(note, { x: end, y: side * places.lane + 15 }, []));
      const { predicting, guess, unit } = now.v;
      notes[0].style.display = guess === null ? "" : "none";
      notes[1].style.display = guess !== null || predicting || unit !== "token" ? "none" : "";
      const seeds = now.v.predicting ? [] : (now.nearest?.seeds ?? []);
      const marks = seeds.map((seed) => places.x(Math.log(seed.largest_ratio)));
      const mark = (x) => svg("path", { d: `M${x} ${places.floor + 1}l-5 -9h10z` });
      reached.replaceChildren(...marks.map(mark));
      const right = { x: end, y: places.floor + 53, "text-anchor": "end" };
      if (marks.length) reached.append(svg("text", right, c.words.reached));
    },
  };
}

/** The edges' own numbers stand in place of the ticks under them. */
function hideTicksUnder(c, v) {
  const { places } = c.scene;
  const edges = v.rule === "none" ? [] : edgesOf(v).map(places.x);
  for (const tick of c.scene.below.querySelectorAll(".tick")) {
    const near = edges.some((x) => Math.abs(x - tick.getAttribute("x")) < 14);
    tick.style.visibility = near ? "hidden" : "";
  }
}

function buildEdge(c, name, frame) {
  const { values, words } = c;
  const side = name === "clip_low" ? -1 : 1;
  const tidy = (q) => Number(q.toPrecision(9));
  const write = (q) => setUp(c, { [name]: tidy(side * (q - 1)) });
  const read = () => tidy(1 + side * values.get(name));
  const stops = EPSILONS.map((eps) => tidy(1 + side * eps)).sort((one, two) => one - two);
  const grip = svg("rect", { class: "grip", width: 52, height: 20, rx: 4 });
  const text = svg("text", { "text-anchor": "middle" });
  const line = svg("line", { class: "line" });
  const wide = svg("line", { class: "wide" });
  const element = svg("g", { class: "edge" }, wide, line, grip, text);
  const tell = handle(element, {
    name: words[`edge_${name}`], read, write, values: stops,
    text: (q) => fill(words.edge_value, { q: edgeText(q), eps: epsText(side * (q - 1)) }),
  });
  let held = 0; // pixels from the edge to where the grip was taken
  draggable(element, {
    frame,
    start: (x) => (held = x - c.scene.places.x(Math.log(read()))),
    move: (x) => write(1 + side * snapped(c.scene.places, x - held, side)),
  });
  return {
    element,
    update({ v }) {
      const { places } = c.scene;
      const x = places.x(Math.log(read()));
      const off = v.rule === "none";
      const ends = { x1: x, x2: x, y1: 0, y2: places.floor + 22 };
      for (const part of [line, wide]) dress(part, ends, []);
      dress(grip, { x: side < 0 ? x - 52 : x, y: places.floor + 20 }, []);
      dress(text, { x: x + 26 * side, y: places.floor + 34 }, []);
      say(text, edgeText(read()));
      element.classList.toggle("off", off);
      set(element, "tabindex", off ? -1 : 0);
      set(element, "aria-disabled", off);
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

/** Where dots are shown: on their way from where they were when unit, update or rule change. */
function flow(c, v) {
  const { scene } = c;
  const key = `${v.unit} ${v.update} ${v.rule}`;
  const { x, y } = scene.cast;
  const changed = scene.key !== undefined && scene.key !== key;
  if (changed && scene.places === scene.placesShown && !lessMotion()) {
    scene.flowing = { x: scene.shown.x, y: scene.shown.y, since: performance.now() };
  }
  Object.assign(scene, { key, placesShown: scene.places });
  const part = scene.flowing ? (performance.now() - scene.flowing.since) / MOVE : 1;
  if (part >= 1) {
    scene.flowing = null;
    return { x, y };
  }
  c.redraw();
  const eased = part * part * (3 - 2 * part);
  const between = (from, to) => to.map((end, i) => from[i] + (end - from[i]) * eased);
  return { x: between(scene.flowing.x, x), y: between(scene.flowing.y, y) };
}

/** Draws trails, arrows and dots. While a guess is open only the chosen token is on the stage. */
function paint(c, { v, advantages, row }) {
  const { canvas, places, cast, shown } = c.scene;
  const context = fit(canvas, places.width, places.floor + 2);
  if (v.predicting) return;
  const ink = inkOf(c);
  const whole = v.unit !== "token" && !c.scene.flowing;
  const all = whole ? c.rollout.starts : cast.x.map((_, i) => i);
  const side = (i) => (advantages[c.rollout.rows[i]] > 0 ? "up" : "down");
  const groups = { line: [], up: [], down: [] };
  for (const i of all) groups[cast.stopped[i] ? "line" : side(i)].push(i);
  const names = Object.keys(groups);
  if (v.trails) for (const name of names) drawTrails(c, context, groups[name], ink[name]);
  for (const name of ["up", "down"]) drawArrows(context, groups[name], c.scene, ink[name]);
  for (const name of names) {
    for (const [radius, some] of bySize(c, groups[name], whole)) {
      dots(context, some.map((i) => shown.x[i]), some.map((i) => shown.y[i]), radius, ink[name]);
    }
  }
  const trapped = groups.line.filter((i) => cast.wrong[i]);
  rings(context, trapped, shown, whole ? 7 : 4.5, ink[side(trapped[0])], 1.5);
  const mine = whole ? [] : all.filter((i) => c.rollout.rows[i] === row);
  rings(context, mine, shown, 2.6, ink.ink, 1.2);
}

/** The theme's colours, read once per theme: reading them makes the page compute its styles. */
function inkOf(c) {
  const theme = c.root.className;
  if (c.ink?.theme !== theme) {
    const found = ["up", "down", "line", "ink"].map((name) => [name, colour(c.root, `--${name}`)]);
    c.ink = { theme, ...Object.fromEntries(found) };
  }
  return c.ink;
}

/** Tokens are small dots of one size. A whole completion is a dot that grows with its length. */
function bySize(c, indices, whole) {
  if (!whole) return [[2.1, indices]];
  return indices.map((i) => [2 + 0.45 * Math.sqrt(c.rollout.lengths[c.rollout.rows[i]]), [i]]);
}

/** Arrows uphill, along the slope. Their length grows with the square root of the push. */
function drawArrows(context, indices, { shown, cast, places }, ink) {
  const steep = places.rise / places.half;
  const tip = (i) => {
    const length = Math.min(13 * Math.sqrt(Math.abs(cast.push[i])), 48) * Math.sign(cast.push[i]);
    return [shown.x[i] + length, shown.y[i] - Math.abs(length) * steep];
  };
  const draw = (some, alpha, head) => {
    Object.assign(context, { strokeStyle: ink, lineWidth: 1, globalAlpha: alpha });
    context.beginPath();
    for (const i of some) {
      const [x, y] = tip(i);
      const back = -head * Math.sign(cast.push[i]);
      context.moveTo(shown.x[i], shown.y[i]);
      context.lineTo(x, y);
      if (!head) continue;
      context.moveTo(x + back, y - 2);
      context.lineTo(x, y);
      context.lineTo(x + back, y + head);
    }
    context.stroke();
  };
  draw(indices.filter((i) => cast.pile[i] > 1 && cast.pile[i] <= 24), 0.3, 0);
  draw(indices.filter((i) => cast.pile[i] <= 1), 0.9, 3);
  context.globalAlpha = 1;
}

function rings(context, indices, shown, radius, ink, width) {
  context.strokeStyle = ink;
  context.lineWidth = width;
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
  const slope = (side, d) => slopeAt(places, side, d, v.rule, v.clip_low, v.clip_high);
  Object.assign(context, { strokeStyle: ink, lineWidth: 2, globalAlpha: 0.3 });
  context.beginPath();
  for (const i of indices) {
    const side = c.now.advantages[c.rollout.rows[i]] > 0 ? 0 : 1;
    const rise = shown.y[i] - slope(side, places.logRatio(shown.x[i]));
    context.moveTo(shown.x[i], shown.y[i]);
    for (const d of steps) context.lineTo(places.x(d[i]), slope(side, d[i]) + rise);
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

/** A dot can be chosen and pulled. The one under the pointer lights up in the text. */
function watchPointer(c) {
  const { canvas } = c.scene;
  let pulled = false;
  canvas.addEventListener("pointermove", (event) => {
    const at = nearestDot(c, event.offsetX, event.offsetY);
    canvas.style.cursor = at < 0 ? "default" : "grab";
    if (at !== c.pointed) c.redraw();
    c.pointed = at;
  });
  canvas.addEventListener("pointerleave", () => {
    c.pointed = -1;
    c.redraw();
  });
  draggable(canvas, {
    frame: canvas,
    start: (x, y) => {
      const at = nearestDot(c, x, y);
      pulled = at >= 0;
      if (pulled && at !== c.values.get("chosen")) choose(c, at);
    },
    move: (x) => pulled && c.values.set("moved", pulledTo(c, x)),
  });
}

/** The log-ratio at a place of the axis. An edge of the range draws it in. */
function pulledTo(c, x) {
  const { places } = c.scene;
  const edges = [...edgesOf(c.values.values), 0];
  const near = edges.find((edge) => Math.abs(places.x(edge) - x) <= SNAP);
  return Number((near ?? places.logRatio(x)).toFixed(5));
}

/** The chosen dot as a handle, with its token beside it. It shows its push as a thick arrow. */
function buildChosenDot(c) {
  const { above, frame } = c.scene;
  const arrow = svg("path", { class: "push" });
  const ring = svg("circle", { r: 7 });
  const text = svg("text", { class: "tag" });
  const element = svg("g", { class: "chosen" }, ring);
  const pointed = svg("text", { class: "tag" });
  above.append(arrow, text, pointed, element);
  const chosen = () => c.values.get("chosen");
  const tag = (words, d) =>
    fill(words, { token: c.rollout.words[chosen()], q: ratioText(Math.exp(d)) });
  const tell = handle(element, {
    name: c.words.dot,
    text: (d) => tag(c.words.dot_value, d),
    read: () => Number((c.now?.d[chosen()] ?? 0).toFixed(3)),
    write: (d) => c.values.set("moved", d),
    min: -FAR,
    max: FAR,
    step: 0.02,
  });
  draggable(element, { frame, move: (x) => c.values.set("moved", pulledTo(c, x)) });
  return {
    update({ v, q, a }) {
      const { shown, cast, places } = c.scene;
      const side = a > 0 ? 0 : 1;
      const x = shown.x[v.chosen];
      const y = v.predicting ? places.y(side, q) - 8 : shown.y[v.chosen];
      dress(ring, { cx: x, cy: y }, []);
      element.classList.toggle("stopped", !v.predicting && cast.stopped[v.chosen] === 1);
      element.classList.toggle("minus", side === 1);
      const push = v.predicting ? 0 : cast.push[v.chosen];
      set(arrow, "d", push ? arrowPath(x, y, push, places) : "M0 0");
      arrow.classList.toggle("minus", side === 1);
      tagAt(text, x, y - 13, tag(c.words.tag[v.unit], Math.log(q)), places);
      const other = c.pointed === v.chosen ? -1 : c.pointed;
      const word = c.rollout.words[other] ?? "";
      tagAt(pointed, shown.x[other] ?? 0, (shown.y[other] ?? 0) - 8, word, places);
      tell();
    },
  };
}

function tagAt(text, x, y, words, places) {
  say(text, words);
  const side = x < 50 ? "start" : x > places.width - 50 ? "end" : "middle";
  dress(text, { x, y: Math.max(y, 12), "text-anchor": side }, []);
}

function arrowPath(x, y, push, places) {
  const to = Math.sign(push);
  const length = 9 + Math.min(16 * Math.sqrt(Math.abs(push)), 70);
  const [ex, ey] = [x + to * length, y - (length * places.rise) / places.half];
  const back = ex - 7 * to;
  return `M${x + 7 * to} ${y - 2}L${ex} ${ey}M${back} ${ey - 4}L${ex} ${ey}L${back} ${ey + 6}`;
}

// ---------------------------------------------------------------- the text of the completion

function buildText(c) {
  const { rollout, words } = c;
  const question = html("p", { class: "question" });
  const title = html("span", { class: "title" });
  const turn = (by, name, sign) => button(sign, () => turnTo(c, by), { "aria-label": name });
  const tokens = html("div", { role: "listbox", "aria-label": words.tokens, class: "tokens" });
  tokens.addEventListener("keydown", (event) => moveInText(c, event));
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

function spansOf(c, row) {
  const { starts, lengths, words } = c.rollout;
  return Array.from({ length: lengths[row] }, (_, k) => {
    const token = starts[row] + k;
    const heard = {
      onclick: () => choose(c, token),
      onpointerenter: () => pointAt(c, token),
      onpointerleave: () => pointAt(c, -1),
    };
    return html("span", { role: "option", ...heard }, words[token]);
  });
}

function pointAt(c, token) {
  c.pointed = token;
  c.redraw();
}

/** Tints a token by its push, and strikes it through if the rule stops it. */
function dressToken(c, span, i, { v, a, d }) {
  const { cast } = c.scene;
  const stopped = !v.predicting && cast.stopped[i] === 1;
  const plain = v.predicting || stopped;
  const part = plain ? 0 : Math.min(34, 10 + 14 * Math.sqrt(Math.abs(cast.push[i]))).toFixed(0);
  const way = a > 0 ? "up" : "down";
  span.style.background = `color-mix(in srgb, var(--${way}) ${part}%, transparent)`;
  span.classList.toggle("stopped", stopped);
  span.classList.toggle("pointed", c.pointed === i);
  set(span, "aria-selected", i === v.chosen);
  set(span, "tabindex", i === v.chosen ? 0 : -1);
  const does = v.predicting ? "hidden" : stopped ? "stopped" : way;
  const given = { token: c.rollout.words[i], q: ratioText(Math.exp(d[i])) };
  set(span, "aria-label", fill(c.words.token[does], given));
}

/** Left and right go from token to token, up and down from completion to completion. */
function moveInText(c, event) {
  const { starts, lengths, rows } = c.rollout;
  const at = c.values.get("chosen");
  const row = rows[at];
  const [first, last] = [starts[row], starts[row] + lengths[row] - 1];
  const ways = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: first, End: last };
  const to = ways[event.key];
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
  const { starts, lengths, rows } = c.rollout;
  const row = (rows[c.values.get("chosen")] + by + lengths.length) % lengths.length;
  const d = c.rollout.logRatios[c.values.get("update")];
  const tokens = Array.from({ length: lengths[row] }, (_, k) => starts[row] + k);
  choose(c, tokens.reduce((best, i) => (Math.abs(d[i]) > Math.abs(d[best]) ? i : best)));
}

// ---------------------------------------------------------------- the chosen token's account

/** q, A and both terms of the minimum, with the one that counts, or the question of the guess. */
function buildAccount(c) {
  const lines = ["ratio", "advantage", "plain", "clipped", "push"].map((name) => {
    const value = html("td", {});
    const note = html("td", { class: "note" });
    return { name, value, note, row: html("tr", {}, html("th", { scope: "row" }), value, note) };
  });
  const says = html("p", { class: "says", "aria-live": "polite" });
  const again = button(c.words.predict, () => nextPuzzle(c));
  const answer = button(c.words.answer, () => reveal(c), { class: "strong" });
  const skip = button(c.words.skip, () => setUp(c, {}));
  return {
    element: html(
      "div", { class: "account" },
      html("table", {}, ...lines.map((line) => line.row)),
      html("div", {}, says, html("div", { class: "buttons" }, answer, skip, again)),
    ),
    update(now) {
      const { predicting, guess, moved } = now.v;
      const account = accountOf(c, now);
      for (const line of lines) fillLine(line, account[line.name], now.v);
      const answered = guess !== null && moved === null;
      const sentence = predicting ? questionOf : answered ? verdictOf : sentenceOf;
      say(says, sentence(c, now));
      answer.hidden = skip.hidden = !predicting;
      again.hidden = predicting;
    },
  };
}

/** Per line of the account its symbol, value, note, and whether it is the term that counts. */
function accountOf(c, { v, q, a, d, row }) {
  const { words } = c;
  const [plain, clipped] = [q * a, inRange(q, v.clip_low, v.clip_high) * a];
  const push = pushOf(v.rule, q, a, v.clip_low, v.clip_high);
  const smaller = plain <= clipped ? "plain" : "clipped";
  const least = plain === clipped ? "" : smaller;
  const wins = { none: "plain", clamp: "clipped", minimum: least }[v.rule];
  const symbol = (name) => words.lines[name].replace("{q}", words.symbols[v.unit]);
  const term = (name, value) => {
    const equal = wins === "" && name === "plain" ? words.wins.same : "";
    const note = name === wins ? words.wins[v.rule] : equal;
    return [symbol(name), number(value, 4, true), note, name === wins];
  };
  const given = { d: number(d[v.chosen], 4, true), n: c.rollout.lengths[row] };
  return {
    ratio: [symbol("ratio"), ratioText(q), fill(words.ratio_of[v.unit], given)],
    advantage: [symbol("advantage"), number(a, 2, true), words.advantage_of[v.advantage_scale]],
    plain: term("plain", plain),
    clipped: term("clipped", clipped),
    push: push
      ? [symbol("push"), number(push, 4, true), words.push_of[v.unit]]
      : [symbol("push"), "0", words.push_zero],
  };
}

/** While a guess is open the terms are hidden: they would give the answer away. */
function fillLine(line, [symbol, value, note, wins = false], v) {
  say(line.row.firstChild, symbol);
  say(line.value, value);
  say(line.note, note);
  line.row.hidden = v.predicting && line.name !== "ratio" && line.name !== "advantage";
  line.row.classList.toggle("wins", wins);
  line.row.classList.toggle("off", v.rule === "none" && line.name === "clipped");
}

/** One sentence on what happens to the chosen token. */
function sentenceOf(c, { v, q, a }) {
  const { clip_low: low, clip_high: high } = v;
  const stopped = STOPS[v.rule](q, a, low, high);
  const wrong = wentWrong(q, a, low, high);
  const way = a > 0 ? "up" : "down";
  if (v.rule === "none") return c.words.says.none[way];
  if (stopped) return c.words.says[wrong ? "trapped" : "far"][way];
  return c.words.says[wrong ? "back" : "inside"][way];
}

// ---------------------------------------------------------------- predict first

/** The question: at which ratio does this token's push become 0? */
function questionOf(c, { v, a }) {
  const [low, high] = [edgeText(1 - v.clip_low), edgeText(1 + v.clip_high)];
  const means = fill(c.words.means[v.rule], { low, high, q: c.words.symbols[v.unit] });
  return fill(c.words.question[a > 0 ? "up" : "down"], { means });
}

const reveal = (c) => setUp(c, { guess: c.now.q });

/** What was guessed, how far off it was, and why. */
function verdictOf(c, { v, a, q }) {
  const { verdict } = c.words;
  const end = endOfPush(v.rule, a, v.clip_low, v.clip_high);
  const guess = ratioText(v.guess);
  if (end === null) return fill(verdict.never, { guess });
  const trapped = v.rule === "clamp" && wentWrong(q, a, v.clip_low, v.clip_high);
  const symbol = c.words.symbols[v.unit];
  if (trapped) return fill(verdict.trapped, { guess, at: ratioText(q), q: symbol });
  const near = Math.abs(bend(Math.log(v.guess)) - bend(Math.log(end))) < 0.02;
  const off = epsText(Math.abs(v.guess - end));
  const given = { guess, end: edgeText(end), off, q: symbol };
  return fill(verdict[near ? "near" : "off"][a > 0 ? "up" : "down"], given);
}

/** Another token to guess about: in turn one that went the wrong way and one that did not. */
function nextPuzzle(c) {
  const { v, d, advantages } = c.now;
  c.puzzle = (c.puzzle ?? -1) + 1;
  const [sign, way] = [[1, -1], [-1, -1], [1, 1], [-1, 1]][c.puzzle % 4];
  const pushed = (i) => Math.sign(advantages[c.rollout.rows[i]]) * d[i]; // how far its push took it
  const fits = (i) => Math.sign(advantages[c.rollout.rows[i]]) === sign && way * pushed(i) > 0;
  const found = [...d.keys()].filter(fits).sort((one, two) => Math.abs(d[two]) - Math.abs(d[one]));
  const chosen = found[Math.floor(c.puzzle / 4) % found.length] ?? v.chosen;
  setUp(c, { chosen, predicting: true });
}

/** The guess on the stage, beside the edge at which the push really ends. */
function buildGuess(c) {
  const line = svg("line", { class: "guess" });
  const text = svg("text", { class: "tag" }, c.words.guess);
  c.scene.above.append(line, text);
  return {
    update({ v, a }) {
      const { places } = c.scene;
      const shown = v.guess !== null && !v.predicting;
      line.style.display = text.style.display = shown ? "" : "none";
      if (!shown) return;
      const x = places.x(Math.log(v.guess));
      const top = a > 0 ? 0 : places.lane;
      dress(line, { x1: x, x2: x, y1: top + 18, y2: top + places.lane }, []);
      tagAt(text, x, top + 14, c.words.guess, places);
    },
  };
}

// ---------------------------------------------------------------- what training did

function buildRecord(c) {
  const name = html("span", {});
  const curves = svg("svg", { role: "img", width: 148, height: 128 });
  const table = html("table", {});
  const seeds = c.data.record.arms[0].seeds.length;
  const about = fill(c.words.recorded_ranges, { n: seeds });
  const legend = html("div", { class: "legend", "aria-hidden": true }, about);
  const ranges = html("div", { class: "ranges", role: "group", "aria-label": about });
  const title = html("span", { class: "title" }, c.words.training);
  const body = html("div", { class: "body" }, curves, table);
  let shown = undefined;
  return {
    element: html("div", { class: "record" }, html("p", {}, title, " ", name), body, legend, ranges),
    update(now) {
      const { nearest } = now;
      say(name, nameOfArm(c, now));
      if (nearest === shown) return;
      shown = nearest;
      body.hidden = ranges.hidden = !nearest;
      legend.hidden = !nearest || now.v.rule === "none";
      if (!nearest) return;
      drawCurves(c, curves, nearest);
      drawNumbers(c, table, nearest);
      drawRanges(c, ranges, now);
    },
  };
}

/** Which recorded run is shown, and whether it is the learner's own range. */
function nameOfArm(c, { v, nearest }) {
  const { words } = c;
  if (!nearest) return words.not_recorded;
  const given = { rule: words[`rule_${v.rule}`], unit: words.units[v.unit], range: "" };
  const said = [];
  if (v.rule !== "none") {
    const span = spanText(nearest.clip_low, nearest.clip_high);
    const yours = spanText(v.clip_low, v.clip_high);
    given.range = fill(words.range_of, { span });
    const far = number(Math.exp(distance(nearest, v)), 1);
    if (span !== yours) said.push(fill(words.nearest, { span: yours, far }));
  }
  if (v.advantage_scale === "none") said.push(words.with_std);
  return [fill(words.arm, given), ...said].join(" ");
}

/** A share in percent, as exact as 200 problems are: 62.5. */
const percents = (share) => String(Number((100 * share).toFixed(1)));

/** The seeds' accuracies after the last rollout. */
const endsOf = (arm) => arm.seeds.map((seed) => percents(seed.accuracy.at(-1))).join(", ");

/** Held-out accuracy after each rollout, a line per seed. */
function drawCurves({ data: { record }, words }, picture, arm) {
  const x = scale(0, record.rollouts, 32, 142);
  const y = scale(0, record.top, 92, 26);
  const axis = svg("g");
  const side = svg("g");
  drawAxis(axis, x, 92, {
    values: [0, 2, 4, 6, 8], label: fill(words.rollouts, { n: record.updates }),
  });
  const shares = [0, record.top / 2, record.top];
  drawAxis(side, y, 30, { side: "left", values: shares, text: (share) => `${percents(share)}%` });
  const lines = arm.seeds.map(({ accuracy }) => {
    const points = [record.start, ...accuracy].map((share, n) => `${x.at(n)},${y.at(share)}`);
    return svg("polyline", { class: "seed", points: points.join(" ") });
  });
  const title = svg("text", { x: 0, y: 10 }, fill(words.held_out, { n: record.eval_count }));
  picture.replaceChildren(axis, side, ...lines, title);
  set(picture, "aria-label", fill(words.curves, { ends: endsOf(arm) }));
}

/** A row per measure, a column per seed. */
function drawNumbers({ words }, table, arm) {
  const cells = (tag, texts) => texts.map((text) => html(tag, {}, text));
  const row = (name, of) =>
    html("tr", {}, html("th", { scope: "row" }, name), ...cells("td", arm.seeds.map(of)));
  const seeds = cells("th", arm.seeds.map((_, n) => String(n)));
  table.replaceChildren(
    html("tr", {}, html("th", {}, words.seed), ...seeds),
    row(words.row_accuracy, (seed) => percents(seed.accuracy.at(-1))),
    row(words.row_stopped, (seed) => percents(seed.stopped)),
    row(words.row_largest, (seed) => ratioText(seed.largest_ratio)),
  );
}

/** The recorded ranges with their seeds' last accuracies. A click sets the range. */
function drawRanges(c, place, { v, nearest, rivals }) {
  const one = (arm) => {
    const { clip_low, clip_high } = arm;
    const span = spanText(clip_low, clip_high);
    const height = (seed) => 34 - (30 * seed.accuracy.at(-1)) / c.data.record.top;
    const spots = arm.seeds.map((seed) => svg("circle", { cx: 22, cy: height(seed), r: 2.5 }));
    const line = svg("line", { class: "axis", x1: 6, x2: 38, y1: 34, y2: 34 });
    const picture = svg("svg", { width: 44, height: 36, "aria-hidden": true }, line, ...spots);
    const name = fill(c.words.take_range, { span, ends: endsOf(arm) });
    const about = { "aria-pressed": arm === nearest, "aria-label": name };
    const taken = button(picture, () => setUp(c, { clip_low, clip_high }), about);
    taken.append(span);
    return taken;
  };
  place.replaceChildren(...(v.rule === "none" ? [] : rivals).map(one));
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
  const others = [buildSliders, buildAccount, buildText, buildRecord].map((build) => build(c));
  parts = [stage, controls, ...others];
  const elements = [stage.count, stage.element, ...others.map((part) => part.element)];
  const intro = html("p", { class: "intro" }, words.intro);
  root.append(intro, controls.element, html("div", { class: "grid" }, ...elements));
  values.on(c.redraw);
  c.drawNow();
  return c.redraw;
}

const style = `
  .rlvr { container-type: inline-size; }
  p { margin: 0; }
  .intro { color: var(--soft); margin-bottom: 6px; }
  .controls { display: flex; flex-wrap: wrap; gap: 6px 18px; align-items: center;
    margin-bottom: 8px; }
  .controls .end { margin-left: auto; }
  .controls .choice { gap: 4px; }
  .controls .choice > span:first-child { margin-right: 4px; }
  button[aria-pressed=true] { background: var(--ink); color: var(--page);
    border-color: var(--ink); }
  .grid { display: grid; gap: 6px 20px;
    grid-template: "count count" "stage stage" "sliders sliders" "account account"
      "text record" / 1fr 1fr; }
  .stage { grid-area: stage; }
  .sliders { grid-area: sliders; }
  .account { grid-area: account; }
  .text { grid-area: text; }
  .record { grid-area: record; }
  .count { grid-area: count; font-weight: 600; margin-bottom: -4px; }
  .frame { position: relative; height: 166px; margin-top: 4px; }
  .frame > * { position: absolute; left: 0; top: 0; }
  .frame canvas { cursor: default; }
  .above { pointer-events: none; }
  .slope { fill: none; stroke-width: 2; }
  .slope.up { stroke: var(--up); }
  .slope.down { stroke: var(--down); }
  .plain { fill: none; stroke: var(--line); stroke-dasharray: 3 4; }
  .most { stroke: var(--ink); stroke-width: 4; }
  .middle { stroke: var(--faint); }
  .dead rect { fill: var(--raised); }
  .edge, .chosen { pointer-events: auto; cursor: ew-resize; }
  .edge .line { stroke: var(--ink); stroke-width: 1.5; }
  .edge .wide { stroke: transparent; stroke-width: 9; }
  .edge .grip { fill: var(--ink); }
  .rlvr svg .edge text { fill: var(--page); font-weight: 600; pointer-events: none; }
  .edge.off { opacity: 0.35; pointer-events: none; }
  .edge:focus-visible .grip { stroke: var(--focus); stroke-width: 3; }
  .chosen circle { fill: var(--up); stroke: var(--page); stroke-width: 2; }
  .chosen.minus circle { fill: var(--down); }
  .chosen.stopped circle { fill: var(--line); }
  .chosen:focus-visible circle { stroke: var(--focus); stroke-width: 4; }
  .push { fill: none; stroke: var(--up); stroke-width: 3; stroke-linejoin: round; }
  .push.minus { stroke: var(--down); }
  .rlvr svg text.tag { fill: var(--ink); font-weight: 600; paint-order: stroke; stroke: var(--page);
    stroke-width: 4px; }
  .rlvr svg text.note { font-weight: 400; fill: var(--soft); }
  .reached path { fill: var(--ink); }
  .rlvr svg .reached text { paint-order: stroke; stroke: var(--page); stroke-width: 4px; }
  .guess { stroke: var(--ink); stroke-dasharray: 5 3; stroke-width: 1.5; }
  .sliders > div { display: flex; flex-wrap: wrap; gap: 4px 18px; align-items: center;
    min-height: 28px; }
  .sliders output { min-width: 44px; }
  .sliders .play { min-width: 62px; }
  .head { display: flex; gap: 8px; align-items: center; }
  .head button { padding: 0 8px; min-height: 24px; }
  .title { font-weight: 600; }
  .head .title { flex: 1; text-align: center; }
  .question { color: var(--soft); margin: 3px 0; min-height: 54px; }
  .tokens { line-height: 1.4; height: 104px; overflow-y: auto; padding: 3px; margin: 0 -3px; }
  .tokens span { padding: 0 3px; border-radius: 3px; cursor: pointer; display: inline-block; }
  .tokens .stopped { text-decoration: line-through; color: var(--soft); }
  .tokens .pointed { box-shadow: 0 0 0 1.5px var(--line); }
  .tokens [aria-selected=true] { box-shadow: 0 0 0 2px var(--ink); }
  .account { display: flex; gap: 20px; min-height: 90px; }
  .account td, .account th { padding: 0; line-height: 18px; }
  .account > div { flex: 1; }
  table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
  .account table { flex: 1.2; align-self: start; }
  .account th { text-align: left; font-weight: 400; width: 72px; }
  .account td:nth-child(2) { text-align: right; width: 62px; padding-right: 10px; }
  .account .note, .soft, .legend { color: var(--soft); }
  .account .note { white-space: nowrap; }
  .account .wins { font-weight: 600; }
  .account .off { opacity: 0.5; }
  .says { margin: 0 0 4px; min-height: 55px; }
  .buttons { display: flex; gap: 6px; }
  .strong { background: var(--ink) !important; color: var(--page) !important; }
  .record > p { min-height: 54px; }
  .record table { font-size: 12px; white-space: nowrap; }
  .record .body { display: flex; gap: 6px; align-items: center; }
  .record .body[hidden], .ranges[hidden] { display: none; }
  .record th { font-weight: 400; text-align: right; color: var(--soft); padding-left: 6px; }
  .record th:first-child { text-align: left; padding: 0; }
  .legend { font-size: 12px; margin-top: 4px; }
  .record td { text-align: right; padding-left: 4px; }
  .record .seed { fill: none; stroke: var(--ink); stroke-width: 1.5; }
  .ranges { display: flex; gap: 4px; }
  .ranges button { padding: 0 2px 2px; border-color: transparent; background: none; flex: 1; }
  .ranges button svg { margin: auto; }
  .ranges button[aria-pressed=true] { background: var(--raised); color: var(--ink);
    border-color: var(--ink); }
  .ranges circle { fill: var(--ink); }
  @container (min-width: 900px) {
    .grid { grid-template: "count count" auto "stage text" auto "stage record" 1fr
      "sliders record" auto "account record" auto / 1fr 368px; }
    .frame { height: 348px; }
    .tokens { height: 138px; }
  }
  @container (max-width: 899px) {
    .intro, .legend, .rlvr svg text.note { display: none; }
    .grid { row-gap: 4px; }
    .rlvr > * { font-size: 12px; }
    .controls { gap: 6px 12px; }
    .count { font-weight: 400; }
    .text { display: flex; flex-direction: column; }
    .tokens { flex: 1; contain: size; min-height: 62px; }
    .frame { height: 152px; }
    .sliders { display: flex; justify-content: space-between; }
    .rlvr .sliders input[type=range], .rlvr .sliders .stops { width: 74px; }
    .sliders output { min-width: 24px; }
    .sliders > div { gap: 4px 12px; }
  }
  @container (max-width: 640px) {
    .count { min-height: 34px; }
    .record .body svg { display: none; }
  }
`;
