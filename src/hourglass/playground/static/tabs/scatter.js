// @ts-check
/** Images as points of a plane. */

import { make } from "../app/dom.js";
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
 * @typedef {object} Points what a map shows, and what it does
 * @property {ArrayLike<number> | null} labels digits, which colour the points
 * @property {(canvas: HTMLCanvasElement, index: number) => void} show draws an image
 * @property {(index: number) => string} name of an image
 * @property {(canvas: HTMLCanvasElement, x: number, y: number) => void} [decode] draws what a place is decoded to, which
 *   is chosen by a click or the arrow keys
 * @property {(index: number) => void} [choose] called with the image nearest to a place that is chosen
 */

/**
 * Draw points; pointing at one shows its image.
 * @param {Float32Array} places x and y of each image in [0, 1], one after the other
 * @param {Points} points
 */
export function scatter(places, { labels, show, name: nameOf, decode, choose: chosen }) {
  const count = places.length / 2;
  const canvas = make("canvas", { width: SIZE, height: SIZE, tabindex: 0, role: "application", label: "map of codes" });
  canvas.className = "scatter";
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const preview = make("canvas", { class: "pixels preview" });
  const caption = make("figcaption", { "aria-live": "polite" });
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
    const plain = getComputedStyle(document.documentElement).getPropertyValue("--accent");
    for (let i = 0; i < count; i++) {
      context.fillStyle = labels ? COLOURS[labels[i]] : plain;
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
    if (decode) {
      decode(preview, ...cursor);
      isDecoded = true;
    } else {
      hovered = nearest(...cursor);
      show(preview, hovered);
      chosen?.(hovered);
    }
    name();
    draw();
  }

  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    const best = nearest(x, y);
    hovered = distance(best, x, y) < 0.03 ? best : null;
    if (hovered !== null) {
      show(preview, hovered);
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

  /** The image nearest to a place. @param {number} x @param {number} y */
  function nearest(x, y) {
    let best = 0;
    for (let i = 1; i < count; i++) if (distance(i, x, y) < distance(best, x, y)) best = i;
    return best;
  }

  /** Say what is under the pointer. */
  function name() {
    if (isDecoded) caption.textContent = say("decoded here");
    else if (hovered !== null) caption.textContent = nameOf(hovered);
    else caption.textContent = say("point at");
  }
  onLanguage(name);
  name();
  document.addEventListener("theme", draw);
  const digits = labels ? COLOURS : [];
  const legend = make(
    "p",
    { class: "legend" },
    ...digits.map((colour, digit) => {
      const mark = make("span", { class: "mark" });
      mark.style.background = colour;
      return make("span", {}, mark, ` ${digit} `);
    }),
  );
  draw();
  return make("div", { class: "row" }, make("figure", {}, canvas, legend), make("figure", {}, preview, caption));
}
