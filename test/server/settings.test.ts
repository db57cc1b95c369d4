import { describe, expect, it } from 'vitest'
import { resolveSettings } from '../../src/server/settings.ts'
import { loadSettings, settingsOfEnvironment, settingsOfYaml } from '../../src/server/settings-sources.ts'
import { SETTING_KEYS, SETTINGS, type SettingKey } from '../../src/server/settings-table.ts'

const NO_FILE = { environment: {}, flags: new Map<SettingKey, string>() }

function settingsOf(sources: { yaml?: string; environment?: Record<string, string> }) {
  return resolveSettings([
    settingsOfYaml(sources.yaml ?? '', 'naru.yaml'),
    settingsOfEnvironment(sources.environment ?? {}),
  ])
}

describe('settings', () => {
  it('start a node without any being given', () => {
    const { settings, origins } = resolveSettings([])
    expect(settings['client.port']).toBe(7450)
    expect(settings['listen.address']).toBe('127.0.0.1')
    expect(origins.get('client.port')).toBe('default')
    expect(Object.isFrozen(settings)).toBe(true)
  })

  it('are at most 40, each with a default inside its own limits and a sentence', () => {
    expect(SETTING_KEYS.length).toBeLessThanOrEqual(40)
    for (const key of SETTING_KEYS) {
      expect(SETTINGS[key].doc, key).toMatch(/[.]$/)
      expect(() =>
        resolveSettings([new Map([[key, { value: SETTINGS[key].default, givenAs: key }]])]),
      ).not.toThrow()
    }
  })

  it('come from the file, then variables, then flags', () => {
    const flags = new Map<SettingKey, string>([['http.port', '3']])
    const environment = { NARU_CLIENT_PORT: '2', NARU_HTTP_PORT: '4', NARU_LOG_LEVEL: 'debug' }
    const yaml = settingsOfYaml('client.port: 1\nhttp.port: 1\nrack: a\n', 'naru.yaml')
    const { settings, origins } = resolveSettings([yaml, settingsOfEnvironment(environment)])
    expect([settings['client.port'], settings.rack, settings['log.level']]).toEqual([2, 'a', 'debug'])
    expect(origins.get('rack')).toBe('rack in naru.yaml')
    expect(origins.get('client.port')).toBe('NARU_CLIENT_PORT')
    const loaded = loadSettings({ environment, flags })
    expect(loaded.settings['http.port']).toBe(3)
    expect(loaded.origins.get('http.port')).toBe('--http-port')
  })

  it('may be nested in YAML, but not given twice', () => {
    const yaml = 'client: { port: 1 }\ndata:\n  dir: /srv/naru\nauto.create.topics: { enable: false }'
    const { settings } = settingsOf({ yaml })
    expect(settings['client.port']).toBe(1)
    expect(settings['data.dir']).toBe('/srv/naru')
    expect(settings['auto.create.topics.enable']).toBe(false)
    expect(() => settingsOf({ yaml: 'client: { port: 1 }\nclient.port: 2' })).toThrow(
      'client.port is given twice',
    )
  })

  it.each([
    ['client.prot: 1', 'unknown setting client.prot in naru.yaml (did you mean "client.port"?)'],
    ['zzzzzzzzzzzz: 1', 'unknown setting zzzzzzzzzzzz in naru.yaml (docs/settings.md lists them all)'],
    ['constructor: 1', 'unknown setting constructor in naru.yaml'],
    ['client.port: 70000', 'client.port in naru.yaml is 70000, but must be at most 65535'],
    ['client.port: -1', 'must be at least 0'],
    ['client.port: 1.5', 'must be a whole number'],
    ['client.port: "80x"', 'client.port in naru.yaml is "80x", but must be a whole number'],
    ['client.port:', 'must be a whole number'],
    ['client.port: [1]', 'must be a whole number'],
    ['auto.create.topics.enable: maybe', 'must be true or false'],
    ['log.level: loud', 'must be one of trace, debug, info, warn, error, silent'],
    ['rack: [a]', 'must be a text'],
    ['- a\n- b', 'must be a list of "setting: value" lines'],
    ['a: [', 'naru.yaml: '],
    ['listen.address: 0.0.0.0', 'set advertised.address'],
    ['client.port: 80\nhttp.port: 80', 'client.port and http.port are both 80'],
    ['client.port: 80\npeer.port: 80', 'client.port and peer.port are both 80'],
    ['cluster.peers: "a:1, b"', '"b" is not host:port'],
    ['cluster.peers: "a:0"', '"a:0" is not host:port'],
    ['cluster.peers: "a:70000"', '"a:70000" is not host:port'],
    ['cluster.peers: "::1:7452"', 'is not host:port (an IPv6 address goes in brackets)'],
    ['cluster.peers: "a:1,A:1"', 'it names a:1 twice'],
    ['cluster.peers: 7', 'must be a list of host:port'],
    ['cluster.peers: "a:1,b:1"\npeer.port: 0', 'peer.port is 0 (any free one): others could not find'],
    ['connections.max: 10', 'connections.per.address.max (1000) is above connections.max (10)'],
  ])('refuse %j', (yaml, message) => {
    expect(() => settingsOf({ yaml })).toThrow(message)
  })

  it('tell all that is wrong at once', () => {
    const yaml = 'client.port: x\nhttp.port: y'
    expect(() => settingsOf({ yaml, environment: { NARU_RACKS: 'a' } })).toThrow(
      /client\.port in naru\.yaml.*http\.port in naru\.yaml.*NARU_RACKS \(did you mean "rack"\?\)/,
    )
  })

  it('take the peers as a text or as a list, in any order', () => {
    const peers = ['[::1]:7452', 'naru-0.naru:7452', 'naru-1.naru:7452']
    const yaml = 'cluster.peers: [naru-1.naru:7452, "Naru-0.naru:7452", "[::1]:7452"]'
    const environment = { NARU_CLUSTER_PEERS: ' naru-1.naru:7452,[::1]:7452, naru-0.naru:7452' }
    expect(settingsOf({ yaml }).settings['cluster.peers']).toEqual(peers)
    expect(settingsOf({ environment }).settings['cluster.peers']).toEqual(peers)
    expect(settingsOf({ environment: { NARU_CLUSTER_PEERS: '' } }).settings['cluster.peers']).toEqual([])
  })

  it('allow any free port for both ports', () => {
    expect(() => settingsOf({ yaml: 'client.port: 0\nhttp.port: 0' })).not.toThrow()
  })

  it('are not confused by the variables that Kubernetes sets for a Service of a like name', () => {
    const environment = {
      NARU_CLIENT_PORT: 'tcp://10.0.0.7:7450',
      NARU_CLIENT_PORT_7450_TCP_ADDR: '10.0.0.7',
      NARU_CLIENT_SERVICE_HOST: '10.0.0.7',
      NARU_CLIENT_SERVICE_PORT_GRPC: '7450',
      NARU_BOOTSTRAP: 'naru:7450',
    }
    expect(settingsOf({ environment }).settings['client.port']).toBe(7450)
  })

  it('put variables into the advertised address', () => {
    const environment = { NARU_ADVERTISED_ADDRESS: '${HOSTNAME}.naru', HOSTNAME: 'naru-0' }
    expect(loadSettings({ ...NO_FILE, environment }).settings['advertised.address']).toBe('naru-0.naru')
    expect(() => loadSettings({ ...NO_FILE, environment: { NARU_ADVERTISED_ADDRESS: '${NARU}.x' } })).toThrow(
      'advertised.address names ${NARU}, but that variable is not set',
    )
  })

  it('need the file only when it was asked for', () => {
    expect(() => loadSettings(NO_FILE)).not.toThrow()
    expect(() => loadSettings({ ...NO_FILE, configFile: 'gone.yaml' })).toThrow(
      'cannot read the settings file gone.yaml',
    )
  })
})
