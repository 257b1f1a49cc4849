// @ts-check
/** Drawing a digit with the mouse, a finger or the arrow keys. */

import { SIDE } from "./data.js";
import { drawGrey } from "./images.js";

/** Radius of the pen in pixels of the digit. */
const RADIUS = 1.3;

/**
 * Let people draw on a canvas of 28 × 28 pixels.
 *
 * With the keyboard, the arrow keys move the pen, and Space puts it down and lifts it.
 * @param {HTMLCanvasElement} canvas
 * @param {Float32Array} pixels (28, 28) in [0, 1], which the strokes change
 * @param {() => void} changed called after every change
 */
export function drawable(canvas, pixels, changed) {
  /** @type {[number, number] | null} the last place of a stroke */
  let last = null;
  const pen = { x: SIDE / 2, y: SIDE / 2, down: false };

  /** @param {PointerEvent} event @returns {[number, number]} */
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
  };
  /** @param {number} x @param {number} y */
  const dot = (x, y) => {
    for (let row = Math.max(0, Math.floor(y - 3)); row < Math.min(SIDE, y + 3); row++)
      for (let column = Math.max(0, Math.floor(x - 3)); column < Math.min(SIDE, x + 3); column++) {
        const distance = Math.hypot(column + 0.5 - x, row + 0.5 - y);
        const ink = Math.max(0, Math.min(1, RADIUS + 0.5 - distance));
        pixels[row * SIDE + column] = Math.max(pixels[row * SIDE + column], ink);
      }
  };
  /** @param {[number, number]} from @param {[number, number]} to */
  const line = (from, to) => {
    const steps = Math.ceil(2 * Math.hypot(to[0] - from[0], to[1] - from[1])) || 1;
    for (let i = 0; i <= steps; i++)
      dot(from[0] + ((to[0] - from[0]) * i) / steps, from[1] + ((to[1] - from[1]) * i) / steps);
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    last = place(event);
    line(last, last);
    changed();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last || !event.isPrimary) return;
    const next = place(event);
    line(last, next);
    last = next;
    changed();
  });
  for (const end of /** @type {const} */ (["pointerup", "pointercancel"]))
    canvas.addEventListener(end, (event) => {
      if (event.isPrimary) last = null;
    });

  /** @type {Record<string, [number, number]>} */
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.key === " ") pen.down = pen.down !== !event.repeat;
    else if (event.key in moves) {
      pen.x = Math.max(0, Math.min(SIDE, pen.x + moves[event.key][0]));
      pen.y = Math.max(0, Math.min(SIDE, pen.y + moves[event.key][1]));
    } else return;
    event.preventDefault();
    if (pen.down) {
      dot(pen.x, pen.y);
      changed();
    } else drawGrey(canvas, pixels, SIDE);
    showPen();
  });
  canvas.addEventListener("blur", () => drawGrey(canvas, pixels, SIDE));

  /** Show where the pen of the keyboard is. */
  function showPen() {
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.fillStyle = pen.down ? "#ff8c1a" : "#4da3ff";
    context.fillRect(Math.min(SIDE - 1, Math.floor(pen.x)), Math.min(SIDE - 1, Math.floor(pen.y)), 1, 1);
  }
}
