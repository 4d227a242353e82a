import Glibc
import Primitives

/// The `outrider` command: finds the command that is meant, checks its words, runs it.
package enum CommandLineTool {
    static let commands: [Command] =
        [.dev, .demo, .migrate, .check, .plan, .test, .apply, .run, .publish] + Command.subscriptions
        + Command.deadLetters + [.start] + Command.sagas + Command.sagaActs + Command.schedules + [.doctor, .version]

    /// Runs the command and returns the exit status: 0 done, 1 failed, 2 wrong usage.
    package static func main(_ words: [String], environment: [String: String]) async -> Int32 {
        TerminationSignals.ignoreBrokenPipes()
        guard let first = words.first, !["help", "-h", "--help"].contains(first) || words.count > 1 else {
            print(Help.overview(commands), terminator: "")
            return words.isEmpty ? 2 : 0
        }
        if first == "--version" { return await main(["version"], environment: environment) }
        if first == "help" { return await main(Array(words.dropFirst()) + ["--help"], environment: environment) }
        guard let (command, rest) = find(words) else { return unknown(words) }
        do {
            let arguments = try Arguments(rest, options: command.options, environment: environment)
            if arguments.wantsHelp {
                print(Help.command(command), terminator: "")
                return 0
            }
            return try await command.run(arguments)
        } catch let error as UsageError {
            complain("outrider \(command.name): \(error)")
            complain(
                "usage: outrider \(command.name)\(command.usage.isEmpty ? "" : " " + command.usage); see outrider \(command.name) --help"
            )
            return 2
        } catch {
            complain("outrider \(command.name): \(error)")
            return 1
        }
    }

    /// The command that the first words name: two words for those of a group.
    private static func find(_ words: [String]) -> (Command, ArraySlice<String>)? {
        for count in [2, 1] where words.count >= count {
            let name = words.prefix(count).joined(separator: " ")
            if let command = commands.first(where: { $0.name == name }) { return (command, words.dropFirst(count)) }
        }
        return nil
    }

    private static func unknown(_ words: [String]) -> Int32 {
        let group = commands.filter { $0.name.hasPrefix(words[0] + " ") }
        if !group.isEmpty {
            let wantsHelp = words.dropFirst().contains { $0 == "--help" || $0 == "-h" }
            if wantsHelp {
                for command in group { print(Help.command(command)) }
                return 0
            }
            let names = group.map { String($0.name.dropFirst(words[0].count + 1)) }
            let found = words.dropFirst().first
            let hint = found.flatMap { closest(to: $0, among: names) }.map { "; did you mean \($0)?" } ?? ""
            complain(
                "outrider \(words[0]): " + (found.map { "unknown command '\($0)'\(hint)" } ?? "a command is missing"))
            complain("expected one of: \(names.joined(separator: ", "))")
            return 2
        }
        let names = Set(commands.map { String($0.name.split(separator: " ")[0]) }).sorted()
        let hint = closest(to: words[0], among: names).map { "; did you mean \($0)?" } ?? ""
        complain("outrider: unknown command '\(words[0])'\(hint)")
        complain("expected one of: \(names.joined(separator: ", ")); see outrider --help")
        return 2
    }
}
