// Addresses behind the `#`: `#/`, `#/webhooks/slack/dead-letters`, `#/invocations/inv_…`, `#/find/AR-123`, `#/config`.

/** The address of parts, each of which may be any text. */
export function to(...parts) {
  return `#/${parts.map(encodeURIComponent).join('/')}`;
}

/** The parts of the address that is open. */
export function here() {
  return location.hash.replace(/^#\/?/, '').split('/').filter(Boolean).map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
}
