// Building and updating elements; text goes in as text and never as HTML.

/** An element with attributes (`onclick` and the like become listeners) and children. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else set(element, name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets an attribute where it changed; `null` and `false` take it away. */
export function set(element, name, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
    return;
  }
  const text = value === true ? '' : String(value);
  if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

/** Sets the text where it changed. */
export function put(element, text) {
  const { firstChild: only } = element;
  // A word that is replaced by another stays where it is: nothing is laid out but the word.
  const isWord = only && only === element.lastChild && only.nodeType === Node.TEXT_NODE;
  if (isWord && text !== '') {
    if (only.data !== text) only.data = text;
  } else if (element.textContent !== text) element.textContent = text;
}

/**
 * Makes `parent` hold exactly these children in this order. Few are moved: what goes up or down goes
 * alone, and what has the focus stays, for moving would take it away.
 */
export function arrange(parent, children) {
  const wanted = new Set(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  children.forEach((child, index) => {
    const there = parent.children[index];
    if (there === child) return;
    const goesDown = there && there.nextElementSibling === child;
    if (goesDown && !there.contains(document.activeElement)) there.remove();
    else parent.insertBefore(child, there || null);
  });
}

/** Hides what somebody pressed, or shows it again: the focus is with `stand` meanwhile, and not lost. */
export function giveWay(element, isHidden, stand) {
  const { activeElement: active } = document;
  set(element, 'hidden', isHidden);
  if (isHidden && active === element) stand.focus();
  if (!isHidden && active === stand) element.focus();
}
