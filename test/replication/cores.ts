/** What a planted bug is bundled from. */
export { FollowerState } from '../../src/replication/follower-state.ts'
export { LeaderState } from '../../src/replication/leader-state.ts'
