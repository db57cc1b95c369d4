import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { retell } from './group-scenario.ts'

const FOLDER = new URL('../scenarios/groups/', import.meta.url)

/** A changed transcript fails; `-u` rewrites it. Commit the difference only if you understand what caused it. */
for (const file of readdirSync(FOLDER).filter(name => name.endsWith('.txt'))) {
  test(`the story of ${file}`, async () => {
    const { pathname } = new URL(file, FOLDER)
    await expect(retell(readFileSync(pathname, 'utf8'))).toMatchFileSnapshot(pathname)
  })
}
