// The explorers of lesson 07: the vote of each token (votes.js), and the KL (kl.js).

const explorer = (root, values, data, words) =>
  ({ votes, kl })[data.kind](root, values, data, words);

const style = `
  .rlvr p { margin: 4px 0; }
  .controls output { min-width: 26px; }
  .answer { display: grid; grid-template-columns: 118px minmax(0, 1fr) 246px; gap: 12px;
    border-top: 1px solid var(--faint); padding: 2px 0 4px; }
  .side { display: flex; flex-direction: column; align-items: flex-start; gap: 2px;
    padding-top: 6px; }
  .rlvr .reward { padding: 0 8px; min-height: 22px; }
  .tokens { line-height: 16px; position: relative; padding-right: 8px; }
  .token { display: inline-block; padding: 36px 3px 1px; position: relative; cursor: pointer;
    border-radius: 3px; min-width: 18px; text-align: center; font-size: 12px; }
  .token i { position: absolute; left: 50%; margin-left: -8px; width: 16px; top: 3px; height: 32px;
    background: var(--up); transform-origin: bottom; }
  .token.down i { background: var(--down); }
  .token.cut { color: var(--soft); text-decoration: line-through; }
  .token[aria-selected=true] { box-shadow: inset 0 0 0 1.5px var(--ink); }
  .end { position: absolute; left: 0; top: 0; width: 7px; height: 50px; cursor: ew-resize;
    border-radius: 4px; background: var(--ink); }
  .shares { padding-top: 6px; }
  .share { display: grid; grid-template-columns: 116px 78px auto; gap: 6px; color: var(--soft);
    align-items: center; }
  .share.shown { color: var(--ink); font-weight: 600; }
  .share i { height: 10px; background: var(--up); transform-origin: left; }
  .share i.down { background: var(--down); }
  .told { min-height: 44px; font-weight: 600; border-top: 1px solid var(--faint);
    padding-top: 6px; }
  .main { display: grid; grid-template-columns: minmax(0, 1fr) 330px; gap: 18px; }
  .bar { cursor: ns-resize; }
  .bar .body { fill: var(--up); opacity: 0.75; }
  .bar.chosen .body { opacity: 1; }
  .bar .area { fill: transparent; }
  .bar .ref { stroke: var(--ink); stroke-width: 2.5; }
  .bar .arrow { fill: none; stroke: var(--up-text); stroke-width: 2; }
  .bar .arrow.down { stroke: var(--down); }
  .rlvr .bar:focus-visible { outline: none; }
  .bar:focus-visible .area { stroke: var(--focus); stroke-width: 2; }
  table { margin: 6px 0; }
  td, th { text-align: right; font-weight: 400; padding: 1px 0 1px 10px; }
  th { color: var(--soft); }
  th:first-child { text-align: left; padding: 0; color: var(--ink); font-weight: 600; }
  .does { min-height: 74px; }
  @container explorer (max-width: 1055px) {
    .controls input { width: 110px; }
    .answer { grid-template-columns: 132px minmax(0, 1fr) 204px; gap: 6px; }
    .side { font-size: 12px; gap: 1px; padding-top: 0; }
    .share { grid-template-columns: 114px 48px auto; gap: 4px; }
    .token { padding-top: 25px; }
    .token i { height: 21px; }
    .end { height: 38px; }
  }
  @container explorer (max-width: 899px) {
    .answer { grid-template: "side text" auto "shares text" 1fr / 142px minmax(0, 1fr);
      gap: 0 10px; padding: 1px 0 2px; }
    .tokens { grid-row: 1 / 3; grid-column: 2; }
    .shares { grid-area: shares; padding: 0; }
    .share { grid-template-columns: 106px auto; font-size: 11.5px; }
    .share i, .share:not(.shown) { display: none; }
    .main { grid-template-columns: minmax(0, 1fr); }
    .does { min-height: 40px; }
  }
`;
