// One group, step by step: eight answers, their marks, their advantages, and the first word before
// and after one update. Each of the 256 ways to mark the eight has an update made by the package.

const STAGES = ["sample", "reward", "advantage", "update"];
const WIDE = { word: 56, from: 62, to: 222, height: 48 }; // pixels of the bars

/** The place of these marks among all recorded updates: bit i is mark i. */
const pattern = (marks) => sum(marks.map((mark, i) => mark * 2 ** i));

/** Probabilities of the words and of all others together: before, and after an update. */
function firstWords(data, marks) {
  const whole = (known) => [...known, Math.max(0, 1 - sum(known))];
  return { before: whole(data.before), after: whole(data.after[pattern(marks)]) };
}

function explorer(root, values, data, words) {
  const options = STAGES.map((stage) => [stage, words.stages[stage]]);
  const stages = choice({ name: words.stage, options, ...values.linked("stage") });
  const flip = (row) => {
    if (values.get("stage") === STAGES[0]) return; // nothing is marked yet
    const marks = values.get("marks");
    values.set("marks", marks.with(row, 1 - marks[row]));
  };
  const back = buttonOf(words.reset, () => values.set("marks", data.rewards));

  const rows = data.rows.map(([first, rest], row) => answerRow(first, rest, () => flip(row)));
  const answers = html("div", { class: "answers" }, ...rows.map((row) => row.element));
  const bars = [...data.words.map((word) => `“${word}”`), words.others].map(wordBar);
  const drawing = svg("svg", { width: 280, height: WIDE.height * bars.length, role: "img" });
  const at = (i) => ({ transform: `translate(0 ${i * WIDE.height})` });
  drawing.append(...bars.map((bar, i) => dress(bar.element, at(i))));
  const keyAfter = html("span", {}, html("b"), words.after);
  const key = html("p", { class: "key" }, html("span", {}, html("i"), words.before), keyAfter);
  const side = html("div", { class: "side" }, html("h3", {}, words.first), drawing, key);
  const note = html("p", { class: "note", "aria-live": "polite" });
  root.append(html("p", { class: "question" }, fill(words.question, data)));
  root.append(html("div", { class: "controls" }, stages.element, back));
  root.append(html("div", { class: "main" }, answers, side), note);

  const draw = () => {
    const stage = STAGES.indexOf(values.get("stage"));
    const marks = values.get("marks");
    const advantages = groupAdvantages(marks, "none");
    const shown = firstWords(data, marks);
    stages.update();
    set(back, "aria-disabled", pattern(marks) === pattern(data.rewards));
    rows.forEach((row, i) => row.update({ stage, mark: marks[i], a: advantages[i], i }));
    bars.forEach((bar, i) => bar.update(shown.before[i], stage === 3 ? shown.after[i] : null));
    keyAfter.hidden = stage < 3;
    const n = sum(marks);
    const kind = stage >= 2 && n % marks.length === 0 ? "equal" : STAGES[stage];
    const [before, after] = [shown.before[0], shown.after[0]].map(percent);
    say(note, fill(words.notes[kind], { n, before, after }));
    set(drawing, "aria-label", inWords(stage, shown));
  };
  const inWords = (stage, { before, after }) =>
    [...data.words, words.others].map((word, i) => {
      const told = { word, before: percent(before[i]), after: percent(after[i]) };
      return fill(stage === 3 ? words.moved : words.stands, told);
    }).join(" ");

  /** One answer: its mark as a button, its advantage, its text. */
  function answerRow(first, rest, change) {
    const mark = buttonOf("", change, { class: "mark" });
    const advantage = html("span", { class: "advantage" });
    const word = html("b", {}, first);
    const text = html("span", { class: "text" }, `${words.opening} `, word, ` ${rest}`);
    const element = html("div", { class: "row" }, mark, advantage, text);
    const update = ({ stage, mark: correct, a, i }) => {
      const verdict = words.verdicts[correct];
      say(mark, stage ? `R = ${correct}` : "?");
      set(mark, "aria-pressed", stage ? Boolean(correct) : null);
      set(mark, "aria-label", stage ? fill(words.mark, { row: i + 1, verdict }) : words.unmarked);
      set(mark, "aria-disabled", !stage);
      mark.classList.toggle("correct", Boolean(stage && correct));
      say(advantage, stage >= 2 ? `A = ${number(a, 2, true)}` : "");
      set(element, "data-way", stage >= 2 && a ? (a > 0 ? "up" : "down") : null);
    };
    return { element, update };
  }

  return keepDrawn(root, values, draw);
}

/** A word's probability before the update (outline) and after it (filled). */
function wordBar(word) {
  const axis = scale(0, 0.8, WIDE.from, WIDE.to);
  const old = svg("rect", { x: WIDE.from, y: 4, height: 15, class: "old" });
  const now = svg("rect", { x: WIDE.from, y: 21, height: 15 });
  const oldText = svg("text", { y: 16 });
  const nowText = svg("text", { y: 33, class: "label" });
  const name = svg("text", { x: WIDE.word, y: 25, "text-anchor": "end", class: "label" }, word);
  const update = (before, after) => {
    set(old, "width", axis.at(before) - WIDE.from);
    set(oldText, "x", axis.at(before) + 6);
    say(oldText, percent(before));
    now.style.display = after === null ? "none" : "";
    say(nowText, after === null ? "" : percent(after));
    if (after === null) return;
    set(now, "width", axis.at(after) - WIDE.from);
    set(now, "class", after >= before ? "up" : "down");
    set(nowText, "x", axis.at(after) + 6);
  };
  return { element: svg("g", {}, name, old, oldText, now, nowText), update };
}

const style = `
  .main { display: grid; grid-template-columns: minmax(0, 1fr) 280px; gap: 18px; }
  .row { display: grid; grid-template-columns: 62px 74px minmax(0, 1fr); gap: 8px;
    align-items: center; min-height: 42px; border-top: 1px solid var(--faint); padding: 2px 0; }
  .row .text { line-height: 1.3; color: var(--soft); }
  .row .text b { color: var(--ink); border-bottom: 2px solid var(--line); }
  .row[data-way=up] .text b { border-color: var(--up); }
  .row[data-way=down] .text b { border-color: var(--down); }
  .rlvr .mark { padding: 2px 4px; }
  .rlvr .mark.correct { border: 2px solid var(--up); font-weight: 600; }
  .row[data-way=up] .advantage { color: var(--up-text); }
  .row[data-way=down] .advantage { color: var(--down-text); }
  .side h3 { padding-bottom: 6px; }
  .old { fill: none; stroke: var(--line); stroke-width: 1.5; }
  .key { display: flex; gap: 16px; color: var(--soft); padding-top: 4px; }
  .key span { display: inline-flex; align-items: center; gap: 7px; }
  .key i, .key b { width: 20px; height: 11px; border: 1.5px solid var(--line); }
  .key b { background: var(--soft); border: 0; }
  .note { min-height: 46px; padding-top: 8px; border-top: 1px solid var(--faint); }
`;
