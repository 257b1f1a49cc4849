// @ts-check
/** The code of an image: its numbers, what each of them does, and ways between images. */

import { strip } from "../app/choosing.js";
import { PIXELS, SIDE, digits, imageOf, placesOf, trained } from "../app/data.js";
import { choice, make, slider } from "../app/dom.js";
import { drawGrey, psnr } from "../app/images.js";
import { labelled, onLanguage, say } from "../app/language.js";
import { keep, recall, recallNumber } from "../app/state.js";
import { scatter } from "./scatter.js";
import { barsOf, mapsOf } from "./numbers.js";

const SHOWN = 12;
const NEAREST = 5; // images whose codes are averaged for a place between them

/** @param {HTMLElement} panel */
export async function build(panel) {
  const data = await digits();
  const content = make("div");
  /** @type {Record<string, Promise<HTMLElement>>} contents by the name of their autoencoder */
  const contents = {};
  const error = make("p", { class: "error", role: "alert" });
  const select = choice({
    text: "autoencoder",
    choices: [
      ["dense", "dense autoencoder"],
      ["conv", "convolutional autoencoder"],
    ],
    value: recall("autoencoder", "dense") === "conv" ? "conv" : "dense",
    change: (value) => {
      keep("autoencoder", value);
      fill().catch((reason) => (error.textContent = `${say("failed")} ${reason}`));
    },
  });
  await fill();
  panel.append(make("div", { class: "row" }, select.element), error, content);

  /** Show the autoencoder that is chosen. */
  async function fill() {
    const name = select.select.value === "conv" ? "conv" : "dense";
    contents[name] ??= Promise.all([trained(name), placesOf(name)]).then(([network, places]) =>
      contentOf(network, places, data),
    );
    const made = await contents[name].catch((reason) => {
      delete contents[name];
      throw reason;
    });
    if (name !== select.select.value) return; // another was chosen meanwhile
    content.replaceChildren(made);
    labelled(panel); // the language may have been switched while it was not shown
    made.dispatchEvent(new Event("shown"));
    error.textContent = "";
  }
}

/**
 * @param {import("../engine/network.js").Network} network
 * @param {Float32Array} places of the test images in the plane
 * @param {import("../app/data.js").Digits} data
 */
function contentOf(network, places, data) {
  const at = network.layers.findIndex((layer) => layer.name === "code");
  const layer = network.layers[at];
  const size = layer.output.size;
  const count = data.testLabels.length;
  const codes = new Float32Array(count * size);
  for (let i = 0; i < count; i++) {
    network.forward(imageOf(data.test, i));
    codes.set(layer.output.values, i * size);
  }
  const largest = new Float32Array(size); // of each number, over all test images
  codes.forEach((value, i) => (largest[i % size] = Math.max(largest[i % size], value)));

  /** @param {number} index */
  const codeOf = (index) => codes.slice(index * size, (index + 1) * size);
  const recalled = () => [Math.round(recallNumber("first", 0, 0, count - 1)), Math.round(recallNumber("second", 1, 0, count - 1))];
  let [first, second] = recalled();
  let code = codeOf(first);
  const shown = new Float32Array(PIXELS);

  const original = make("canvas", { class: "pixels large", role: "img", label: "original" });
  const decoded = make("canvas", { class: "pixels large", role: "img", label: "decoded" });
  const caption = make("figcaption");
  const change = () => show("pulled");
  const numbers = layer.shape[0] === 1 ? barsOf(largest, change) : mapsOf(layer.shape, largest, change);

  let isOriginal = true; // whether the code is still that of the image
  /** Decode the present code. @param {"original" | "whole" | "pulled"} what where the code comes from */
  function show(what) {
    isOriginal = what === "original";
    if (what === "pulled") code = numbers.code();
    else numbers.set(code);
    const logits = network.forward(code, { from: at + 1 });
    for (let i = 0; i < PIXELS; i++) shown[i] = 1 / (1 + Math.exp(-logits[i]));
    drawGrey(decoded, shown, SIDE);
    write();
  }

  /** Write the numbers under the image. */
  function write() {
    const value = psnr(imageOf(data.test, first), shown).toFixed(1);
    caption.textContent = say(isOriginal ? "decoded from" : "decoded changed", { size, value });
  }
  onLanguage(write);

  /** @param {number} index */
  function pickFirst(index) {
    first = index;
    keep("first", index);
    firstStrip.mark(index);
    drawGrey(original, imageOf(data.test, index), SIDE);
    code = codeOf(index);
    walk.set(0);
    show("original");
  }
  /** @param {number} index */
  function pickSecond(index) {
    second = index;
    keep("second", index);
    secondStrip.mark(index);
    if (Number(walk.input.value) > 0) between(Number(walk.input.value));
  }
  /** @param {number} part of the way from the first image to the second */
  function between(part) {
    const [from, to] = [codeOf(first), codeOf(second)];
    code = from.map((value, i) => (1 - part) * value + part * to[i]);
    show("whole");
  }
  /**
   * Decode a place of the map: the mean code of its nearest images, nearer ones weighing more.
   * @param {HTMLCanvasElement} canvas receives the image
   * @param {number} x
   * @param {number} y
   */
  function decodePlace(canvas, x, y) {
    const near = Array.from({ length: count }, (_, i) => ({
      i,
      distance: Math.hypot(places[2 * i] - x, places[2 * i + 1] - y),
    }))
      .sort((a, b) => a.distance - b.distance)
      .slice(0, NEAREST);
    const total = near.reduce((sum, { distance }) => sum + 1 / (distance + 1e-4), 0);
    code = new Float32Array(size);
    for (const { i, distance } of near) {
      const weight = 1 / (distance + 1e-4) / total;
      for (let k = 0; k < size; k++) code[k] += weight * codes[i * size + k];
    }
    show("whole");
    drawGrey(canvas, shown, SIDE);
  }

  const indices = [...Array(SHOWN).keys()];
  const firstStrip = strip(data.test, data.testLabels, indices, pickFirst);
  const secondStrip = strip(data.test, data.testLabels, indices, pickSecond, "second images");
  const percent = (/** @type {number} */ value) => `${Math.round(100 * value)}%`;
  const walk = slider({ text: "way", min: 0, max: 1, step: 0.01, value: 0, show: percent, change: between });
  const map = scatter(places, {
    labels: data.testLabels,
    show: (canvas, index) => drawGrey(canvas, imageOf(data.test, index), SIDE),
    name: (index) => say("test image", { label: data.testLabels[index], index }),
    decode: decodePlace,
  });
  pickSecond(second);
  pickFirst(first);
  const element = make(
    "div",
    {},
    make(
      "div",
      { class: "row" },
      make("figure", {}, original, make("figcaption", { text: "original" })),
      make("figure", {}, decoded, caption),
      make("div", { class: "card" }, make("h3", { text: "code" }), numbers.element),
    ),
    make("h3", { text: "choose image" }),
    firstStrip.element,
    make("h3", { text: "walk" }),
    make("p", { class: "lead", text: "walk explained" }),
    secondStrip.element,
    walk.element,
    make("h3", { text: "map of codes" }),
    make("p", { class: "lead", text: "map explained" }),
    map,
  );
  // The images that the link names, which may have been chosen beside another autoencoder.
  element.addEventListener("shown", () => {
    const [one, other] = recalled();
    if (other !== second) pickSecond(other);
    if (one !== first) pickFirst(one);
  });
  return element;
}
