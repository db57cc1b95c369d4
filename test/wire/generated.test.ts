import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { generateWire, loadProtos } from '../../scripts/gen-wire.ts'
import { METHODS } from '../../src/wire/methods.ts'
import { messageSchema } from '../../src/wire/schema.ts'
import { MESSAGE_NAMES } from './arbitrary-message.ts'

const protoDirectory = fileURLToPath(new URL('../../proto', import.meta.url))
const directory = fileURLToPath(new URL('../../src/wire/generated', import.meta.url))

describe('src/wire/generated', () => {
  it('is what `npm run gen` makes of proto/', () => {
    const written = new Map(
      readdirSync(directory).map(name => [name, readFileSync(`${directory}/${name}`, 'utf8')]),
    )
    expect(Object.fromEntries(written)).toEqual(Object.fromEntries(generateWire(protoDirectory)))
  })

  it('has a method for each call of each service', () => {
    expect([...METHODS.keys()]).toContain('/naru.v1.Producer/ProduceStream')
    for (const [path, method] of METHODS) {
      const [, service, name] = path.split('/') as [string, string, string]
      const call = loadedRoot.lookupService(service).methods[name]
      expect([method.requestStream, method.responseStream]).toEqual([
        call?.requestStream ?? false,
        call?.responseStream ?? false,
      ])
    }
  })

  it('numbers the fields of a message from 1 without a gap, as the hot codecs rely on', () => {
    for (const name of MESSAGE_NAMES.filter(one => one.startsWith('naru.')))
      expect(messageSchema(name).fields.map(field => field.number)).toEqual(
        messageSchema(name).fields.map((_field, index) => index + 1),
      )
  })

  it('marks every int64 of the API for JavaScript stubs', () => {
    const bare = MESSAGE_NAMES.filter(name => name.startsWith('naru.'))
      .flatMap(name => loadedRoot.lookupType(name).fieldsArray)
      .filter(field => field.type === 'int64' && field.options?.['jstype'] !== 'JS_STRING')
    expect(bare.map(field => field.fullName)).toEqual([])
  })
})

const loadedRoot = loadProtos(protoDirectory)
