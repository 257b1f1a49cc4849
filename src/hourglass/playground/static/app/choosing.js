// @ts-check
/** A strip of digits to choose from. */

import { SIDE, imageOf } from "./data.js";
import { make } from "./dom.js";
import { say, onLanguage } from "./language.js";
import { drawGrey } from "./images.js";

/**
 * Show images as buttons.
 * @param {Uint8Array} images
 * @param {Uint8Array} labels
 * @param {number[]} indices which images
 * @param {(index: number) => void} choose
 * @param {string} [label] key of the strip's accessible name
 */
export function strip(images, labels, indices, choose, label = "test images") {
  const element = make("div", { class: "images", role: "group", label });
  const buttons = indices.map((index) => {
    const canvas = make("canvas", { class: "pixels" });
    drawGrey(canvas, imageOf(images, index), SIDE);
    const button = make("button", { type: "button", "aria-pressed": "false", onclick: () => choose(index) }, canvas);
    element.append(button);
    return button;
  });
  const name = () =>
    buttons.forEach((button, i) =>
      button.setAttribute("aria-label", say("test image", { label: labels[indices[i]], index: indices[i] })),
    );
  name();
  onLanguage(name);
  /** @param {number | null} index the image that is marked as chosen */
  const mark = (index) =>
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(indices[i] === index)));
  return { element, mark };
}
