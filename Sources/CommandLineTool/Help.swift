import Primitives

/// Help texts, from what the commands declare.
enum Help {
    static func overview(_ commands: [Command]) -> String {
        var text = """
            \(bold("outrider")): a transactional outbox and saga engine beside your service, on its own PostgreSQL.

            Services publish messages and start sagas with SQL, in their own transactions; Outrider delivers the
            messages, and runs the sagas to their end, or undoes what they did.

            \(bold("Usage:")) outrider COMMAND [options]


            """
        for (title, names) in groups {
            text += bold(title) + "\n"
            for command in commands
            where names.contains(String(command.name.split(separator: " ")[0])) && !command.isHidden {
                text += row(command.name, command.summary, width: 26)
            }
            text += "\n"
        }
        return text + """
            \(bold("First steps:"))
              outrider dev                     everything on this machine, nothing to configure
              outrider COMMAND --help          options, defaults and examples of a command

            """
    }

    private static let groups: [(title: String, names: Set<String>)] = [
        ("Begin", ["dev", "demo"]),
        ("Run", ["migrate", "check", "plan", "test", "apply", "run"]),
        ("Messages", ["publish", "subscription", "dead-letters", "schedule"]),
        ("Sagas", ["start", "saga"]),
        ("Look after it", ["doctor", "version"]),
    ]

    static func command(_ command: Command) -> String {
        var text = "\(bold("outrider " + command.name)): \(command.summary)\n\n"
        text += "\(bold("Usage:")) outrider \(command.name)\(command.usage.isEmpty ? "" : " " + command.usage)"
        text += command.options.isEmpty ? "\n" : " [options]\n"
        if !command.details.isEmpty { text += "\n\(command.details)\n" }
        text += "\n\(bold("Options:"))\n"
        for option in command.options {
            let written = "--\(option.name)" + (option.value.map { " \($0)" } ?? "")
            var summary = option.summary
            if option.isRepeatable { summary += "; may be repeated" }
            text += row(written, summary, width: 28)
            var notes: [String] = []
            if let fallback = option.fallback { notes.append("default: \(fallback)") }
            if !option.environment.isEmpty { notes.append("or \(option.environment.joined(separator: ", else "))") }
            if !notes.isEmpty { text += row("", "(\(notes.joined(separator: "; ")))", width: 28) }
        }
        text += row("--help", "this text", width: 28)
        if !command.examples.isEmpty {
            text += "\n\(bold("Examples:"))\n" + command.examples.map { "  \($0)\n" }.joined()
        }
        return text
    }

    /// Two columns within 100 characters.
    private static func row(_ left: String, _ right: String, width: Int) -> String {
        var lines: [String] = [""]
        for word in right.split(separator: " ") {
            if lines[lines.count - 1].count + word.count + 1 > 96 - width { lines.append("") }
            lines[lines.count - 1] += (lines[lines.count - 1].isEmpty ? "" : " ") + word
        }
        var text = ""
        for (index, line) in lines.enumerated() {
            let label = index == 0 ? left : ""
            let gap = String(repeating: " ", count: max(2, width - label.count))
            text += "  \(label)\(gap)\(line)\n"
        }
        return text
    }

    static func bold(_ text: String) -> String { Terminal.styled(text, .bold) }
}
