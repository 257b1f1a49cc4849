// @ts-check
/** Draw a digit, add noise, and see the network take it away. */

import { strip } from "../app/choosing.js";
import { PIXELS, SIDE, digits, imageOf, trained } from "../app/data.js";
import { make, slider } from "../app/dom.js";
import { drawable } from "../app/drawing.js";
import { drawGrey, psnr } from "../app/images.js";
import { onLanguage, say } from "../app/language.js";
import { normal } from "../app/random.js";
import { keep, recallNumber } from "../app/state.js";
import { mapsOf } from "./maps.js";

const SHOWN = 12; // test images to choose from

/** @param {HTMLElement} panel */
export async function build(panel) {
  const [network, data] = await Promise.all([trained("digits"), digits()]);
  const clean = new Float32Array(PIXELS);
  const noisy = new Float32Array(PIXELS);
  const restored = new Float32Array(PIXELS);
  const noise = new Float32Array(PIXELS);
  let level = recallNumber("noise", 0.5, 0, 0.8);
  let seed = recallNumber("seed", 1, 0, 2 ** 31);
  let chosen = Math.round(recallNumber("image", 0, -1, 999)); // -1: a drawing

  const drawing = canvas("pixels large drawing", { tabindex: 0, role: "application", label: "drawing" });
  const withNoise = canvas("pixels large", { role: "img", label: "noisy" });
  const without = canvas("pixels large", { role: "img", label: "denoised" });
  const [ofNoisy, ofRestored] = [make("figcaption"), make("figcaption")];
  const choose = strip(data.test, data.testLabels, [...Array(SHOWN).keys()], pick);
  const maps = mapsOf(network);

  /** Draw noise anew from the seed. */
  function drawNoise() {
    const next = normal(seed);
    for (let i = 0; i < PIXELS; i++) noise[i] = next();
  }

  /** Compute and show all that follows from the clean image. */
  function update() {
    for (let i = 0; i < PIXELS; i++) noisy[i] = Math.max(0, Math.min(1, clean[i] + level * noise[i]));
    const start = performance.now();
    const logits = network.forward(noisy);
    for (let i = 0; i < PIXELS; i++) restored[i] = 1 / (1 + Math.exp(-logits[i]));
    panel.dataset.milliseconds = String(performance.now() - start);
    drawGrey(drawing, clean, SIDE);
    drawGrey(withNoise, noisy, SIDE);
    drawGrey(without, restored, SIDE);
    captions();
    maps.update();
  }

  /** Write the numbers under the images. */
  function captions() {
    const has = clean.some((pixel) => pixel > 0);
    /** @param {string} key @param {Float32Array} image */
    const caption = (key, image) => {
      const value = psnr(clean, image);
      return has && Number.isFinite(value) ? `${say(key)}: PSNR ${value.toFixed(1)} dB` : say(key);
    };
    ofNoisy.textContent = caption("noisy", noisy);
    ofRestored.textContent = caption("denoised", restored);
  }

  /** @param {number} index of a test image */
  function pick(index) {
    chosen = index;
    if (index >= 0) clean.set(imageOf(data.test, index));
    else clean.fill(0);
    choose.mark(index);
    keep("image", index);
    update();
  }

  drawable(drawing, clean, () => {
    if (chosen !== -1) {
      chosen = -1;
      choose.mark(null);
      keep("image", -1);
    }
    update();
  });
  const strength = slider({
    text: "noise level",
    min: 0,
    max: 0.8,
    step: 0.01,
    value: level,
    show: (value) => value.toFixed(2),
    change: (value) => {
      level = value;
      keep("noise", value);
      update();
    },
  });
  const renew = () => {
    seed += 1;
    keep("seed", seed);
    drawNoise();
    update();
  };
  const buttons = [
    make("button", { type: "button", class: "main", text: "clear", onclick: () => pick(-1) }),
    make("button", { type: "button", text: "new noise", onclick: renew }),
  ];
  panel.append(
    make(
      "div",
      { class: "row" },
      make("figure", {}, drawing, make("figcaption", { text: "draw here" })),
      make("figure", {}, withNoise, ofNoisy),
      make("figure", {}, without, ofRestored),
    ),
    make("div", { class: "row tight" }, ...buttons, strength.element),
    choose.element,
    maps.element,
  );
  onLanguage(captions);
  drawNoise();
  pick(chosen);
}

/** @param {string} classes @param {Record<string, any>} options */
const canvas = (classes, options) => make("canvas", { class: classes, width: SIDE, height: SIDE, ...options });
