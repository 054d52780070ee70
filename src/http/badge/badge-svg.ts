import { measureText } from './text-width.js';

/** The flat style of https://shields.io: what stands on the left, the count on a colour on the right. */
export interface Badge {
  readonly label: string;
  readonly count: number;
  /** Three or six hexadecimal digits. */
  readonly color: string;
}

const PADDING_PX = 5;
/** Colours above it get dark text. Perceived brightness (https://www.w3.org/TR/AERT/#color-contrast), from 0 to 1. */
const BRIGHTNESS_MAX = 0.69;
/** Colours of a text and of its shadow. */
const LIGHT_ON_DARK = ['#fff', '#010101'] as const;
const DARK_ON_LIGHT = ['#333', '#ccc'] as const;

/** As the widgets write numbers. One language, because the badge is cached for everybody. */
const SHORT = new Intl.NumberFormat('en', { notation: 'compact' });
const EXACT = new Intl.NumberFormat('en');

const XML_ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Has no style elements, no scripts and no links, so that it looks the same wherever it is shown. */
export function renderBadge({ label, count, color }: Badge): string {
  const number = SHORT.format(count);
  const labelWidth = measureText(label) + 2 * PADDING_PX;
  const width = labelWidth + measureText(number) + 2 * PADDING_PX;
  const name = escapeXml(`${label}: ${EXACT.format(count)}`);
  const [text, shadow] = brightness(color) > BRIGHTNESS_MAX ? DARK_ON_LIGHT : LIGHT_ON_DARK;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="20" role="img" aria-label="${name}">
<title>${name}</title>
<clipPath id="c"><rect width="${width}" height="20" rx="3"/></clipPath>
<linearGradient id="g" x2="0" y2="100%"><stop stop-color="#bbb" stop-opacity=".1"/><stop offset="1" stop-opacity=".1"/></linearGradient>
<g clip-path="url(#c)"><path fill="#555" d="M0 0h${labelWidth}v20H0z"/><path fill="#${color}" d="M${labelWidth} 0H${width}v20H${labelWidth}z"/>\
<path fill="url(#g)" d="M0 0h${width}v20H0z"/></g>
<g text-anchor="middle" font-family="Verdana,Geneva,DejaVu Sans,sans-serif" font-size="11">
${renderText(label, labelWidth / 2, ...LIGHT_ON_DARK)}
${renderText(number, (labelWidth + width) / 2, text, shadow)}
</g>
</svg>
`;
}

/** `textLength` keeps a text within its box where another font is used. */
function renderText(text: string, x: number, fill: string, shadow: string): string {
  const end = `textLength="${measureText(text)}">${escapeXml(text)}</text>`;
  return `<text x="${x}" y="15" fill="${shadow}" fill-opacity=".3" aria-hidden="true" ${end}<text x="${x}" y="14" fill="${fill}" ${end}`;
}

function brightness(color: string): number {
  const digits = color.length === 3 ? color.replace(/./g, '$&$&') : color;
  const [red, green, blue] = [0, 2, 4].map((at) => parseInt(digits.slice(at, at + 2), 16));
  return (red! * 299 + green! * 587 + blue! * 114) / 255_000;
}

function escapeXml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => XML_ENTITIES[character]!);
}
