import type { OpenAPIV3_1 } from 'openapi-types';

export type Operation = NonNullable<OpenAPIV3_1.PathItemObject['get']>;
type Response = NonNullable<Operation['responses']['default']>;

export const JSON_TYPE = 'application/json';

export function metricParameter(values: string[]) {
  return { name: 'metric', in: 'path' as const, required: true, schema: { type: 'string' as const, enum: values } };
}

export function jsonResponse(description: string, schema: string): Response {
  return { description, content: { [JSON_TYPE]: { schema: { $ref: `#/components/schemas/${schema}` } } } };
}

export function textResponse(description: string, type: string): Response {
  return { description, content: { [type]: { schema: { type: type === JSON_TYPE ? 'object' : 'string' } } } };
}

/** The errors of the protocol, by status. */
export function errorResponses(...statuses: number[]): Operation['responses'] {
  return Object.fromEntries(statuses.map((status) => [status, { $ref: `#/components/responses/${status}` }]));
}
