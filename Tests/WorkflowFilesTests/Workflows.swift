import Expressions
import Glibc
import Sagas
import TestSupport
import WorkflowFiles

/// A workflow folder of one test, and what its check says.
struct Workflows {
    private let folder = TemporaryFolder()

    /// The folder with one file.
    init(_ text: String, file: String = "a.yaml") {
        folder.write(text, to: file)
    }

    /// The folder with these files, by name.
    init(_ files: [String: String]) {
        for (name, text) in files { folder.write(text, to: name) }
    }

    init(bytes: [UInt8]) {
        Self.write(bytes, to: "\(folder.path)/a.yaml")
    }

    static func write(_ bytes: [UInt8], to path: String) {
        let file = fopen(path, "w")
        fwrite(bytes, 1, bytes.count, file)
        fclose(file)
    }

    func check(known: WorkflowFolder.KnownNames = .init()) async -> Outcome {
        let evaluator = Evaluator(executable: RunningOutrider.executable)
        defer { evaluator.close() }
        let files = await WorkflowFolder.load(paths: [folder.path], known: known, evaluator: evaluator)
        return Outcome(
            definitions: files.definitions, hasErrors: files.hasErrors,
            messages: files.diagnostics.map { $0.description.replacing("\(folder.path)/", with: "") })
    }

    struct Outcome {
        let definitions: [Definition]
        let hasErrors: Bool
        /// As the user reads them, file names without the folder.
        let messages: [String]

        /// The messages, one a line, `a.yaml:` left out.
        var text: String { messages.joined(separator: "\n").replacing("a.yaml:", with: "") }

        var sagas: [SagaDefinition] {
            definitions.compactMap { if case .saga(let saga) = $0 { saga } else { nil } }
        }
        var subscriptions: [SubscriptionDefinition] {
            definitions.compactMap { if case .subscription(let subscription) = $0 { subscription } else { nil } }
        }
        var topics: [TopicDefinition] {
            definitions.compactMap { if case .topic(let topic) = $0 { topic } else { nil } }
        }
        var endpoints: [EndpointDefinition] {
            definitions.compactMap { if case .endpoint(let endpoint) = $0 { endpoint } else { nil } }
        }
    }

    /// A subscription with all that it needs in lines 1 to 3, and further lines.
    static func subscription(_ lines: String = "") -> String {
        """
        subscription: mail
        topics: [ order.created ]
        deliver: { http: POST https://mail.example/send }
        \(lines)
        """
    }

    /// A saga with these steps, a list from line 4 on.
    static func saga(_ steps: String) -> String { "saga: s\nversion: 1\nsteps:\n" + steps }

    /// A saga with all that it needs in lines 1 to 3, and further lines.
    static func sagaWith(_ lines: String) -> String {
        """
        saga: s
        version: 1
        steps: [ { id: a, set: { x: 1 } } ]
        \(lines)
        """
    }

    /// An endpoint with all that it needs in lines 1 and 2, and further lines.
    static func endpoint(_ lines: String = "") -> String {
        """
        endpoint: shop
        url: https://shop.example/v1
        \(lines)
        """
    }
}
