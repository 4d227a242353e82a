import EmbeddedPostgres
import Primitives

extension Arguments {
    /// JSON as a person gives it: the word itself, a file's content with @, standard input with -.
    func document(_ word: String, _ what: String) throws -> String {
        let text: String
        switch word.first {
        case "@":
            guard let content = Files.text(String(word.dropFirst())) else {
                throw CommandFailure("the file \(word.dropFirst()) cannot be read")
            }
            text = content
        case "-" where word == "-":
            guard let content = Files.text("/dev/stdin") else { throw CommandFailure("standard input cannot be read") }
            text = content
        default: text = word
        }
        do {
            _ = try JSON(parsing: text)
        } catch {
            throw CommandFailure("\(what) is not JSON: \(error)")
        }
        return text
    }

    /// That of an option; nil without it.
    func document(option name: String) throws -> String? {
        try self[name].map { try document($0, "--\(name)") }
    }

    /// Of `--header NAME=VALUE`; nil without any.
    func headers() throws(UsageError) -> JSON? {
        let headers = try all("header").map { (text) throws(UsageError) -> (name: String, value: JSON) in
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, !parts[0].isEmpty else {
                throw UsageError("--header is '\(text)'; expected NAME=VALUE")
            }
            return (String(parts[0]), .string(String(parts[1])))
        }
        return headers.isEmpty ? nil : .object(JSONObject(headers))
    }

    /// Why an act is done; the history keeps it.
    func reason(_ what: String = "for whoever reads the history") throws(UsageError) -> String {
        guard let reason = self["reason"] else { throw UsageError("--reason is missing: say why, \(what)") }
        return reason
    }
}
