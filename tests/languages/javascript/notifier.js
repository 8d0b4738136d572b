// A notifier in JavaScript: posts the title of each alert to `url`, and says so in its log.

import { get } from 'wasi:config/store@0.2.0-rc.1';
import { log } from 'wasi:logging/logging@0.1.0-draft';

const schema = {
  type: 'object',
  properties: { url: { type: 'string' } },
  required: ['url'],
  additionalProperties: false,
};

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
    const response = await fetch(get('url'), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ title: delivery.alert.title }),
    });
    log('info', '', `${delivery.deliveryId}: ${response.status}`);
    if (!response.ok) {
      const failure = { code: `http-${response.status}`, message: 'the other side refuses it', retry: { tag: 'never' } };
      throw Object.assign(new Error(failure.message), { payload: failure });
    }
    return { id: undefined, message: `posted, ${response.status}` };
  },
};
