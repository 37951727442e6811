// The clip stage's numbers: rules, ranges, the rollout, what the next update does to each token.

const SOFT = 0.01; // log-ratios below it lie on an almost linear stretch of the axis
const FAR = 4; // log-ratio at the ends of the axis
const SNAP = 5; // pixels within which an edge or a dot snaps
const MOVE = 420; // milliseconds in which dots flow to new places
const TICKS = ["1/16", "1/4", "1/2", "0.8", "0.98", "1", "1.02", "1.2", "2", "4", "16"];
const SNAPS = [3e-4, 4e-4, 0.003, 0.004, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.2, 0.28, 0.5];
const EPSILONS = [4, 3, 2, 1]
  .flatMap((power) => [1, 1.5, 2, 3, 4, 5, 7].map((digit) => Number(`${digit}e-${power}`)))
  .concat(0.28, 0.6, 0.8, 0.9)
  .sort((one, two) => one - two);

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

/** Whole numbers from base64: zigzag, seven bits per byte, the last byte of each below 128. */
function* wholeNumbers(text) {
  let [z, factor] = [0, 1];
  for (const letter of atob(text)) {
    const byte = letter.charCodeAt(0);
    z += (byte & 127) * factor;
    factor *= 128;
    if (byte < 128) {
      yield z % 2 ? -(z + 1) / 2 : z / 2;
      [z, factor] = [0, 1];
    }
  }
}

/** The rollout by tokens: `logRatios[update][token]`, each one's row, each row's first token. */
function readRollout(data) {
  const { rewards, advantages, group_size: size } = data;
  const layout = layoutOf(data.lengths);
  const [n, changes] = [data.tokens.length, [...wholeNumbers(data.log_ratios)]];
  const step = (_, update) => changes.slice(n * update, n * update + n);
  const logRatios = summedUp(n, Array.from({ length: data.updates }, step), data.unit);
  const words = data.tokens.map((token) => data.vocabulary[token]);
  const oldProbs = [...wholeNumbers(data.old_probs)].map((thousandths) => thousandths / 1000);
  return { ...layout, rewards, advantages, size, words, logRatios, oldProbs };
}

/** The log of the ratio that the loss sees at each token: its own, its row's mean or sum. */
function unitLogRatios({ logRatios, lengths, starts, rows }, unit, update) {
  const d = logRatios[update];
  if (unit === "token") return d;
  const of = unit === "sequence" ? mean : sum;
  const ofRows = lengths.map((n, row) => of(d.subarray(starts[row], starts[row] + n)));
  return d.map((_, i) => ofRows[rows[i]]);
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

function slopeAt(places, side, d, { rule, clip_low, clip_high }) {
  const value = OBJECTIVES[rule](Math.exp(d), side ? -1 : 1, clip_low, clip_high);
  return places.y(side, Math.abs(value));
}

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
