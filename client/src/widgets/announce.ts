/** The screen reader first reads the new state of the button. */
const AFTER_MS = 1_000;
/** The shortest time between two announcements on a page. */
const APART_MS = 5_000;
/** The text is removed after this time, so that a user who reads the page line by line does not meet it again. */
const STAYS_MS = 3_000;

let timer: ReturnType<typeof setTimeout> | undefined;
let lastMs = -APART_MS;

/** Writes a text into a live region when an announcement is due. Of several waiting on the page the last one wins. */
export function announce(region: Element, text: () => string): void {
  clearTimeout(timer);
  timer = setTimeout(
    () => {
      lastMs = performance.now();
      region.textContent = text();
      setTimeout(() => (region.textContent = ''), STAYS_MS);
    },
    Math.max(AFTER_MS, lastMs + APART_MS - performance.now()),
  );
}
