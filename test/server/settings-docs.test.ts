import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { settingsPage } from '../../src/server/settings-docs.ts'

it('docs/settings.md is what `naru config docs` prints', () => {
  const page = readFileSync(new URL('../../docs/settings.md', import.meta.url), 'utf8')
  expect(page, 'run: npm run --silent build && node bin/naru.js config docs > docs/settings.md').toBe(
    settingsPage(),
  )
})
