import EmbeddedPostgres

/// A folder of one test, removed with it.
package final class TemporaryFolder: Sendable {
    package let path: String

    package init() {
        path = Files.makeTemporaryDirectory("outrider-test")
    }

    deinit {
        Files.removeTree(path)
    }

    /// Writes a file and returns its path.
    @discardableResult
    package func write(_ text: String, to name: String) -> String {
        if let slash = name.lastIndex(of: "/") { Files.makeDirectory("\(path)/\(name[..<slash])") }
        Files.write(text, to: "\(path)/\(name)")
        return "\(path)/\(name)"
    }
}
