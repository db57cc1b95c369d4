import type { Epoch } from '../base/brands.ts'
import type { MemberName } from './group-result.ts'

/**
 * Keys of the timers of groups, one timer at a time each. Bounded by members (session), by the epochs at which a member
 * was asked for partitions that it still has (release), and by groups (target, expiry, refresh). Names of groups
 * and members hold no line breaks.
 */
export const timerKey = {
  session: ({ group, member }: MemberName) => `session\n${group}\n${member}`,
  release: ({ group, member }: MemberName, epoch: Epoch) => `release\n${group}\n${member}\n${epoch}`,
  target: (group: string) => `target\n${group}`,
  expiry: (group: string) => `expiry\n${group}`,
  refresh: (group: string) => `refresh\n${group}`,
}
