/** A post of the feed and the wall. Titles are combined from two lists, always the same ones. */
export interface Story {
  readonly id: string;
  readonly title: string;
  readonly section: string;
  /** Time to read it. */
  readonly minutes: number;
}

const STORIES_COUNT = 500;
/** Enough to fill a screen, and few enough that each of them changes in a burst. */
const WALL_COUNT = 12;
const SEED = 20_260;

const FORMS = [
  'A field guide to *',
  'In praise of *',
  'What * taught me',
  'The quiet return of *',
  'A short history of *',
  'Notes on *, from a rainy week',
  'Ten years among *',
  'How to photograph *',
  'A Sunday with *',
  'The people who look after *',
  'Letters about *',
  'Why we still need *',
  'Drawing * from memory',
  'A beginner’s year with *',
  'Where * go in winter',
  'Counting * before breakfast',
  'The sound of *',
  'My grandmother’s *',
  'Everything I got wrong about *',
  'On *, and on waiting',
  'A map of all the *',
  'The secret life of *',
  'Nobody told me about *',
  'Two friends and their *',
  'Learning to trust *',
];

const SUBJECTS: Readonly<Record<string, readonly string[]>> = {
  Travel: [
    'night trains',
    'slow ferries',
    'mountain huts',
    'stone bridges',
    'border towns',
    'lighthouses',
    'cable cars',
  ],
  City: ['tram stops', 'public clocks', 'roof gardens', 'corner shops', 'street lamps', 'fire escapes', 'market halls'],
  Nature: ['swifts', 'wild apples', 'tide pools', 'hedgerows', 'moths', 'old oaks', 'snow geese'],
  Workshop: ['fountain pens', 'hand planes', 'bicycle bells', 'pocket radios', 'music boxes', 'paper boats', 'kites'],
  Kitchen: ['sourdough starters', 'copper pans', 'kitchen scales', 'preserved lemons', 'dumplings', 'teapots'],
  Science: ['small telescopes', 'rain gauges', 'sundials', 'prime numbers', 'ice cores', 'weather balloons'],
};

export const STORIES: readonly Story[] = makeStories();
export const WALL_STORIES: readonly Story[] = STORIES.slice(0, WALL_COUNT);

function makeStories(): Story[] {
  const random = seeded(SEED);
  const all = Object.entries(SUBJECTS).flatMap(([section, subjects]) =>
    subjects.flatMap((subject) => FORMS.map((form) => ({ section, title: form.replace('*', subject), at: random() }))),
  );
  all.sort((a, b) => a.at - b.at);
  return all.slice(0, STORIES_COUNT).map(({ section, title }, i) => {
    return { id: `story-${i + 1}`, title, section, minutes: 2 + Math.floor(random() * 9) };
  });
}

/** A linear congruential generator (constants of Numerical Recipes): numbers from 0 to below 1. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
