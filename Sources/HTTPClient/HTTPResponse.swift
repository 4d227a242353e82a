/// A complete answer, of whatever status.
package struct HTTPResponse: Sendable {
    package let status: Int
    /// Those that decide anything: `Content-Type`, `Retry-After`, `Date`, `Location` and all that begin with `Outrider-`.
    package let headers: Headers
    package let body: [UInt8]

    package struct Headers: Sendable {
        /// Names in lower case.
        package let fields: [(name: String, value: String)]

        /// The first field of that name, in any case.
        package subscript(name: String) -> String? {
            if fields.isEmpty { return nil }
            let name = name.lowercased()
            return fields.first { $0.name == name }?.value
        }
    }
}
