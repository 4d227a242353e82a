import Postgres
import Primitives
import Store
import TestSupport
import WorkflowFiles

/// Sagas as workflow files have them, in a few words.
extension JSON {
    static func saga(_ name: String, version: Int = 1, _ steps: [JSON], _ more: JSON = [:]) -> JSON {
        (["saga": JSON(name), "version": JSON(version), "steps": .array(steps)] as JSON).with(more)
    }

    /// `POST http://127.0.0.1:9/<id>` with the saga's input, tried once, undone by `DELETE`.
    static func call(_ id: String, _ more: JSON = [:]) -> JSON {
        ([
            "id": JSON(id), "call": ["http": "POST http://127.0.0.1:9/\(id)", "body": "${ .input }"],
            "retry": ["attempts": 1, "jitter": "none"],
            "compensate": ["retry": ["attempts": 1], "call": ["http": "DELETE http://127.0.0.1:9/\(id)"]],
        ] as JSON).with(more)
    }

    func with(_ more: JSON) -> JSON {
        guard case .object(var object) = self else { return self }
        for (name, value) in more.object?.members ?? [] { object[name] = value }
        return .object(object)
    }
}

extension TestDatabase {
    /// One step, and the order's number for a key.
    func placeOrder(_ more: JSON = [:]) async throws {
        try await apply(.saga("place-order", [.call("reserve")], (["key": "${ .input.orderId }"] as JSON).with(more)))
    }

    @discardableResult
    func start(_ saga: String = "place-order", _ input: JSON = ["orderId": 17], key: String? = nil) async throws -> UUID
    {
        try await value("select outrider.start_saga(\(saga), \(input), key => \(key))")
    }

    /// How the statement fails: `OR005: the input is null`; nil when it does not.
    func refusal(_ statement: String) async throws -> String? {
        try await failure { try await execute(statement) }.map { "\($0.state ?? ""): \($0.message)" }
    }

    /// The only row, by its columns: jsonb keeps them in an order of its own.
    func row(_ query: SQL) async throws -> [String: JSON] {
        let row = try await value("select to_jsonb(r) from (\(query)) r", as: JSON.self)
        return Dictionary((row.object?.members ?? []).map { ($0.name, $0.value) }) { _, last in last }
    }

    /// Brings a saga to a status without running it.
    func set(_ saga: UUID, _ status: String, _ more: String = "") async throws {
        let ends = ["completed", "compensated", "failed", "terminated"].contains(status)
        try await execute(
            """
            update outrider.saga set status = '\(status)'\(more), finished_at = \(ends ? "now()" : "null")
            where id = '\(saga)'
            """)
    }

    /// What lies in a saga's mailbox: `signal paid {"a": 1}`, the oldest first.
    func mail(of saga: UUID) async throws -> [String] {
        try await values(
            """
            select concat_ws(' ', kind, step, send, name, payload) from outrider.saga_mail where saga_id = \(saga) order by id
            """, as: String.self)
    }
}
