import Primitives
import Sagas

/// A saga as the database tells of it: see `Operations.saga`.
struct SagaRecord: Sendable {
    /// One that a `run` step of it has started.
    struct SubSaga: Sendable {
        let id: String
        let name: String
        let status: String
        let step: String
    }

    let id: String
    let name: String
    let version: Int
    let key: String?
    let status: SagaState.Status
    let isSuspended: Bool
    let startedAt: Timestamp
    let finishedAt: Timestamp?
    let deadline: Timestamp?
    /// By the database's clock, when all this was so.
    let seenAt: Timestamp
    let waitingFor: String?
    let failure: Failure?
    let input: JSON
    let output: JSON
    /// Compensations that a person skipped.
    let skipped: Int
    /// The saga that started it: `order-batch/7`, its id and the step.
    let parent: (name: String, id: String, step: String)?
    let worker: String?
    let history: [Fact]
    let subSagas: [SubSaga]

    init(_ json: JSON) {
        func text(_ name: String) -> String? { json[name]?.string }
        func time(_ name: String) -> Timestamp? { text(name).flatMap { Timestamp(rfc3339: $0) } }
        id = text("id") ?? ""
        name = text("saga") ?? ""
        version = json["version"]?.int ?? 0
        key = text("key")
        status = text("status").flatMap { SagaState.Status(rawValue: $0) } ?? .running
        isSuspended = json["suspended"] == true
        seenAt = time("seen_at") ?? .now()
        startedAt = time("started_at") ?? seenAt
        finishedAt = time("finished_at")
        deadline = time("deadline")
        waitingFor = text("waiting_for")
        // Without a reason to abort the view shows why it is stuck.
        failure = json["failure"].flatMap { $0.isNull || $0 == json["trouble"] ? nil : Failure($0) }
        input = json["input"] ?? .null
        output = json["output"] ?? .null
        skipped = json["skipped"]?.int ?? 0
        parent = text("parent").map { ($0, text("parent_id") ?? "", text("parent_step") ?? "") }
        worker = text("worker")
        history = (json["history"]?.array ?? []).compactMap { Fact(row: $0) }
        subSagas = (json["sub_sagas"]?.array ?? []).map { child in
            func text(_ name: String) -> String { child[name]?.string ?? "" }
            return SubSaga(id: text("id"), name: text("saga"), status: text("status"), step: text("step"))
        }
    }

    /// Why it is stuck, and since when; nil when it is not.
    var trouble: (reason: Trouble, since: Timestamp)? {
        guard status == .stuck else { return nil }
        return history.reversed().lazy.compactMap { fact in
            if case .stuck(let trouble) = fact.kind { (trouble, fact.at) } else { nil }
        }.first
    }
}

extension Fact {
    /// Of a row of `saga_history`.
    init?(row: JSON) {
        guard let at = row["at"]?.string.flatMap({ Timestamp(rfc3339: $0) }), let event = row["event"]?.string else {
            return nil
        }
        self.init(
            at: at, event: event, step: row["step"]?.string, op: row["op"]?.string, attempt: row["attempt"]?.int,
            detail: row["detail"] ?? .null)
    }
}
