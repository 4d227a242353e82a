package import Primitives
package import Sagas

/// What one saga's decision writes: all of it or nothing.
package struct SagaCommit: Sendable {
    package var saga: UUID
    /// Of its type; see the migration's head for how sagas stand in the queue.
    package var lane: Int32
    package var facts: [Fact] = []
    /// Nil when the row stays as it is. A row that was never written is that of a new state.
    package var row: SagaRow?
    package var messages: [Effect.Message] = []
    package var children: [Child] = []
    package var childActs: [(step: StepPath, act: SagaEvent.Act)] = []
    package var outcome: SagaEvent.ChildOutcome?
    package var letters: [Effect.Letter] = []
    package var settled: Settlement?
    package var callbacks: [CallbackToken] = []
    /// Mail that it has taken.
    package var readMail: [Int64] = []
    /// When it goes back to sleep.
    package var rest: Rest?
    /// Whether it has come further since it was taken over from a dead worker: its rescues count no more.
    package var clearsRescues = false
    /// Rows of the queue that this worker holds for it.
    package var held: [Int64] = []
    /// Numbers what is written about a saga that this worker has not in memory: a late answer, a row to give back. Nil for a
    /// decision.
    package var aside: Int?

    /// Of its open dead letters.
    package struct Settlement: Sendable {
        package var by: String
        /// Why nothing more comes of them; nil when what they tell of is tried again.
        package var discarding: String?

        package init(by: String, discarding: String?) {
            self.by = by
            self.discarding = discarding
        }
    }

    package struct Child: Sendable {
        package var step: StepPath
        package var saga: String
        package var input: JSON
        package var key: String?

        package init(step: StepPath, saga: String, input: JSON, key: String?) {
            self.step = step
            self.saga = saga
            self.input = input
            self.key = key
        }
    }

    package struct CallbackToken: Sendable {
        package var token: String
        package var step: StepPath
        package var op: Op
        package var send: Int

        package init(token: String, step: StepPath, op: Op, send: Int) {
            self.token = token
            self.step = step
            self.op = op
            self.send = send
        }
    }

    package struct Rest: Sendable {
        /// Nil sleeps until mail comes.
        package var until: Timestamp?
        package var waitingFor: String?
        /// Of a suspect that was not taken up: it stays one.
        package var rescues = 0

        package init(until: Timestamp?, waitingFor: String?) {
            self.until = until
            self.waitingFor = waitingFor
        }
    }

    package init(saga: UUID, lane: Int32) {
        self.saga = saga
        self.lane = lane
    }
}

/// The columns of a saga's row that the machine decides.
package struct SagaRow: Sendable, Hashable {
    package var status: String
    package var isSuspended: Bool
    package var hasPivoted: Bool
    package var failure: JSON?
    package var trouble: JSON?
    package var output: JSON?
    package var skipped: Int32
    package var deadline: Timestamp?
    package var hasEnded: Bool

    package init(_ state: SagaState) {
        status = state.status.rawValue
        isSuspended = state.suspendedAt != nil
        hasPivoted = state.hasPivoted
        failure = state.failure?.json
        trouble = state.trouble.map { trouble -> JSON in
            var members: [(name: String, value: JSON)] = [
                ("type", .string(trouble.reason.rawValue)), ("interrupted", .string(trouble.interrupted.rawValue)),
            ]
            if let step = trouble.step { members.append(("step", .string(step.text))) }
            if trouble.step != nil { members.append(("op", .string(trouble.op.rawValue))) }
            if let detail = trouble.detail { members.append(("detail", .string(detail))) }
            return .object(JSONObject(members))
        }
        output = state.status == .completed ? .some(state.output) : .none
        skipped = Int32(state.skipped)
        deadline = state.deadline
        hasEnded = state.status.hasEnded
    }
}
