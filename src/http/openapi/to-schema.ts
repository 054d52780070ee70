import type { OpenAPIV3 } from 'openapi-types';
import { z } from 'zod';

/** The schema by which the gateway checks requests, as OpenAPI writes it. */
export function toSchema(schema: z.ZodType): OpenAPIV3.NonArraySchemaObject {
  const json = z.toJSONSchema(schema, { io: 'input' });
  delete json.$schema;
  return json as OpenAPIV3.NonArraySchemaObject;
}
