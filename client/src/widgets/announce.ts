/** The screen reader first says what became of the button. */
const AFTER_MS = 1_000;
/** Between two announcements on a page. */
const APART_MS = 5_000;
/** Then it is gone again, lest those who read the page line by line read it twice. */
const STAYS_MS = 3_000;

let timer: ReturnType<typeof setTimeout> | undefined;
let lastMs = -APART_MS;

/** Has a live region say something, once it is due. Of what is asked for meanwhile on the page only the last is said. */
export function announce(region: Element, words: () => string): void {
  clearTimeout(timer);
  timer = setTimeout(
    () => {
      lastMs = performance.now();
      region.textContent = words();
      setTimeout(() => (region.textContent = ''), STAYS_MS);
    },
    Math.max(AFTER_MS, lastMs + APART_MS - performance.now()),
  );
}
