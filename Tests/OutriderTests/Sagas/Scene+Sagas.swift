import HTTPServer
import Postgres
import Primitives
import Synchronization
import TestSupport
import Testing

/// What tests of sagas do in a scene: start them, wait for what becomes of them, read their histories.
extension Scene {
    /// A scene with these sagas, whose calls go to the endpoint `shop`: a handler that does what `script` says.
    static func playing(
        _ sagas: String, _ script: Script = Script(), _ body: (Scene) async throws -> Void
    ) async throws {
        try await with(workflows: sagas + Scene.shop, handler: .decides { script.answer(to: $0) }, body)
    }

    static let shop = """

        ---
        endpoint: shop
        url: ${ $env.SHOP }
        """

    /// Three calls, each with what undoes it. Failures are tried again at once, three times in all.
    static let order = """
        saga: order
        version: 1
        defaults:
          timeout: 2s
          retry: { attempts: 3, initial: 10ms, jitter: none }
          compensate: { retry: { attempts: 3, initial: 10ms, jitter: none } }
        steps:
          - id: reserve
            call: { http: POST /reserve, endpoint: shop, body: { n: "${ .input.n }" } }
            compensate:
              call: { http: POST /release, endpoint: shop, body: { n: "${ .input.n }", was: "${ .output }" } }
          - id: charge
            call: { http: POST /charge, endpoint: shop, body: { n: "${ .input.n }" } }
            compensate:
              call: { http: POST /refund, endpoint: shop, body: { n: "${ .input.n }", was: "${ .output }" } }
          - id: ship
            call: { http: POST /ship, endpoint: shop, body: { n: "${ .input.n }" } }
            compensate:
              call: { http: POST /recall, endpoint: shop, body: { n: "${ .input.n }", was: "${ .output }" } }
        """

    func start(_ saga: String, _ input: String = "{}", key: String? = nil) async throws -> UUID {
        try await database.value("select outrider.start_saga(\(saga), \(input)::jsonb, \(key))")
    }

    func status(of saga: UUID) async throws -> String {
        try await database.value("select status from outrider.sagas where id = \(saga)")
    }

    /// Waits until the saga has that status and nobody works on it.
    func wait(for saga: UUID, _ status: String, within limit: Duration = .seconds(30)) async throws {
        do {
            try await eventually("saga \(saga) is \(status)", within: limit) {
                try await database.value(
                    "select status = \(status) and owner is null from outrider.saga where id = \(saga)")
            }
        } catch {
            throw NeverHappened(
                description: "\(error); it is \(try await self.status(of: saga)):\n"
                    + (try await history(of: saga).joined(separator: "\n"))
                    + "\n" + handler.received.map { "\($0.request.method) \($0.request.path)" }.joined(separator: "\n"))
        }
    }

    /// Waits until the saga waits for something, and nobody works on it.
    func wait(for saga: UUID, toWaitFor text: String) async throws {
        try await eventually("saga \(saga) waits for \(text)") {
            try await database.value(
                """
                select coalesce(waiting_for like '%' || \(text) || '%', false) and owner is null
                from outrider.saga where id = \(saga)
                """)
        }
    }

    /// Starts a saga and waits for how it ends.
    func play(_ saga: String, _ input: String = "{}", to status: String) async throws -> UUID {
        let id = try await start(saga, input)
        try await wait(for: id, status)
        return id
    }

    /// One line an event: `started charge action 1`.
    func history(of saga: UUID) async throws -> [String] {
        try await database.run { connection in
            try connection.query(
                """
                select concat_ws(' ', event, step, op, attempt) from outrider.saga_history
                where saga_id = \(saga) order by seq
                """
            ).map { try $0.decode(0, as: String.self) }
        }
    }

    /// A step's status and its compensation's, with the numbers of tries: `succeeded 1, compensated 2`.
    func step(_ step: String, of saga: UUID) async throws -> String {
        try await database.value(
            """
            select format('%s %s, %s %s', status, attempts, compensation_status, compensation_attempts)
            from outrider.saga_steps where saga_id = \(saga) and step = \(step)
            """)
    }

    func detail(_ event: String, of saga: UUID) async throws -> JSON {
        try await database.value(
            """
            select detail from outrider.saga_history where saga_id = \(saga) and event = \(event)
            order by seq desc limit 1
            """)
    }

    /// Has an operator or handler do something.
    func act(_ sql: SQL) async throws { try await database.query(sql) }

    /// The requests, each as its path.
    var calls: [String] { handler.received.map(\.request.path) }
}

/// What a handler answers, told by the path. Each answer is given once, the last one again and again; without any it is 200.
final class Script: Sendable {
    enum Answer: Sendable {
        case status(Int, [(name: String, value: String)] = [], body: JSON = .null)
        /// Never.
        case nothing
        case run(@Sendable (HandlerServer.Received) -> ServerResponse?)
    }

    private let answers: Mutex<[String: [Answer]]>

    init(_ answers: [String: [Answer]] = [:]) {
        self.answers = Mutex(answers)
    }

    func set(_ path: String, _ answers: Answer...) {
        self.answers.withLock { $0[path] = answers }
    }

    func answer(to received: HandlerServer.Received) -> ServerResponse? {
        let path = received.request.path
        let answer = answers.withLock { answers -> Answer? in
            guard let first = answers[path]?.first else { return nil }
            if answers[path]!.count > 1 { answers[path]!.removeFirst() }
            return first
        }
        switch answer {
        case .none: return .json(["done": .string(path)])
        case .status(let status, let headers, let body):
            var response = ServerResponse.json(body, status: status)
            response.headers += headers
            return response
        case .nothing: return nil
        case .run(let answer): return answer(received)
        }
    }
}
