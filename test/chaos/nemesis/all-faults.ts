import { DISK_FAULTS } from './disk-faults.ts'
import type { Fault, FaultName } from './fault.ts'
import { MOVE_FAULTS } from './move-faults.ts'
import { NETWORK_FAULTS } from './network-faults.ts'
import { PROCESS_FAULTS } from './process-faults.ts'

const ALL: ReadonlyMap<FaultName, Fault> = new Map(
  [...PROCESS_FAULTS, ...NETWORK_FAULTS, ...DISK_FAULTS, ...MOVE_FAULTS].map(one => [one.name, one]),
)

export function faultsNamed(names: readonly FaultName[]): Fault[] {
  return names.map(name => {
    const fault = ALL.get(name)
    if (fault === undefined) throw new Error(`there is no fault "${name}"`)
    return fault
  })
}
