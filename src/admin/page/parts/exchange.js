// One side of an HTTP exchange: its first line, headers and body.

import { h } from '../dom.js';
import { bytes } from '../format.js';
import { nodes } from '../text.js';
import { block } from './code.js';

/** A request or response: `{method, url}` or `{status}`, `headers`, `body`. */
export function exchange(message) {
  const line = message.status
    ? [h('b', { class: message.status < 300 ? 'good-text' : 'bad-text' }, message.status), ' ', statusText(message.status)]
    : [h('b', {}, nodes(message.method)), ' ', nodes(message.url)];
  const size = message.body_bytes ?? new Blob([message.body ?? '']).size;
  return h('div', { class: 'exchange' },
    h('p', { class: 'first-line', dir: 'ltr' }, line),
    message.headers.length
      ? h('details', { class: 'headers', open: message.headers.length <= 12 }, h('summary', {}, `Headers (${message.headers.length})`),
        h('dl', { dir: 'ltr' }, message.headers.map(([name, value]) => h('div', {}, h('dt', {}, nodes(name)), h('dd', {}, nodes(value))))))
      : null,
    message.headers_truncated ? h('p', { class: 'detail' }, 'There were more headers than are kept.') : null,
    h('p', { class: 'detail' }, size ? `Body, ${bytes(size)}${message.truncated ? ', cut' : ''}` : 'No body'),
    message.body ? block(message.body, message.status ? 'Body of the response' : 'Body of the request') : null);
}

const TEXTS = {
  200: 'OK', 201: 'Created', 202: 'Accepted', 204: 'No Content', 301: 'Moved Permanently', 302: 'Found', 307: 'Temporary Redirect',
  308: 'Permanent Redirect', 400: 'Bad Request', 401: 'Unauthorized', 403: 'Forbidden', 404: 'Not Found', 405: 'Method Not Allowed',
  408: 'Request Timeout', 409: 'Conflict', 410: 'Gone', 413: 'Content Too Large', 415: 'Unsupported Media Type',
  422: 'Unprocessable Content', 425: 'Too Early', 429: 'Too Many Requests', 500: 'Internal Server Error', 502: 'Bad Gateway',
  503: 'Service Unavailable', 504: 'Gateway Timeout',
};

/** What a status is called. */
function statusText(status) {
  return TEXTS[status] ?? '';
}
