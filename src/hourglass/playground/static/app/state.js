// @ts-check
/** The state that a link holds: everything after the `#` of the address. */

const values = new URLSearchParams(location.hash.slice(1));

/**
 * A value of the link.
 * @param {string} name
 * @param {string} otherwise where the link does not say
 */
export const recall = (name, otherwise) => values.get(name) ?? otherwise;

/**
 * A number of the link, within limits.
 * @param {string} name
 * @param {number} otherwise where the link has none
 * @param {number} min
 * @param {number} max
 */
export function recallNumber(name, otherwise, min, max) {
  const value = Number.parseFloat(values.get(name) ?? "");
  return Number.isFinite(value) ? Math.min(max, Math.max(min, value)) : otherwise;
}

/**
 * Keep a value in the link.
 * @param {string} name
 * @param {string | number} value
 */
export function keep(name, value) {
  values.set(name, String(value));
  history.replaceState(null, "", `#${values}`);
}
