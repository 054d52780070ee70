import { EventEmitter } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { describe, expect, test } from '@jest/globals';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { AddressLimiter } from './address-limiter.js';

const ADDRESSES_MAX = 100_000;

describe('the address of a client', () => {
  test('the address of a client is that of its peer, whatever X-Forwarded-For says, unless the peer is a trusted balancer', () => {
    const addresses = limits({});
    expect(addresses.addressOf(request('203.0.113.9', '198.51.100.1'))).toBe('203.0.113.9');
  });

  test('the address of a client behind trusted balancers is the last one that is not a balancer', () => {
    const addresses = limits({ trustProxy: ['10.0.0.0/8'] });
    expect(addresses.addressOf(request('10.0.0.2', '198.51.100.1'))).toBe('198.51.100.1');
    expect(addresses.addressOf(request('10.0.0.2', '1.2.3.4, 198.51.100.1, 10.0.0.3'))).toBe('198.51.100.1');
    expect(addresses.addressOf(request('203.0.113.9', '198.51.100.1'))).toBe('203.0.113.9');
  });

  test('a client cannot pass for a balancer on this host by an address that it puts into the header', () => {
    const addresses = limits({ trustProxy: ['10.0.0.0/8'] });
    expect(addresses.addressOf(request('10.0.0.2', '127.0.0.1, 198.51.100.1'))).toBe('198.51.100.1');
    expect(addresses.addressOf(request('10.0.0.2', 'not an address, 198.51.100.1'))).toBe('198.51.100.1');
  });
});

describe('a proxy that TRUST_PROXY does not list', () => {
  test.each([
    [
      '10.0.3.7',
      { 'x-forwarded-for': '198.51.100.1' },
      '10.0.3.7 sends X-Forwarded-For, and TRUST_PROXY does not list it: its clients share the limits of one address; if it is your proxy, set TRUST_PROXY=192.0.2.1,10.0.3.7',
    ],
    ['::ffff:10.0.3.7', { 'x-forwarded-for': '198.51.100.1' }, 'set TRUST_PROXY=192.0.2.1,10.0.3.7'],
    ['2001:db8:1:2::7', { 'x-forwarded-for': '198.51.100.1' }, 'set TRUST_PROXY=192.0.2.1,2001:db8:1:2::/64'],
    [
      '127.0.0.1',
      { 'x-forwarded-for': '198.51.100.1' },
      'no limits by address; if it is your proxy, set TRUST_PROXY=192.0.2.1,loopback',
    ],
    [
      '10.0.3.7',
      { forwarded: 'for=198.51.100.1' },
      'let it send X-Forwarded-For instead, and set TRUST_PROXY=192.0.2.1,10.0.3.7',
    ],
  ])('a proxy at %s that sends %j is logged with the setting that mends it', (remoteAddress, headers, line) => {
    const lines: string[] = [];
    const addresses = limits({ trustProxy: ['192.0.2.1'] }, lines);
    for (let i = 0; i < 3; i++)
      addresses.addressOf({ headers, socket: { remoteAddress } } as unknown as IncomingMessage);
    expect(lines).toEqual([expect.stringContaining(line)]);
  });

  test('at most ten proxies are logged, and neither clients without the header nor listed proxies', () => {
    const lines: string[] = [];
    const addresses = limits({ trustProxy: ['10.0.0.0/8'] }, lines);
    addresses.addressOf(request('10.0.0.2', '198.51.100.1'));
    addresses.addressOf({ headers: {}, socket: { remoteAddress: '203.0.113.9' } } as unknown as IncomingMessage);
    expect(lines).toEqual([]);
    for (let i = 0; i < 20; i++) addresses.addressOf(request(`203.0.113.${i}`, '198.51.100.1'));
    expect(lines).toHaveLength(10);
  });
});

describe('X-Forwarded-For of a trusted balancer', () => {
  test.each([
    ['198.51.100.1:5678', '198.51.100.1'],
    ['[2001:db8:1:2:3::1]:443', '2001:db8:1:2::/64'],
    ['[2001:db8:1:2:3::1]', '2001:db8:1:2::/64'],
    ['2001:db8:1:2:3::1', '2001:db8:1:2::/64'],
    ['192.0.2.1:1, 198.51.100.1:5678 , 10.0.0.3:80', '198.51.100.1'],
    ['[::1]:80', '::1'],
    ['unknown', 'no address'],
    ['1111:2222:3333:4444:5555:6666:255.255.255.255%x', '1111:2222:3333:4444::/64'],
    ['198.51.100.1:', 'no address'],
    ['1.2.3:80', 'no address'],
    ['', '10.0.0.2'],
    ['198.51.100.1, ', '198.51.100.1'],
  ])('X-Forwarded-For: %s gives %s', (forwardedFor, known) => {
    const addresses = limits({ trustProxy: ['10.0.0.0/8'] });
    expect(addresses.addressOf(request('10.0.0.2', forwardedFor))).toBe(known);
  });

  test('a closed connection has no address', () => {
    const addresses = limits({ trustProxy: ['10.0.0.0/8'] });
    expect(addresses.addressOf({ socket: {}, headers: {} } as unknown as IncomingMessage)).toBe('no address');
  });
});

describe('an IPv6 address', () => {
  test.each([
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8::6', '2001:db8:0:0::/64'],
    ['2001:db8:1:2::', '2001:db8:1:2::/64'],
    ['::1', '::1'],
    ['2001:DB8:1:2::6', '2001:db8:1:2::/64'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['::ffff:198.51.100.1', '198.51.100.1'],
    ['::ffff:c633:6401', '198.51.100.1'],
    ['0:0:0:0:0:FFFF:c633:6401', '198.51.100.1'],
    ['::198.51.100.1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['::ffff:198.51.100.1%x', '198.51.100.1'],
    ['1111:2222:3333:4444:5555:6666:255.255.255.255', '1111:2222:3333:4444::/64'],
    ['64:ff9b::c633:6401', '64:ff9b::c633:6401'],
  ])('the IPv6 address %s counts as %s', (peer, known) => {
    expect(limits({}).addressOf(request(peer, ''))).toBe(known);
  });
});

describe('TCP connections of an address', () => {
  const open = (addresses: AddressLimiter, remoteAddress: string): { tcp: EventEmitter; admitted: boolean } => {
    const tcp = Object.assign(new EventEmitter(), { remoteAddress });
    return { tcp, admitted: addresses.openTcp(tcp) };
  };

  test('an address may open TCP connections for requests besides its connections, and one more when one is closed', () => {
    const addresses = limits({ connectionsMax: 2 });
    const all = Array.from({ length: 203 }, () => open(addresses, '203.0.113.9'));
    expect(all.filter(({ admitted }) => admitted)).toHaveLength(202);
    expect(open(addresses, '203.0.113.8').admitted).toBe(true);
    all[0]!.tcp.emit('close');
    expect([open(addresses, '203.0.113.9').admitted, open(addresses, '203.0.113.9').admitted]).toEqual([true, false]);
  });

  test.each(['10.0.0.2', '127.0.0.1'])(
    'TCP connections are not limited from %s, a balancer or this host',
    (remoteAddress) => {
      const addresses = limits({ connectionsMax: 1, trustProxy: ['10.0.0.0/8'] });
      const all = Array.from({ length: 500 }, () => open(addresses, remoteAddress));
      expect(all.every(({ admitted }) => admitted)).toBe(true);
    },
  );
});

describe('the slot of a connection', () => {
  test('a connection frees its slot once all of its sockets are closed', () => {
    const addresses = limits({ connectionsMax: 1 });
    const [session, webSocket] = [new EventEmitter(), new EventEmitter()];
    addresses.connect('203.0.113.9', session).holdUntilClosed(webSocket);
    session.emit('close');
    expect(addresses.mayConnect('203.0.113.9')).toBe(false);
    webSocket.emit('close');
    expect(addresses.mayConnect('203.0.113.9')).toBe(true);
  });
});

describe('connections of an address', () => {
  test('connections of an address are accepted up to the limit, and again after some are closed', () => {
    const addresses = limits({ connectionsMax: 2 });
    const first = connect(addresses, '203.0.113.9');
    expect(addresses.mayConnect('203.0.113.9')).toBe(true);
    connect(addresses, '203.0.113.9');
    expect([addresses.mayConnect('203.0.113.9'), addresses.mayConnect('203.0.113.8')]).toEqual([false, true]);
    expect(() => connect(addresses, '203.0.113.9')).toThrow('too many connections from your address');
    first.emit('close');
    expect(addresses.mayConnect('203.0.113.9')).toBe(true);
  });

  test.each(['127.0.0.1', '127.8.0.1', '::1', '::ffff:127.0.0.1'])(
    'connections are not limited from %s',
    (loopback) => {
      const addresses = limits({ connectionsMax: 1, operationsPerSecond: 1 });
      for (let i = 0; i < 3; i++) connect(addresses, loopback);
      expect([addresses.mayConnect(loopback), addresses.operationTokenBucket(loopback)]).toEqual([true, null]);
    },
  );

  test('a limit of 0 means no limit on connections', () => {
    const addresses = limits({ connectionsMax: 0 });
    for (let i = 0; i < 1_000; i++) connect(addresses, '203.0.113.9');
    expect(addresses.mayConnect('203.0.113.9')).toBe(true);
  });
});

describe('remembered addresses', () => {
  test('an address keeps one token bucket for operations, even after its connections are closed', () => {
    const addresses = limits({ operationsPerSecond: 5 });
    const bucket = addresses.operationTokenBucket('203.0.113.9');
    connect(addresses, '203.0.113.9').emit('close');
    expect(addresses.operationTokenBucket('203.0.113.9')).toBe(bucket);
    expect(addresses.operationTokenBucket('203.0.113.8')).not.toBe(bucket);
  });

  test('beyond 100,000 addresses, those without connections and recent operations are forgotten', () => {
    const addresses = limits({ operationsPerSecond: 5 });
    const [idle, busy, connected] = ['198.51.100.1', '198.51.100.2', '198.51.100.3'].map((address) => ({
      address,
      bucket: addresses.operationTokenBucket(address),
    }));
    busy!.bucket!.take(0);
    connect(addresses, connected!.address);
    for (let i = 0; i < ADDRESSES_MAX; i++)
      addresses.operationTokenBucket(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`);
    const kept = [idle!, busy!, connected!].map(
      ({ address, bucket }) => addresses.operationTokenBucket(address) === bucket,
    );
    expect(kept).toEqual([false, true, true]);
  });

  test('beyond 100,000 recently used addresses, the oldest ones without a connection are forgotten', () => {
    const addresses = limits({ operationsPerSecond: 5 });
    const [connected, busy] = ['198.51.100.1', '198.51.100.2'].map((address) => ({
      address,
      bucket: addresses.operationTokenBucket(address),
    }));
    connect(addresses, connected!.address);
    busy!.bucket!.take(0);
    for (let i = 0; i < ADDRESSES_MAX; i++)
      addresses.operationTokenBucket(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)?.take(0);
    const kept = [connected!, busy!].map(({ address, bucket }) => addresses.operationTokenBucket(address) === bucket);
    expect(kept).toEqual([true, false]);
  });
});

function limits(
  some: { operationsPerSecond?: number; connectionsMax?: number; trustProxy?: string[] },
  lines: string[] = [],
): AddressLimiter {
  return new AddressLimiter(
    { operationsPerSecond: 50, connectionsMax: 50, trustProxy: [], ...some },
    new SimulatedClock(),
    (line) => lines.push(line),
  );
}

function connect(addresses: AddressLimiter, address: string): EventEmitter {
  const connection = new EventEmitter();
  addresses.connect(address, connection);
  return connection;
}

function request(peer: string, forwardedFor: string): IncomingMessage {
  return {
    headers: { 'x-forwarded-for': forwardedFor },
    socket: { remoteAddress: peer },
  } as unknown as IncomingMessage;
}
