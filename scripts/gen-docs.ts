import { ERROR_CODES } from '../src/base/errors.ts'

/** docs/errors.md from the table of errors; `npm run gen` writes it, and a test checks that the file matches. */
export function errorsPage(): string {
  return `# Errors

This page is written by \`npm run gen\` from the table in \`src/base/errors.ts\`; do not edit it.

A call that fails ends with the gRPC status of its reason. The trailer \`grpc-status-details-bin\` holds a
\`google.rpc.Status\` with a \`google.rpc.ErrorInfo\`: \`domain\` is \`naru\`, \`reason\` is a name of the table below, and
\`metadata\` has facts (\`topic\`, \`partition\` ...) and always \`outcome\`. Where the node knows when to try again, a
\`google.rpc.RetryInfo\` stands beside it. What fails in part (one record of many, one topic of many) fails in the answer,
as a \`naru.v1.Failure\` with the same reasons (\`ERROR_REASON_...\`). The message is for people; match on the reason.
Reasons are never renamed or used for something else.

- **retriable**: the same call may succeed later without anybody changing anything.
- **outcome**: \`none\`: it certainly did not happen, so trying again cannot duplicate anything. \`unknown\`: it may have
  happened. A single error may know better than the table: what it carries counts.

| reason | gRPC status | retriable | outcome | what to do |
|---|---|---|---|---|
${Object.entries(ERROR_CODES)
  .map(([reason, code]) => errorRow(reason, code))
  .join('')}`
}

function errorRow(reason: string, code: (typeof ERROR_CODES)[keyof typeof ERROR_CODES]): string {
  const retriable = code.retriable ? 'yes' : 'no'
  return `| \`${reason}\` | ${code.status} | ${retriable} | ${code.outcome} | ${code.action.replaceAll('|', '\\|')} |\n`
}
