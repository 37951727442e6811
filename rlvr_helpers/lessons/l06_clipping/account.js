// What stands beside the stage: a completion as text, a token's account, guesses, the record.

function buildText(c) {
  const { rollout, words } = c;
  const question = html("p", { class: "problem" });
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
  const part = does === way ? Math.min(34, 10 + 14 * Math.sqrt(Math.abs(push[i]))) : 0;
  span.style.background = tint(way, part);
  span.classList.toggle("stopped", does === "stopped");
  span.classList.toggle("pointed", c.pointed === i);
  const given = { token: c.rollout.words[i], q: ratioText(Math.exp(d[i])) };
  const name = fill(c.words.token[does], given);
  const chosen = i === v.chosen;
  dress(span, { "aria-selected": chosen, tabindex: chosen ? 0 : -1, "aria-label": name });
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

/** q, A and both terms of the minimum, with the one that counts, or the question of the guess. */
function buildAccount(c) {
  const { words } = c;
  const names = ["ratio", "advantage", "plain", "clipped", "push"];
  const lines = names.map((name) => ({ ...tableRow("", 2), name }));
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
      for (const { name, write, row } of lines) {
        say(row.firstChild, fill(words.lines[name], { q: words.symbols[unit] }));
        write(account[name]);
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
    push: push ? [number(push, 4, true), fill(words.push_of[unit], { n })] : ["0", words.push_zero],
  };
}

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
