import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ROUTES } from '../../src/http/openapi/routes.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';

interface Document {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly parameters?: readonly unknown[] }>>>>;
  readonly components: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway({ METRICS: 'likes:toggle,views:tally,shares:tally' });
});

afterAll(stopAll);

async function documented(): Promise<Document> {
  return (await (await fetch(`${gateway.url}/docs-json`)).json()) as Document;
}

describe('the documentation', () => {
  it('the documentation is OpenAPI 3.1 and names every path and method', async () => {
    const { openapi, paths } = await documented();
    expect(openapi).toMatch(/^3\.1\./);
    const named = Object.entries(paths).flatMap(([path, item]) =>
      Object.keys(item)
        .filter((key) => key !== 'parameters')
        .map((method) => `${method} ${path}`),
    );
    expect(named.sort()).toEqual(ROUTES.map(({ method, path }) => `${method.toLowerCase()} ${path}`).sort());
  });

  it('the documentation lists the metrics of this gateway', async () => {
    const { paths } = await documented();
    const { get, put } = paths['/v1/{post}/{metric}']!;
    const metric = { name: 'metric', in: 'path', required: true };
    const names = ['counter', 'likes', 'views', 'shares'];
    expect(get!.parameters).toContainEqual({ ...metric, schema: { type: 'string', enum: [...names, 'live'] } });
    expect(put!.parameters).toContainEqual({ ...metric, schema: { type: 'string', enum: names } });
  });

  it('the documentation has all components that it refers to', async () => {
    const document = await documented();
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/(\w+)\/(\w+)"/g)];
    expect(references.length).toBeGreaterThan(10);
    for (const [, kind, name] of references) expect(document.components[kind!]).toHaveProperty(name!);
  });

  it('the page of the documentation loads no file from another origin', async () => {
    const response = await fetch(`${gateway.url}/docs`);
    const page = await response.text();
    const policy = response.headers.get('content-security-policy')!.split(';');
    expect(policy).toEqual(expect.arrayContaining(["default-src 'self'", "style-src 'self' 'unsafe-inline'"]));
    const files = [...page.matchAll(/<(?:script|link)[^>]+(?:src|href)=["']([^"']+)["']/g)].map(([, file]) => file!);
    expect(files.length).toBeGreaterThan(3);
    for (const file of files) {
      const url = new URL(file, response.url);
      expect(url.origin).toBe(gateway.url);
      expect((await fetch(url)).status).toBe(200);
    }
  });

  it('only the page of the documentation may have inline styles', async () => {
    const { headers } = await fetch(`${gateway.url}/healthz`);
    expect(headers.get('content-security-policy')).toBe(
      "default-src 'self';connect-src 'self' ws: wss:;object-src 'none';base-uri 'self';form-action 'self';frame-ancestors 'self'",
    );
    expect(headers.get('strict-transport-security')).toBeNull();
    expect(headers.get('x-content-type-options')).toBe('nosniff');
  });
});
