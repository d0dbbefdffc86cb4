// Asks before something is done that cannot be undone.

import { h } from '../dom.js';

/** Opens a dialog until it is closed or `signal` ends its view; gives what it was closed with. */
function ask(dialog, signal) {
  return new Promise((done) => {
    const leave = () => dialog.close('left');
    dialog.addEventListener('close', () => {
      signal.removeEventListener('abort', leave);
      dialog.remove();
      done(dialog.returnValue);
    });
    signal.addEventListener('abort', leave);
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Whether somebody said yes before the view was left. */
export async function confirm(title, text, yes, signal) {
  const dialog = h('dialog', { class: 'dialog', 'aria-labelledby': 'dialog-title', 'aria-describedby': 'dialog-text' },
    h('h2', { id: 'dialog-title' }, title),
    h('div', { id: 'dialog-text' }, text),
    h('p', { class: 'actions' },
      h('button', { type: 'button', on: { click: () => dialog.close('no') } }, 'Cancel'),
      h('button', { type: 'button', class: 'primary', on: { click: () => dialog.close('yes') } }, yes)));
  return await ask(dialog, signal) === 'yes';
}

/** Shows a text to be copied by hand, where the browser lets no page copy. */
export function show(title, text, signal) {
  if (signal.aborted) return;
  const area = h('textarea', { class: 'code', readonly: true, rows: 12, 'aria-label': title });
  area.value = text;
  const dialog = h('dialog', { class: 'dialog wide', 'aria-labelledby': 'dialog-title' },
    h('h2', { id: 'dialog-title' }, title), area,
    h('p', { class: 'actions' }, h('button', { type: 'button', class: 'primary', on: { click: () => dialog.close() } }, 'Close')));
  ask(dialog, signal);
  area.select();
}
