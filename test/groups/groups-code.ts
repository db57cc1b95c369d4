/** What the tests of groups run, in one place: a planted bug is this with one passage exchanged. */
export { InvariantViolation } from '../../src/base/assert.ts'
export { GroupCoordinator } from '../../src/groups/group-coordinator.ts'
export { GroupsImage } from '../../src/groups/groups-image.ts'
export { MembershipFeed } from '../../src/groups/membership-feed.ts'
export { MachineRuntime } from '../../src/machine/machine-runtime.ts'
