import { decodeStrictly, LENGTH, type StrictReader } from './strict-reader.ts'

/**
 * The descriptor set that the build wrote (a serialised google.protobuf.FileDescriptorSet, with comments), indexed as
 * gRPC reflection asks for it. Files are handed on as the bytes they came as: a decoder that knows less than buf
 * would lose `optional`, comments and options. The server reads the file; nothing here touches the disk.
 */
export class DescriptorSet {
  readonly #files = new Map<string, FileDescriptor>()
  readonly #fileOfSymbol = new Map<string, FileDescriptor>()
  readonly #services: string[] = []

  constructor(bytes: Uint8Array) {
    decodeStrictly('FileDescriptorSet', bytes, (reader, end) => {
      eachField(reader, end, { 1: () => this.#add(reader.bytes()) })
    })
  }

  /** Full names of all services: `naru.v1.Producer`. */
  get services(): readonly string[] {
    return this.#services
  }

  /** The file `naru/v1/producer.proto` and everything it imports, each before those that import it. */
  fileByName(name: string): Buffer[] | undefined {
    const file = this.#files.get(name)
    return file && this.#withImports(file)
  }

  /** The file that declares a service, method, message, field, enum or enum value by its full name; as above. */
  fileBySymbol(symbol: string): Buffer[] | undefined {
    const file = this.#fileOfSymbol.get(symbol)
    return file && this.#withImports(file)
  }

  #add(bytes: Buffer): void {
    const file = readFile(bytes)
    this.#files.set(file.name, file)
    for (const symbol of file.symbols) this.#fileOfSymbol.set(symbol, file)
    this.#services.push(...file.services)
  }

  #withImports(file: FileDescriptor, done = new Map<string, Buffer>()): Buffer[] {
    for (const name of file.imports) {
      const imported = this.#files.get(name)
      if (imported && !done.has(name)) this.#withImports(imported, done)
    }
    done.set(file.name, file.bytes)
    return [...done.values()]
  }
}

interface FileDescriptor {
  readonly name: string
  readonly bytes: Buffer
  readonly imports: readonly string[]
  readonly symbols: readonly string[]
  readonly services: readonly string[]
}

/** Field numbers are those of google/protobuf/descriptor.proto. */
function readFile(bytes: Buffer): FileDescriptor {
  let name = ''
  let packageName = ''
  const imports: string[] = []
  // Declarations may come before the package: they are read as they are and named afterwards.
  const declared: Declared[] = []
  const services: Declared[] = []
  decodeStrictly('FileDescriptorProto', bytes, (reader, end) => {
    eachField(reader, end, {
      1: () => {
        name = reader.string('FileDescriptorProto.name')
      },
      2: () => {
        packageName = reader.string('FileDescriptorProto.package')
      },
      3: () => imports.push(reader.string('FileDescriptorProto.dependency')),
      4: () => declared.push(readDeclared(reader, MESSAGE)),
      5: () => declared.push(readDeclared(reader, ENUM)),
      6: () => services.push(readDeclared(reader, SERVICE)),
    })
  })
  const prefix = packageName === '' ? '' : `${packageName}.`
  return {
    name,
    bytes,
    imports,
    symbols: [...declared, ...services].flatMap(one => symbolsOf(one, prefix)),
    services: services.map(service => prefix + service.name),
  }
}

interface Declared {
  name: string
  inner: Declared[]
  /** Values of an enum are named as siblings of the enum, not as its members. */
  isEnum: boolean
}

/** Which fields of a declaration hold further ones, and of what kind. */
interface Kind {
  readonly isEnum?: boolean
  readonly inner: { readonly [number: number]: Kind }
}

const NAMED: Kind = { inner: {} }
const ENUM: Kind = { isEnum: true, inner: { 2: NAMED } }
const SERVICE: Kind = { inner: { 2: NAMED } }
const MESSAGE: Kind = {
  inner: {
    2: NAMED,
    get 3() {
      return MESSAGE
    },
    4: ENUM,
    8: NAMED,
  },
}

function readDeclared(reader: StrictReader, kind: Kind): Declared {
  const declared: Declared = { name: '', inner: [], isEnum: kind.isEnum ?? false }
  const actions: Record<number, () => void> = {
    1: () => {
      declared.name = reader.string('name')
    },
  }
  for (const [number, inner] of Object.entries(kind.inner))
    actions[Number(number)] = () => declared.inner.push(readDeclared(reader, inner))
  const end = reader.enter('descriptor')
  eachField(reader, end, actions)
  reader.leave()
  return declared
}

function symbolsOf(declared: Declared, prefix: string): string[] {
  const name = prefix + declared.name
  const scope = declared.isEnum ? prefix : `${name}.`
  return [name, ...declared.inner.flatMap(one => symbolsOf(one, scope))]
}

function eachField(reader: StrictReader, end: number, actions: Readonly<Record<number, () => void>>): void {
  while (reader.hasMore(end)) {
    const tag = reader.tag()
    const action = (tag & 7) === LENGTH ? actions[tag >>> 3] : undefined
    if (action) action()
    else reader.skipUnknown(tag)
  }
}
