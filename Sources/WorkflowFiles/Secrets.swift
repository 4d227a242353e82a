package import Primitives

/// `{ secret: NAME }`: the only way in which a secret stands in a workflow file.
package struct SecretReference: Sendable, Hashable {
    package let name: String

    package init(name: String) {
        self.name = name
    }
}

/// Where the values of secrets come from: first an environment variable, then a file in `OUTRIDER_SECRETS_DIR`.
package struct Secrets: Sendable {
    package struct Missing: Error, Hashable, Sendable, CustomStringConvertible {
        package let name: String
        package let directory: String?

        package var description: String {
            let place =
                directory.map { "a file \($0)/\(name)" } ?? "a file of that name in OUTRIDER_SECRETS_DIR (not set)"
            return "the secret \(name) was not found; expected an environment variable \(name) or \(place)"
        }
    }

    private let environment: [String: String]
    private let directory: String?
    private let readFile: @Sendable (String) -> [UInt8]?

    /// - Parameter readFile: the content of the file at a path, nil when there is none that can be read.
    package init(environment: [String: String], readFile: @escaping @Sendable (String) -> [UInt8]?) {
        self.environment = environment
        directory = environment["OUTRIDER_SECRETS_DIR"].flatMap { $0.isEmpty ? nil : $0 }
        self.readFile = readFile
    }

    /// The value; of a file without the line end at its end, which editors and `kubectl` leave there.
    package func resolve(_ reference: SecretReference) throws(Missing) -> Secret {
        if let value = environment[reference.name], !value.isEmpty { return Secret(value) }
        guard let directory, var bytes = readFile("\(directory)/\(reference.name)") else {
            throw Missing(name: reference.name, directory: directory)
        }
        if bytes.last == 0x0A { bytes.removeLast() }
        if bytes.last == 0x0D { bytes.removeLast() }
        guard !bytes.isEmpty, let value = String(validating: bytes, as: UTF8.self) else {
            throw Missing(name: reference.name, directory: directory)
        }
        return Secret(value)
    }
}
