// The vote of every token of the four rollouts, under three aggregations.

const HOWS = ["sequence_mean", "constant", "token_mean"];
const thousandths = (x) => number(1000 * x, 1);

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
  const options = HOWS.map((how) => [how, `${how} (${words.used_by[how]})`]);
  const how = choice({ name: words.how, options, ...values.linked("how") });
  const [min, max] = data.budgets;
  const budget = slider({ name: words.budget, text: String, min, max, ...values.linked("budget") });
  const reset = buttonOf(words.reset, () => values.reset());
  return {
    element: html("div", { class: "controls" }, how.element, budget.element, reset),
    update: () => [how, budget].forEach((part) => part.update()),
  };
}

/** One answer: its reward to click, its tokens under their votes, its end to drag, its sums. */
function buildAnswer(c, row) {
  const { values, words, data } = c;
  const flip = (rewards) => values.set("rewards", rewards.with(row, 1 - rewards[row]));
  const reward = buttonOf("", () => flip(values.get("rewards")), { class: "reward" });
  const about = html("span", { class: "soft" });
  const tokens = data.rows[row].map((word, place) => buildToken(c, row, place, word));
  const end = buildEnd(c, row, tokens);
  const text = html("div", { class: "tokens", role: "listbox", "aria-label": data.names[row] });
  text.append(...tokens.map(({ element }) => element), end.element);
  const shares = HOWS.map(buildShare);
  const name = data.names[row];
  const side = html("div", { class: "side" }, html("b", {}, name), reward, about);
  const table = html("div", { class: "shares" }, ...shares.map(({ element }) => element));
  return {
    element: html("div", { class: "answer" }, side, text, table),
    tokens: tokens.map((token) => token.element),
    measure: end.measure,
    update(v, found) {
      const a = found.advantages[row];
      const n = v.lengths[row];
      const given = { name, reward: v.rewards[row], n, a: number(a, 2, true) };
      say(reward, fill(words.reward, given));
      set(reward, "aria-label", fill(words.flip, given));
      say(about, fill(words.about, given));
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
  const name = fill(words.end, { name: data.names[row] });
  const text = (n) => fill(words.tokens, { n });
  const read = () => values.get("lengths")[row];
  const write = (n) => values.set("lengths", values.get("lengths").with(row, n));
  const tell = handle(element, { name, text, read, write, min: 1, max: tokens.length });
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
    const endOf = ({ offsetLeft: x, offsetTop: y, offsetWidth: w }) => [x + w - 2, y];
    ends = tokens.map((token) => endOf(token.element));
  };
  const update = () => {
    const [x, y] = ends[values.get("lengths")[row] - 1] ?? [0, 0];
    element.style.transform = `translate(${x}px, ${y}px)`;
    tell();
  };
  return { element, measure, update };
}

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
