/** The schemes of SINK_URL. */
const SINK_SCHEMES = ['postgres:', 'postgresql:', 'nats:', 'nats+tls:', 'http:', 'https:', 'file:'] as const;

export type SinkScheme = (typeof SINK_SCHEMES)[number];

/** The gateway that feeds the sinks sends each of them every change. */
const SINKS_MAX = 8;
const FORMS =
  'postgres://user:password@host/database, nats://host:4222?stream=NAME, https://host/path (a webhook) or file:///directory/name.ndjson';

/** Parses SINK_URL: URLs, comma-separated. @throws Error whose message goes on from "SINK_URL " and never holds a password */
export function parseSinkUrls(text: string): URL[] {
  const urls = text.split(',').map((one) => parseSinkUrl(one.trim()));
  if (urls.length > SINKS_MAX) throw new Error(`may name at most ${SINKS_MAX} sinks`);
  if (new Set(urls.map(({ href }) => href)).size < urls.length) throw new Error('names a sink twice');
  return urls;
}

export function sinkScheme({ protocol }: URL): SinkScheme {
  return SINK_SCHEMES.find((scheme) => scheme === protocol)!;
}

export function isPostgres({ protocol }: URL): boolean {
  return protocol === 'postgres:' || protocol === 'postgresql:';
}

function parseSinkUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !SINK_SCHEMES.some((scheme) => scheme === url.protocol) || !text.includes('://')) {
    throw new Error(`must be URLs, comma-separated: ${FORMS}; a comma in a password is %2C`);
  }
  try {
    decodeURIComponent(url.username + url.password);
  } catch {
    throw new Error('has a % in its login that is not followed by two hex digits: write it as %25');
  }
  return url;
}
