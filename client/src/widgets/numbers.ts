const formats = new Map<string, Intl.NumberFormat>();

/** Shared by all widgets of a language, because creating a format takes longer than formatting a thousand numbers. */
export function numberFormat(locale: string, notation: 'compact' | 'standard'): Intl.NumberFormat {
  const key = `${locale} ${notation}`;
  let format = formats.get(key);
  if (!format) {
    format = makeFormat(locale, notation);
    formats.set(key, format);
  }
  return format;
}

function makeFormat(locale: string, notation: 'compact' | 'standard'): Intl.NumberFormat {
  try {
    return new Intl.NumberFormat(locale, { notation });
  } catch {
    // The `lang` attribute may hold anything.
    return new Intl.NumberFormat(undefined, { notation });
  }
}

/** The language of the text around the element: the closest `lang`, through shadow roots, else the reader's own. */
export function findLocale(element: Element): string {
  const closest = element.closest<HTMLElement>('[lang]');
  if (closest) return closest.lang || navigator.language;
  const root = element.getRootNode();
  return root instanceof ShadowRoot ? findLocale(root.host) : navigator.language;
}
