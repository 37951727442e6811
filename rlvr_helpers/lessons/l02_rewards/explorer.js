// Pay or not? Ten texts that models write, each with the known answer. A choice is answered at
// once: what the course's reward pays, and why.

function explorer(root, values, data, words) {
  const rows = data.texts.map((text, i) => gameRow(text, i));
  const score = html("p", { class: "score", role: "status" });
  const again = buttonOf(words.reset, () => values.set("paid", data.texts.map(() => null)));
  root.append(html("p", { class: "rule" }, words.rule), ...rows.map((row) => row.element));
  root.append(html("div", { class: "foot" }, score, again));

  function gameRow({ text, gold, pays, why }, i) {
    const read = () => values.get("paid")[i];
    const write = (paid) => values.set("paid", values.get("paid").with(i, paid));
    const options = [[1, words.pay], [0, words.refuse]];
    const pick = choice({ name: fill(words.row, { row: i + 1 }), options, read, write });
    const buttons = [...pick.element.querySelectorAll("button")];
    const element = html("div", { class: "row" }, html("code", {}, text));
    const said = html("span", { class: "why", role: "status" });
    element.append(html("span", { class: "strong" }, gold), pick.element, said);
    const update = (paid) => {
      pick.update();
      if (paid === null) buttons.forEach((button) => set(button, "tabindex", 0));
      const correct = paid === pays;
      const told = { verdict: words.verdicts[Number(correct)], why };
      say(said, paid === null ? "" : fill(words.answer, told));
      set(element, "data-way", paid === null ? null : correct ? "good" : "bad");
    };
    return { element, update };
  }

  const draw = () => {
    const paid = values.get("paid");
    rows.forEach((row, i) => row.update(paid[i]));
    const done = paid.filter((each) => each !== null).length;
    const good = paid.filter((each, i) => each === data.texts[i].pays).length;
    say(score, fill(words.score, { good, done, all: paid.length }));
    set(again, "aria-disabled", done === 0);
  };
  return keepDrawn(root, values, draw);
}

const style = `
  .rule { padding-bottom: 6px; }
  .row { display: grid; grid-template-columns: minmax(0, 1fr) 62px 196px minmax(0, 340px);
    gap: 12px; align-items: center; min-height: 46px; border-top: 1px solid var(--faint);
    border-left: 3px solid transparent; padding: 2px 0 2px 8px; }
  .row code { font-size: 12.5px; white-space: pre-wrap; }
  .row[data-way=good] { border-left-color: var(--up); }
  .row[data-way=bad] { border-left-color: var(--down); }
  .row .choice > span:first-child { display: none; }
  .why { line-height: 1.3; font-size: 12.5px; }
  .foot { display: flex; gap: 16px; align-items: center; padding-top: 8px;
    border-top: 1px solid var(--faint); }
  .score { font-weight: 600; min-width: 190px; }
  @container explorer (max-width: 899px) {
    .row { grid-template-columns: minmax(0, 1fr) 50px 190px; gap: 0 12px; }
    .why { grid-column: 1 / 4; min-height: 18px; }
  }
`;
