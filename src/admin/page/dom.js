// Elements are made here and nowhere else, and what they say is always text: no markup is ever parsed.

/**
 * An element with attributes and children. `on` has listeners, `class` a text; an attribute that is null, undefined or
 * false is left out, one that is true is empty, or `true` where ARIA wants the word. Children are nodes, texts, or lists of them; null and false are nothing.
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
      element.setAttribute(name, value === true && !name.startsWith('aria-') ? '' : String(value));
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
  drawn.delete(element);
  element.replaceChildren(...flat(children));
  return element;
}

const drawn = new WeakMap();
const FOCUSABLE = 'a, button, input, select, summary, h1, [tabindex]';

/** What an element within `root` is found by after `root` was drawn again: `data-key` where its address is not its own. */
function namesOf(root, selector) {
  const seen = new Map();
  return new Map([...root.querySelectorAll(selector)].map((element) => {
    const of = element.tagName === 'DETAILS' ? element.firstElementChild : element;
    const name = of.dataset.key || of.id || of.getAttribute('href') || of.getAttribute('aria-label') || of.textContent;
    seen.set(name, (seen.get(name) ?? 0) + 1);
    return [`${name} ${seen.get(name)}`, element];
  }));
}

/** Fills an element with `make(...values)` where a value is another than the last time. The focus stays near, and what is open stays so. */
export function refill(element, make, ...values) {
  const key = JSON.stringify(values);
  if (drawn.get(element) === key) return;
  const open = [...namesOf(element, 'details')].map(([name, details]) => [name, details.open]);
  const before = [...namesOf(element, FOCUSABLE)];
  const focused = before.findIndex(([, one]) => one === document.activeElement);
  fill(element, make(...values));
  drawn.set(element, key);
  const folds = namesOf(element, 'details');
  for (const [name, wasOpen] of open) {
    if (!folds.has(name) || folds.get(name).open === wasOpen) continue;
    folds.get(name).open = wasOpen;
    // The browser tells it later; what is made on opening may have the focus.
    folds.get(name).dispatchEvent(new Event('toggle'));
  }
  if (focused < 0) return;
  const after = namesOf(element, FOCUSABLE);
  const rest = [...after.values()];
  const near = after.get(before[focused][0]) ?? rest[Math.min(focused, rest.length - 1)] ?? document.querySelector('#main h1');
  near?.focus({ preventScroll: true });
}

/** Gives an element these children. Those that it has stay where they are, with their focus. */
export function arrange(element, children) {
  const kept = new Set(children);
  for (const child of [...element.children]) if (!kept.has(child)) child.remove();
  children.forEach((child, at) => { if (element.children[at] !== child) element.insertBefore(child, element.children[at] ?? null); });
}

/** Tells those who listen to the page what has come of something. */
export function say(text) {
  // An element of its own each time, so that the same words are said again.
  document.getElementById('said').replaceChildren(h('p', {}, text));
}

/** Shows what came of something on a view, or above the view that is open by now, with what it was about. */
export function tell(place, signal, about, note) {
  if (!signal.aborted) {
    fill(place, note);
    return;
  }
  const told = document.getElementById('told');
  const close = h('button', { type: 'button', on: { click: () => { fill(told); document.getElementById('main').focus(); } } }, 'Close');
  fill(told, h('div', { class: note.className }, h('div', {}, h('strong', {}, about), ': ', [...note.childNodes]), close));
  say(told.firstElementChild.firstElementChild.textContent);
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

/** Shows what went wrong, once for as long as it is the same; nothing where `error` is null. */
export function trouble(place, error) {
  refill(place, (title, message) => (message === undefined ? null : fault({ title, message })), error?.title, error?.message);
}

/** Facts in pairs: `[name, value]`; those without a value are left out. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== '');
  return h('dl', { class: 'facts' }, shown.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
}
