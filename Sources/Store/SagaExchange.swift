import Delivery
package import Postgres
package import Primitives
package import Sagas

/// One round trip of a worker with the sagas: decisions go in, sagas that have something to do come out, in one transaction.
package struct SagaExchange {
    package var commits: [SagaCommit] = []
    package var requests: [ClaimRequest] = []
    /// Subscriptions whose messages start sagas.
    package var starts: [ClaimRequest] = []
    package var wake: [Int32] = []
    package var sleep: [Int32] = []
    package var readsHorizon = false
    /// Whether to tell the leading worker that something is due soon.
    package var tellsOfDue = false

    package init() {}

    package struct Outcome: Sendable {
        package var claimed: [ClaimedSaga] = []
        package var started: [(lane: Int32, count: Int, newest: Int64?)] = []
        package var horizon: Exchange.Horizon?
        package var sleepAttempts: [Exchange.SleepAttempt] = []
        /// Sagas that went to sleep while mail came for them: they are in the queue again.
        package var called: [Int32] = []
    }

    package func run(on connection: Connection, token: UUID, worker: String) throws -> Outcome {
        var statements: [SQL] = []
        var readers: [(Rows, inout Outcome) throws -> Void] = []
        func add(_ statement: SQL, _ read: @escaping (Rows, inout Outcome) throws -> Void = { _, _ in }) {
            statements.append(statement)
            readers.append(read)
        }
        // Whoever was given up for dead writes nothing; and nobody is given up while this goes on.
        add("select outrider.stay_alive(\(token))")
        if commits.isEmpty, starts.isEmpty { add("select set_config('synchronous_commit', 'off', true)") }
        for statement in SagaWriting.statements(commits, token: token, worker: worker) { add(statement) }
        let resting = commits.filter { $0.rest != nil }
        if !resting.isEmpty {
            add(Self.mailOfTheResting(resting)) { rows, outcome in
                outcome.called = try rows.map { try $0.decode(0, as: Int32.self) }
            }
        }
        if readsHorizon {
            add(Exchange.horizonStatement) { rows, outcome in outcome.horizon = try Exchange.Horizon(rows[0]) }
        }
        if !wake.isEmpty { add("select pg_advisory_unlock(\(AdvisoryLock.sleep), s) from unnest(\(wake)) s") }
        if tellsOfDue { add("select pg_notify('outrider_wake', 'due')") }
        if !sleep.isEmpty {
            add(Exchange.sleepStatement(sleep)) { rows, outcome in
                outcome.sleepAttempts = try rows.map { try Exchange.SleepAttempt($0) }
            }
        }
        for start in starts {
            add(
                """
                select s.taken, s.newest
                from outrider.start_from_messages(\(start.subscription), \(start.floor), \(Int32(start.count))) s
                """
            ) { rows, outcome in
                outcome.started.append(
                    (
                        start.subscription, Int(try rows[0].decode(0, as: Int32.self)),
                        try rows[0].decode(1, as: Int64?.self)
                    ))
            }
        }
        if !requests.isEmpty {
            add(Self.claimStatement(requests, token)) { rows, outcome in
                outcome.claimed = try rows.map { try ClaimedSaga($0) }
            }
        }
        var outcome = Outcome()
        for (rows, read) in zip(try connection.pipeline(statements), readers) {
            try read(rows, &outcome)
        }
        return outcome
    }

    /// Writes decisions in the caller's transaction.
    package static func write(
        _ commit: SagaCommit, on connection: Connection, token: UUID, worker: String
    ) throws {
        for statement in SagaWriting.statements([commit], token: token, worker: worker) {
            try connection.query(statement)
        }
    }

    /// Which of the messages and sub-sagas of a decision that was refused is the one, by writing one after the other, and
    /// taking it all back. Nil when it is none of them. In the caller's transaction.
    package static func refusedPart(
        of commit: SagaCommit, on connection: Connection
    ) throws -> Effect.Message.Origin? {
        let parts = SagaWriting.parts(of: commit)
        if parts.count == 1 { return parts[0].origin }
        try connection.execute(script: "savepoint parts")
        var refused: Effect.Message.Origin?
        do {
            for part in parts {
                refused = part.origin
                try connection.query(part.statement)
            }
            refused = nil
        } catch {
            guard error.sqlState != nil else { throw error }
        }
        try connection.execute(script: "rollback to savepoint parts")
        return refused
    }

    /// A statement after the one that lets them go: mail that came in between is seen by one side or the other.
    private static func mailOfTheResting(_ commits: [SagaCommit]) -> SQL {
        """
        with called as (
            select distinct m.saga_id, t.lane
            from unnest(\(commits.map(\.saga)), \(commits.map(\.lane))) t (saga, lane)
            join outrider.saga_mail m on m.saga_id = any (array[t.saga])
        ), queued as (
            insert into outrider.delivery (subscription_id, message_id) select c.lane, c.saga_id from called c
        )
        select distinct c.lane from called c
        """
    }

    /// As for deliveries, rows are found and locked in an array first. A saga that another worker has in memory is not taken:
    /// its row goes, and that worker is told to look at its mail. Of several rows that speak of one saga the first brings it.
    private static func claimStatement(_ requests: [ClaimRequest], _ token: UUID) -> SQL {
        """
        with c as (
            update outrider.delivery
            set owner = \(token), rescues = case when rescues >= \(Int16(ClaimedSaga.suspicious)) then -rescues else rescues end
            where ctid = any (array(
                select q.ctid
                from unnest(\(requests.map(\.subscription)), \(requests.map { Int64($0.count) }), \(requests.map(\.floor)))
                    w (lane, count, floor)
                cross join lateral (
                    select d.ctid from outrider.delivery d
                    where d.subscription_id = w.lane and d.id > w.floor and d.owner is null
                    order by d.id limit w.count
                    for update skip locked
                ) q))
            returning id, subscription_id, message_id, rescues
        ), taken as (
            update outrider.saga s set owner = \(token), claims = s.claims + 1, waiting_for = null
            where s.id = any (array(select c.message_id from c))
                and (s.owner is null or not exists (select from outrider.worker w where w.token = s.owner))
            returning s.*
        ), timers as (
            delete from outrider.scheduled d where d.id = any (array(select t.timer from taken t where t.timer is not null))
        )
        select c.id, c.subscription_id, c.message_id, c.rescues, t.claims > 1, t.name, t.hash, t.key, t.input, t.started_at,
            t.parent_id is not null, t.headers ->> 'traceparent',
            not exists (select from taken t where t.id = c.message_id)
                and not exists (select from outrider.saga s where s.id = any (array[c.message_id]) and s.owner = \(token))
        from (select c.*, row_number() over (partition by c.message_id order by c.id) as n from c) c
        left join taken t on t.id = c.message_id and c.n = 1
        order by c.id
        """
    }

    // MARK: - What is known of a saga

    /// The history of sagas that had begun before, read by a statement of its own: a claim may have waited for the commit of
    /// the one that had them, which its own snapshot does not see.
    package static func histories(of sagas: [UUID], on connection: Connection) throws -> [UUID: [Fact]] {
        let rows = try connection.query(
            """
            select f.saga_id, f.at, f.event, f.step, f.op, f.attempt, f.detail
            from outrider.saga_fact f where f.saga_id = any (\(sagas)) order by f.saga_id, f.seq
            """)
        var histories: [UUID: [Fact]] = [:]
        for row in rows {
            let fact = Fact(
                at: try row.decode(1, as: Timestamp.self), event: try row.decode(2, as: String.self),
                step: try row.decode(3, as: String?.self), op: try row.decode(4, as: String?.self),
                attempt: try row.decode(5, as: Int32?.self).map(Int.init), detail: try row.decode(6, as: JSON.self))
            if let fact { histories[try row.decode(0, as: UUID.self), default: []].append(fact) }
        }
        return histories
    }

    /// The mail of sagas, the oldest first.
    package static func mail(of sagas: [UUID], on connection: Connection) throws -> [SagaMail] {
        try connection.query(
            """
            select m.id, m.saga_id, m.kind, m.step, m.op, m.send, m.name, m.payload, m.by
            from outrider.saga_mail m where m.saga_id = any (\(sagas)) order by m.saga_id, m.id
            """
        ).map { try SagaMail($0) }
    }

    /// Those among these sagas that have mail.
    package static func withMail(_ sagas: [UUID], on connection: Connection) throws -> [UUID] {
        try connection.query(
            "select distinct m.saga_id from outrider.saga_mail m where m.saga_id = any (\(sagas))"
        ).map { try $0.decode(0, as: UUID.self) }
    }

    /// Rows of the queue whose sagas another worker has go, and that worker is told. It may be letting its saga go in this
    /// very moment, or die before it hears: as long as there is mail, somebody looks again.
    package static func forward(_ rows: [ClaimedSaga], on connection: Connection, token: UUID) throws {
        _ = try connection.query(
            """
            with gone as (
                delete from outrider.delivery d
                using unnest(\(rows.map(\.lane)), \(rows.map(\.row))) t (subscription, id)
                where \(unsafeSQL: ClaimedDelivery.isRow) and d.owner = \(token)
                returning d.subscription_id, d.message_id
            ), addressee as (
                select distinct g.subscription_id, g.message_id from gone g
                where exists (select from outrider.saga_mail m where m.saga_id = g.message_id)
            ), again as (
                insert into outrider.scheduled (due_at, subscription_id, message_id)
                select clock_timestamp() + interval '1 second', a.subscription_id, a.message_id from addressee a
            )
            select count(pg_notify('outrider_wake', 'mail:' || a.message_id)) from addressee a
            """)
    }

    /// From now on it counts when the worker dies.
    package static func takeUp(_ suspect: ClaimedSaga, on connection: Connection, token: UUID) throws {
        _ = try connection.query(
            """
            update outrider.delivery d set rescues = \(Int16(suspect.rescues))
            where d.subscription_id = \(suspect.lane) and d.id = \(suspect.row) and d.owner = \(token)
            """)
    }

    package static func park(
        _ claimed: ClaimedSaga, on connection: Connection, token: UUID, worker: String
    ) throws {
        try connection.transaction {
            _ = try connection.query("select outrider.park_saga(\(claimed.saga), \(worker))")
            _ = try connection.query(
                """
                delete from outrider.delivery d
                where d.subscription_id = \(claimed.lane) and d.id = \(claimed.row) and d.owner = \(token)
                """)
            _ = try connection.query(
                "update outrider.saga set owner = null where id = \(claimed.saga) and owner = \(token)")
        }
    }
}

/// A row of the queue that speaks of a saga, and the saga if it is this worker's now.
package struct ClaimedSaga: Sendable {
    /// From so many rescues on a saga may be what kills its workers; see the migration's head.
    package static let suspicious = 3

    package let row: Int64
    package let lane: Int32
    package let saga: UUID
    package let rescues: Int
    package var isSuspect: Bool { rescues >= Self.suspicious }
    /// Another worker has it in memory, or it is gone.
    package let isElsewhere: Bool
    /// Nil when this worker has it in memory already, or another one has.
    package let head: Head?

    package struct Head: Sendable {
        /// Whether it was taken up before: then it may have a history.
        package let hasBegun: Bool
        package let name: String
        package let hash: String
        package let saga: SagaHead
        package let hasParent: Bool
        package let traceParent: String?
    }

    fileprivate init(_ row: Row) throws {
        self.row = try row.decode(0, as: Int64.self)
        lane = try row.decode(1, as: Int32.self)
        saga = try row.decode(2, as: UUID.self)
        rescues = abs(Int(try row.decode(3, as: Int16.self)))
        isElsewhere = try row.decode(12, as: Bool.self)
        guard let hasBegun = try row.decode(4, as: Bool?.self) else {
            head = nil
            return
        }
        head = Head(
            hasBegun: hasBegun, name: try row.decode(5, as: String.self), hash: try row.decode(6, as: String.self),
            saga: SagaHead(
                id: saga, key: try row.decode(7, as: String?.self), input: try row.decode(8, as: JSON.self),
                startedAt: try row.decode(9, as: Timestamp.self)), hasParent: try row.decode(10, as: Bool.self),
            traceParent: try row.decode(11, as: String?.self))
    }
}

/// Something that came for a saga, and what it tells its machine.
package struct SagaMail: Sendable {
    package let id: Int64
    package let saga: UUID
    /// Nil for what nobody can make sense of.
    package let event: SagaEvent?

    fileprivate init(_ row: Row) throws {
        id = try row.decode(0, as: Int64.self)
        saga = try row.decode(1, as: UUID.self)
        let step = try row.decode(3, as: String?.self).map { StepPath($0) }
        let op = try row.decode(4, as: String?.self).flatMap { Op(rawValue: $0) }
        let name = try row.decode(6, as: String?.self) ?? ""
        let payload = try row.decode(7, as: JSON?.self) ?? .null
        let by = try row.decode(8, as: String.self)
        switch try row.decode(2, as: String.self) {
        case "callback":
            guard let step, let op, let send = try row.decode(5, as: Int32?.self) else {
                event = nil
                return
            }
            event = SagaEvent.Callback(name, payload).map { .calledBack(step, op, send: Int(send), $0) }
        case "signal": event = .signalled(event: name, payload: payload, by: by)
        case "act": event = SagaEvent.Act(name, payload).map { .asked($0, by: by) }
        case "child": event = step.map { .childEnded($0, SagaEvent.ChildOutcome(payload)) }
        default: event = nil
        }
    }
}

// MARK: - Mail as JSON

extension SagaEvent.Callback {
    fileprivate init?(_ name: String, _ payload: JSON) {
        switch name {
        case "complete": self = .completed(payload)
        case "fail":
            self = .failed(
                Failure(
                    type: payload["type"]?.string ?? "failed", title: payload["title"]?.string,
                    detail: payload["detail"]?.string ?? payload.string))
        case "heartbeat": self = .heartbeat(.milliseconds(Int64((payload["seconds"]?.double ?? 0) * 1000)))
        default: return nil
        }
    }
}

extension SagaEvent.Act {
    init?(_ name: String, _ payload: JSON) {
        let reason = payload["reason"]?.string ?? ""
        let step = payload["step"]?.string ?? ""
        switch name {
        case "cancel": self = .cancel(reason: reason)
        case "terminate": self = .terminate(reason: reason)
        case "suspend": self = .suspend(reason: payload["reason"]?.string)
        case "resume": self = .resume(reason: payload["reason"]?.string)
        case "retry": self = .retry(input: payload["input"], reason: payload["reason"]?.string)
        case "skip": self = .skip(step: step, reason: reason, output: payload["output"] ?? .null)
        case "resolve":
            self = .resolve(
                step: step, happened: payload["happened"] == true, output: payload["output"] ?? .null,
                reason: payload["reason"]?.string)
        case "undo": self = .undo(reason: reason)
        default: return nil
        }
    }

    /// Of what a parent asks of its sub-sagas.
    var payload: JSON {
        switch self {
        case .cancel(let reason), .terminate(let reason), .undo(let reason): ["reason": .string(reason)]
        case .suspend(let reason), .resume(let reason): ["reason": JSON(reason)]
        case .retry, .skip, .resolve: .null
        }
    }
}

extension SagaEvent.ChildOutcome {
    fileprivate init(_ json: JSON) {
        self.init(
            status: json["status"]?.string.flatMap { SagaState.Status(rawValue: $0) } ?? .failed,
            output: json["output"] ?? .null,
            failure: json["failure"].flatMap { $0.isNull ? nil : Failure($0) })
    }

    var json: JSON {
        ["status": .string(status.rawValue), "output": output, "failure": failure?.json ?? .null]
    }
}
