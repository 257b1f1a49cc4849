// @ts-check
/** One's own images: the map of their codes, the worst reconstructions, and what each number of the code does. */

import { make } from "../app/dom.js";
import { onLanguage, say } from "../app/language.js";
import { scatter } from "./scatter.js";

const SHOWN = 24; // images, or numbers of the code, that are shown at once

/**
 * @typedef {object} Inspection
 * @property {string} title of the model
 * @property {[number, number]} tile height and width of an image in a sheet
 * @property {number} columns images in a row of a sheet
 * @property {string[]} names
 * @property {number[] | null} labels
 * @property {Array<[number, number]>} places
 * @property {number[][]} neighbours
 * @property {number[]} errors mean squared errors
 * @property {number} largest_error of a pixel, which is white on the maps of errors
 * @property {number[]} numbers indices of the numbers of the code that are shown
 * @property {number} code_size
 * @property {number[]} quantiles
 */

/** @param {string} name of a file of the inspection @returns {Promise<Response>} */
async function fetchFile(name) {
  const response = await fetch(new URL(`../data/${name}`, import.meta.url));
  if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
  return response;
}

/** @param {HTMLElement} panel */
export async function build(panel) {
  const sheet = async (/** @type {string} */ name) => createImageBitmap(await (await fetchFile(`${name}.png`)).blob());
  const [response, originals, restored, errors, numbers] = await Promise.all([
    fetchFile("inspect.json"),
    sheet("originals"),
    sheet("restored"),
    sheet("errors"),
    sheet("numbers"),
  ]);
  const found = /** @type {Inspection} */ (await response.json());
  const count = found.names.length;
  const [height, width] = found.tile;

  /** Draw one image of a sheet. @param {HTMLCanvasElement} canvas @param {ImageBitmap} from @param {number} index */
  function draw(canvas, from, index) {
    [canvas.width, canvas.height] = [width, height];
    const place = [(index % found.columns) * width, Math.floor(index / found.columns) * height];
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.drawImage(from, place[0], place[1], width, height, 0, 0, width, height);
  }
  /** @param {ImageBitmap} from @param {number} index @param {Record<string, any>} [options] */
  function image(from, index, options = {}) {
    const canvas = make("canvas", { class: "pixels", ...options });
    draw(canvas, from, index);
    return canvas;
  }
  const written = (/** @type {number} */ error) => error.toPrecision(3);
  const mean = found.errors.reduce((sum, error) => sum + error, 0) / count;

  // The image that is looked at.
  const parts = [originals, restored, errors].map((from, i) => {
    const label = ["original", "decoded", "error map"][i];
    const canvas = make("canvas", { class: "pixels large", role: "img", label });
    return { from, canvas, element: make("figure", {}, canvas, make("figcaption", { text: label })) };
  });
  const title = make("h3");
  const near = make("div", { class: "images", role: "group", label: "nearest" });
  let chosen = 0;
  /** @param {number} index */
  function choose(index) {
    chosen = index;
    for (const { from, canvas } of parts) draw(canvas, from, index);
    near.replaceChildren(...found.neighbours[index].map((other) => button(other, image(originals, other))));
    write();
  }
  /** @param {number} index @param {...Node} content */
  function button(index, ...content) {
    const element = make("button", { type: "button", onclick: () => choose(index) }, ...content);
    element.dataset.index = String(index);
    label(element);
    return element;
  }
  /** @param {HTMLElement} element */
  function label(element) {
    element.title = nameOf(Number(element.dataset.index));
    element.setAttribute("aria-label", element.title);
  }
  onLanguage(() => panel.querySelectorAll("button[data-index]").forEach((each) => label(/** @type {HTMLElement} */ (each))));
  /** @param {number} index */
  const nameOf = (index) => say("inspected image", { name: found.names[index], error: written(found.errors[index]) });

  // The worst reconstructions.
  const order = found.errors.map((_, i) => i).sort((a, b) => found.errors[b] - found.errors[a]);
  const worst = make("div", { class: "images rows" });
  const more = pages(order, worst, (index) =>
    button(index, image(originals, index), image(restored, index), image(errors, index)),
  );

  // What each number of the code does.
  const work = make("div", { class: "images rows" });
  const moreNumbers = pages(
    found.numbers.map((_, i) => i),
    work,
    (row) => {
      const images = found.quantiles.map((_, k) => image(numbers, row * found.quantiles.length + k));
      const name = make("figcaption");
      const label = () => (name.textContent = say("number", { i: found.numbers[row] + 1 }));
      label();
      onLanguage(label);
      return make("figure", {}, make("div", { class: "strip" }, ...images), name);
    },
  );

  const summary = make("p");
  const explained = make("p", { class: "lead" });
  /** Write the texts with numbers. */
  function write() {
    title.textContent = nameOf(chosen);
    summary.textContent = say("inspected", { count, title: found.title, mean: written(mean) });
    explained.textContent = say("numbers explained", { shown: found.numbers.length, size: found.code_size });
  }
  onLanguage(write);
  const map = scatter(new Float32Array(found.places.flat()), {
    labels: found.labels,
    show: (canvas, index) => draw(canvas, originals, index),
    name: nameOf,
    choose,
  });
  choose(order[0]);
  panel.append(
    summary,
    make("p", {}, make("a", { href: "scores.csv", download: true, text: "scores as table" })),
    title,
    make("div", { class: "row" }, ...parts.map(({ element }) => element)),
    make("h3", { text: "nearest" }),
    near,
    make("h3", { text: "worst" }),
    make("p", { class: "lead", text: "worst explained" }),
    worst,
    more,
    make("h3", { text: "map of codes" }),
    make("p", { class: "lead", text: "inspected map explained" }),
    map,
    make("h3", { text: "what numbers do" }),
    explained,
    work,
    moreNumbers,
  );
}

/**
 * Show the first of many elements, and more of them when a button is pressed.
 * @param {number[]} indices
 * @param {HTMLElement} place
 * @param {(index: number) => HTMLElement} element
 */
function pages(indices, place, element) {
  let shown = 0;
  const button = make("button", { type: "button", text: "more", onclick: show });
  /** Show as many again. */
  function show() {
    place.append(...indices.slice(shown, shown + SHOWN).map(element));
    shown += SHOWN;
    button.hidden = shown >= indices.length;
  }
  show();
  return button;
}
