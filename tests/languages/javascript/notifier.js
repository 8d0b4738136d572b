// A notifier in JavaScript: posts the title of each alert to `url`, and says so in its log. The label `do` has it make an
// author's mistake instead.

import { get } from 'wasi:config/store@0.2.0-rc.1';
import { log } from 'wasi:logging/logging@0.1.0-draft';

const schema = {
  type: 'object',
  properties: { url: { type: 'string' } },
  required: ['url'],
  additionalProperties: false,
};

let missing;

function post(title) {
  return fetch(get('url'), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ title }),
  });
}

export const notifier = {
  describe() {
    return {
      name: 'notify-in-javascript',
      version: '0.1.0',
      summary: 'Posts titles to a URL.',
      configSchema: JSON.stringify(schema),
      http: [],
      secrets: [],
    };
  },

  async notify(delivery) {
    const [, mistake] = delivery.alert.labels.find(([name]) => name === 'do') ?? [];
    if (mistake === 'throw') {
      missing.channel();
    }
    const sent = mistake === 'ping' ? fetch(get('url'), { method: 'POST' }) : post(delivery.alert.title);
    if (mistake === 'forget' || mistake === 'ping') {
      return { id: undefined, message: 'posted, probably' };
    }
    const response = await sent;
    log('info', '', `${delivery.deliveryId}: ${response.status}`);
    if (!response.ok) {
      const failure = { code: `http-${response.status}`, message: 'the other side refuses it', retry: { tag: 'never' } };
      throw Object.assign(new Error(failure.message), { payload: failure });
    }
    return { id: undefined, message: `posted, ${response.status}` };
  },
};
