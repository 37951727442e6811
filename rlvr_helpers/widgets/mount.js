// Where an explorer stands: its theme, its place in the page, and how it meets the kernel's model.

// JupyterLab's own colours if there are any. Exported pages follow the page they stand on.
const STYLE = `
  :host { display: block; max-width: 1060px; color: var(--jp-content-font-color1, inherit);
    transition: color 1ms; }
  .rlvr { --ink: #1f1f1f; --soft: #595959; --line: #8a8a8a; --faint: #e3e3e3; --page: #ffffff;
    --raised: #f4f4f4; --up: #0072b2; --down: #d55e00; --up-text: #00619a; --down-text: #a84900;
    --grpo: #0072b2; --dr-grpo: #d55e00; --gspo: #009e73; --focus: #0b57d0;
    container: explorer / inline-size; color: var(--ink);
    font: 13px/1.4 var(--jp-ui-font-family, system-ui, sans-serif);
    font-variant-numeric: tabular-nums; }
  .rlvr.dark { --ink: #ececec; --soft: #b4b4b4; --line: #808080; --faint: #383838; --page: #111111;
    --raised: #1f1f1f; --up: #2b95d6; --down: #e8742a; --up-text: #7cc4f2; --down-text: #ffa66b;
    --grpo: #2b95d6; --dr-grpo: #e8742a; --gspo: #1fb88c; --focus: #8ab4f8; }
  .rlvr * { box-sizing: border-box; }
  .rlvr :focus { outline: none; }
  .rlvr :focus-visible { outline: 2px solid var(--focus); outline-offset: 2px; border-radius: 3px; }
  .rlvr svg { overflow: visible; display: block; }
  .rlvr svg text { fill: var(--soft); font-size: 12px; }
  .rlvr svg text.label { fill: var(--ink); }
  .rlvr svg .axis { stroke: var(--line); }
  .rlvr button { font: inherit; color: var(--ink); background: var(--page); cursor: pointer;
    border: 1px solid var(--line); border-radius: 4px; padding: 2px 9px; min-height: 26px; }
  .rlvr button:not([aria-pressed=true], [aria-checked=true]):hover { background: var(--raised); }
  .rlvr .play { min-width: 62px; }
  .rlvr button[aria-disabled=true] { color: var(--soft); cursor: default; }
  .rlvr [role=radiogroup] { display: inline-flex; }
  .rlvr [role=radio] { border-radius: 0; margin-left: -1px; }
  .rlvr [role=radio]:first-child { border-radius: 4px 0 0 4px; }
  .rlvr [role=radio]:last-child { border-radius: 0 4px 4px 0; }
  .rlvr [role=radio][aria-checked=true] { background: var(--ink); color: var(--page);
    border-color: var(--ink); }
  .rlvr .slider, .rlvr .choice { display: inline-flex; align-items: center; gap: 8px; }
  .rlvr input[type=range] { accent-color: var(--up); width: 150px; margin: 0; }
  .rlvr .stops { cursor: pointer; }
  .rlvr .stops[aria-disabled=true] { opacity: 0.4; pointer-events: none; }
  .rlvr .thumb { fill: var(--up); }
  .rlvr .track { stroke: var(--line); stroke-width: 4; stroke-linecap: round; }
  .rlvr [hidden] { display: none !important; }
  p, h3 { margin: 0; font-size: inherit; }
  table { border-collapse: collapse; width: 100%; }
  .controls { display: flex; flex-wrap: wrap; gap: 6px 16px; align-items: center;
    padding-bottom: 8px; }
  .soft { color: var(--soft); }
  .question { font-weight: 600; padding-bottom: 8px; }
  .strong, .title { font-weight: 600; }
  .up { fill: var(--up); }
  .down { fill: var(--down); }
  @media (forced-colors: active) { .rlvr { --ink: CanvasText; --soft: CanvasText; --page: Canvas;
    --line: CanvasText; --raised: Canvas; --focus: Highlight; }
    .rlvr [aria-checked=true], .rlvr [aria-pressed=true], .rlvr [aria-selected=true] {
      forced-color-adjust: none; background: Highlight !important;
      color: HighlightText !important; } }
`;

/** Whether the page behind an element is dark. */
function isDark(element) {
  for (let at = element; at; at = at.parentNode ?? at.host) {
    if (!(at instanceof Element)) continue;
    const parts = getComputedStyle(at).backgroundColor.match(/[\d.]+/g);
    const [r, g, b, alpha = 1] = parts.map(Number);
    if (alpha > 0.5) return 0.2126 * r + 0.7152 * g + 0.0722 * b < 128;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Colours of the theme by name, for the canvas. */
function coloursOf(root, ...names) {
  const style = getComputedStyle(root);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  return Object.fromEntries(names.map((name) => [name, colour(name)]));
}

/** Puts an explorer into a place of the page, in a shadow root: no style of the page reaches it.
 * explorer(root, values, data, words) builds it and returns a function that draws it anew. */
function mount(place, explorer, { values, data, words, style = "" }, model = null) {
  place.replaceChildren();
  place.setAttribute("data-lm-suppress-shortcuts", "true"); // JupyterLab leaves us the keys
  place.setAttribute("data-jp-suppress-context-menu", "true");
  const shadow = place.shadowRoot ?? place.attachShadow({ mode: "open" });
  const root = html("div", { class: "rlvr" });
  shadow.replaceChildren(html("style", {}, STYLE + style), root);
  const held = new Values(values);
  if (model) held.follow(model);
  root.classList.toggle("dark", isDark(place));
  const redraw = explorer(root, held, data, words);
  const retheme = (event) => {
    if (event.target !== place) return; // the page's text colour changed: another theme
    // In the next frame: JupyterLab hides the page while it changes the theme.
    requestAnimationFrame(() => {
      root.classList.toggle("dark", isDark(place));
      redraw();
    });
  };
  // A theme that arrives in parts cancels its first transitions.
  for (const name of ["transitionend", "transitioncancel"]) place.addEventListener(name, retheme);
  place.rlvr = { values: held, root };
  return held;
}

/** A stored output meets the kernel's model of the same id, if there is one now or later. */
function meet(id, held) {
  const models = (globalThis.rlvrModels ??= new Map());
  if (models.has(id)) return held.follow(models.get(id));
  const hear = ({ detail }) => {
    if (detail !== id) return;
    document.removeEventListener("rlvr-model", hear);
    held.follow(models.get(id));
  };
  document.addEventListener("rlvr-model", hear);
}

/** The kernel's model is here: a stored output that waits for it may follow it. */
function announce(model) {
  (globalThis.rlvrModels ??= new Map()).set(model.get("name_of_this"), model);
  document.dispatchEvent(new CustomEvent("rlvr-model", { detail: model.get("name_of_this") }));
}
