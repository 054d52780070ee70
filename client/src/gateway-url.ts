/** Accepts a path alone, too: then it is the page's own gateway. @returns the URL without a slash at its end */
export function parseGateway(url: string): string {
  // React Native has no more of a URL than its text.
  const { href } = new URL(url, typeof location === 'undefined' ? undefined : location.href);
  return href.replace(/\/?([?#].*)?$/, '');
}
