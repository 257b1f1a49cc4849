// @ts-check
/** The numbers of a code, to be pulled: bars, or maps with a slider for the cell that is chosen. */

import { make } from "../app/dom.js";
import { onLanguage, say } from "../app/language.js";

/** How far a number can be pulled, as a multiple of the largest that a test image has. */
const REACH = 1.5;

/**
 * A bar for each number.
 * @param {Float32Array} largest of each number, over all test images
 * @param {() => void} change called when somebody has pulled a bar
 */
export function barsOf(largest, change) {
  let code = new Float32Array(largest.length);
  const bars = Array.from(largest, (most, i) => {
    const max = REACH * most || 1;
    const bar = make("input", { type: "range", min: 0, max, step: max / 200 });
    bar.addEventListener("input", () => {
      code[i] = Number(bar.value); // the others stay as they are: bars show rounded numbers
      change();
    });
    return bar;
  });
  const name = () => bars.forEach((bar, i) => bar.setAttribute("aria-label", say("number", { i: i + 1 })));
  name();
  onLanguage(name);
  return {
    element: make("div", { class: "bars", role: "group", label: "code" }, ...bars),
    code: () => code.slice(),
    set: (/** @type {Float32Array} */ next) => {
      code = next.slice();
      bars.forEach((bar, i) => (bar.value = String(code[i])));
    },
  };
}

const CELL = 12; // pixels of a cell's side

/**
 * Draw a map as cells, with a frame around the chosen one.
 * @param {HTMLCanvasElement} canvas
 * @param {Float32Array} map
 * @param {number} width cells in a row
 * @param {number} most the number that is white
 * @param {number | null} chosen
 */
function drawCells(canvas, map, width, most, chosen) {
  canvas.width = width * CELL;
  canvas.height = (map.length / width) * CELL;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  map.forEach((value, i) => {
    const grey = Math.round(255 * Math.max(0, Math.min(1, value / (most || 1))));
    const [x, y] = [(i % width) * CELL, Math.floor(i / width) * CELL];
    context.fillStyle = `rgb(${grey} ${grey} ${grey})`;
    context.fillRect(x, y, CELL, CELL);
    if (i !== chosen) return;
    context.strokeStyle = "#ff8c1a";
    context.lineWidth = 2;
    context.strokeRect(x + 1, y + 1, CELL - 2, CELL - 2);
  });
}

/**
 * Maps whose cells can be chosen, and a slider that changes the chosen one.
 * @param {[number, number, number]} shape height, width and channels of the code
 * @param {Float32Array} largest of each number, over all test images
 * @param {() => void} change called when somebody has changed a number
 */
export function mapsOf([height, width, channels], largest, change) {
  let code = new Float32Array(largest.length);
  let chosen = 0;
  const most = Math.max(...largest);
  const max = REACH * most;
  const canvases = Array.from({ length: channels }, (_, channel) => {
    const canvas = make("canvas", { class: "pixels" });
    const choose = (/** @type {MouseEvent} */ event) => {
      const box = canvas.getBoundingClientRect();
      const inside = event.detail > 0; // by a pointer, not by the keyboard
      const x = inside ? Math.min(width - 1, Math.floor(((event.clientX - box.left) / box.width) * width)) : 0;
      const y = inside ? Math.min(height - 1, Math.floor(((event.clientY - box.top) / box.height) * height)) : 0;
      select((y * width + x) * channels + channel);
    };
    const button = make("button", { type: "button", onclick: choose }, canvas);
    return { canvas, button };
  });
  const title = make("span");
  const input = make("input", {
    type: "range",
    min: 0,
    max,
    step: max / 200,
    oninput: () => {
      code[chosen] = Number(input.value);
      draw();
      change();
    },
  });

  /** @param {number} index of a number of the code */
  function select(index) {
    chosen = (index + code.length) % code.length;
    input.value = String(code[chosen]);
    draw();
    name();
  }

  /** Draw all maps, with the chosen cell marked. */
  function draw() {
    canvases.forEach(({ canvas, button }, channel) => {
      const map = Float32Array.from({ length: height * width }, (_, i) => code[i * channels + channel]);
      drawCells(canvas, map, width, most, chosen % channels === channel ? Math.floor(chosen / channels) : null);
      button.setAttribute("aria-pressed", String(chosen % channels === channel));
    });
  }

  /** Name the chosen number and the maps. */
  function name() {
    const place = Math.floor(chosen / channels);
    const where = { map: (chosen % channels) + 1, row: Math.floor(place / width) + 1, column: (place % width) + 1 };
    title.textContent = say("cell", where);
    canvases.forEach(({ button }, i) => button.setAttribute("aria-label", say("map of code", { i: i + 1 })));
  }
  onLanguage(name);
  const step = (/** @type {number} */ by) => () => select(chosen + by);
  const steps = [
    make("button", { type: "button", label: "previous number", onclick: step(-1) }, "‹"),
    make("button", { type: "button", label: "next number", onclick: step(1) }, "›"),
  ];
  const maps = make("div", { class: "images maps" }, ...canvases.map(({ button }) => button));
  const label = make("label", { class: "control" }, title, input);
  return {
    element: make("div", {}, maps, make("div", { class: "row tight" }, ...steps, label)),
    code: () => code.slice(),
    set: (/** @type {Float32Array} */ next) => {
      code = next.slice();
      select(chosen);
    },
  };
}
