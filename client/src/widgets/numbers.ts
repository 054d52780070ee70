const formats = new Map<string, Intl.NumberFormat>();

/** One for all widgets of a language: making one takes longer than a thousand numbers. */
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
    // What stands in `lang` need not be a language.
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
