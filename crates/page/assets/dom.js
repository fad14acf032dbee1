// Elements. What peers send reaches the page through here alone, as text nodes and attributes of
// known names: nothing is ever read as markup.

/** Attributes that are set as they are. Others of `h` are refused, so that none is a script. */
const ATTRIBUTES = new Set([
  'class', 'id', 'href', 'title', 'type', 'name', 'value', 'placeholder', 'for', 'role', 'tabindex', 'rows', 'min',
  'max', 'step', 'autocomplete', 'spellcheck', 'inputmode', 'maxlength', 'datetime', 'colspan', 'scope', 'open',
  'disabled', 'checked', 'selected', 'required', 'autofocus', 'pattern', 'download', 'low', 'high', 'optimum', 'hidden',
  'rel', 'target', 'width', 'height',
]);
const SVG_ATTRIBUTES = new Set([
  'viewBox', 'preserveAspectRatio', 'points', 'd', 'x', 'y', 'x1', 'x2', 'y1', 'y2', 'cx', 'cy', 'r', 'width',
  'height', 'class', 'role', 'text-anchor', 'vector-effect', 'focusable',
]);

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

function attribute(element, name, value, allowed) {
  if (value === null || value === undefined || value === false) return;
  if (!allowed.has(name) && !/^(aria|data)-[a-z-]+$/.test(name)) throw new Error(`attribute ${name}`);
  // Only places of this page: an address that a peer has a part in cannot become a script.
  if (name === 'href' && !String(value).startsWith('#')) throw new Error(`address ${value}`);
  element.setAttribute(name, value === true ? '' : String(value));
}

/** An element: `h('p', { class: 'x', onclick: f }, 'text', element)`. */
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name.startsWith('on') && typeof value === 'function') element.addEventListener(name.slice(2), value);
    else attribute(element, name, value, ATTRIBUTES);
  }
  return append(element, children);
}

/** An SVG element. */
export function svg(tag, properties, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(properties ?? {})) attribute(element, name, value, SVG_ATTRIBUTES);
  return append(element, children);
}

/** Puts these in the place of what an element has. */
export function fill(element, ...children) {
  element.replaceChildren();
  return append(element, children);
}

/** Changes the text of an element, if it is another one: readers of the screen hear no repetition. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A list of terms; pairs whose value is null are left out. */
export function terms(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== '');
  return h('dl', { class: 'terms' }, known.map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value))));
}
