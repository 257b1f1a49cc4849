// @ts-check
/** Replays in the engine what Python computed: the same weights and batches. Runs in Node and in a browser. */

/**
 * @param {string} name of an experiment
 * @param {(file: string) => Promise<ArrayBuffer>} read reads a file of the fixtures
 * @param {string} page address of the page's folder, which has the engine's modules
 * @param {WebAssembly.Module} module
 * @param {boolean} double whether the module computes with 64 bits
 * @param {number} steps how many steps are trained
 * @returns {Promise<Record<string, number>>} errors by name: relative to the loss, or to the tensor's largest value
 */
export async function replay(name, read, page, module, double, steps) {
  const { Engine } = await import(`${page}/engine/engine.js`);
  const { Adam, GradientDescent, Network } = await import(`${page}/engine/network.js`);
  const networks = await import(`${page}/engine/networks.js`);
  const plan = JSON.parse(new TextDecoder().decode(await read(`${name}.json`)));
  /** @param {string} key */
  const numbers = async (key) => new Float64Array(await read(`${name}-${key}.bin`));
  const layers = networks[plan.network](...plan.options);
  const limit = Math.max(plan.batch_size, plan.tested);
  const network = new Network(new Engine(module, double), [28, 28, 1], layers, { limit, trained: true });
  network.setParameters(await numbers("weights"));
  const Optimiser = plan.optimiser === "sgd" ? GradientDescent : Adam;
  const optimiser = new Optimiser(network, plan.learning_rate);
  const [inputs, targets, losses] = [await numbers("inputs"), await numbers("targets"), await numbers("losses")];
  /** @param {Float64Array} values @param {number} step */
  const batch = (values, step) => {
    const size = values.length / plan.steps;
    return values.subarray(step * size, (step + 1) * size);
  };

  /** @type {Record<string, number>} */
  const errors = { loss: 0, gradients: 0 };
  for (let step = 0; step < steps; step++) {
    const loss = network.gradients(batch(inputs, step), batch(targets, step), plan.loss);
    errors.loss = Math.max(errors.loss, Math.abs(loss / losses[step] - 1));
    if (step === 0) {
      const expected = await numbers("outputs");
      errors.outputs = difference(network.last.output.values.subarray(0, expected.length), expected);
      const gradients = await numbers("gradients");
      let at = 0;
      for (const { gradient } of network.parameters) {
        const wanted = gradients.subarray(at, (at += gradient.size));
        errors.gradients = Math.max(errors.gradients, difference(gradient.values, wanted));
      }
    }
    // By the moments of the batch, which are not stored this time: the trained network would show it.
    if (step === 0) {
      const expected = await numbers("outputs");
      errors.batch = difference(network.forward(batch(inputs, 0), { mode: "batch" }), expected);
    }
    optimiser.step();
  }
  if (steps === plan.steps) {
    const found = network.forward(await numbers("test-inputs"));
    errors.trained = difference(found, await numbers("test-outputs"));
  }
  return errors;
}

/**
 * The largest difference, relative to the largest value that is expected.
 * @param {ArrayLike<number>} found
 * @param {ArrayLike<number>} wanted
 */
function difference(found, wanted) {
  if (found.length !== wanted.length) return Infinity;
  let [error, largest] = [0, 0];
  for (let i = 0; i < wanted.length; i++) {
    // A number that is none makes the error none too, which no bound allows.
    error = error >= Math.abs(found[i] - wanted[i]) ? error : Math.abs(found[i] - wanted[i]);
    largest = Math.max(largest, Math.abs(wanted[i]));
  }
  return error / largest;
}
