// Elements are made here and nowhere else, and what they say is always text: no markup is ever parsed.

/**
 * An element with attributes and children. `on` has listeners, `class` a text; an attribute that is null, undefined or
 * false is left out, one that is true is empty. Children are nodes, texts, or lists of them; null and false are nothing.
 */
export function h(tag, attributes = {}, ...children) {
  return build(document.createElement(tag), attributes, children);
}

/** The same for a drawing. */
export function s(tag, attributes = {}, ...children) {
  return build(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'on') {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? '' : String(value));
    }
  }
  element.append(...flat(children));
  return element;
}

function flat(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : String(child)));
}

/** Puts children in the place of those that an element has. */
export function fill(element, ...children) {
  element.replaceChildren(...flat(children));
  return element;
}

/** Tells those who listen to the page what has come of something. */
export function say(text) {
  // An element of its own each time, so that the same words are said again.
  document.getElementById('said').replaceChildren(h('p', {}, text));
}

/** A section with a heading. */
export function section(title, ...children) {
  return h('section', { class: 'panel' }, h('h2', {}, title), children);
}

/** A note about what is not there and how it would come. */
export function empty(...children) {
  return h('div', { class: 'empty' }, children);
}

/** What went wrong, in the words of the API. */
export function fault(error) {
  return h('div', { class: 'note bad', role: 'alert' }, h('strong', {}, error.title ?? 'That did not work'), ' ', error.message);
}

/** Facts in pairs: `[name, value]`; those without a value are left out. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== '');
  return h('dl', { class: 'facts' }, shown.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
}
