/** The package has no types. Its main file would load what is meant for browsers. */
declare module 'swagger-ui-dist/absolute-path.js' {
  export default function absolutePath(): string;
}
