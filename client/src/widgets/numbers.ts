const made = new Map<string, unknown>();

/** Shared by all widgets of a language, because creating a format takes longer than formatting a thousand numbers. */
function share<T>(key: string, locale: string, make: (locale?: string) => T): T {
  if (!made.has(key + locale)) made.set(key + locale, makeFor(locale, make));
  return made.get(key + locale) as T;
}

function makeFor<T>(locale: string, make: (locale?: string) => T): T {
  try {
    return make(locale);
  } catch {
    // The `lang` attribute may hold anything.
    return make();
  }
}

export function numberFormat(locale: string, notation: 'compact' | 'standard'): Intl.NumberFormat {
  return share(notation, locale, (known) => new Intl.NumberFormat(known, { notation }));
}

/** `one`, `other` or another plural form of the language. */
export function pluralForm(locale: string, count: number): string {
  return share('plural', locale, (known) => new Intl.PluralRules(known)).select(count);
}

/** The language of the text around the element: the closest `lang`, through shadow roots, else the reader's own. */
export function findLocale(element: Element): string {
  const closest = element.closest<HTMLElement>('[lang]');
  if (closest) return closest.lang || navigator.language;
  const root = element.getRootNode();
  return root instanceof ShadowRoot ? findLocale(root.host) : navigator.language;
}
