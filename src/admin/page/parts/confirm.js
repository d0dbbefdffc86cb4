// Asks before something is done that cannot be undone.

import { h } from '../dom.js';

/** Whether somebody said yes. */
export function confirm(title, text, yes) {
  return new Promise((done) => {
    const dialog = h('dialog', { class: 'dialog', 'aria-labelledby': 'dialog-title', 'aria-describedby': 'dialog-text' },
      h('h2', { id: 'dialog-title' }, title),
      h('div', { id: 'dialog-text' }, text),
      h('p', { class: 'actions' },
        h('button', { type: 'button', on: { click: () => dialog.close('no') } }, 'Cancel'),
        h('button', { type: 'button', class: 'primary', on: { click: () => dialog.close('yes') } }, yes)));
    dialog.addEventListener('close', () => {
      dialog.remove();
      done(dialog.returnValue === 'yes');
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Shows a text to be copied by hand, where the browser lets no page copy. */
export function show(title, text) {
  const area = h('textarea', { class: 'code', readonly: true, rows: 12, 'aria-label': title });
  area.value = text;
  const dialog = h('dialog', { class: 'dialog wide', 'aria-labelledby': 'dialog-title' },
    h('h2', { id: 'dialog-title' }, title), area,
    h('p', { class: 'actions' }, h('button', { type: 'button', class: 'primary', on: { click: () => dialog.close() } }, 'Close')));
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  area.select();
}
