// @ts-check
/** The maps of every layer of a network, and the kernel of a map when it is touched. */

import { make } from "../app/dom.js";
import { drawGrey, drawSigned, sizeOfLargest } from "../app/images.js";
import { onLanguage, say } from "../app/language.js";
import { Convolution } from "../engine/layers.js";
/** @typedef {import("../engine/layers.js").Layer} Layer */

/**
 * Show the maps of the layers that have a name, for the image that was computed last.
 * @param {import("../engine/network.js").Network} network
 */
export function mapsOf(network) {
  const kernel = make("div", { class: "card", "aria-live": "polite" }, make("p", { text: "touch a map" }));
  /** @type {Array<() => void>} */
  const drawn = [];
  const rows = network.layers.flatMap((layer, place) => {
    if (!layer.name) return [];
    const [height, width, channels] = layer.shape;
    const title = make("h3");
    const canvases = Array.from({ length: channels }, () => make("canvas", { class: "pixels" }));
    const buttons = canvases.map((canvas, channel) =>
      make("button", { type: "button", onclick: () => showKernel(layer, place, channel) }, canvas),
    );
    const name = () => {
      title.textContent = `${nameOf(layer)}: ${say("maps", { channels, height, width })}`;
      buttons.forEach((button, i) => button.setAttribute("aria-label", say("map", { name: nameOf(layer), i: i + 1 })));
    };
    name();
    onLanguage(name);
    drawn.push(() => canvases.forEach((canvas, channel) => drawMap(canvas, layer, channel)));
    return [make("div", {}, title, make("div", { class: "images maps" }, ...buttons))];
  });

  /** @type {[Layer, number, number] | null} the map that was chosen last: layer, its place, channel */
  let chosen = null;
  /** @param {Layer} layer @param {number} place @param {number} channel */
  function showKernel(layer, place, channel) {
    chosen = [layer, place, channel];
    const conv = network.layers.slice(0, place + 1).findLast((each) => each instanceof Convolution);
    if (!(conv instanceof Convolution) || !conv.kernel) return;
    const [size, , inputs, outputs] = conv.kernel.shape;
    const all = conv.kernel.numbers.values;
    const parts = Array.from({ length: inputs }, (_, input) =>
      Array.from({ length: size * size }, (_, tap) => all[(tap * inputs + input) * outputs + channel]),
    );
    const largest = Math.max(...parts.map(sizeOfLargest));
    const canvases = parts.map((part) => {
      const canvas = make("canvas", { class: "pixels" });
      drawSigned(canvas, part, size, largest);
      return canvas;
    });
    kernel.replaceChildren(
      make("h3", {}, say("kernel of", { name: nameOf(layer), i: channel + 1, inputs })),
      make("div", { class: "images kernels" }, ...canvases),
      make("p", { class: "lead" }, say("kernel colours", { largest: largest.toFixed(2) })),
    );
  }

  const details = make("details", {}, make("summary", { text: "all maps" }), kernel, ...rows);
  const update = () => {
    if (details.open) for (const each of drawn) each();
  };
  details.addEventListener("toggle", update);
  const again = () => {
    update();
    if (chosen) showKernel(...chosen);
  };
  onLanguage(again);
  document.addEventListener("theme", again);
  return { element: details, update };
}

/** @param {HTMLCanvasElement} canvas @param {Layer} layer @param {number} channel */
function drawMap(canvas, layer, channel) {
  const [height, width, channels] = layer.shape;
  const values = layer.output.values;
  const map = Float32Array.from({ length: height * width }, (_, i) => values[i * channels + channel]);
  if (layer instanceof Convolution) drawSigned(canvas, map, width);
  else drawGrey(canvas, map, width, 0, sizeOfLargest(map));
}

/** @param {Layer} layer */
function nameOf(layer) {
  const [kind, number] = layer.name.split(" ");
  return say(`layer ${kind}`, { number: number ?? "" }).trim();
}
