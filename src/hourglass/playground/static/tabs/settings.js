// @ts-check
/** The settings of the networks that are trained side by side, and the presets. */

import { choice, make, slider } from "../app/dom.js";
import { keep, recall, recallNumber } from "../app/state.js";
/** @typedef {import("../app/training.js").Settings} Settings */
/** @typedef {Omit<Settings, "norm"> & {steps: number}} Choice settings, and the steps of a run */

/** @type {Choice} the lesson's 20 layers */
const LESSON = {
  layers: 20,
  activation: "relu",
  start: "glorot",
  deviation: 0.05,
  optimiser: "adam",
  learningRate: 0.002,
  batchSize: 64,
  momentum: 0.99,
  seed: 0,
  steps: 800,
};

/** @type {Record<string, Partial<Choice>>} what presets change, by name */
export const PRESETS = {
  "20 layers": {},
  "learning rate 1": { optimiser: "sgd", learningRate: 1, steps: 200, momentum: 0.9 },
  "momentum 0.99 after 100 steps": { steps: 100 },
  "a batch of 2": { batchSize: 2, momentum: 0.9, steps: 400 },
};

const BATCHES = [2, 4, 8, 16, 32, 64, 128];

/**
 * Controls of the settings.
 * @param {() => void} changed called when training has to start anew
 * @param {(learningRate: number) => void} changedRate called when the learning rate alone has changed
 */
export function settingsOf(changed, changedRate) {
  /** @type {Choice} */
  const now = { ...LESSON };
  for (const name of /** @type {const} */ (["layers", "deviation", "learningRate", "batchSize", "momentum", "steps"]))
    now[name] = recallNumber(name, LESSON[name], ...LIMITS[name]);
  now.layers = Math.round(now.layers);
  now.learningRate = rateAt(Math.log10(now.learningRate));
  now.batchSize = BATCHES.find((size) => size >= now.batchSize) ?? 64;
  now.steps = Math.round(now.steps);
  for (const [name, allowed] of Object.entries(CHOICES)) {
    const value = recall(name, "");
    if (allowed.includes(value)) Object.assign(now, { [name]: value });
  }

  /** @param {Partial<Choice>} change */
  const set = (change) => {
    Object.assign(now, change);
    for (const name of Object.keys(change))
      if (name !== "seed") keep(name, now[/** @type {keyof Choice} */ (name)]);
  };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let starting;
  /** Start now, if a changed setting waits for it. */
  const flush = () => {
    if (starting === undefined) return;
    clearTimeout(starting);
    starting = undefined;
    changed();
  };
  /** @param {keyof Choice} name @returns {(value: any) => void} */
  const setter = (name) => (value) => {
    set({ [name]: value });
    // Once for all positions that a slider passes.
    clearTimeout(starting);
    starting = setTimeout(flush, 200);
  };

  const rate = slider({
    text: "learning rate",
    min: -4,
    max: 0.5,
    step: 0.1,
    value: Math.log10(now.learningRate),
    show: (value) => String(rateAt(value)),
    change: (value) => {
      set({ learningRate: rateAt(value) });
      changedRate(now.learningRate);
    },
  });
  const layers = slider({ text: "layers", min: 5, max: 20, step: 1, value: now.layers, change: setter("layers") });
  const batch = slider({
    text: "batch size",
    min: 0,
    max: BATCHES.length - 1,
    step: 1,
    value: BATCHES.indexOf(now.batchSize),
    show: (value) => String(BATCHES[value]),
    change: (value) => setter("batchSize")(BATCHES[value]),
  });
  const momentum = slider({
    text: "momentum",
    min: 0,
    max: 0.999,
    step: 0.001,
    value: now.momentum,
    show: (value) => value.toFixed(3),
    change: setter("momentum"),
  });
  const deviation = slider({
    text: "deviation",
    min: 0.01,
    max: 0.5,
    step: 0.01,
    value: now.deviation,
    show: (value) => value.toFixed(2),
    change: setter("deviation"),
  });
  /** @param {"activation" | "start" | "optimiser"} name */
  const chosen = (name) =>
    choice({
      text: name,
      choices: CHOICES[name].map((value) => [value, `${name} ${value}`]),
      value: now[name],
      change: (value) => {
        deviation.element.hidden = name === "start" ? value !== "deviation" : deviation.element.hidden;
        setter(name)(value);
      },
    });
  const [activation, start, optimiser] = [chosen("activation"), chosen("start"), chosen("optimiser")];
  deviation.element.hidden = now.start !== "deviation";

  /** Show the present settings. */
  function show() {
    rate.set(Math.log10(now.learningRate));
    layers.set(now.layers);
    batch.set(BATCHES.indexOf(now.batchSize));
    momentum.set(now.momentum);
    deviation.set(now.deviation);
    deviation.element.hidden = now.start !== "deviation";
    activation.select.value = now.activation;
    start.select.value = now.start;
    optimiser.select.value = now.optimiser;
  }

  const presets = make(
    "div",
    { class: "row tight", role: "group", label: "presets" },
    make("span", { text: "presets" }),
    ...Object.entries(PRESETS).map(([name, change]) =>
      make("button", {
        type: "button",
        text: `preset ${name}`,
        onclick: () => {
          set({ ...LESSON, ...change });
          show();
          clearTimeout(starting);
          starting = undefined;
          changed();
        },
      }),
    ),
  );
  const controls = [layers, rate, batch, momentum].map(({ element }) => element);
  const menus = [optimiser, start, activation].map(({ element }) => element);
  const element = make("div", { class: "row card" }, ...controls, ...menus, deviation.element);
  return {
    presets,
    element,
    flush,
    /** @returns {Omit<Settings, "norm">} */
    values: () => ({ ...now }),
    steps: () => now.steps,
    /** Whether the recorded runs have these settings. */
    isRecorded: () =>
      Object.entries(LESSON).every(
        ([name, value]) => ["steps", "seed", "deviation"].includes(name) || now[/** @type {keyof Choice} */ (name)] === value,
      ),
  };
}

/**
 * The learning rate of a place of the slider, which has ten to a power of ten.
 * @param {number} power
 */
const rateAt = (power) => Number((10 ** (Math.round(10 * power) / 10)).toPrecision(2));

/** @type {Record<string, [number, number]>} */
const LIMITS = {
  layers: [5, 20],
  deviation: [0.01, 0.5],
  learningRate: [1e-4, 3.2],
  batchSize: [2, 128],
  momentum: [0, 0.999],
  steps: [1, 2000],
};

/** @type {Record<"activation" | "start" | "optimiser", string[]>} */
const CHOICES = {
  activation: ["relu", "sigmoid", "tanh"],
  start: ["glorot", "he", "deviation"],
  optimiser: ["adam", "sgd"],
};
