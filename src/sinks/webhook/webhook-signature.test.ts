import { expect, it } from '@jest/globals';
import { parseSinkSecret } from '../../config/sink-urls.js';
import { computeId, signRequest } from './webhook-signature.js';

/** The test vector of the reference libraries: github.com/standard-webhooks/standard-webhooks, "sign function works". */
const EXAMPLE = {
  secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
  timestampSeconds: 1_614_265_330,
  body: '{"test": 2432232314}',
  signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
};

it('requests are signed as in the example of Standard Webhooks', () => {
  const { secret, id, timestampSeconds, body, signature } = EXAMPLE;
  for (const text of [secret, secret.replace('whsec_', '')]) {
    expect(signRequest(parseSinkSecret(text), id, timestampSeconds, body)).toEqual({
      'webhook-id': id,
      'webhook-timestamp': String(timestampSeconds),
      'webhook-signature': signature,
    });
  }
});

it('the same body has the same id, another body another one, and no id has a dot', () => {
  expect(computeId('{"a":1}')).toBe(computeId('{"a":1}'));
  expect(computeId('{"a":1}')).not.toBe(computeId('{"a":2}'));
  expect(computeId('{"a":1}')).toMatch(/^msg_[\w-]{26}$/);
});
