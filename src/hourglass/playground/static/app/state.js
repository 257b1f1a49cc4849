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

/** @type {ReturnType<typeof setTimeout> | undefined} */
let writing;
let written = location.hash; // what the address has, unless somebody has changed it

/**
 * Keep a value in the link. The address is written a little later, since browsers refuse to write it many times a second.
 * @param {string} name
 * @param {string | number} value
 */
export function keep(name, value) {
  values.set(name, String(value));
  clearTimeout(writing);
  writing = setTimeout(() => {
    // Some browsers have no address to write, as in a frame of another page.
    try {
      if (location.hash !== written) return; // a link has been pasted
      history.replaceState(null, "", `#${values}`);
      written = location.hash;
    } catch (error) {
      console.warn(error);
    }
  }, 200);
}

// A link that is pasted into the address of the open page.
window.addEventListener("hashchange", () => {
  clearTimeout(writing);
  location.reload();
});
