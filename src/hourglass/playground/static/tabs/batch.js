// @ts-check
/** Eight numbers of one channel, normalised, and the gradient back through the normalisation. */

import { steps } from "../app/batchnorm-steps.js";
import { make, slider } from "../app/dom.js";
import { onLanguage, say } from "../app/language.js";
import { keep, recall, recallNumber } from "../app/state.js";

const START = [3, 5, 2, 8, 4, 6, 5, 7];
const GRADIENT = [1, 0, -1, 0.5, 0, -0.5, 0, 0];
const EPSILON = 0.001;
const COLOURS = ["#4e79a7", "#f28e2b", "#e15759", "#59a6a0", "#59a14f", "#c9a227", "#b07aa1", "#9c755f"];

/** @param {HTMLElement} panel */
export function build(panel) {
  const x = numbersFrom(recall("x", ""), START);
  const gradient = numbersFrom(recall("gradient", ""), GRADIENT);
  const constants = {
    gamma: recallNumber("gamma", 1, -3, 3),
    beta: recallNumber("beta", 0, -3, 3),
    epsilon: EPSILON,
  };
  const table = make("table", { class: "numbers" });
  const moments = make("p", { "aria-live": "polite" });
  const figure = make("div", { class: "scroll" });

  /** @param {"x" | "gradient"} name @param {number[]} values */
  const inputs = (name, values) =>
    values.map((value, i) => {
      const input = make("input", { type: "number", step: "0.5", value });
      const label = () => input.setAttribute("aria-label", say(`${name} of`, { i: i + 1 }));
      label();
      onLanguage(label);
      input.addEventListener("input", () => {
        if (!Number.isFinite(input.valueAsNumber)) return;
        values[i] = input.valueAsNumber;
        keep(name, values.join(","));
        update();
      });
      return make("td", {}, input);
    });
  /** @param {string} text key of the row's name @param {HTMLElement[]} cells */
  const row = (text, cells) => make("tr", {}, make("th", { scope: "row", text }), ...cells);
  const cells = (/** @type {number} */ count) => Array.from({ length: count }, () => make("td"));
  const results = { normalised: cells(x.length), output: cells(x.length), ofInput: cells(x.length) };
  const heads = x.map((_, i) => {
    const mark = make("span", { class: "mark" });
    mark.style.background = COLOURS[i];
    return make("th", { scope: "col" }, mark, ` ${i + 1}`);
  });
  table.append(
    make("tr", {}, make("td", { text: "image number" }), ...heads),
    row("row x", inputs("x", x)),
    row("row normalised", results.normalised),
    row("row output", results.output),
    row("row gradient", inputs("gradient", gradient)),
    row("row ofInput", results.ofInput),
  );

  /** Compute everything and show it. */
  function update() {
    const found = steps(x, gradient, constants);
    for (const name of /** @type {const} */ (["normalised", "output", "ofInput"]))
      results[name].forEach((cell, i) => (cell.textContent = written(found[name][i])));
    const values = { mean: found.mean, variance: found.variance, ofGamma: found.ofGamma, ofBeta: found.ofBeta };
    moments.textContent = say(
      "moments",
      Object.fromEntries(Object.entries(values).map(([key, value]) => [key, written(value)])),
    );
    const lines = [
      { name: say("row x"), values: x, mean: found.mean, deviation: Math.sqrt(found.variance) },
      { name: say("row normalised"), values: found.normalised, mean: 0, deviation: found.deviation },
      { name: say("row output"), values: found.output, mean: constants.beta, deviation: found.outputDeviation },
      { name: say("row gradient"), values: gradient },
      { name: say("row ofInput"), values: found.ofInput },
    ];
    figure.replaceChildren(drawLines(lines));
  }

  const of = (/** @type {"gamma" | "beta"} */ name) =>
    slider({
      text: name,
      min: -3,
      max: 3,
      step: 0.1,
      value: constants[name],
      show: (value) => value.toFixed(1),
      change: (value) => {
        constants[name] = value;
        keep(name, value);
        update();
      },
    }).element;
  panel.append(
    make("div", { class: "scroll" }, table),
    make("div", { class: "row" }, of("gamma"), of("beta")),
    moments,
    figure,
    make("p", { class: "lead", text: "batch explained" }),
  );
  onLanguage(update);
  update();
}

/** @param {string} text numbers with commas between them @param {number[]} otherwise */
function numbersFrom(text, otherwise) {
  const numbers = text.split(",").map(Number.parseFloat);
  return numbers.length === otherwise.length && numbers.every(Number.isFinite) ? numbers : otherwise.slice();
}

/** @param {number} value */
const written = (value) => (Math.abs(value) < 5e-4 ? 0 : value).toFixed(3).replace("-", "−");

/**
 * A line of points for each row, with mean and deviation where it has them.
 * @param {Array<{name: string, values: number[], mean?: number, deviation?: number}>} lines
 */
function drawLines(lines) {
  const [width, high, edge] = [640, 74, 20];
  const svg = shape("svg", { viewBox: `0 0 ${width} ${high * lines.length}`, class: "lines", role: "img" });
  svg.setAttribute("aria-label", say("lines"));
  lines.forEach(({ name, values, mean, deviation }, row) => {
    const ends = [0, ...values];
    const [low, top] = [Math.min(...ends) - 0.5, Math.max(...ends) + 0.5];
    const at = (/** @type {number} */ value) => edge + ((value - low) / (top - low)) * (width - 2 * edge);
    const y = row * high + 50;
    if (mean !== undefined && deviation !== undefined) {
      const [from, to] = [at(Math.max(low, mean - deviation)), at(Math.min(top, mean + deviation))];
      svg.append(shape("rect", { x: from, y: y - 14, width: to - from, height: 28, class: "band" }));
      svg.append(shape("line", { x1: at(mean), x2: at(mean), y1: y - 18, y2: y + 18, class: "mean" }));
    }
    svg.append(shape("line", { x1: edge, x2: width - edge, y1: y, y2: y, class: "axis" }));
    for (let tick = Math.ceil(low); tick <= top; tick += Math.ceil((top - low) / 12)) {
      svg.append(shape("line", { x1: at(tick), x2: at(tick), y1: y - 3, y2: y + 3, class: "axis" }));
      svg.append(shape("text", { x: at(tick), y: y + 17, class: "tick" }, String(tick).replace("-", "−")));
    }
    svg.append(shape("text", { x: edge, y: y - 24, class: "name" }, name));
    values.forEach((value, i) => svg.append(shape("circle", { cx: at(value), cy: y, r: 6, fill: COLOURS[i] })));
  });
  return svg;
}

/**
 * An element of a drawing.
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 * @param {string} [text]
 */
function shape(tag, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  if (text) element.textContent = text;
  return element;
}
