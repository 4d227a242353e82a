/// Why a stored definition cannot be used by this version.
package struct DefinitionError: Error, Hashable, Sendable, CustomStringConvertible {
    /// One line each, without places: the content comes from no file.
    package let messages: [String]

    package init(messages: [String]) {
        self.messages = messages
    }

    package var description: String { messages.joined(separator: "\n") }
}
