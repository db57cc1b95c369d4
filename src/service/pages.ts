import { integerWithin, invalidRequest } from './request-checks.ts'

export const PAGE_SIZE_MAX = 1_000
const PAGE_SIZE_DEFAULT = 100

/**
 * One page of a list that is sorted by a key. The token holds the last key of the page before, so that a page
 * neither repeats nor misses what was there all the time, whatever came and went between two calls.
 */
export function pageOf<T>(
  sorted: readonly T[],
  keyOf: (item: T) => string,
  request: { readonly pageSize?: number | undefined; readonly pageToken: string },
): { items: readonly T[]; nextPageToken: string } {
  const size = integerWithin(request.pageSize, {
    name: 'page_size',
    min: 1,
    max: PAGE_SIZE_MAX,
    default: PAGE_SIZE_DEFAULT,
  })
  const after = request.pageToken === '' ? undefined : readToken(request.pageToken)
  const start = after === undefined ? 0 : firstAfter(sorted, keyOf, after)
  const items = sorted.slice(start, start + size)
  const last = items.at(-1)
  const isLast = start + size >= sorted.length || last === undefined
  return { items, nextPageToken: isLast ? '' : writeToken(keyOf(last)) }
}

export function writeToken(key: string): string {
  return Buffer.from(key).toString('base64url')
}

/** Throws INVALID_REQUEST for what no answer has given. */
export function readToken(token: string): string {
  const key = Buffer.from(token, 'base64url').toString()
  if (key === '' || writeToken(key) !== token)
    throw invalidRequest('page_token is not one that an earlier answer gave: start again without it')
  return key
}

function firstAfter<T>(sorted: readonly T[], keyOf: (item: T) => string, key: string): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (keyOf(sorted[middle] as T) <= key) low = middle + 1
    else high = middle
  }
  return low
}
