// What somebody chose for this browser. Where it keeps nothing (it is full) a choice holds
// until the page is left: it is never as if nobody had pressed anything.

const held = new Map();

/** The text that was kept under a name; `null` where there is none. */
export function kept(name) {
  return held.get(name) ?? localStorage.getItem(name);
}

export function keep(name, text) {
  held.delete(name);
  try {
    localStorage.setItem(name, text);
  } catch (error) {
    held.set(name, text);
    // What was chosen before that is not what they come back to.
    localStorage.removeItem(name);
    console.warn(error);
  }
}
