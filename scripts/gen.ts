/** `npm run gen`: writes the TypeScript that follows from proto/ to src/wire/generated, and docs/errors.md. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { errorsPage } from './gen-docs.ts'
import { generateWire } from './gen-wire.ts'

const directory = fileURLToPath(new URL('../src/wire/generated', import.meta.url))
const files = generateWire(fileURLToPath(new URL('../proto', import.meta.url)))
mkdirSync(directory, { recursive: true })
for (const name of readdirSync(directory)) if (!files.has(name)) rmSync(`${directory}/${name}`)
for (const [name, text] of files) writeFileSync(`${directory}/${name}`, text)
writeFileSync(fileURLToPath(new URL('../docs/errors.md', import.meta.url)), errorsPage())
