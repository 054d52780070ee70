/**
 * Widths of the characters from the space to the tilde, in tenths of a pixel at 11 px: the advance widths of DejaVu Sans 2.37
 * (https://dejavu-fonts.github.io), which are nearly those of Verdana.
 */
const ASCII_WIDTHS = [
  [30, "'"],
  [31, 'ijl'],
  [32, 'IJ'],
  [35, ' ,.'],
  [37, '/:;\\|'],
  [39, 'f'],
  [40, '-'],
  [43, '()[]t'],
  [44, '!'],
  [45, 'r'],
  [51, '"'],
  [55, '*_`'],
  [57, 's'],
  [58, '?z'],
  [60, 'c'],
  [61, 'L'],
  [63, 'F'],
  [64, 'k'],
  [65, 'vxy'],
  [66, 'P'],
  [67, 'TYao'],
  [68, 'e'],
  [70, '$0123456789ESbdghnpqu{}'],
  [72, 'K'],
  [75, 'ABVXZ'],
  [76, 'R'],
  [77, 'C'],
  [81, 'U'],
  [82, 'N'],
  [83, 'H'],
  [85, 'DG'],
  [86, '&'],
  [87, 'OQ'],
  [90, 'w'],
  [92, '#+<=>^~'],
  [95, 'M'],
  [105, '%'],
  [107, 'm'],
  [109, 'W'],
  [110, '@'],
] as const;

/** Letters of alphabets whose most letters are about as wide as `n`. */
const ALPHABETS = /^[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}\p{Script=Hebrew}\p{Script=Arabic}]/u;
const LETTER_WIDTH = 70;
/** As wide as high, which suits ideographs and emoji. */
const OTHER_WIDTH = 110;

const widths = new Map<string, number>(
  ASCII_WIDTHS.flatMap(([width, characters]) => characters.split('').map((one) => [one, width] as const)),
);
const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

/** @returns about how wide the text is at 11 px, in whole pixels */
export function measureText(text: string): number {
  let tenths = 0;
  for (const { segment } of graphemes.segment(text)) tenths += widthOf(segment);
  return Math.round(tenths / 10);
}

/** Accents add nothing to the width of their letter. */
function widthOf(grapheme: string): number {
  const width = widths.get(grapheme.normalize('NFD').charAt(0));
  return width ?? (ALPHABETS.test(grapheme) ? LETTER_WIDTH : OTHER_WIDTH);
}
