import { describe, expect, test } from '@jest/globals';
import { parseOriginList } from './origin-list.js';

describe('ALLOWED_ORIGINS', () => {
  test('an entry is an origin of a site, of its subdomains, of an app or of an extension, or null', () => {
    const entries = [
      ...['https://example.org', 'http://localhost:8080', 'http://[::1]:3000', 'https://*.example.org'],
      ...['https://*.example.co.uk', 'http://*.dev.localhost:8443', 'capacitor://localhost', 'ionic://localhost'],
      ...['tauri://localhost', 'app://.', 'app://obsidian.md', 'chrome-extension://aapbdbdomjkkjkaonfhkkikfgjllcleb'],
      ...['moz-extension://3f4e5d6c-0000-4000-8000-000000000000', 'null', '*'],
    ];
    expect(parseOriginList(entries.join(' , '))).toEqual(entries);
    expect(parseOriginList(' , ')).toEqual([]);
  });

  test.each([
    ['https://example.org/', 'no browser sends: write https://example.org'],
    ['https://example.org/shop?a#b', 'no browser sends: write https://example.org'],
    ['https://Example.org', 'no browser sends: write https://example.org'],
    ['HTTPS://*.example.org', 'no browser sends: write https://*.example.org'],
    ['https://example.org:443', 'no browser sends: write https://example.org'],
    ['https://ada@example.org', 'no browser sends: write https://example.org'],
    ['https://bücher.example', 'no browser sends: write https://xn--bcher-kva.example'],
    ['wss://example.org', 'no browser sends: write https://example.org'],
    ['ws://localhost:3000', 'no browser sends: write http://localhost:3000'],
    ['example.org', 'has no scheme: write https://example.org'],
    ['localhost:3000', 'has no scheme: write http://localhost:3000'],
    ['*.example.org/', 'has no scheme: write https://*.example.org'],
    ['https://example.org:*', 'has * as its port: write each port, as in https://example.org:8443'],
    ['https://*', 'has a * that is no first label: write https://*.example.org, or * for all origins'],
    ['https://*.*.example.org', 'has a * that is no first label'],
    ['https://shop-*.example.org', 'has a * that is no first label'],
    ['https://*.com', 'lets in pages of everyone under com: write a domain of your own, as in https://*.example.com'],
    ['https://*.co.uk', 'lets in pages of everyone under co.uk'],
    ['https://*.com.', 'lets in pages of everyone under com.'],
    ['https://*.127.0.0.1', 'is no origin: write a scheme and a host, as in https://example.org'],
    ['https://', 'is no origin'],
    ['https://exam ple.org', 'is no origin'],
    ['capacitor://localhost/', 'no browser sends: write capacitor://localhost'],
    ['Capacitor://localhost', 'no browser sends: write capacitor://localhost'],
    ['chrome-extension://*', 'has a *, which is for https and http only: write the whole origin of each app'],
    ['app://', 'is no origin: write a scheme and a host, as in app://localhost'],
    ['file://', 'no browser sends: the origin of files is null, so write null'],
    ['file:///home/ada/page.html', 'no browser sends: the origin of files is null, so write null'],
    ['NULL', 'no browser sends: write null'],
  ])('the entry %s is rejected with what would be right', (entry, problem) => {
    expect(() => parseOriginList(`https://example.org,${entry}`)).toThrow(`has the entry ${entry}, which ${problem}`);
  });
});
