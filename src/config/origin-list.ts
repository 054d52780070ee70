/** Stands for every origin. */
export const ANY_ORIGIN = '*';
/** Stands for one or more labels in front of a domain. */
export const SUBDOMAINS = '://*.';

const WITH_SCHEME = /^(?<scheme>[a-z][a-z\d+.-]*):\/\/(?<rest>.*)$/i;
/** Schemes of web pages; those of WebSockets stand for them by mistake. */
const WEB_SCHEMES: Readonly<Record<string, string>> = { http: 'http', https: 'https', ws: 'http', wss: 'https' };
/** The host of an app or an extension, such as `localhost`, an id, or `.` alone. */
const APP_HOST = /^[\w.-]+(?::\d{1,5})?$/;
/**
 * Second labels under which countries let everyone register, as in `co.uk` and `com.au`. A list of all such domains
 * (https://publicsuffix.org) has 10,000 entries, and changes every week.
 */
const SHARED_SECOND_LABELS: ReadonlySet<string> = new Set(['ac', 'co', 'com', 'edu', 'gov', 'net', 'org']);
/** Characters of an entry that an error repeats. */
const SHOWN_MAX = 200;

/** Parses ALLOWED_ORIGINS, comma-separated. @throws Error whose message goes on from "ALLOWED_ORIGINS " */
export function parseOriginList(text: string): string[] {
  const entries = text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
  for (const entry of entries) {
    const problem = findOriginProblem(entry);
    if (problem !== null) throw new Error(`has the entry ${entry.slice(0, SHOWN_MAX)}, which ${problem}`);
  }
  return entries;
}

/** @returns what is wrong with an entry and what would be right, going on from "which "; `null` if it is valid */
export function findOriginProblem(entry: string): string | null {
  if (entry === ANY_ORIGIN || entry === 'null') return null;
  if (/^null$/i.test(entry)) return 'no browser sends: write null';
  const { scheme = '', rest = '' } = WITH_SCHEME.exec(entry)?.groups ?? {};
  if (scheme === '') return `has no scheme: write ${addScheme(entry)}`;
  if (/^file$/i.test(scheme)) return 'no browser sends: the origin of files is null, so write null';
  if (Object.hasOwn(WEB_SCHEMES, scheme.toLowerCase())) return findWebProblem(entry);
  return findAppProblem(entry, scheme.toLowerCase(), rest);
}

function findWebProblem(entry: string): string | null {
  if (/:\*/.test(entry))
    return `has * as its port: write each port, as in ${canonicalize(entry.replace(':*', ':8443'))}`;
  const right = canonicalize(entry);
  if (right === '') return 'is no origin: write a scheme and a host, as in https://example.org';
  if (right !== entry) return `no browser sends: write ${right}`;
  const domain = new URL(entry).hostname.replace(/^\*\./, '');
  if (domain.includes('*')) return 'has a * that is no first label: write https://*.example.org, or * for all origins';
  if (entry.includes(SUBDOMAINS) && isSharedDomain(domain)) {
    return `lets in pages of everyone under ${domain}: write a domain of your own, as in https://*.example.${domain}`;
  }
  return null;
}

function findAppProblem(entry: string, scheme: string, rest: string): string | null {
  const [host = ''] = rest.split(/[/?#]/, 1);
  if (host.includes('*')) return 'has a *, which is for https and http only: write the whole origin of each app';
  if (!APP_HOST.test(host)) return `is no origin: write a scheme and a host, as in ${scheme}://localhost`;
  const right = `${scheme}://${host}`;
  return right === entry ? null : `no browser sends: write ${right}`;
}

/** @returns the origin as browsers send it; '' if it is none. URLs may have a * in their host. */
function canonicalize(entry: string): string {
  const url = entry.replace(/^\w+/, (scheme) => WEB_SCHEMES[scheme.toLowerCase()]!);
  return URL.canParse(url) ? new URL(url).origin : '';
}

function addScheme(entry: string): string {
  const scheme = /^(localhost|127\.)/i.test(entry) ? 'http' : 'https';
  return canonicalize(`${scheme}://${entry}`) || 'https://example.org';
}

/** Whether anyone may get a name under the domain. */
function isSharedDomain(domain: string): boolean {
  const [top = '', second = '', ...others] = domain.replace(/\.$/, '').split('.').reverse();
  if (second === '') return true;
  return others.length === 0 && top.length === 2 && SHARED_SECOND_LABELS.has(second);
}
