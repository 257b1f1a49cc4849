// @ts-check
/** Images as points of a plane. */

import { SIDE } from "../app/data.js";
import { make } from "../app/dom.js";
import { drawGrey } from "../app/images.js";
import { onLanguage, say } from "../app/language.js";

/** Colours of the ten digits, which can be told apart on light and dark ground (Tableau 10). */
export const COLOURS = [
  "#4e79a7",
  "#f28e2b",
  "#e15759",
  "#59a6a0",
  "#59a14f",
  "#c9a227",
  "#b07aa1",
  "#e57f90",
  "#9c755f",
  "#8a8683",
];
const SIZE = 640; // pixels of the canvas
const EDGE = 0.03; // empty share on each side

/**
 * Draw points; pointing at one shows its image, and a click, or the arrow keys, decode a place.
 * @param {Float32Array} places x and y of each image in [0, 1]
 * @param {Uint8Array} labels
 * @param {(index: number) => Float32Array} image
 * @param {(x: number, y: number) => Float32Array} decode makes the image of a place
 */
export function scatter(places, labels, image, decode) {
  const canvas = make("canvas", { width: SIZE, height: SIZE, tabindex: 0, role: "application", label: "map of codes" });
  canvas.className = "scatter";
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const preview = make("canvas", { class: "pixels preview" });
  const caption = make("figcaption", { text: "point at" });
  /** @type {[number, number] | null} the place that is decoded */
  let cursor = null;
  /** @type {number | null} the image that is pointed at */
  let hovered = null;
  let isDecoded = false; // what the small image shows

  /** @param {number} value in [0, 1] */
  const toPixel = (value) => SIZE * (EDGE + (1 - 2 * EDGE) * value);
  /** @param {PointerEvent | MouseEvent} event @returns {[number, number]} */
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const inside = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    return /** @type {[number, number]} */ (inside.map((part) => (part - EDGE) / (1 - 2 * EDGE)));
  };

  /** Draw all points, the legend's colours, and the cursor. */
  function draw() {
    context.clearRect(0, 0, SIZE, SIZE);
    for (let i = 0; i < labels.length; i++) {
      context.fillStyle = COLOURS[labels[i]];
      context.beginPath();
      context.arc(toPixel(places[2 * i]), toPixel(places[2 * i + 1]), i === hovered ? 8 : 4, 0, 7);
      context.fill();
    }
    if (!cursor) return;
    const [x, y] = cursor.map(toPixel);
    context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--mark");
    context.lineWidth = 3;
    context.strokeRect(x - 8, y - 8, 16, 16);
  }

  /** @param {number} x @param {number} y */
  function choose(x, y) {
    cursor = [Math.max(0, Math.min(1, x)), Math.max(0, Math.min(1, y))];
    drawGrey(preview, decode(...cursor), SIDE);
    isDecoded = true;
    name();
    draw();
  }

  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    let best = 0;
    for (let i = 1; i < labels.length; i++)
      if (distance(i, x, y) < distance(best, x, y)) best = i;
    hovered = distance(best, x, y) < 0.03 ? best : null;
    if (hovered !== null) {
      drawGrey(preview, image(hovered), SIDE);
      isDecoded = false;
    }
    name();
    draw();
  });
  canvas.addEventListener("click", (event) => choose(...place(event)));
  /** @type {Record<string, [number, number]>} */
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in moves)) return;
    event.preventDefault();
    const [x, y] = cursor ?? [0.5, 0.5];
    choose(x + moves[event.key][0] / 50, y + moves[event.key][1] / 50);
  });

  /** @param {number} i @param {number} x @param {number} y */
  function distance(i, x, y) {
    return Math.hypot(places[2 * i] - x, places[2 * i + 1] - y);
  }

  /** Say what is under the pointer. */
  function name() {
    if (isDecoded) caption.textContent = say("decoded here");
    else if (hovered !== null) caption.textContent = say("test image", { label: labels[hovered], index: hovered });
    else caption.textContent = say("point at");
  }
  onLanguage(name);
  document.addEventListener("theme", draw);
  const legend = make(
    "p",
    { class: "legend" },
    ...COLOURS.map((colour, digit) => {
      const mark = make("span", { class: "mark" });
      mark.style.background = colour;
      return make("span", {}, mark, ` ${digit} `);
    }),
  );
  drawGrey(preview, new Float32Array(SIDE * SIDE), SIDE);
  draw();
  return make("div", { class: "row" }, make("figure", {}, canvas, legend), make("figure", {}, preview, caption));
}
