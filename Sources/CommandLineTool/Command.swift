/// A command of the tool. What it takes is declared, so that help and checks come from one place.
struct Command: Sendable {
    /// `dead-letters list`, with a space where it belongs to a group.
    let name: String
    let summary: String
    /// What follows the name in the usage line.
    var usage = ""
    /// A paragraph or two for the help.
    var details = ""
    var options: [Option] = []
    var examples: [String] = []
    /// Left out of the overview.
    var isHidden = false
    let run: @Sendable (Arguments) async throws -> Int32
}

/// A failure that the command has explained itself.
struct CommandFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
