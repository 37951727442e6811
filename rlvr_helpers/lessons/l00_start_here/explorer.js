// One group, step by step: eight answers, their marks, their advantages, and the first word before
// and after one update. The package made an update for each of the 256 ways to mark the eight. Here
// one is looked up. Words: words.py.

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
  // what can be changed: the stage, and the marks
  const stages = choice({
    name: words.stage,
    options: STAGES.map((stage) => [stage, words.stages[stage]]),
    ...values.linked("stage"),
  });
  const flip = (row) => {
    if (values.get("stage") === STAGES[0]) return; // nothing is marked yet
    const marks = values.get("marks").map((mark, i) => (i === row ? 1 - mark : mark));
    values.set("marks", marks);
  };
  const back = buttonOf(words.reset, () => values.set("marks", data.rewards));

  // eight answers to the left, the first word to the right, what happened below
  const rows = data.rows.map(([first, rest], row) => answerRow(first, rest, () => flip(row)));
  const answers = html("div", { class: "answers" }, ...rows.map((row) => row.element));
  const bars = [...data.words.map((word) => `“${word}”`), words.others].map(wordBar);
  const drawing = svg("svg", { width: 280, height: WIDE.height * bars.length, role: "img" });
  drawing.append(...bars.map((bar, i) => place(bar.element, i)));
  const after = html("span", {}, html("b", {}), words.after);
  const key = html("p", { class: "key" }, html("span", {}, html("i", {}), words.before), after);
  const side = html("div", { class: "side" }, html("h3", {}, words.first), drawing, key);
  const note = html("p", { class: "note", "aria-live": "polite" });
  root.append(
    html("p", { class: "question" }, fill(words.question, data)),
    html("div", { class: "controls" }, stages.element, back),
    html("div", { class: "main" }, answers, side),
    note,
  );

  const draw = () => {
    const stage = STAGES.indexOf(values.get("stage"));
    const marks = values.get("marks");
    const advantages = groupAdvantages(marks, "none");
    const shown = firstWords(data, marks);
    stages.update();
    set(back, "aria-disabled", pattern(marks) === pattern(data.rewards));
    rows.forEach((row, i) => row.update({ stage, mark: marks[i], a: advantages[i], i }));
    bars.forEach((bar, i) => bar.update(shown.before[i], stage === 3 ? shown.after[i] : null));
    after.hidden = stage < 3;
    const told = { n: sum(marks), before: percent(shown.before[0]), after: percent(shown.after[0]) };
    say(note, fill(words.notes[noteOf(stage, sum(marks), marks.length)], told));
    set(drawing, "aria-label", inWords(stage, shown));
  };
  const noteOf = (stage, correct, count) =>
    stage >= 2 && (correct === 0 || correct === count) ? "equal" : STAGES[stage];
  const inWords = (stage, { before, after }) =>
    [...data.words, words.others]
      .map((word, i) => {
        const told = { word, before: percent(before[i]), after: percent(after[i]) };
        return fill(stage === 3 ? words.moved : words.stands, told);
      })
      .join(" ");

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
      set(mark, "aria-pressed", stage ? String(Boolean(correct)) : null);
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

const place = (element, i) => {
  set(element, "transform", `translate(0 ${i * WIDE.height})`);
  return element;
};

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
  .rlvr p, .rlvr h3 { margin: 0; font-size: 13px; }
  .question { font-weight: 600; padding-bottom: 8px; }
  .controls { display: flex; flex-wrap: wrap; gap: 8px 16px; padding-bottom: 8px; }
  .main { display: grid; grid-template-columns: minmax(0, 1fr) 280px; gap: 18px; }
  .row { display: grid; grid-template-columns: 62px 74px minmax(0, 1fr); gap: 8px;
    align-items: center; min-height: 42px; border-top: 1px solid var(--faint); padding: 2px 0; }
  .row .text { line-height: 1.3; color: var(--soft); }
  .row .text b { color: var(--ink); border-bottom: 2px solid var(--line); }
  .row[data-way=up] .text b { border-color: var(--up); }
  .row[data-way=down] .text b { border-color: var(--down); }
  .rlvr .mark { padding: 2px 4px; font-variant-numeric: tabular-nums; }
  .rlvr .mark.correct { border: 2px solid var(--up); font-weight: 600; }
  .advantage { font-variant-numeric: tabular-nums; }
  .row[data-way=up] .advantage { color: var(--up-text); }
  .row[data-way=down] .advantage { color: var(--down-text); }
  .side h3 { padding-bottom: 6px; }
  .old { fill: none; stroke: var(--line); stroke-width: 1.5; }
  .up { fill: var(--up); }
  .down { fill: var(--down); }
  .key { display: flex; gap: 16px; color: var(--soft); padding-top: 4px; }
  .key span { display: inline-flex; align-items: center; gap: 7px; }
  .key i, .key b { width: 20px; height: 11px; border: 1.5px solid var(--line); }
  .key b { background: var(--soft); border: 0; }
  .note { min-height: 46px; padding-top: 8px; border-top: 1px solid var(--faint); }
  .rlvr [hidden] { display: none !important; }
`;
