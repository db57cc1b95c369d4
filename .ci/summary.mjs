/**
 * Adds up what .ci/run ran: each test of vitest's JSON report, and each step. A step fails on its own account
 * only if no test of its report explains it (a crash, an unhandled error, no report at all).
 * Prints one last line, `N passed, N failed`, and exits with 1 if anything failed.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const directory = process.argv[2]
const counts = { passed: 0, failed: 0 }
const failures = []

const report = readReport(join(directory, 'vitest.json'))
const failedTests = report ? addTests(report) : 0
addSteps(readSteps(join(directory, 'steps')))

if (failures.length > 0) console.log(`\nFailed:\n${failures.map(name => `  ${name}`).join('\n')}`)
console.log(`${counts.passed} passed, ${counts.failed} failed`)
process.exitCode = counts.failed > 0 ? 1 : 0

function addTests({ testResults }) {
  let failed = 0
  for (const file of testResults) {
    for (const test of file.assertionResults) {
      if (test.status === 'passed') counts.passed++
      else {
        // Skipped and pending ones too: every test runs, always.
        failed++
        failures.push(`${file.name}: ${test.fullName} (${test.status})`)
      }
    }
    if (file.status === 'failed' && !file.assertionResults.some(test => test.status === 'failed')) {
      failed++
      failures.push(`${file.name}: the file did not run: ${file.message}`)
    }
  }
  counts.failed += failed
  return failed
}

/** Tests are counted one by one, from their report; the other steps count as one each. */
function addSteps(steps) {
  if (steps.length === 0) steps.push({ status: 1, name: 'no step ran' })
  for (const { status, name } of steps) {
    if (status === 0 && name === 'tests' && !report) {
      counts.failed++
      failures.push('tests: ended well but wrote no report')
    } else if (status === 0 && name !== 'tests') {
      counts.passed++
    } else if (status !== 0 && (name !== 'tests' || failedTests === 0)) {
      counts.failed++
      failures.push(`${name}: exit status ${status}`)
    }
  }
}

function readReport(path) {
  if (!existsSync(path)) return undefined
  return JSON.parse(readFileSync(path, 'utf8'))
}

function readSteps(path) {
  if (!existsSync(path)) return []
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter(line => line !== '')
    .map(line => line.split('\t'))
    .map(([status, name]) => ({ status: Number(status), name }))
}
