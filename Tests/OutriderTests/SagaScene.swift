import EmbeddedPostgres
import HTTPServer
import Postgres
import Primitives
import Synchronization
import TestSupport

/// What a test of the saga commands works with: a worker that runs sagas, a handler that does as it is told, the commands.
final class SagaScene: Sendable {
    /// What the handler says, by method and path (`POST /charge`): one after the other, the last one from then on. Without any, 200.
    final class Replies: Sendable {
        private let waiting: Mutex<[String: [ServerResponse]]>

        init(_ replies: [String: [ServerResponse]]) {
            waiting = Mutex(replies)
        }

        subscript(call: String) -> [ServerResponse] {
            get { waiting.withLock { $0[call] ?? [] } }
            set { waiting.withLock { $0[call] = newValue } }
        }

        func next(_ call: String) -> ServerResponse {
            waiting.withLock { replies in
                guard let first = replies[call]?.first else { return .json(["ok": true]) }
                if replies[call]!.count > 1 { replies[call]!.removeFirst() }
                return first
            }
        }
    }

    private let scene: Scene
    let replies: Replies

    var database: TestDatabase { scene.database }
    var handler: HandlerServer { scene.handler }
    var environment: [String: String] { scene.environment }

    private init(scene: Scene, replies: Replies) {
        self.scene = scene
        self.replies = replies
    }

    /// - Parameter sagas: documents beside the endpoint `shop`, which is the handler.
    static func with(
        _ sagas: String, replies: [String: [ServerResponse]] = [:],
        _ body: (SagaScene) async throws -> Void
    ) async throws {
        let replies = Replies(replies)
        try await Scene.with(
            workflows: "endpoint: shop\nurl: ${ $env.SHOP }\n---\n\(sagas)",
            handler: .decides { replies.next("\($0.request.method) \($0.request.path)") }
        ) { scene in
            let worker = try await scene.worker()
            try await body(SagaScene(scene: scene, replies: replies))
            _ = worker
        }
    }

    /// The words of a command as one would type them; none of them has a space.
    func run(_ words: String, _ more: String...) async throws -> (
        exit: ChildProcess.Exit, output: String, errors: String
    ) {
        try await RunningOutrider.run(
            words.split(separator: " ").map(String.init) + more, environment: environment)
    }

    func json(_ words: String) async throws -> JSON {
        try JSON(parsing: Array(try await run(words + " --format json").output.utf8))
    }

    /// Starts one and returns its id.
    func start(_ saga: String, _ input: String) async throws -> String {
        let started = try await run("start", saga, input)
        return String(started.output.dropLast())
    }

    /// Waits until the saga has this status and no worker is at it.
    func waitUntil(_ id: String, is status: String, waitingFor: String? = nil) async throws {
        try await eventually("saga \(id) is \(status)") {
            let row = try await database.value(
                """
                select jsonb_build_object('status', s.status, 'waiting_for', s.waiting_for, 'worker', s.worker)
                from outrider.sagas s where s.id = \(id)::uuid
                """, as: JSON.self)
            return row["status"]?.string == status && row["worker"]?.isNull == true
                && (waitingFor == nil || row["waiting_for"]?.string?.contains(waitingFor!) == true)
        }
    }

    /// A text in which what differs from run to run is the same: ids, times, and durations with the spaces before them.
    static func masked(_ text: String) -> String {
        var text = text.replacing(#/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/#, with: "ID")
        text.replace(#/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/#, with: "TIME")
        let duration = #/ *\b(\d+ms|\d+\.\ds|\d+s|\d+m\d\ds|\d+h\d\dm|\d+d\d+h)\b/#
        return text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            line.replacing(duration) { match in
                // A column on the left or in the middle keeps its width.
                let isColumn = match.range.lowerBound == line.startIndex || match.output.0.hasPrefix("  ")
                return isColumn
                    ? String(repeating: " ", count: max(1, match.output.0.count - 1)) + "#"
                    : (match.output.0.hasPrefix(" ") ? " #" : "#")
            }
        }.joined(separator: "\n")
    }
}

extension ServerResponse {
    static func refusal(_ type: String, _ detail: String, status: Int = 422) -> ServerResponse {
        .problem(status: status, title: "Refused", detail: detail, type: type)
    }

    static func status(_ status: Int) -> ServerResponse { .text("", status: status) }
}
