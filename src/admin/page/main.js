// Begins here: the frame around the views, which view an address means, and what holds for all of them.

import { token } from './api.js';
import { h } from './dom.js';
import { age, span } from './format.js';
import { here, to } from './route.js';
import { keep, known, watch } from './store.js';
import { config } from './views/config.js';
import { find } from './views/find.js';
import { invocation } from './views/invocation.js';
import { tokenForm } from './views/token.js';
import { webhook } from './views/webhook.js';
import { webhooks } from './views/webhooks.js';

const AGE_MS = 1000;
const VIEWS = new Map(Object.entries({ webhooks: webhook, invocations: invocation, find, config }));

const main = document.getElementById('main');
const connection = document.getElementById('connection');
let view = new AbortController();
let life = new AbortController();
let locked = false;

/** Shows the view of the address. */
function open(moved) {
  if (locked) return;
  view.abort();
  view = new AbortController();
  const [name, ...parts] = here();
  if (name !== 'find') document.getElementById('find-text').value = '';
  const shown = name && parts.length + (name === 'config' ? 1 : 0) > 0 ? VIEWS.get(name) : null;
  for (const link of document.querySelectorAll('[data-nav]')) {
    const current = link.dataset.nav === (name === 'config' ? 'config' : name === 'find' ? '' : 'webhooks');
    if (current) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  (shown ?? (name === 'find' ? find : webhooks))(main, parts, view.signal);
  if (!moved) return;
  scrollTo(0, 0);
  main.querySelector('h1')?.focus({ preventScroll: true });
}

let shownState = '';
function connected(state, words) {
  if (shownState === state + words) return;
  shownState = state + words;
  connection.className = `connection ${state}`;
  connection.replaceChildren(h('span', { class: 'lamp', 'aria-hidden': true }), words);
}

function lock(refused) {
  locked = true;
  view.abort();
  life.abort();
  connected('off', 'Token needed');
  tokenForm(main, refused, () => begin(true));
}

function begin(tried) {
  life.abort();
  life = new AbortController();
  let opened = !tried;
  keep(life.signal, () => {
    connected('on', 'Live');
    if (opened) return;
    opened = true;
    locked = false;
    open(true);
  }, (error, waitMs) => {
    if (error.status === 401) {
      const given = token.get() !== null;
      token.forget();
      lock(given);
      return false;
    }
    connected('off', `Connection lost, trying again in ${span(waitMs / 1000)}`);
    return true;
  });
}

document.getElementById('find').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = document.getElementById('find-text').value.trim();
  const target = to('find', text);
  if (!text) return;
  if (location.hash === target) open(true);
  else location.hash = target;
});
document.getElementById('skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener('hashchange', () => open(true));
// A refused edit is told on every view.
watch((what) => {
  if (what === 'config') document.getElementById('config-mark').hidden = known.config?.last_look?.result !== 'refused';
}, new AbortController().signal);
setInterval(age, AGE_MS);
begin(false);
open(false);
