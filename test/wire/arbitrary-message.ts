import fc from 'fast-check'
import { SCHEMA } from '../../src/wire/generated/schema.ts'
import { type FieldSchema, type MessageSchema, messageSchema } from '../../src/wire/schema.ts'

export const MESSAGE_NAMES: readonly string[] = SCHEMA.trim()
  .split('\n')
  .filter(line => line.startsWith('message '))
  .map(line => line.split(' ')[1] as string)

/** Any message of this schema, as decoding would give it (all plain fields set). */
export function arbitraryMessage(schema: MessageSchema, depth = 3): fc.Arbitrary<Record<string, unknown>> {
  const fields: Record<string, fc.Arbitrary<unknown>> = {}
  const requiredKeys: string[] = []
  for (const field of schema.fields) {
    if (depth === 0 && field.type.kind === 'message' && field.rule === 'optional') continue
    fields[field.name] = arbitraryField(field, depth)
    if (field.rule !== 'optional') requiredKeys.push(field.name)
  }
  return fc.record(fields, { requiredKeys }).map(message => oneOfEach(schema, message))
}

export function arbitraryOf(name: string): fc.Arbitrary<Record<string, unknown>> {
  return arbitraryMessage(messageSchema(name))
}

function arbitraryField(field: FieldSchema, depth: number): fc.Arbitrary<unknown> {
  if (field.type.kind === 'map') {
    return fc
      .array(fc.tuple(text, text), { maxLength: 3 })
      .map(pairs => Object.assign(Object.create(null), Object.fromEntries(pairs)))
  }
  if (field.rule !== 'repeated') return arbitraryValue(field, depth)
  if (depth === 0 && field.type.kind === 'message') return fc.constant([])
  return fc.array(arbitraryValue(field, depth), { maxLength: 3 })
}

function arbitraryValue(field: FieldSchema, depth: number): fc.Arbitrary<unknown> {
  const { type } = field
  switch (type.kind) {
    case 'int32':
      return fc.oneof(fc.constant(0), fc.integer())
    case 'int64':
      return fc.oneof(fc.constant(0), fc.maxSafeInteger())
    case 'bool':
      return fc.boolean()
    case 'bytes':
      return fc.uint8Array({ maxLength: 60 }).map(bytes => Buffer.from(bytes))
    case 'enum':
      return fc.constantFrom(...type.schema.byName.keys())
    case 'message':
      return arbitraryMessage(type.schema, depth - 1)
    default:
      return text
  }
}

/** Well-formed Unicode, longer ones too; not `__proto__`, which the test's own objects could not hold. */
const text = fc
  .oneof(fc.string({ unit: 'binary', maxLength: 8 }), fc.string({ maxLength: 60 }))
  .filter(value => value !== '__proto__')

function oneOfEach(schema: MessageSchema, message: Record<string, unknown>): Record<string, unknown> {
  for (const field of schema.fields) {
    if (message[field.name] === undefined) continue
    for (const rival of field.rivals) delete message[rival]
  }
  return message
}
